//! The contract of the store port, kept by the store in SQLite, and what only a file can show.

mod backup;
mod crash;
mod file;
mod forms;
mod power;
mod processes;
mod subject;
mod tampering;

mod direct {
    testkit::store_contract!(crate::subject::direct);
}

mod owned {
    testkit::store_contract!(crate::subject::owned);
}

#[test]
fn random_histories_end_as_they_do_in_memory() {
    testkit::contract::histories::two_stores_agree(subject::direct, subject::memory, 24);
}
