//! How a shim tells the process that started it what became of the start.
//!
//! The starter keeps a pipe and names its writing end as a path below its own `/proc` entry. The
//! shim opens it (closed on exec), says [`HELLO`], and after that the pipe ends without another
//! byte if the program was executed, or with a [`Refusal`] if not.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
};

use super::{
    deadline::Deadline,
    handle::{Handle, wait_readable},
};

/// The first byte of a shim: from here on the end of the pipe means something.
const HELLO: u8 = b'+';

/// How long a shim may take for its few system calls.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a shim could not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Join the control group.
    Join,
    /// Become leader of a session of its own.
    Detach,
    /// Execute the program.
    Execute,
}

impl Step {
    const ALL: [(Self, u8); 3] = [
        (Self::Join, b'j'),
        (Self::Detach, b'd'),
        (Self::Execute, b'x'),
    ];

    fn letter(self) -> u8 {
        Self::ALL
            .iter()
            .find(|(step, _)| *step == self)
            .map_or(b'?', |(_, letter)| *letter)
    }

    fn of(letter: u8) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == letter)
            .map(|(step, _)| *step)
    }
}

/// Why a shim did not execute the program.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) step: Step,
    pub(crate) source: io::Error,
}

/// The starter's side.
#[derive(Debug)]
pub(crate) struct Listener {
    reading: File,
    writing: OwnedFd,
}

impl Listener {
    pub(crate) fn new() -> io::Result<Self> {
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self {
            reading: reading.into(),
            writing,
        })
    }

    /// Where the shim writes.
    pub(crate) fn path(&self) -> PathBuf {
        format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.writing.as_raw_fd()
        )
        .into()
    }

    /// Waits until the program was executed or was not.
    pub(crate) fn outcome(mut self, shim: &Handle) -> Result<(), Refusal> {
        let lost = |what| Refusal {
            step: Step::Execute,
            source: io::Error::other(what),
        };
        let broken = |source| Refusal {
            step: Step::Execute,
            source,
        };
        let deadline = Deadline::after(PATIENCE);

        let ready =
            wait_readable(&[self.reading.as_fd(), shim.as_fd()], deadline).map_err(broken)?;
        match ready[..] {
            [true, _] => {}
            [_, true] => {
                let what = "the exec shim ended before it reported";
                return Err(broken(io::Error::new(
                    io::ErrorKind::ConnectionAborted,
                    what,
                )));
            }
            _ => return Err(lost("the exec shim hung before it reported")),
        }
        let mut hello = [0];
        self.reading.read_exact(&mut hello).map_err(broken)?;
        drop(self.writing);

        let mut words = Vec::new();
        loop {
            let ready = wait_readable(&[self.reading.as_fd()], deadline).map_err(broken)?;
            if ready != [true] {
                return Err(lost("the exec shim hung before it executed the program"));
            }
            let mut buffer = [0; 32];
            match self.reading.read(&mut buffer).map_err(broken)? {
                0 => break,
                count => words.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            }
        }
        parse(&words)
    }
}

fn parse(words: &[u8]) -> Result<(), Refusal> {
    let Some((letter, digits)) = words.split_first() else {
        return Ok(());
    };
    let code = std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok());
    Err(Refusal {
        step: Step::of(*letter).unwrap_or(Step::Execute),
        source: io::Error::from_raw_os_error(code.unwrap_or(Errno::IO.raw_os_error())),
    })
}

/// The shim's side.
#[derive(Debug)]
pub(crate) struct Reporter(File);

impl Reporter {
    /// Opens the starter's pipe and says that we are here.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file: File = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?.into();
        file.write_all(&[HELLO])?;
        Ok(Self(file))
    }

    /// Says what could not be done.
    pub(crate) fn refuse(&mut self, step: Step, error: &io::Error) {
        let code = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
        let mut words = vec![step.letter()];
        words.extend_from_slice(code.to_string().as_bytes());
        // A starter that is gone needs no answer.
        drop(self.0.write_all(&words));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_success_and_words_name_step_and_cause() {
        assert!(parse(b"").is_ok());
        let refusal = parse(b"x2").unwrap_err();
        assert_eq!(
            (refusal.step, refusal.source.kind()),
            (Step::Execute, io::ErrorKind::NotFound)
        );
        assert_eq!(parse(b"j13").unwrap_err().step, Step::Join);
        assert_eq!(parse(b"?").unwrap_err().step, Step::Execute);
    }
}
