//! Feeds a program's standard input without ever waiting for the program.

use std::{
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    process::ChildStdin,
    thread,
    time::Duration,
};

use rustix::{
    event::PollFlags,
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
};

use super::{deadline::Deadline, handle::wait_for};

/// Ends the feeding thread, if there is one, when it is dropped.
#[derive(Debug)]
pub(crate) struct Feeding {
    _stop: Option<OwnedFd>,
}

/// Writes `bytes` and then closes: at once where the pipe has room, else on a thread. A program
/// that never reads blocks nobody, and the thread goes with the program or with the [`Feeding`].
pub(crate) fn feed(stdin: ChildStdin, bytes: Vec<u8>) -> io::Result<Feeding> {
    let flags = fcntl_getfl(&stdin)?;
    fcntl_setfl(&stdin, flags | OFlags::NONBLOCK)?;
    let mut source = Source {
        stdin,
        bytes,
        written: 0,
    };
    if source.write_some() != Progress::Blocked {
        return Ok(Feeding { _stop: None });
    }
    let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC)?;
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            while source.write_some() == Progress::Blocked {
                if !source.waits(&stopped) {
                    return;
                }
            }
        })?;
    Ok(Feeding { _stop: Some(stop) })
}

struct Source {
    stdin: ChildStdin,
    bytes: Vec<u8>,
    written: usize,
}

#[derive(PartialEq, Eq)]
enum Progress {
    /// All is written, or the reader is gone.
    Done,
    /// The pipe is full.
    Blocked,
}

impl Source {
    fn write_some(&mut self) -> Progress {
        while let Some(rest) = self
            .bytes
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            match self.stdin.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) => {
                    return Progress::Blocked;
                }
                // A reader that went away has read what it wanted.
                Err(_) => return Progress::Done,
            }
        }
        Progress::Done
    }

    /// Waits for room; `false` once the feeding was stopped.
    fn waits(&self, stopped: &OwnedFd) -> bool {
        // `POLLOUT` is never reported for the reading end of a pipe; its hang-up always is.
        let fds = [self.stdin.as_fd(), stopped.as_fd()];
        wait_for(&fds, PollFlags::OUT, Deadline::after(Duration::MAX))
            .is_ok_and(|ready| ready.get(1) == Some(&false))
    }
}
