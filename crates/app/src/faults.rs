//! Acts on the world that may fail, and the moments around each of them.
//!
//! Every write, sync, rename, removal, commit and start goes through [`around`] or [`write()`]. Builds
//! with debug assertions can be made to die, fail or stall there; in others an act is what it does,
//! and nothing else.

use std::{
    fmt,
    io::{self, Write},
};

#[cfg(debug_assertions)]
use std::sync::OnceLock;

/// What something is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Thing {
    /// The readable image of a task.
    State,
    /// A task's plan.
    Plan,
    /// How a session ended.
    Outcome,
    /// What an agent printed.
    AgentLog,
    /// What happened in the course of a task.
    Journal,
    /// A full journal, compressed.
    Packed,
    /// What was decided in the course of a task.
    Decisions,
    /// What a checkpoint is.
    Manifest,
    /// The folder of a checkpoint.
    Checkpoint,
    /// The folder of a deleted task.
    TaskFolder,
    /// The signed heads of the log.
    Heads,
    /// The key that signs them.
    Key,
    /// The store's file.
    Store,
    /// A copy of the store.
    Backup,
    /// A branch or another reference of a repository.
    Reference,
    /// A worktree of a session.
    Worktree,
    /// A plain folder of a session.
    Folder,
    /// The process of a session's runner.
    Runner,
    /// The process of a session's agent.
    Agent,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Bytes go into a file.
    Write,
    /// A file reaches the disk.
    Sync,
    /// Something gets its name.
    Rename,
    /// The names in a folder reach the disk.
    SyncFolder,
    /// Something goes.
    Remove,
    /// A transaction ends.
    Commit,
    /// The store's log goes into its file.
    Empty,
    /// Something is made.
    Make,
    /// A reference says something else.
    Move,
    /// A process begins.
    Spawn,
}

/// An act: what is done to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Act {
    /// To what.
    pub thing: Thing,
    /// What.
    pub deed: Deed,
}

/// A moment of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// Nothing is done yet.
    Before,
    /// Half of the bytes are written.
    Within,
    /// It is done, and nobody knows.
    After,
}

/// Every act that there is.
const KNOWN: &[(Thing, &[Deed])] = &[
    (Thing::State, &[Deed::Write, Deed::Rename]),
    (Thing::Plan, &[Deed::Write, Deed::Rename]),
    (Thing::Outcome, REPLACE),
    (Thing::AgentLog, &[Deed::Write]),
    (Thing::Journal, &[Deed::Write, Deed::Sync, Deed::Rename]),
    (Thing::Packed, &[Deed::Write, Deed::Rename, Deed::Remove]),
    (Thing::Decisions, REPLACE),
    (Thing::Manifest, REPLACE),
    (
        Thing::Checkpoint,
        &[Deed::Rename, Deed::SyncFolder, Deed::Remove],
    ),
    (Thing::TaskFolder, &[Deed::Remove]),
    (Thing::Heads, &[Deed::Write, Deed::Sync]),
    (Thing::Key, &[Deed::Write, Deed::Sync, Deed::Rename]),
    (Thing::Store, &[Deed::Commit, Deed::Empty]),
    (Thing::Backup, REPLACE),
    (Thing::Reference, &[Deed::Move, Deed::Remove]),
    (Thing::Worktree, &[Deed::Make, Deed::Remove]),
    (Thing::Folder, &[Deed::Make, Deed::Remove]),
    (Thing::Runner, &[Deed::Spawn]),
    (Thing::Agent, &[Deed::Spawn]),
];

const REPLACE: &[Deed] = &[Deed::Write, Deed::Sync, Deed::Rename, Deed::SyncFolder];

impl Act {
    /// An act.
    #[must_use]
    pub const fn new(thing: Thing, deed: Deed) -> Self {
        Self { thing, deed }
    }

    /// All, each once.
    pub fn all() -> impl Iterator<Item = Self> {
        KNOWN
            .iter()
            .flat_map(|(thing, deeds)| deeds.iter().map(|deed| Self::new(*thing, *deed)))
    }

