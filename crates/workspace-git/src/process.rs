//! Running one process to its end: bounded in time and output, ended with its whole group.

use std::{
    io::{self, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
};

/// How much of standard error is kept.
const STDERR_BYTES_MAX: usize = 64 * 1024;

/// How much of a pipe is read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// How long the pipes of a process that ended are still read. Whoever left its group may keep
/// them open for ever, and what the process itself wrote is in them already.
const PIPES_WAIT: Duration = Duration::from_secs(2);

/// What a process is given and allowed.
#[derive(Debug)]
pub(crate) struct Bounds<'a> {
    /// What it reads.
    pub(crate) stdin: &'a [u8],
    /// After this its group is killed; none means never.
    pub(crate) timeout: Option<Duration>,
    /// Standard output beyond this is read and dropped.
    pub(crate) stdout_bytes_max: usize,
}

/// A process that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its code; 128 and the signal where a signal ended it.
    pub(crate) code: i32,
    /// Its output up to the bound.
    pub(crate) stdout: Vec<u8>,
    /// Whether there was more.
    pub(crate) truncated: bool,
    /// Its error output, up to a bound of its own.
    pub(crate) stderr: Vec<u8>,
}

/// Why there is no [`Finished`].
#[derive(Debug)]
pub(crate) enum RunError {
    /// It did not start.
    Spawn(io::Error),
    /// It was killed because its time was over.
    TimedOut,
    /// Its pipes or its end could not be read.
    Io(io::Error),
}

/// Starts the command in a process group of its own and waits for its end.
pub(crate) fn run(command: &mut Command, bounds: &Bounds<'_>) -> Result<Finished, RunError> {
    let stdin = if bounds.stdin.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().map_err(RunError::Spawn)?;
    let input = child.stdin.take().map(|pipe| feed(pipe, bounds.stdin));
    let output = child
        .stdout
        .take()
        .map(|pipe| drain(pipe, bounds.stdout_bytes_max));
    let errors = child
        .stderr
        .take()
        .map(|pipe| drain(pipe, STDERR_BYTES_MAX));
    let code = end_within(&mut child, bounds.timeout)?;
    let until = Until::from_now(PIPES_WAIT);
    if let Some(fed) = input {
        until.next(&fed).unwrap_or(Ok(())).map_err(RunError::Io)?;
    }
    let (stdout, truncated) = until.collect(output).map_err(RunError::Io)?;
    let (stderr, _) = until.collect(errors).map_err(RunError::Io)?;
    Ok(Finished {
        code,
        stdout,
        truncated,
        stderr,
    })
}

/// Waits for the leader, then ends what is left of its group before the leader is reaped, so
/// that the group's number cannot be another's.
fn end_within(child: &mut Child, timeout: Option<Duration>) -> Result<i32, RunError> {
    let pid = Pid::from_child(child);
    let (ended, has_ended) = mpsc::channel();
    let in_time = thread::scope(|scope| {
        scope.spawn(move || {
            wait_without_reaping(pid);
            // The receiver is gone where the time was over first.
            let _ = ended.send(());
        });
        let in_time = match timeout {
            Some(timeout) => has_ended.recv_timeout(timeout).is_ok(),
            None => has_ended.recv().is_ok(),
        };
        // Gone already is what is wanted.
        let _ = kill_process_group(pid, Signal::KILL);
        in_time
    });
    let status = child.wait().map_err(RunError::Io)?;
    if !in_time {
        return Err(RunError::TimedOut);
    }
    Ok(status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

fn wait_without_reaping(pid: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
}

/// A piece of a pipe's content.
#[derive(Debug)]
enum Piece {
    Kept(Vec<u8>),
    /// There was more than is kept.
    Cut,
}

/// Writes from a thread of its own and says when all is written. A reader that closes its input
/// early is no failure: its exit code tells.
fn feed(mut pipe: impl Write + Send + 'static, bytes: &[u8]) -> Receiver<io::Result<()>> {
    let (written, is_written) = mpsc::channel();
    let bytes = bytes.to_vec();
    thread::spawn(move || {
        let outcome = match pipe.write_all(&bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        };
        drop(pipe);
        // Nobody may be waiting any more.
        drop(written.send(outcome));
    });
    is_written
}

/// Reads to the end from a thread of its own and hands over what is kept.
fn drain(mut pipe: impl Read + Send + 'static, bytes_max: usize) -> Receiver<io::Result<Piece>> {
    let (pieces, taken) = mpsc::channel();
    thread::spawn(move || {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut left = bytes_max;
        loop {
            let length = match pipe.read(&mut chunk) {
                Ok(0) => return,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // Nobody may be waiting any more, here and below.
                    drop(pieces.send(Err(error)));
                    return;
                }
            };
            let kept = length.min(left);
            left -= kept;
            let mut is_wanted = true;
            if kept > 0 {
                is_wanted &= pieces.send(Ok(Piece::Kept(chunk[..kept].to_vec()))).is_ok();
            }
            if kept < length {
                is_wanted &= pieces.send(Ok(Piece::Cut)).is_ok();
            }
            if !is_wanted {
                return;
            }
        }
    });
    taken
}

/// A moment until which pipes are waited for. Their threads are left behind afterwards, and end
/// when the last holder of the pipe does.
#[derive(Debug, Clone, Copy)]
struct Until(Instant);

#[expect(
    clippy::disallowed_methods,
    reason = "a monotonic wait inside the adapter"
)]
impl Until {
    fn from_now(wait: Duration) -> Self {
        Self(Instant::now() + wait)
    }

    /// What comes next; `None` at the end, or when the time is over.
    fn next<T>(self, from: &Receiver<T>) -> Option<T> {
        let left = self.0.saturating_duration_since(Instant::now());
        from.recv_timeout(left).ok()
    }

    /// All that was kept of a pipe, and whether there was more.
    fn collect(self, from: Option<Receiver<io::Result<Piece>>>) -> io::Result<(Vec<u8>, bool)> {
        let (mut kept, mut truncated) = (Vec::new(), false);
        let Some(from) = from else {
            return Ok((kept, truncated));
        };
        while let Some(piece) = self.next(&from) {
            match piece? {
                Piece::Kept(bytes) => kept.extend_from_slice(&bytes),
                Piece::Cut => {
                    truncated = true;
                    break;
                }
            }
        }
        Ok((kept, truncated))
    }
}
