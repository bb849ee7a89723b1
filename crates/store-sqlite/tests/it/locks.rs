//! The contract of the locks port, kept over a file.

use testkit::contract::locks::{LockSubject, stores};

fn direct() -> Box<dyn LockSubject> {
    stores::over(crate::subject::direct)
}

fn owned() -> Box<dyn LockSubject> {
    stores::over(crate::subject::owned)
}

mod each_by_itself {
    testkit::lock_contract!(super::direct);
    testkit::lock_contract_of_time!(super::direct);
}

mod together {
    testkit::lock_contract!(super::owned);
}
