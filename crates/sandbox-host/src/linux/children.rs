//! The children of this process: which it started itself, and which came to it as subreaper.

use std::{
    collections::HashSet,
    fs, io,
    process::Child,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use domain::id::SessionId;
use rustix::{
    io::Errno,
    process::{
        Pid, WaitId, WaitIdOptions, WaitOptions, getpid, set_child_subreaper, waitid, waitpid,
    },
};

use super::table::Process;

/// What was started here and is not reaped yet.
///
/// A child that is not among these and is not of our own process group was re-parented to us: what
/// other code of this program starts stays in our group, and what we start is recorded before
/// anyone else can look.
#[derive(Debug, Default)]
pub(crate) struct Children {
    started: Mutex<Started>,
    subreaper: AtomicBool,
}

#[derive(Debug, Default)]
struct Started {
    pids: HashSet<u32>,
    sessions: HashSet<SessionId>,
}

impl Children {
    /// Makes this process the new parent of all orphans below it.
    pub(crate) fn become_subreaper(&self) -> io::Result<()> {
        set_child_subreaper(Some(getpid()))?;
        self.subreaper.store(true, Ordering::Release);
        Ok(())
    }

    /// Starts a child, and records it before anyone can take it for an orphan.
    pub(crate) fn start(
        &self,
        session: Option<SessionId>,
        spawn: impl FnOnce() -> io::Result<Child>,
    ) -> io::Result<Child> {
        let mut started = self.lock();
        let child = spawn()?;
        started.pids.insert(child.id());
        started.sessions.extend(session);
        Ok(child)
    }

    /// A child that was started here has been reaped.
    pub(crate) fn forget(&self, pid: u32) {
        self.lock().pids.remove(&pid);
    }

    /// A test for orphans of this session among our children. Where trees of several sessions were
    /// started here an orphan cannot be told to belong to one, and none is claimed.
    pub(crate) fn orphan_test(&self, session: SessionId) -> impl Fn(&Process) -> bool + use<> {
        let started = self.lock();
        let only_this = started.sessions.len() == 1 && started.sessions.contains(&session);
        let claims = only_this && self.subreaper.load(Ordering::Acquire);
        let pids = if claims {
            started.pids.clone()
        } else {
            HashSet::new()
        };
        let (own, group) = (std::process::id(), own_group());
        move |process| claims && is_orphan(process, own, group, &pids)
    }

    /// Reaps the orphans that have ended. The status of what was started here is left alone.
    pub(crate) fn reap_orphans(&self) {
        if !self.subreaper.load(Ordering::Acquire) || !has_ended_child() {
            return;
        }
        let started = self.lock();
        let (own, group) = (std::process::id(), own_group());
        for pid in own_children() {
            if started.pids.contains(&pid) {
                continue;
            }
            let ended = Process::read(pid)
                .filter(|process| !process.is_alive())
                .filter(|process| is_orphan(process, own, group, &started.pids));
            if let (Some(_), Some(pid)) = (ended, i32::try_from(pid).ok().and_then(Pid::from_raw)) {
                // That another thread was faster is all that can go wrong.
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Started> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_orphan(process: &Process, own: u32, group: u32, started: &HashSet<u32>) -> bool {
    process.parent == own && process.group != group && !started.contains(&process.pid)
}

/// 0 where it was made outside our process namespace: what we start without a group of its own is
/// shown with that as well.
fn own_group() -> u32 {
    Process::read(std::process::id()).map_or(0, |own| own.group)
}

/// Whether any child has ended and is not reaped: one call, before each is looked at.
fn has_ended_child() -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::All, look), Ok(None) | Err(Errno::CHILD))
}

/// Children of every thread of this process. Empty on a kernel that does not list them: then
/// zombies stay until this process ends.
fn own_children() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_ascii_whitespace()
                .map(str::parse)
                .collect::<Vec<_>>()
        })
        .filter_map(Result::ok)
        .collect()
}
