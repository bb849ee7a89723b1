//! Running one process to its end: bounded in time and output, ended with its whole group.

use std::{
    io::{self, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
};

/// How much of standard error is kept.
const STDERR_BYTES_MAX: usize = 64 * 1024;

/// What a process is given and allowed.
#[derive(Debug)]
pub(crate) struct Bounds<'a> {
    /// What it reads.
    pub(crate) stdin: &'a [u8],
    /// After this its group is killed.
    pub(crate) timeout: Duration,
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
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let writer = scope.spawn(|| input.map_or(Ok(()), |pipe| feed(pipe, bounds.stdin)));
        let reader = scope.spawn(|| collect(output, bounds.stdout_bytes_max));
        let complaints = scope.spawn(|| collect(errors, STDERR_BYTES_MAX));
        let ended = end_within(&mut child, bounds.timeout);
        let fed = joined(writer.join());
        let stdout = joined(reader.join());
        let stderr = joined(complaints.join());
        let code = ended?;
        fed.map_err(RunError::Io)?;
        let (stdout, truncated) = stdout.map_err(RunError::Io)?;
        let (stderr, _) = stderr.map_err(RunError::Io)?;
        Ok(Finished {
            code,
            stdout,
            truncated,
            stderr,
        })
    })
}

/// Waits for the leader, then ends what is left of its group before the leader is reaped, so
/// that the group's number cannot be another's.
fn end_within(child: &mut Child, timeout: Duration) -> Result<i32, RunError> {
    let pid = Pid::from_child(child);
    let (ended, has_ended) = mpsc::channel();
    let in_time = thread::scope(|scope| {
        scope.spawn(move || {
            wait_without_reaping(pid);
            // The receiver is gone where the time was over first.
            let _ = ended.send(());
        });
        let in_time = has_ended.recv_timeout(timeout).is_ok();
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

/// A reader that closes its input early is no failure: its exit code tells.
fn feed(mut pipe: impl Write, bytes: &[u8]) -> io::Result<()> {
    match pipe.write_all(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn collect(pipe: Option<impl Read>, bytes_max: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut kept = Vec::new();
    let Some(mut pipe) = pipe else {
        return Ok((kept, false));
    };
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    pipe.by_ref().take(limit).read_to_end(&mut kept)?;
    let dropped = io::copy(&mut pipe, &mut io::sink())?;
    Ok((kept, dropped > 0))
}

fn joined<T>(result: thread::Result<io::Result<T>>) -> io::Result<T> {
    result.unwrap_or_else(|_| Err(io::Error::other("a pipe's thread panicked")))
}
