//! Jobs that do nothing: each is attached and completed by its holder, with its session, events and
//! effects, beside a group commit of the same rows and bytes that decides and hashes nothing.

use std::{
    path::Path,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use app::{
    command::{Command, NewTask, Output, RecoveryPolicy},
    ports::store::Store as _,
};
use domain::{
    id::{ProjectId, TaskId},
    session::{Outcome, SessionCommand, SessionResult},
    task::TaskKind,
};
use rusqlite::{Connection, params};
use store_sqlite::SqliteStore;
use testkit::contract::world::{
    LEASE_MILLIS, agent, claim_command, create_command, process, request, starts, work,
};

use crate::{
    Done, Place,
    measure::{middle, per_second, timed, together},
};

const ROUNDS: usize = 5;
const JOBS: usize = 4_800;
const WORKERS: usize = 24;
/// Jobs that a worker claims at once.
const PREFETCH: u32 = 10;

pub(crate) fn rows(folder: &Path) -> Done<serde_json::Value> {
    let place = Place::new(folder)?;
    let (store, project) = place.store()?;
    let raw_path = place.path("raw.db");
    let (mut ours, mut raw, mut managed) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let ids = preload(&store, project, TaskKind::External)?;
        ours.push(drained(&ids, |id| attach_and_end(&store, id))?);
        preload(&store, project, TaskKind::Managed)?;
        managed.push(claimed(&store, project)?);
        let sample = Sample::of(
            &place.path("store.db"),
            ids.first().ok_or("no job")?.number(),
        )?;
        raw.push(Raw::run(&raw_path, &sample)?);
    }
    Ok(serde_json::json!({
        "external_per_second": middle(ours)?,
        "managed_per_second": middle(managed)?,
        "raw_per_second": middle(raw)?,
    }))
}

fn preload(store: &SqliteStore, project: ProjectId, kind: TaskKind) -> Done<Vec<TaskId>> {
    let ids = std::sync::Mutex::new(Vec::with_capacity(JOBS));
    together(WORKERS, JOBS / WORKERS, || {
        let new = NewTask {
            kind,
            ..work("work")
        };
        let created = store.execute(request(create_command(project, new)))?;
        if let Output::Task { task, .. } = created.output {
            ids.lock().map_err(|error| error.to_string())?.push(task.id);
        }
        Ok(())
    })?;
    Ok(ids.into_inner()?)
}

fn drained(ids: &[TaskId], act: impl Fn(TaskId) -> Done<()> + Sync) -> Done<f64> {
    let next = AtomicUsize::new(0);
    together(WORKERS, JOBS / WORKERS, || {
        let id = ids.get(next.fetch_add(1, Ordering::Relaxed));
        act(*id.ok_or("fewer jobs than wanted")?)
    })
}

fn attach_and_end(store: &SqliteStore, task: TaskId) -> Done<()> {
    store.execute(request(Command::Attach {
        task,
        agent: agent("coder"),
        launcher: process(1),
        lease_millis: LEASE_MILLIS,
    }))?;
    store.execute(request(Command::EndExternal {
        task,
        agent: None,
        failure: None,
        summary: None,
        gates: vec![],
        recovery: RecoveryPolicy::default(),
    }))?;
    Ok(())
}

/// Workers that claim some jobs at once and end each.
fn claimed(store: &SqliteStore, project: ProjectId) -> Done<f64> {
    let batch = usize::try_from(PREFETCH)?;
    let batches = together(WORKERS, JOBS / WORKERS / batch, || {
        let claim = request(claim_command(project, starts(PREFETCH)));
        let Output::Claimed { claims, .. } = store.execute(claim)?.output else {
            return Err("a claim answers claims".into());
        };
        for (session, _) in claims {
            let at = session.created_at;
            let outcome = Box::new(Outcome::bare(SessionResult::Completed, at));
            store.execute(request(Command::Session {
                session: session.id,
                fence: session.fence,
                command: SessionCommand::Finish { outcome },
                recovery: RecoveryPolicy::default(),
            }))?;
        }
        Ok(())
    })?;
    Ok(batches * f64::from(PREFETCH))
}

