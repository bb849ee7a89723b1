//! Waiting for a file descriptor in a thread that can be told to stop.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    time::Timespec,
};

/// The end that stops the waiting when it is dropped.
#[derive(Debug)]
pub(crate) struct Stopper {
    _writer: OwnedFd,
}

/// The end that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    reader: OwnedFd,
}

pub(crate) fn stop_pipe() -> io::Result<(Stopper, Waiting)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((Stopper { _writer: writer }, Waiting { reader }))
}

impl Waiting {
    /// Waits so long; `true` as soon as it was stopped.
    pub(crate) fn stopped_within(&self, time: Duration) -> bool {
        let mut fds = [PollFd::new(&self.reader, PollFlags::IN)];
        let time = Timespec::try_from(time).unwrap_or_default();
        // Where the system cannot wait, waiting is over.
        match poll(&mut fds, Some(&time)) {
            Ok(0) | Err(Errno::INTR) => false,
            Ok(_) | Err(_) => true,
        }
    }

    /// Waits so long for something to read; `true` as soon as it was stopped.
    pub(crate) fn stopped_before(&self, fd: &impl AsFd, time: Duration) -> bool {
        let mut fds = [
            PollFd::new(fd, PollFlags::IN),
            PollFd::new(&self.reader, PollFlags::IN),
        ];
        let time = Timespec::try_from(time).unwrap_or_default();
        match poll(&mut fds, Some(&time)) {
            Ok(_) => !fds[1].revents().is_empty(),
            Err(Errno::INTR) => false,
            Err(_) => true,
        }
    }

    /// Waits until there is something to read; `false` once it was stopped.
    pub(crate) fn readable(&self, fd: &impl AsFd) -> bool {
        let mut fds = [
            PollFd::new(fd, PollFlags::IN),
            PollFd::new(&self.reader, PollFlags::IN),
        ];
        loop {
            match poll(&mut fds, None) {
                Ok(_) => return fds[1].revents().is_empty(),
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }
}
