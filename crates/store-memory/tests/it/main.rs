//! The contract of the store port, kept by the store in memory.

use std::sync::Arc;

use app::{
    command::{Reply, Request},
    error::Error,
    ports::store::{Answer, Reader, Store, Tx},
    query::{Query, View},
};
use store_memory::MemoryStore;
use testkit::contract::{Subject, clock::ManualClock};

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

fn make(clock: Arc<ManualClock>) -> Arc<dyn Subject> {
    Arc::new(Memory(MemoryStore::new(clock)))
}

testkit::store_contract!(make);

mod locks;
mod simulation;
