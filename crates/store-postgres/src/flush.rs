//! What a unit has kept back, as statements: one for each table and kind of change, however many
//! rows.

use crate::{
    events::kind_code,
    link::Batch,
    row::{int, project_number, session_number, status_code, task_number, to_json},
    unit::{Differs, Unit},
};
use app::{error::Error, event::Entry};
use domain::{
    id::Key,
    session::{Session, SessionKind},
    task::{Task, TaskKind, TaskState},
    time::Timestamp,
};

/// Answers that are too old and are dropped at once, at most.
const ANSWERS_DROPPED: i64 = 512;

/// After so many transactions what nobody reads any more is cut.
const CUT_EVERY: u64 = 64;

/// Rows of transactions that stay.
const KEPT: u64 = 4_096;

const PROJECTS: &str = "INSERT INTO @projects (id, root, name, created_at, remote)
    SELECT * FROM unnest($1, $2, $3, $4, $5)";
const TASKS: &str =
    "INSERT INTO @tasks (id, project, status, kind, priority, scheduled, auto_retry,
        unmet, fence, requeues, due_millis, due_wall, root, retry_of, retry_count, retried_by,
        timeout, timeout_warning, retries_max, archived_at, deleted_at, purged_at, created_at,
        updated_at, version, agent, owner, key, due_boot, state)
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
        $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30)";
const TASKS_AGAIN: &str = "UPDATE @tasks t SET status = n.status, fence = n.fence,
        requeues = n.requeues, retried_by = n.retried_by, timeout = n.timeout,
        timeout_warning = n.timeout_warning, retries_max = n.retries_max,
        auto_retry = n.auto_retry, archived_at = n.archived_at, deleted_at = n.deleted_at,
        purged_at = n.purged_at, updated_at = n.updated_at, version = n.version, state = n.state
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        AS n (id, status, auto_retry, fence, requeues, retried_by, timeout, timeout_warning,
              retries_max, archived_at, deleted_at, purged_at, updated_at, version, state)
    WHERE t.id = n.id";
const SPECS: &str = "INSERT INTO @specs (id, spec) SELECT * FROM unnest($1, $2)";
const SPECS_AGAIN: &str = "UPDATE @specs s SET spec = n.spec
    FROM unnest($1, $2) AS n (id, spec) WHERE s.id = n.id";
const KEYS_AGAIN: &str = "UPDATE @tasks t SET key = n.key
    FROM unnest($1, $2) AS n (id, key) WHERE t.id = n.id";
const DEPENDENCIES: &str = "INSERT INTO @dependencies (root, task) SELECT * FROM unnest($1, $2)";
/// Whoever waits for chains that have completed waits for so many less.
const RELEASED: &str = "UPDATE @tasks t SET unmet = greatest(unmet - n.chains, 0)
    FROM (SELECT task, count(*)::integer AS chains FROM @dependencies
          WHERE root = ANY ($1) GROUP BY task) n
    WHERE t.id = n.task AND t.unmet > 0";
const SESSIONS: &str = "INSERT INTO @sessions (id, task, project, live, version, body, node,
        managed)
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)";
const SESSIONS_AGAIN: &str =
    "UPDATE @sessions s SET live = n.live, version = n.version, body = n.body
    FROM unnest($1, $2, $3, $4) AS n (id, live, version, body) WHERE s.id = n.id";
const EVENTS: &str = "INSERT INTO @events (position, stream_kind, stream_id, seq, header, payload,
        stream_hash, global_hash, dropped)
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const EFFECTS_FORGOTTEN: &str = "DELETE FROM @effects e USING unnest($1, $2) AS n (task, version)
    WHERE e.task = n.task AND e.version <= n.version";
const EFFECTS: &str = "INSERT INTO @effects AS e (task, version) SELECT * FROM unnest($1, $2)
    ON CONFLICT (task) DO UPDATE SET version = greatest(e.version, excluded.version)";
