//! A tree that was started here.

use std::{
    io::{self, Read},
    os::fd::AsFd,
    process::Child,
    sync::Arc,
    time::Duration,
};

use app::ports::processes::{Ended, ProcessTree};
use domain::{
    id::SessionId,
    process::{Exit, ProcessIdentity},
};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::{
    census::Census,
    deadline::Deadline,
    end::end,
    handle::{Handle, wait_readable},
    host::Machine,
    launch::Started,
    stdin::Feeding,
    table::Crowd,
};

/// A leader and all that came of it.
///
/// The leader is reaped when the tree is ended or dropped, not when it is waited for: until then
/// its number, and with it that of its process group, cannot become another program's.
#[derive(Debug)]
pub(crate) struct HostTree {
    machine: Arc<Machine>,
    session: SessionId,
    leader: ProcessIdentity,
    handle: Handle,
    child: Child,
    exit: Option<Exit>,
    reaped: bool,
    feeding: Option<Feeding>,
    before: Option<Arc<Crowd>>,
}

impl HostTree {
    pub(crate) fn new(
        machine: Arc<Machine>,
        session: SessionId,
        started: Started,
        feeding: Option<Feeding>,
        before: Option<Arc<Crowd>>,
    ) -> Self {
        let Started {
            child,
            handle,
            identity,
        } = started;
        Self {
            machine,
            session,
            leader: identity,
            handle,
            child,
            exit: None,
            reaped: false,
            feeding,
            before,
        }
    }

    /// The leader's exit, without reaping it.
    fn look(&mut self) -> io::Result<Option<Exit>> {
        if self.exit.is_none() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            let status = waitid(WaitId::PidFd(self.handle.as_fd()), options)?;
            self.exit = status.and_then(|status| {
                let signal = status.terminating_signal().map(Exit::Signal);
                status.exit_status().map(Exit::Code).or(signal)
            });
        }
        Ok(self.exit)
    }

    fn reap(&mut self) {
        let ended = self.look().is_ok_and(|exit| exit.is_some());
        if ended && !self.reaped {
            self.reaped = self.child.wait().is_ok();
            self.machine.children.forget(self.leader.pid);
        }
    }
}

impl ProcessTree for HostTree {
    fn leader(&self) -> &ProcessIdentity {
        &self.leader
    }

    fn take_stdout(&mut self) -> Option<Box<dyn Read + Send>> {
        Some(Box::new(self.child.stdout.take()?))
    }

    fn take_stderr(&mut self) -> Option<Box<dyn Read + Send>> {
        Some(Box::new(self.child.stderr.take()?))
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<Option<Exit>> {
        self.machine.children.reap_orphans();
        if self.exit.is_none() {
            wait_readable(&[self.handle.as_fd()], Deadline::after(timeout))?;
        }
        self.look()
    }

    fn end(&mut self, grace: Duration) -> Ended {
        let leader = (!self.reaped).then_some(self.leader.pid);
        let census = Census {
            machine: &self.machine,
            session: self.session,
            leader,
            before: self.before.as_deref(),
        };
        let ended = end(census, grace);
        self.feeding = None;
        self.reap();
        ended
    }
}

impl Drop for HostTree {
    fn drop(&mut self) {
        self.reap();
        if !self.reaped {
            self.machine.children.forget(self.leader.pid);
        }
    }
}
