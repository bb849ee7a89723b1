//! The stores under test.

use std::{path::Path, sync::Arc};

use app::{
    command::{Reply, Request},
    error::Error,
    ports::{
        clock::Clock,
        store::{Answer, Reader, Store, Tx},
    },
    query::{Query, View},
};
use store_memory::MemoryStore;
use store_sqlite::SqliteStore;
use tempfile::TempDir;
use testkit::contract::{Subject, clock::ManualClock};

/// A store with the folder that it lives in.
#[derive(Debug)]
pub(crate) struct Sqlite {
    pub(crate) store: SqliteStore,
    _folder: Option<TempDir>,
}

impl Sqlite {
    /// A store in a folder that others know.
    pub(crate) fn at(path: &Path, clock: Arc<dyn Clock>) -> Self {
        Self {
            store: SqliteStore::open(path, clock).expect("a store"),
            _folder: None,
        }
    }
}

/// Each request a transaction of its own.
pub(crate) fn direct(clock: Arc<ManualClock>) -> Arc<dyn Subject> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made/store.sqlite");
    Arc::new(Sqlite {
        store: SqliteStore::open(&path, clock).expect("a store"),
        _folder: Some(folder),
    })
}

/// Through the writer thread.
pub(crate) fn owned(clock: Arc<ManualClock>) -> Arc<dyn Subject> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.sqlite");
    Arc::new(Sqlite {
        store: SqliteStore::own(&path, clock).expect("a store"),
        _folder: Some(folder),
    })
}

/// What the others are compared with.
pub(crate) fn memory(clock: Arc<ManualClock>) -> Arc<dyn Subject> {
    Arc::new(Memory(MemoryStore::new(clock)))
}

impl Store for Sqlite {
    fn submit(&self, request: Request, answer: Answer) {
        self.store.submit(request, answer);
    }

    fn read(&self, query: &Query) -> Result<View, Error> {
        self.store.read(query)
    }

    fn generation(&self) -> Result<u64, Error> {
        self.store.generation()
    }
}

impl Subject for Sqlite {
    fn look(&self, work: &mut dyn FnMut(&dyn Reader)) {
        self.store
            .look(|reader| {
                work(reader);
                Ok(())
            })
            .expect("the store is readable");
    }

    fn transact(
        &self,
        work: &mut dyn FnMut(&mut dyn Tx) -> Result<Reply, Error>,
    ) -> Result<Reply, Error> {
        self.store.transact(work)
    }
}

#[derive(Debug)]
struct Memory(MemoryStore);

impl Store for Memory {
    fn submit(&self, request: Request, answer: Answer) {
        self.0.submit(request, answer);
    }

    fn read(&self, query: &Query) -> Result<View, Error> {
        self.0.read(query)
    }

    fn generation(&self) -> Result<u64, Error> {
        self.0.generation()
    }
}

impl Subject for Memory {
    fn look(&self, work: &mut dyn FnMut(&dyn Reader)) {
        self.0.look(work);
    }

    fn transact(
        &self,
        work: &mut dyn FnMut(&mut dyn Tx) -> Result<Reply, Error>,
    ) -> Result<Reply, Error> {
        self.0.transact(work)
    }
}