const ANSWERS: &str = "INSERT INTO @answers (key, at, reply)
    SELECT k, $3, r FROM unnest($1, $2) AS n (k, r)
    ON CONFLICT (key) DO UPDATE SET at = excluded.at, reply = excluded.reply";
const MARKS: &str = "INSERT INTO @marks (kind, value) SELECT * FROM unnest($1, $2)
    ON CONFLICT (kind) DO UPDATE SET value = excluded.value";
const COUNTERS: &str = "INSERT INTO @counters (project, owner, generation, counts)
    SELECT p, o, $8, ARRAY[a, b, c, d, e]
    FROM unnest($1, $2, $3, $4, $5, $6, $7) AS n (p, o, a, b, c, d, e)";
const COUNTERS_REPLACED: &str = "DELETE FROM @counters c
    USING unnest($1, $2, $3) AS n (project, owner, generation)
    WHERE c.project = n.project AND c.owner = n.owner AND c.generation = n.generation";
const COMMITS: &str = "INSERT INTO @commits (generation, writer, at, project, task, session)
    VALUES ($1, $2, $3, $4, $5, $6)";
const COMMITS_CUT: &str = "DELETE FROM @commits WHERE generation >= $1 AND generation < $2";
const ANSWERS_CUT: &str = "DELETE FROM @answers WHERE key IN
    (SELECT key FROM @answers WHERE at <= $1 ORDER BY at LIMIT $2)";

macro_rules! batch {
    ($sql:expr, $($value:expr => $kind:ident),* $(,)?) => {
        $crate::link::Batch {
            sql: $sql,
            values: vec![$((
                Box::new($value) as Box<dyn ::tokio_postgres::types::ToSql + Sync + Send>,
                ::tokio_postgres::types::Type::$kind,
            )),*],
        }
    };
}

pub(crate) use batch;

/// Everything that is kept back, in an order in which it can be done. The server has it then, as far
/// as the unit knows.
pub(crate) fn take(unit: &mut Unit, now: Timestamp) -> Result<Vec<Batch>, Error> {
    let mut batches = Vec::new();
    if !unit.keeps_back() {
        return Ok(batches);
    }
    projects(unit, &mut batches);
    tasks(unit, &mut batches)?;
    let released = std::mem::take(&mut unit.released);
    unit.released_sent += released.len();
    if !released.is_empty() {
        batches.push(batch!(RELEASED, released => INT8_ARRAY));
    }
    sessions(unit, &mut batches)?;
    let events = std::mem::take(&mut unit.events);
    unit.events_sent += events.len();
    if !events.is_empty() {
        batches.push(of_events(events));
    }
    effects(unit, &mut batches);
    answers(unit, now, &mut batches)?;
    marks(unit, &mut batches);
    unit.others_sent += unit.others.len();
    batches.append(&mut unit.others);
    unit.all_sent();
    Ok(batches)
}

