//! The store port over one file.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use app::{
    command::{Reply, Request},
    error::Error,
    ports::{
        clock::Clock,
        store::{Answer, Reader, Store, Tx},
    },
    query::{self, Query, View},
};
use rusqlite::Connection;

use crate::{
    connection::{self, Checkpoints},
    failure::Explain as _,
    replace::Identity,
    schema,
    transaction::Transaction,
    watcher::Watcher,
    writer::{GroupWriter, Writer},
};

/// Connections kept for later readers, at most.
const READERS_KEPT: usize = 8;

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    /// Of the file that readers and watcher are of.
    identity: Mutex<Option<Identity>>,
    readers: Mutex<Vec<Connection>>,
    watcher: Mutex<Option<Watcher>>,
    door: Door,
}

/// How requests reach the file.
#[derive(Debug)]
enum Door {
    /// Each in a transaction of its own. Opened by the first.
    Direct(Box<Mutex<Option<Writer>>>),
    /// Together with what else has queued.
    Owned(GroupWriter),
}

impl SqliteStore {
    /// Opens the store for a process among others; makes the file where it is missing.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the file cannot be used, or is newer than this program;
    /// [`Error::Corrupt`] where it is no store.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let mut writer = None;
        let mut readers = Vec::new();
        let known = path
            .exists()
            .then(|| schema::open_reader(path))
            .transpose()?;
        match known {
            Some((reader, schema::Form::Current)) => readers.push(reader),
            _ => writer = Some(Writer::open(path, Arc::clone(&clock), Checkpoints::Often)?),
        }
        Ok(Self::with(
            path,
            clock,
            readers,
            Door::Direct(Box::new(Mutex::new(writer))),
        ))
    }

    /// Opens the store for the process that holds the daemon's lock: what queues while a commit
    /// is on its way shares the next one.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn own(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let writer = Writer::open(path, Arc::clone(&clock), Checkpoints::Seldom)?;
        let writer = GroupWriter::start(path, writer)?;
        Ok(Self::with(path, clock, vec![], Door::Owned(writer)))
    }

    /// Makes the file where it is missing, and lets every process that uses it number tasks in
    /// milliseconds from now on ([`domain::id::Numbering::Millis`]).
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn number_in_millis(path: &Path, clock: Arc<dyn Clock>) -> Result<(), Error> {
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "of every lifetime"
        )]
        Writer::open(path, clock, Checkpoints::Often)?.transact(|tx| tx.number_in_millis())
    }

    fn with(path: &Path, clock: Arc<dyn Clock>, readers: Vec<Connection>, door: Door) -> Self {
        Self {
            path: path.to_owned(),
            clock,
            identity: Mutex::new(Identity::of(path)),
            readers: Mutex::new(readers),
            watcher: Mutex::new(None),
            door,
        }
    }

    /// Shows one consistent state to `work`.
    ///
    /// # Errors
    /// What `work` answers, and [`Error::Unavailable`] where the file cannot be read.
    pub fn look<T>(&self, work: impl FnOnce(&dyn Reader) -> Result<T, Error>) -> Result<T, Error> {
        self.follow();
        let kept = lock(&self.readers).pop();
        let reader = kept.map_or_else(|| connection::reader(&self.path), Ok)?;
        let transaction = reader.unchecked_transaction().explain()?;
        let result = work(&Transaction::reading(&transaction, self.clock.now()));
        transaction.finish().explain()?;
        let mut readers = lock(&self.readers);
        if readers.len() < READERS_KEPT {
            readers.push(reader);
        }
        result
    }

    /// Another file may have come in place of the one that is open: readers of the old one are of no
    /// use any more.
    fn follow(&self) {
        let there = Identity::of(&self.path);
        let mut known = lock(&self.identity);
        if there.is_some() && *known != there {
            *known = there;
            lock(&self.readers).clear();
            drop(lock(&self.watcher).take());
        }
    }

    /// Runs `work` in a transaction of its own, beside the queue; what fails leaves nothing
    /// behind.
    ///
    /// # Errors
    /// What `work` answers, and [`Error::Unavailable`] where the file cannot be written.
    pub fn transact<T>(
        &self,
        work: impl FnOnce(&mut dyn Tx) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match &self.door {
            Door::Direct(writer) => {
                let mut writer = lock(writer);
                self.opened(&mut writer)?.transact(|tx| work(tx))
            }
            Door::Owned(_) => {
                let clock = Arc::clone(&self.clock);
                let mut writer = Writer::open(&self.path, clock, Checkpoints::Seldom)?;
                writer.transact(|tx| work(tx))
            }
        }
    }

    fn opened<'w>(&self, writer: &'w mut Option<Writer>) -> Result<&'w mut Writer, Error> {
        let opened = match writer.take() {
            Some(opened) => opened,
            None => Writer::open(&self.path, Arc::clone(&self.clock), Checkpoints::Often)?,
        };
        Ok(writer.insert(opened))
    }

    fn apply(&self, writer: &Mutex<Option<Writer>>, request: &Request) -> Result<Reply, Error> {
        let mut writer = lock(writer);
        self.opened(&mut writer)?.transact(|tx| tx.apply(request))
    }
}

impl Store for SqliteStore {
    fn submit(&self, request: Request, answer: Answer) {
        match &self.door {
            Door::Direct(writer) => answer(self.apply(writer, &request)),
            Door::Owned(writer) => writer.submit(request, answer),
        }
    }

    fn read(&self, query: &Query) -> Result<View, Error> {
        self.look(|reader| query::answer(reader, query))
    }

    fn generation(&self) -> Result<u64, Error> {
        self.follow();
        let mut kept = lock(&self.watcher);
        let watcher = match kept.take() {
            Some(watcher) => watcher,
            None => Watcher::open(&self.path)?,
        };
        let generation = watcher.generation()?;
        *kept = Some(watcher);
        Ok(generation)
    }
}

/// Takes a lock. What it guards is whole after any panic: connections know their own state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
