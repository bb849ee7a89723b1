//! The stores under test.

use std::sync::Arc;

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
use store_postgres::{Pooler, PostgresStore, Target, Time, Upgrade};
use testkit::contract::{Subject, clock::ManualClock};

/// A store in a schema of its own, or none where this machine has no server: a test of the contract
/// then runs against the memory, after that was said.
fn made(clock: Arc<ManualClock>, pooler: Pooler) -> Arc<dyn Subject> {
    let Some(url) = testkit::postgres::store() else {
        return memory(clock);
    };
    let target = Target::parse(&url).expect("an address").behind(pooler);
    Arc::new(Postgres(at(target, clock)))
}

/// A store at this place that reads this clock.
pub(crate) fn at(target: Target, clock: Arc<dyn Clock>) -> PostgresStore {
    PostgresStore::open(target, Time::Given(clock), Upgrade::ByItself).expect("a store")
}

/// Straight at the server.
pub(crate) fn alone(clock: Arc<ManualClock>) -> Arc<dyn Subject> {
    made(clock, Pooler::None)
}

/// As behind a pooler.
pub(crate) fn pooled(clock: Arc<ManualClock>) -> Arc<dyn Subject> {
    made(clock, Pooler::Transaction)
}

/// What the others are compared with.
pub(crate) fn memory(clock: Arc<ManualClock>) -> Arc<dyn Subject> {
    Arc::new(Memory(MemoryStore::new(clock)))
}

/// The store with the doors that tests need.
#[derive(Debug)]
pub(crate) struct Postgres(pub(crate) PostgresStore);

impl Store for Postgres {
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

impl Subject for Postgres {
    fn look(&self, work: &mut dyn FnMut(&dyn Reader)) {
        self.0
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
        self.0.transact(work)
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