/// What ends a transaction, after everything else was taken: counters, its own row, and what is cut.
pub(crate) fn close(unit: &mut Unit, writer: i64, now: Timestamp) -> Vec<Batch> {
    unit.ends.generation += 1;
    let generation = unit.ends.generation;
    let mut batches = Vec::new();
    let mut counted: [Vec<i64>; 6] = Default::default();
    let (mut owners, mut replaced) = (vec![], (vec![], vec![], vec![]));
    for ((project, owner), held) in unit.counters.values_mut() {
        if !held.differs {
            continue;
        }
        if let Some(older) = held.generation.replace(generation) {
            replaced.0.push(project_number(*project));
            replaced.1.push(owner.clone());
            replaced.2.push(int(older));
        }
        let row = std::iter::once(project_number(*project)).chain(held.tally);
        for (column, value) in counted.iter_mut().zip(row) {
            column.push(value);
        }
        owners.push(owner.clone());
        held.differs = false;
    }
    let [projects, pending, running, completed, failed, cancelled] = counted;
    if generation.is_multiple_of(CUT_EVERY) {
        let to = int(generation.saturating_sub(KEPT));
        let from = to - 2 * int(CUT_EVERY);
        batches.push(batch!(COMMITS_CUT, from => INT8, to => INT8));
        batches.push(batch!(ANSWERS_CUT,
            crate::singles::oldest_kept(now) => INT8, ANSWERS_DROPPED => INT8));
    }
    if !replaced.0.is_empty() {
        batches.push(batch!(COUNTERS_REPLACED,
            replaced.0 => INT8_ARRAY, replaced.1 => TEXT_ARRAY, replaced.2 => INT8_ARRAY));
    }
    if !projects.is_empty() {
        batches.push(batch!(COUNTERS,
            projects => INT8_ARRAY, owners => TEXT_ARRAY, pending => INT8_ARRAY,
            running => INT8_ARRAY, completed => INT8_ARRAY, failed => INT8_ARRAY,
            cancelled => INT8_ARRAY, int(generation) => INT8));
    }
    let [project, task, session] = unit.ends.numbers.map(int);
    batches.push(batch!(COMMITS,
        int(generation) => INT8, writer => INT8, now.as_millis() => INT8,
        project => INT8, task => INT8, session => INT8));
    batches
}

fn projects(unit: &mut Unit, batches: &mut Vec<Batch>) {
    let (mut ids, mut roots, mut names, mut times) = (vec![], vec![], vec![], vec![]);
    let mut remotes: Vec<Option<String>> = vec![];
    for (_, held) in unit.projects.values_mut() {
        if held.differs == Differs::No {
            continue;
        }
        if let Some(project) = &held.value {
            ids.push(project_number(project.id));
            roots.push(project.root.clone());
            names.push(project.name.clone());
            times.push(project.created_at.as_millis());
            remotes.push(project.remote.clone());
        }
        held.differs = Differs::No;
    }
    if !ids.is_empty() {
        batches.push(batch!(PROJECTS,
            ids => INT8_ARRAY, roots => TEXT_ARRAY, names => TEXT_ARRAY, times => INT8_ARRAY,
            remotes => TEXT_ARRAY));
    }
}

fn tasks(unit: &mut Unit, batches: &mut Vec<Batch>) -> Result<(), Error> {
    let (mut new, mut changed, mut specs) = (vec![], vec![], vec![]);
    for (_, held) in unit.tasks.values_mut() {
        if let Some(task) = &held.task.value {
            match held.task.differs {
                Differs::New => new.push((task.clone(), held.unmet)),
                Differs::Changed => changed.push(task.clone()),
                Differs::No => {}
            }
            if held.spec_differs && held.task.differs != Differs::New {
                specs.push(task.clone());
            }
        }
        held.task.differs = Differs::No;
        held.spec_differs = false;
    }
    if !specs.is_empty() {
        // What lets go of a key comes before what takes it.
        specs.sort_by_key(|task| task.spec.key.is_some());
        let ids: Vec<i64> = specs.iter().map(|task| task_number(task.id)).collect();
        let texts: Result<Vec<String>, Error> =
            specs.iter().map(|task| to_json(&task.spec)).collect();
        let keys: Vec<Option<String>> = specs.iter().map(key_of).collect();
        batches.push(batch!(SPECS_AGAIN, ids.clone() => INT8_ARRAY, texts? => TEXT_ARRAY));
        batches.push(batch!(KEYS_AGAIN, ids => INT8_ARRAY, keys => TEXT_ARRAY));
    }
    // What is deleted lets go of its key, too.
    changed.sort_by_key(|task| (task.deleted_at.is_none(), task.id));
    if !changed.is_empty() {
        batches.push(changed_tasks(&changed)?);
    }
    if !new.is_empty() {
        new.sort_by_key(|(task, _)| task.id);
        new_tasks(&new, batches)?;
    }
    Ok(())
}

