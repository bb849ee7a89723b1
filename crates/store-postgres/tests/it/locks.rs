//! The contract of the locks port, kept over a server.

use testkit::contract::locks::{LockSubject, stores};

fn alone() -> Box<dyn LockSubject> {
    stores::over(crate::subject::alone)
}

testkit::lock_contract!(alone);
testkit::lock_contract_of_time!(alone);
