//! A process that cannot be mistaken for another: a pidfd, opened and then checked.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use domain::{process::ProcessIdentity, time::BootId};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{deadline::Deadline, table::Process};

/// A pidfd of a process whose identity was checked after it was opened, so that what is signalled
/// through it is that process and no later one with the same number.
#[derive(Debug)]
pub(crate) struct Handle(OwnedFd);

impl Handle {
    /// A handle of this process, or `None` where it no longer runs.
    pub(crate) fn open(identity: &ProcessIdentity, boot: &BootId) -> io::Result<Option<Self>> {
        let handle = match Self::open_unchecked(identity.pid) {
            Ok(handle) => handle,
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(is_running(identity, boot).then_some(handle))
    }

    /// A handle of whatever has this number now: right only for a child that is not reaped yet.
    pub(crate) fn open_unchecked(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(Errno::SRCH)?;
        Ok(Self(pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// Sends a signal; that the process has gone meanwhile is no error.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.0, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether exactly this process still runs.
pub(crate) fn is_running(identity: &ProcessIdentity, boot: &BootId) -> bool {
    Process::read(identity.pid)
        .is_some_and(|now| now.is_alive() && now.identity(boot).is_same(identity))
}

/// Waits until at least one of these can be read (a pidfd: has ended; a pipe: has data or is
/// closed) or the deadline has passed, and says which can.
pub(crate) fn wait_readable(fds: &[BorrowedFd<'_>], deadline: Deadline) -> io::Result<Vec<bool>> {
    wait_for(fds, PollFlags::IN, deadline)
}

/// [`wait_readable`] for other conditions; errors and hang-ups always count.
pub(crate) fn wait_for(
    fds: &[BorrowedFd<'_>],
    flags: PollFlags,
    deadline: Deadline,
) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, flags))
        .collect();
    loop {
        match poll(&mut polled, deadline.timespec().as_ref()) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect())
}