/// The bytes that one job left.
struct Sample {
    state: String,
    session: String,
    /// Header and content of each, in the order of the log: two of each request.
    events: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Sample {
    fn of(store: &Path, task: u64) -> Done<Self> {
        let connection = Connection::open(store)?;
        let task = i64::try_from(task)?;
        let state =
            connection.query_row("SELECT state FROM tasks WHERE id = ?1", [task], |row| {
                row.get(0)
            })?;
        let (id, session): (i64, String) = connection.query_row(
            "SELECT id, body FROM sessions WHERE task = ?1",
            [task],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let mut statement = connection.prepare(
            "SELECT header, payload FROM events
             WHERE (stream_kind = 1 AND stream_id = ?1 AND seq > 1)
                OR (stream_kind = 2 AND stream_id = ?2) ORDER BY position",
        )?;
        let events = statement
            .query_map([task, id], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<Vec<_>, _>>()?;
        if events.len() != 4 {
            return Err(format!("a job leaves 4 events, not {}", events.len()).into());
        }
        Ok(Self {
            state,
            session,
            events,
        })
    }
}

/// A thread that commits together what has queued, as the product's does.
struct Raw {
    connection: Connection,
    position: i64,
}

type Ask = (i64, bool, SyncSender<()>);

impl Raw {
    /// Jobs a second.
    fn run(path: &Path, sample: &Sample) -> Done<f64> {
        for name in ["", "-wal", "-shm"] {
            drop(std::fs::remove_file(format!("{}{name}", path.display())));
        }
        {
            let (store, project) = crate::open(path)?;
            preload(&store, project, TaskKind::External)?;
        }
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000;
             PRAGMA cache_size = -16384;",
        )?;
        let ids = connection
            .prepare("SELECT id FROM tasks")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<Vec<i64>, _>>()?;
        let position =
            connection.query_row("SELECT max(position) FROM events", [], |row| row.get(0))?;
        let (asks, asked) = sync_channel::<Ask>(WORKERS);
        let mut raw = Self {
            connection,
            position,
        };
        thread::scope(|scope| {
            let writer = scope.spawn(move || raw.work(&asked, sample).map_err(|e| e.to_string()));
            let next = AtomicUsize::new(0);
            let mut rate = Ok(0.0);
            let took = timed(|| {
                rate = together(WORKERS, JOBS / WORKERS, || {
                    let id = ids.get(next.fetch_add(1, Ordering::Relaxed));
                    let id = *id.ok_or("fewer jobs than wanted")?;
                    for ends in [false, true] {
                        let (answer, answered) = sync_channel(1);
                        asks.send((id, ends, answer))?;
                        answered.recv()?;
                    }
                    Ok(())
                });
                Ok(())
            })?;
            drop(asks);
            writer.join().map_err(|_| "the writer panicked")??;
            rate?;
            Ok(per_second(JOBS, took.as_secs_f64()))
        })
    }

    fn work(&mut self, asked: &Receiver<Ask>, sample: &Sample) -> Done<()> {
        while let Ok(first) = asked.recv() {
            let group: Vec<Ask> = std::iter::once(first).chain(asked.try_iter()).collect();
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            for (id, ends, _) in &group {
                self.write(*id, *ends, sample)?;
            }
            self.connection.execute_batch("COMMIT")?;
            for (_, _, answer) in group {
                answer.send(())?;
            }
        }
        Ok(())
    }

    fn write(&mut self, id: i64, ends: bool, sample: &Sample) -> Done<()> {
        let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
            self.connection.prepare_cached(sql)?.execute(values)
        };
        let status = if ends { 2 } else { 1 };
        run(
            "UPDATE tasks SET status = ?2, fence = 1, version = version + 1, state = ?3
             WHERE id = ?1",
            params![id, status, sample.state],
        )?;
        for (status, change) in [(status - 1, -1), (status, 1)] {
            run(
                "INSERT INTO counters (project, owner, status, count) VALUES (1, 'ada', ?1, ?2)
                 ON CONFLICT (project, owner, status) DO UPDATE SET count = count + ?2",
                params![status, change],
            )?;
        }
        if ends {
            run(
                "UPDATE sessions SET live = 0, version = 2, body = ?2 WHERE id = ?1",
                params![id, sample.session],
            )?;
        } else {
            run(
                "INSERT INTO sessions (id, task, project, live, version, body)
                 VALUES (?1, ?1, 1, 1, 1, ?2)",
                params![id, sample.session],
            )?;
        }
        let half = if ends { 2 } else { 0 };
        for (index, (header, payload)) in sample.events.iter().enumerate().skip(half).take(2) {
            self.position += 1;
            run(
                "INSERT INTO events (position, stream_kind, stream_id, seq, header, payload,
                                     stream_hash, global_hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, zeroblob(32), zeroblob(32))",
                params![
                    self.position,
                    3 + i64::try_from(index % 2)?,
                    id,
                    i64::from(ends),
                    header,
                    payload
                ],
            )?;
        }
        run(
            "INSERT INTO effects (task, version) VALUES (?1, ?2)
             ON CONFLICT (task) DO UPDATE SET version = ?2",
            params![id, 1],
        )?;
        Ok(())
    }
}
