//! What a transaction knows and what it has changed. Changes are kept back and sent together: a
//! request costs the server's answers to what it asks, and nothing for what it writes.

use std::collections::{BTreeSet, HashMap};

use app::{
    command::Reply,
    event::{Entry, GENESIS, Hash, Heads, Stream},
    ports::store::IdKind,
};
use domain::{
    id::{ProjectId, SessionId, TaskId},
    project::Project,
    quota::Quota,
    session::Session,
    task::Task,
};

use crate::{ledger::Ledger, link::Batch, singles::Tally};

/// How a value differs from what the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Differs {
    /// It does not.
    No,
    /// The server has none.
    New,
    /// The server has an older one.
    Changed,
}

/// A value, or that there is none, and how it differs from what the server has.
#[derive(Debug, Clone)]
pub(crate) struct Held<T> {
    pub(crate) value: Option<T>,
    pub(crate) differs: Differs,
}

impl<T> Held<T> {
    pub(crate) fn known(value: Option<T>) -> Self {
        Self {
            value,
            differs: Differs::No,
        }
    }

    /// The same with another value.
    pub(crate) fn changed_to(&self, value: T) -> Self {
        Self {
            value: Some(value),
            differs: match self.differs {
                Differs::New => Differs::New,
                Differs::No | Differs::Changed => Differs::Changed,
            },
        }
    }
}

/// A task, and what is said of it besides.
#[derive(Debug, Clone)]
pub(crate) struct HeldTask {
    pub(crate) task: Held<Task>,
    /// Whether what was asked for differs too.
    pub(crate) spec_differs: bool,
    /// Chains that a new task waits for.
    pub(crate) unmet: i32,
}

impl HeldTask {
    pub(crate) fn known(task: Option<Task>) -> Self {
        Self {
            task: Held::known(task),
            spec_differs: false,
            unmet: 0,
        }
    }
}

/// Counters of an owner in a project.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HeldTally {
    pub(crate) tally: Tally,
    /// The row that these were in, and are to take the place of.
    pub(crate) generation: Option<u64>,
    pub(crate) differs: bool,
}

/// What is owed for a task: first what is forgotten, then what is noted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Owing {
    pub(crate) forgotten_to: Option<u64>,
    pub(crate) noted: Option<u64>,
}

/// The ends of everything that only grows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// The last transaction's number.
    pub(crate) generation: u64,
    pub(crate) position: u64,
    pub(crate) global: Hash,
    /// The last numbers of projects, tasks and sessions.
    pub(crate) numbers: [u64; 3],
}

impl Default for Ends {
    fn default() -> Self {
        Self {
            generation: 0,
            position: 0,
            global: GENESIS,
            numbers: [0; 3],
        }
    }
}

impl Ends {
    pub(crate) fn number(&mut self, kind: IdKind) -> &mut u64 {
        let [project, task, session] = &mut self.numbers;
        match kind {
            IdKind::Project => project,
            IdKind::Task => task,
            IdKind::Session => session,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    pub(crate) ends: Ends,
    pub(crate) projects: Ledger<ProjectId, Held<Project>>,
    pub(crate) tasks: Ledger<TaskId, HeldTask>,
    pub(crate) sessions: Ledger<SessionId, Held<Session>>,
    pub(crate) heads: Ledger<Stream, (u64, Hash)>,
    pub(crate) events: Vec<Entry>,
    pub(crate) owed: Ledger<TaskId, Owing>,
    /// Counters of each owner in projects that are in `counted`.
    pub(crate) counters: Ledger<(ProjectId, String), HeldTally>,
    pub(crate) counted: BTreeSet<ProjectId>,
    /// Every quota, where they were asked for.
    pub(crate) quotas: Option<Vec<Quota>>,
    /// Statements about tables that nothing else is kept back of, in their order.
    pub(crate) others: Vec<Batch>,
    /// How many of those the server has done.
    pub(crate) others_sent: usize,
    pub(crate) answers: Ledger<String, Held<Reply>>,
    pub(crate) marks: Ledger<i16, Held<u64>>,
    /// How many events the server has of those that were written.
    pub(crate) events_sent: usize,
    /// Chains that have completed.
    pub(crate) released: Vec<i64>,
    /// How many of those the server knows of.
    pub(crate) released_sent: usize,
    /// How many changes were made in all.
    changes: u64,
    /// How many of them the server has.
    sent: u64,
}

/// Where a request began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    ends: Ends,
    places: [usize; 8],
    events: usize,
    released: usize,
    others: usize,
    changes: u64,
}

impl Unit {
    pub(crate) fn of(ends: Ends, projects: &HashMap<ProjectId, Project>) -> Self {
        let mut unit = Self {
            ends,
            ..Self::default()
        };
        for (id, project) in projects {
            unit.projects.learn(*id, Held::known(Some(project.clone())));
        }
        unit
    }

