//! What the store holds: rows, and the sets by which they are found.

use std::collections::BTreeMap;

use app::{
    command::Reply,
    event::{Entry, GENESIS, Heads, Stream},
    ports::store::{IdKind, Mark},
};
use domain::{
    id::{Key, LockId, NodeId, ProjectId, SessionId, TaskId},
    lock::{Lock, Totals},
    node::{Checkout, Leader, Node},
    project::Project,
    quota::{Quota, QuotaKey},
    session::Session,
    task::{Task, TaskStatus},
    time::Timestamp,
};

/// Everything, in maps from which single entries are taken back when a transaction fails.
#[derive(Debug, Default)]
#[expect(clippy::zero_sized_map_values, reason = "one undo log serves all maps")]
pub(crate) struct State {
    pub(crate) projects: BTreeMap<ProjectId, Project>,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) pending: BTreeMap<(ProjectId, TaskId), ()>,
    pub(crate) running: BTreeMap<(ProjectId, TaskId), ()>,
    pub(crate) keys: BTreeMap<(ProjectId, Key), TaskId>,
    pub(crate) retries: BTreeMap<(TaskId, TaskId), ()>,
    pub(crate) dependants: BTreeMap<(TaskId, TaskId), ()>,
    pub(crate) counters: BTreeMap<(ProjectId, TaskStatus), u64>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) sessions_of: BTreeMap<(TaskId, SessionId), ()>,
    pub(crate) live: BTreeMap<SessionId, ()>,
    pub(crate) log: BTreeMap<u64, Entry>,
    pub(crate) streams: BTreeMap<(Stream, u64), u64>,
    pub(crate) effects: BTreeMap<TaskId, u64>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    /// At most one.
    pub(crate) leader: BTreeMap<(), Leader>,
    pub(crate) checkouts: BTreeMap<(ProjectId, NodeId), Checkout>,
    pub(crate) numbers: BTreeMap<IdKind, u64>,
    pub(crate) marks: BTreeMap<Mark, u64>,
    pub(crate) locks: BTreeMap<LockId, (ProjectId, Lock)>,
    /// By path, whether it stands for all beneath it too.
    pub(crate) lock_paths: BTreeMap<(ProjectId, String, LockId), bool>,
    pub(crate) lock_totals: BTreeMap<ProjectId, Totals>,
    pub(crate) answers: BTreeMap<String, (Timestamp, Reply)>,
    pub(crate) quotas: BTreeMap<QuotaKey, Quota>,
    pub(crate) tokens: BTreeMap<(u32, ProjectId, String), u64>,
    pub(crate) generation: u64,
    /// When it was last looked at.
    pub(crate) looked_at: Timestamp,
}

impl State {
    /// The second halves of the pairs that begin with `first`, in order.
    pub(crate) fn seconds<A: Ord + Copy, B: Ord + Copy, V>(
        map: &BTreeMap<(A, B), V>,
        first: A,
        least: B,
    ) -> impl Iterator<Item = B> {
        map.range((first, least)..)
            .take_while(move |((a, _), _)| *a == first)
            .map(|((_, b), _)| *b)
    }

    /// The ends of both chains.
    pub(crate) fn heads(&self, stream: Stream) -> Heads {
        let global = self.log.last_key_value();
        let last = self
            .streams
            .range((stream, 0)..=(stream, u64::MAX))
            .next_back()
            .and_then(|(_, position)| self.log.get(position));
        Heads {
            position: global.map_or(0, |(position, _)| *position),
            global: global.map_or(GENESIS, |(_, entry)| entry.global_hash),
            seq: last.map_or(0, |entry| entry.seq),
            stream: last.map_or(GENESIS, |entry| entry.stream_hash),
        }
    }

    /// The tasks of a chain, oldest first.
    pub(crate) fn chain_of(&self, root: TaskId) -> impl Iterator<Item = &Task> {
        let first = least_task();
        let retries = Self::seconds(&self.retries, root, first);
        std::iter::once(root)
            .chain(retries)
            .filter_map(|id| self.tasks.get(&id))
    }

    /// Whether a task waits for a chain that has not completed.
    pub(crate) fn is_blocked(&self, task: &Task) -> bool {
        task.spec.depends_on.iter().any(|root| {
            !self
                .chain_of(*root)
                .any(|task| task.status() == TaskStatus::Completed)
        })
    }
}

/// The id before every other.
pub(crate) fn least_task() -> TaskId {
    TaskId::from_number(1).expect("1 is an id")
}

/// The id before every other.
pub(crate) fn least_session() -> SessionId {
    SessionId::from_number(1).expect("1 is an id")
}