fn key_of(task: &Task) -> Option<String> {
    task.spec.key.as_ref().map(Key::as_str).map(str::to_owned)
}

fn state_of(task: &Task) -> Result<Option<String>, Error> {
    match &task.state {
        TaskState::Pending => Ok(None),
        state => to_json(state).map(Some),
    }
}

fn millis(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_millis)
}

fn changed_tasks(tasks: &[Task]) -> Result<Batch, Error> {
    fn column<T>(tasks: &[Task], read: impl Fn(&Task) -> T) -> Vec<T> {
        tasks.iter().map(read).collect()
    }
    let states: Result<Vec<Option<String>>, Error> = tasks.iter().map(state_of).collect();
    Ok(batch!(TASKS_AGAIN,
        column(tasks, |t| task_number(t.id)) => INT8_ARRAY,
        column(tasks, |t| status_code(t.status())) => INT2_ARRAY,
        column(tasks, |t| t.limits.auto_retry) => BOOL_ARRAY,
        column(tasks, |t| int(t.fence)) => INT8_ARRAY,
        column(tasks, |t| i64::from(t.requeues)) => INT8_ARRAY,
        column(tasks, |t| t.chain.retried_by.map(task_number)) => INT8_ARRAY,
        column(tasks, |t| t.limits.timeout_seconds.map(i64::from)) => INT8_ARRAY,
        column(tasks, |t| i64::from(t.limits.timeout_warning_seconds)) => INT8_ARRAY,
        column(tasks, |t| i64::from(t.limits.retries_max)) => INT8_ARRAY,
        column(tasks, |t| millis(t.archived_at)) => INT8_ARRAY,
        column(tasks, |t| millis(t.deleted_at)) => INT8_ARRAY,
        column(tasks, |t| millis(t.purged_at)) => INT8_ARRAY,
        column(tasks, |t| t.updated_at.as_millis()) => INT8_ARRAY,
        column(tasks, |t| int(t.version)) => INT8_ARRAY,
        states? => TEXT_ARRAY,
    ))
}

