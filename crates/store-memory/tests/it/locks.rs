//! The contract of the locks port, kept by both that are in memory.

use std::sync::Arc;

use app::ports::locks::Locks;
use store_memory::MemoryLocks;
use testkit::contract::{
    clock::ManualClock,
    locks::{LockSubject, stores},
};

#[derive(Debug)]
struct InMemory {
    locks: Arc<MemoryLocks>,
    clock: Arc<ManualClock>,
}

impl LockSubject for InMemory {
    fn locks(&self) -> Arc<dyn Locks> {
        Arc::clone(&self.locks) as Arc<dyn Locks>
    }

    fn another(&self) -> Arc<dyn Locks> {
        self.locks()
    }

    fn pass(&self, millis: u64) {
        self.clock.advance(millis);
    }
}

fn in_memory() -> Box<dyn LockSubject> {
    let clock = Arc::new(ManualClock::default());
    let locks = Arc::new(MemoryLocks::new(Arc::clone(&clock) as _));
    Box::new(InMemory { locks, clock })
}

fn over_store() -> Box<dyn LockSubject> {
    stores::over(super::make)
}

mod alone {
    testkit::lock_contract!(super::in_memory);
    testkit::lock_contract_of_time!(super::in_memory);
}

mod over_a_store {
    testkit::lock_contract!(super::over_store);
    testkit::lock_contract_of_time!(super::over_store);
}
