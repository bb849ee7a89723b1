//! The contract of the store port, kept by the store in SQLite, and what only a file can show.

mod backup;
mod crash;
mod file;
mod forms;
mod locks;
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

#[test]
fn the_events_of_random_histories_make_the_same_rows() {
    testkit::contract::histories::events_make_the_same_rows(subject::direct, 24);
    testkit::contract::histories::events_make_the_same_rows(subject::memory, 100);
}
