//! Filling an empty store with all of another one, as one transaction: rows and events as they are,
//! so that positions and both chains come out the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use app::{
    error::Error,
    event::{Entry, StreamKind},
    ports::store::{Mark, Reader, counted_as},
};
use domain::{
    id::{ProjectId, SessionId, TaskId},
    quota::month_of,
    time::Timestamp,
};

use crate::{
    ask::first,
    flush,
    link::{Batch, Link, Step},
    locks, quotas,
    row::{Columns as _, status_code},
    schema,
    singles::{self, Tally},
    store::PostgresStore,
    target::Target,
    unit::{Differs, Held, HeldTally, HeldTask, Owing, Unit},
};

/// Entries that are read and written at once.
const PAGE: usize = 1_000;

/// What was filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filled {
    /// Projects.
    pub projects: u64,
    /// Tasks, deleted ones included.
    pub tasks: u64,
    /// Sessions.
    pub sessions: u64,
    /// Entries of the log.
    pub events: u64,
}

impl PostgresStore {
    /// Takes in everything that another store holds, from one state of it. Leases are not taken
    /// over, nor answers to idempotency keys; the store begins a later epoch. `progress` hears how
    /// many entries were taken in.
    ///
    /// # Errors
    /// [`Error::Exists`] where this store holds anything already; nothing is changed by what fails.
    pub fn fill_from(
        &self,
        source: &dyn Reader,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Filled, Error> {
        let link = Link::open(&Arc::new(self.target().clone()))?;
        let begin = format!(
            "BEGIN; SET LOCAL lock_timeout = '30s'; SET LOCAL jit = off;
             SELECT pg_advisory_xact_lock({})",
            schema::lock_key(self.target())
        );
        link.together(&[Step::Plain(&begin)])?;
        let mut filling = Filling::new(&link);
        let filled = filling.all(source, progress, self.now_millis());
        let end = if filled.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = link.together(&[Step::Plain(end)]);
        let filled = filled.and_then(|filled| ended.map(|_| filled))?;
        // What the server knows of the tables decides how it asks them.
        link.together(&[Step::Plain(&analyze(self.target()))])?;
        Ok(filled)
    }

    fn now_millis(&self) -> i64 {
        self.clock().now().wall.as_millis()
    }
}

fn analyze(target: &Target) -> String {
    [
        "projects",
        "tasks",
        "specs",
        "sessions",
        "events",
        "dependencies",
        "counters",
    ]
    .map(|table| format!("ANALYZE \"{}\".{table}", target.schema))
    .join(";")
}

struct Filling<'l> {
    link: &'l Link,
    unit: Unit,
    tallies: BTreeMap<(ProjectId, String), Tally>,
    filled: Filled,
}

impl<'l> Filling<'l> {
    fn new(link: &'l Link) -> Self {
        Self {
            link,
            unit: Unit::default(),
            tallies: BTreeMap::new(),
            filled: Filled::default(),
        }
    }