    /// The moments that it has.
    #[must_use]
    pub const fn moments(self) -> &'static [When] {
        match (self.thing, self.deed) {
            // SQLite and the compressor write by themselves.
            (Thing::Backup | Thing::Packed, Deed::Write) => &[When::Before, When::After],
            (_, Deed::Write) => &[When::Before, When::Within, When::After],
            _ => &[When::Before, When::After],
        }
    }
}

/// As `journal-write`.
impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thing = match self.thing {
            Thing::State => "state",
            Thing::Plan => "plan",
            Thing::Outcome => "outcome",
            Thing::AgentLog => "agent-log",
            Thing::Journal => "journal",
            Thing::Packed => "packed-journal",
            Thing::Decisions => "decisions",
            Thing::Manifest => "manifest",
            Thing::Checkpoint => "checkpoint",
            Thing::TaskFolder => "task-folder",
            Thing::Heads => "heads",
            Thing::Key => "key",
            Thing::Store => "store",
            Thing::Backup => "backup",
            Thing::Reference => "reference",
            Thing::Worktree => "worktree",
            Thing::Folder => "folder",
            Thing::Runner => "runner",
            Thing::Agent => "agent",
        };
        let deed = match self.deed {
            Deed::Write => "write",
            Deed::Sync => "sync",
            Deed::Rename => "rename",
            Deed::SyncFolder => "sync-folder",
            Deed::Remove => "remove",
            Deed::Commit => "commit",
            Deed::Empty => "empty",
            Deed::Make => "make",
            Deed::Move => "move",
            Deed::Spawn => "spawn",
        };
        write!(f, "{thing}-{deed}")
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::Within => "within",
            Self::After => "after",
        })
    }
}

/// Acts, and says so before and after. What is done may be told to have failed.
///
/// # Errors
/// As `work` does.
pub fn around<T, E: From<io::Error>>(
    act: Act,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    around_with(act, E::from, work)
}

/// The same where what the system says has to be put into other words.
///
/// # Errors
/// As `work` does.
pub fn around_with<T, E>(
    act: Act,
    told: impl Fn(io::Error) -> E,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    reached(act, When::Before).map_err(&told)?;
    let done = work()?;
    reached(act, When::After).map_err(&told)?;
    Ok(done)
}

/// Writes all of it, and says so before, after and in the middle.
///
/// # Errors
/// As `to` does.
pub fn write(act: Act, to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    reached(act, When::Before)?;
    #[cfg(debug_assertions)]
    let bytes = if HOOK.get().is_some() {
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        to.write_all(first)?;
        reached(act, When::Within)?;
        rest
    } else {
        bytes
    };
    to.write_all(bytes)?;
    reached(act, When::After)
}

/// Says that a moment has come.
///
/// # Errors
/// What is to be taken for what the system said.
#[cfg(debug_assertions)]
pub fn reached(act: Act, when: When) -> io::Result<()> {
    HOOK.get().map_or(Ok(()), |hook| hook(act, when))
}

/// Says that a moment has come.
///
/// # Errors
/// None.
#[cfg(not(debug_assertions))]
#[inline]
pub const fn reached(_act: Act, _when: When) -> io::Result<()> {
    Ok(())
}

/// What happens at a moment.
#[cfg(debug_assertions)]
pub type Hook = fn(Act, When) -> io::Result<()>;

#[cfg(debug_assertions)]
static HOOK: OnceLock<Hook> = OnceLock::new();

/// Calls `hook` at each moment from now on. Only the first call counts.
#[cfg(debug_assertions)]
pub fn at_each(hook: Hook) {
    let _ = HOOK.set(hook);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::crash_points::CrashPoint;

    #[test]
    fn every_moment_has_a_name_of_its_own() {
        let acts: Vec<String> = Act::all().map(|act| act.to_string()).collect();
        let points = CrashPoint::every().map(|point| point.as_str().to_owned());
        let all: Vec<String> = points.chain(acts).collect();
        let different: BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "{all:?}");
    }

    #[test]
    fn a_write_without_a_hook_is_one_write() {
        let mut written = Vec::new();
        let act = Act::new(Thing::Journal, Deed::Write);
        write(act, &mut written, b"whole").unwrap();
        let done: io::Result<u8> = around(act, || Ok(7));
        assert_eq!((written.as_slice(), done.unwrap()), (&b"whole"[..], 7));
    }
}