fn new_tasks(tasks: &[(Task, i32)], batches: &mut Vec<Batch>) -> Result<(), Error> {
    fn column<T>(tasks: &[(Task, i32)], read: impl Fn(&Task) -> T) -> Vec<T> {
        tasks.iter().map(|(task, _)| read(task)).collect()
    }
    let states: Result<Vec<Option<String>>, Error> =
        tasks.iter().map(|(task, _)| state_of(task)).collect();
    let unmet: Vec<i32> = tasks.iter().map(|(_, unmet)| *unmet).collect();
    let due = |t: &Task| t.not_before.clone();
    batches.push(batch!(TASKS,
        column(tasks, |t| task_number(t.id)) => INT8_ARRAY,
        column(tasks, |t| project_number(t.project)) => INT8_ARRAY,
        column(tasks, |t| status_code(t.status())) => INT2_ARRAY,
        column(tasks, |t| i16::from(t.spec.kind == TaskKind::External)) => INT2_ARRAY,
        column(tasks, |t| i16::from(t.spec.priority.value())) => INT2_ARRAY,
        column(tasks, |t| t.not_before.is_some()) => BOOL_ARRAY,
        column(tasks, |t| t.limits.auto_retry) => BOOL_ARRAY,
        unmet => INT4_ARRAY,
        column(tasks, |t| int(t.fence)) => INT8_ARRAY,
        column(tasks, |t| i64::from(t.requeues)) => INT8_ARRAY,
        column(tasks, |t| due(t).map(|due| int(due.moment.millis))) => INT8_ARRAY,
        column(tasks, |t| due(t).map(|due| due.wall.as_millis())) => INT8_ARRAY,
        column(tasks, |t| task_number(t.chain.root)) => INT8_ARRAY,
        column(tasks, |t| t.chain.retry_of.map(task_number)) => INT8_ARRAY,
        column(tasks, |t| i64::from(t.chain.retry_count)) => INT8_ARRAY,
        column(tasks, |t| t.chain.retried_by.map(task_number)) => INT8_ARRAY,
        column(tasks, |t| t.limits.timeout_seconds.map(i64::from)) => INT8_ARRAY,
        column(tasks, |t| i64::from(t.limits.timeout_warning_seconds)) => INT8_ARRAY,
        column(tasks, |t| i64::from(t.limits.retries_max)) => INT8_ARRAY,
        column(tasks, |t| millis(t.archived_at)) => INT8_ARRAY,
        column(tasks, |t| millis(t.deleted_at)) => INT8_ARRAY,
        column(tasks, |t| millis(t.purged_at)) => INT8_ARRAY,
        column(tasks, |t| t.created_at.as_millis()) => INT8_ARRAY,
        column(tasks, |t| t.updated_at.as_millis()) => INT8_ARRAY,
        column(tasks, |t| int(t.version)) => INT8_ARRAY,
        column(tasks, |t| t.spec.agent.as_str().to_owned()) => TEXT_ARRAY,
        column(tasks, |t| t.spec.owner.clone()) => TEXT_ARRAY,
        column(tasks, key_of) => TEXT_ARRAY,
        column(tasks, |t| due(t).map(|due| due.moment.boot.0)) => TEXT_ARRAY,
        states? => TEXT_ARRAY,
    ));
    let specs: Result<Vec<String>, Error> =
        tasks.iter().map(|(task, _)| to_json(&task.spec)).collect();
    batches.push(batch!(SPECS,
        column(tasks, |t| task_number(t.id)) => INT8_ARRAY, specs? => TEXT_ARRAY));
    let waits = |(task, _): &(Task, i32)| {
        let id = task_number(task.id);
        let roots = task.spec.depends_on.clone();
        roots.into_iter().map(move |root| (task_number(root), id))
    };
    let (roots, waiting): (Vec<i64>, Vec<i64>) = tasks.iter().flat_map(waits).unzip();
    if !roots.is_empty() {
        batches.push(batch!(DEPENDENCIES, roots => INT8_ARRAY, waiting => INT8_ARRAY));
    }
    Ok(())
}

fn sessions(unit: &mut Unit, batches: &mut Vec<Batch>) -> Result<(), Error> {
    let (mut new, mut changed) = (vec![], vec![]);
    for (_, held) in unit.sessions.values_mut() {
        if let Some(session) = &held.value {
            match held.differs {
                Differs::New => new.push(session.clone()),
                Differs::Changed => changed.push(session.clone()),
                Differs::No => {}
            }
        }
        held.differs = Differs::No;
    }
    for (is_new, list) in [(true, new), (false, changed)] {
        if list.is_empty() {
            continue;
        }
        let ids: Vec<i64> = list.iter().map(|s| session_number(s.id)).collect();
        let live: Vec<bool> = list.iter().map(|s| !s.status.is_terminal()).collect();
        let versions: Vec<i64> = list.iter().map(|s| int(s.version)).collect();
        let bodies: Result<Vec<String>, Error> = list.iter().map(to_json).collect();
        if is_new {
            let tasks: Vec<i64> = list.iter().map(|s| task_number(s.task)).collect();
            let projects: Vec<i64> = list.iter().map(|s| project_number(s.project)).collect();
            let node = |s: &Session| s.node.map(|node| int(node.number()));
            let nodes: Vec<Option<i64>> = list.iter().map(node).collect();
            let managed: Vec<bool> = list
                .iter()
                .map(|s| s.kind == SessionKind::Managed)
                .collect();
            batches.push(batch!(SESSIONS,
                ids => INT8_ARRAY, tasks => INT8_ARRAY, projects => INT8_ARRAY,
                live => BOOL_ARRAY, versions => INT8_ARRAY, bodies? => TEXT_ARRAY,
                nodes => INT8_ARRAY, managed => BOOL_ARRAY));
        } else {
            batches.push(batch!(SESSIONS_AGAIN,
                ids => INT8_ARRAY, live => BOOL_ARRAY, versions => INT8_ARRAY,
                bodies? => TEXT_ARRAY));
        }
    }
    Ok(())
}