    fn all(
        &mut self,
        source: &dyn Reader,
        progress: &mut dyn FnMut(u64),
        now: i64,
    ) -> Result<Filled, Error> {
        self.require_empty()?;
        let mut numbers = [0; 3];
        for project in source.projects()? {
            let number = project.id.number();
            numbers[0] = number.max(numbers[0]);
            let held = Held {
                differs: Differs::New,
                value: Some(project.clone()),
            };
            self.unit.changes();
            self.unit.projects.set(project.id, held);
            self.filled.projects += 1;
        }
        let mut after = 0;
        loop {
            let page = source.events(None, after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.position;
            for entry in page {
                self.owner_of(source, &entry, &mut numbers)?;
                self.unit.add(entry);
                self.filled.events += 1;
            }
            self.send(now)?;
            progress(self.filled.events);
        }
        self.effects(source, now)?;
        for mark in [
            Mark::Epoch,
            Mark::UnverifiedFrom,
            Mark::UnverifiedTo,
            Mark::LockNumber,
        ] {
            let value = source.mark(mark)? + u64::from(mark == Mark::Epoch);
            let held = Held {
                differs: Differs::New,
                value: Some(value),
            };
            self.unit.changes();
            self.unit.marks.set(singles::mark_code(mark), held);
        }
        self.limits(source)?;
        for (name, tally) in &self.tallies {
            let held = HeldTally {
                tally: *tally,
                generation: None,
                differs: true,
            };
            self.unit.counters.set(name.clone(), held);
        }
        self.unit.ends.numbers = numbers;
        self.send(now)?;
        let closing = flush::close(&mut self.unit, 0, Timestamp::from_millis(now));
        self.put(&closing)?;
        // Nobody who waits was told of what has completed since.
        self.link.ask(
            "UPDATE @tasks t SET unmet = unmet - n.done
             FROM (SELECT d.task, count(*)::integer AS done FROM @dependencies d
                   WHERE EXISTS (SELECT 1 FROM @tasks c WHERE c.root = d.root AND c.status = 2)
                   GROUP BY d.task) n
             WHERE t.id = n.task",
            &[],
        )?;
        Ok(self.filled)
    }

    fn require_empty(&self) -> Result<(), Error> {
        let rows = self.link.ask(
            "SELECT EXISTS (SELECT 1 FROM @events) OR EXISTS (SELECT 1 FROM @projects)",
            &[],
        )?;
        if first(&rows, |row| row.value::<bool>(0))?.unwrap_or(false) {
            return Err(Error::Exists {
                what: "something in the store that is to be filled,".to_owned(),
                name: "which has to be empty: it".to_owned(),
            });
        }
        Ok(())
    }

    /// The first that is said of a task or a session: then its row is taken in.
    fn owner_of(
        &mut self,
        source: &dyn Reader,
        entry: &Entry,
        numbers: &mut [u64; 3],
    ) -> Result<(), Error> {
        if entry.seq != 1 {
            return Ok(());
        }
        let id = entry.stream.id;
        match entry.stream.kind {
            StreamKind::Project => {}
            StreamKind::Task => {
                numbers[1] = id.max(numbers[1]);
                if let Some(id) = TaskId::from_number(id) {
                    self.task(source, id)?;
                }
            }
            StreamKind::Session => {
                numbers[2] = id.max(numbers[2]);
                let session = SessionId::from_number(id);
                if let Some(session) = session.map(|id| source.session(id)).transpose()?.flatten() {
                    let held = Held {
                        differs: Differs::New,
                        value: Some(session.clone()),
                    };
                    self.unit.changes();
                    self.unit.sessions.set(session.id, held);
                    self.filled.sessions += 1;
                }
            }
        }
        Ok(())
    }

    fn task(&mut self, source: &dyn Reader, id: TaskId) -> Result<(), Error> {
        let Some(task) = source.task(id)? else {
            return Ok(());
        };
        let owned = (task.project, task.spec.owner.clone());
        let tally = self.tallies.entry(owned).or_default();
        let place = counted_as(&task).map(status_code).map(usize::try_from);
        if let Some(count) = place.and_then(Result::ok).and_then(|at| tally.get_mut(at)) {
            *count += 1;
        }
        let unmet = i32::try_from(task.spec.depends_on.len()).unwrap_or(i32::MAX);
        let held = HeldTask {
            task: Held {
                value: Some(task),
                differs: Differs::New,
            },
            spec_differs: false,
            unmet,
        };
        self.unit.changes();
        self.unit.tasks.set(id, held);
        self.filled.tasks += 1;
        Ok(())
    }

    /// Quotas, what was counted for them, and what has happened to locks.
    fn limits(&mut self, source: &dyn Reader) -> Result<(), Error> {
        let mut others: Vec<Batch> = source.quotas()?.iter().map(quotas::put).collect();
        let oldest = source.projects()?.iter().map(|p| p.created_at).min();
        let months = months(oldest, source.looked_at());
        for (project, owner) in self.tallies.keys() {
            for month in &months {
                let tokens = source.tokens(*month, Some(*project), Some(owner))?;
                if tokens > 0 {
                    others.push(quotas::add_tokens(*month, *project, owner, tokens));
                }
            }
        }
        for project in source.projects()? {
            let totals = source.lock_totals(project.id)?;
            others.push(locks::set_totals(project.id, &totals)?);
        }
        self.unit.changes();
        self.unit.others.extend(others);
        Ok(())
    }

    fn effects(&mut self, source: &dyn Reader, now: i64) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = source.effects(after, PAGE)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.task);
            for effect in page {
                let owing = Owing {
                    noted: Some(effect.version),
                    ..Owing::default()
                };
                self.unit.changes();
                self.unit.owed.set(effect.task, owing);
            }
            self.send(now)?;
        }
    }

    /// Sends what was taken in, and forgets it here.
    fn send(&mut self, now: i64) -> Result<(), Error> {
        let now = Timestamp::from_millis(now);
        let batches = flush::take(&mut self.unit, now)?;
        self.unit.forget();
        self.put(&batches)
    }

    fn put(&self, batches: &[Batch]) -> Result<(), Error> {
        if batches.is_empty() {
            return Ok(());
        }
        let steps: Vec<Step<'_>> = batches.iter().map(Step::Do).collect();
        self.link.together(&steps).map(drop)
    }
}

/// The months since the first project.
fn months(oldest: Option<Timestamp>, now: Timestamp) -> BTreeSet<u32> {
    const SOME_DAYS: i64 = 20 * 24 * 60 * 60 * 1_000;
    let first = oldest.unwrap_or(now).as_millis();
    let steps = (now.as_millis() - first).max(0) / SOME_DAYS + 2;
    (0..steps)
        .map(|step| first + step * SOME_DAYS)
        .map(|millis| month_of(Timestamp::from_millis(millis)))
        .collect()
}