    /// Knows nothing any more of what was sent, but for where everything ends and counters.
    pub(crate) fn forget(&mut self) {
        *self = Self {
            ends: self.ends,
            counters: std::mem::take(&mut self.counters),
            counted: std::mem::take(&mut self.counted),
            ..Self::default()
        };
    }

    /// Something is about to be changed.
    pub(crate) fn changes(&mut self) {
        self.changes += 1;
    }

    /// The server has everything now.
    pub(crate) fn all_sent(&mut self) {
        self.sent = self.changes;
    }

    /// Whether something is kept back.
    pub(crate) fn keeps_back(&self) -> bool {
        self.sent < self.changes
    }

    /// Whether anything was changed at all.
    pub(crate) fn has_changes(&self) -> bool {
        self.changes > 0
    }

    /// Where the next request begins.
    pub(crate) fn point(&self) -> Point {
        Point {
            ends: self.ends,
            places: [
                self.projects.point(),
                self.tasks.point(),
                self.sessions.point(),
                self.heads.point(),
                self.owed.point(),
                self.counters.point(),
                self.answers.point(),
                self.marks.point(),
            ],
            events: self.events_sent + self.events.len(),
            released: self.released_sent + self.released.len(),
            others: self.others_sent + self.others.len(),
            changes: self.changes,
        }
    }

    /// Takes back what a request has changed; says whether that was possible: what was sent already
    /// is taken back by the server alone.
    pub(crate) fn back_to(&mut self, point: &Point) -> bool {
        if self.sent > point.changes {
            return false;
        }
        let [
            projects,
            tasks,
            sessions,
            heads,
            owed,
            counters,
            answers,
            marks,
        ] = point.places;
        self.ends = point.ends;
        self.projects.back_to(projects);
        self.tasks.back_to(tasks);
        self.sessions.back_to(sessions);
        self.heads.back_to(heads);
        self.owed.back_to(owed);
        self.counters.back_to(counters);
        self.answers.back_to(answers);
        self.marks.back_to(marks);
        let kept = point.events.saturating_sub(self.events_sent);
        self.events.truncate(kept);
        let kept = point.released.saturating_sub(self.released_sent);
        self.released.truncate(kept);
        let kept = point.others.saturating_sub(self.others_sent);
        self.others.truncate(kept);
        self.changes = point.changes;
        true
    }

    /// Both ends that the next entry of a stream continues.
    pub(crate) fn heads_of(&self, (seq, stream): (u64, Hash)) -> Heads {
        Heads {
            position: self.ends.position,
            global: self.ends.global,
            seq,
            stream,
        }
    }

    /// Adds an entry to the ends of both chains.
    pub(crate) fn add(&mut self, entry: Entry) {
        self.changes();
        self.ends.position = entry.position;
        self.ends.global = entry.global_hash;
        self.heads.set(entry.stream, (entry.seq, entry.stream_hash));
        self.events.push(entry);
    }
}
