//! Turns between processes: a lock on a file beside the store, taken before SQLite's own.
//!
//! SQLite's busy handler sleeps and retries, so that under load some waiter starves. The kernel
//! queues those who wait for this lock.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use app::error::Error;
use rustix::fs::{FlockOperation, flock};

use crate::failure;

/// How long a process waits for its turn.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Where tickets are drawn.
#[derive(Debug)]
pub(crate) struct Tickets {
    path: PathBuf,
    idle: Option<File>,
}

impl Tickets {
    /// Tickets for the store at `path`.
    pub(crate) fn of(path: &Path) -> Self {
        let mut name = path.as_os_str().to_owned();
        name.push("-ticket");
        Self {
            path: name.into(),
            idle: None,
        }
    }

    /// Waits for this process's turn, which lasts until [`Self::give_back`].
    pub(crate) fn draw(&mut self) -> Result<Ticket, Error> {
        let file = match self.idle.take() {
            Some(file) => file,
            None => self.open()?,
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(Ticket(file));
        }
        self.wait(file)
    }

    /// Ends a turn.
    pub(crate) fn give_back(&mut self, ticket: Ticket) {
        if flock(&ticket.0, FlockOperation::Unlock).is_ok() {
            self.idle = Some(ticket.0);
        }
    }

    fn open(&self) -> Result<File, Error> {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(|error| failure::of_file(&self.path, &error))
    }

    /// Waits in the kernel's queue, on a thread because that wait has no time limit. A turn that
    /// comes too late ends at once, when the thread finds nobody to hand the file to.
    fn wait(&self, file: File) -> Result<Ticket, Error> {
        let (sender, receiver) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("store-ticket".to_owned())
            .spawn(move || {
                let locked = loop {
                    match flock(&file, FlockOperation::LockExclusive) {
                        Err(rustix::io::Errno::INTR) => {}
                        other => break other,
                    }
                };
                drop(sender.send(locked.map(|()| file)));
            })
            .map_err(|error| failure::of_file(&self.path, &error))?;
        match receiver.recv_timeout(PATIENCE) {
            Ok(Ok(file)) => Ok(Ticket(file)),
            Ok(Err(error)) => Err(failure::of_file(&self.path, &error.into())),
            Err(_) => Err(Error::unavailable(format!(
                "the store was busy for {} s: another process holds {}",
                PATIENCE.as_secs(),
                self.path.display()
            ))),
        }
    }
}

/// This process's turn.
#[derive(Debug)]
pub(crate) struct Ticket(File);