fn of_events(entries: Vec<Entry>) -> Batch {
    fn column<T>(entries: &[Entry], read: impl Fn(&Entry) -> T) -> Vec<T> {
        entries.iter().map(read).collect()
    }
    let fixed = (
        column(&entries, |e| int(e.position)),
        column(&entries, |e| kind_code(e.stream.kind)),
        column(&entries, |e| int(e.stream.id)),
        column(&entries, |e| int(e.seq)),
    );
    let hashes = (
        column(&entries, |e| e.stream_hash.to_vec()),
        column(&entries, |e| e.global_hash.to_vec()),
        column(&entries, |e| e.dropped.map(|hash| hash.to_vec())),
    );
    let (headers, payloads): (Vec<Vec<u8>>, Vec<Vec<u8>>) = entries
        .into_iter()
        .map(|entry| (entry.header, entry.payload))
        .unzip();
    batch!(EVENTS,
        fixed.0 => INT8_ARRAY, fixed.1 => INT2_ARRAY, fixed.2 => INT8_ARRAY,
        fixed.3 => INT8_ARRAY, headers => BYTEA_ARRAY, payloads => BYTEA_ARRAY,
        hashes.0 => BYTEA_ARRAY, hashes.1 => BYTEA_ARRAY, hashes.2 => BYTEA_ARRAY)
}

fn effects(unit: &mut Unit, batches: &mut Vec<Batch>) {
    let (mut forgotten, mut noted) = ((vec![], vec![]), (vec![], vec![]));
    for (task, owing) in unit.owed.values_mut() {
        if let Some(version) = owing.forgotten_to.take() {
            forgotten.0.push(task_number(*task));
            forgotten.1.push(int(version));
        }
        if let Some(version) = owing.noted.take() {
            noted.0.push(task_number(*task));
            noted.1.push(int(version));
        }
    }
    if !forgotten.0.is_empty() {
        batches.push(batch!(EFFECTS_FORGOTTEN,
            forgotten.0 => INT8_ARRAY, forgotten.1 => INT8_ARRAY));
    }
    if !noted.0.is_empty() {
        batches.push(batch!(EFFECTS, noted.0 => INT8_ARRAY, noted.1 => INT8_ARRAY));
    }
}

fn answers(unit: &mut Unit, now: Timestamp, batches: &mut Vec<Batch>) -> Result<(), Error> {
    let (mut keys, mut replies) = (vec![], vec![]);
    for (key, held) in unit.answers.values_mut() {
        if let (Differs::New | Differs::Changed, Some(reply)) = (held.differs, &held.value) {
            keys.push(key.clone());
            replies.push(to_json(reply)?);
        }
        held.differs = Differs::No;
    }
    if !keys.is_empty() {
        batches.push(batch!(ANSWERS,
            keys => TEXT_ARRAY, replies => TEXT_ARRAY, now.as_millis() => INT8));
    }
    Ok(())
}

fn marks(unit: &mut Unit, batches: &mut Vec<Batch>) {
    let (mut kinds, mut values) = (vec![], vec![]);
    for (kind, held) in unit.marks.values_mut() {
        if let (Differs::New | Differs::Changed, Some(value)) = (held.differs, held.value) {
            kinds.push(*kind);
            values.push(int(value));
        }
        held.differs = Differs::No;
    }
    if !kinds.is_empty() {
        batches.push(batch!(MARKS, kinds => INT2_ARRAY, values => INT8_ARRAY));
    }
}
