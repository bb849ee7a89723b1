//! What every store must do.

testkit::store_contract!(crate::subject::alone);

#[test]
fn random_histories_end_as_they_do_in_memory() {
    if testkit::postgres::shared().is_none() {
        return;
    }
    testkit::contract::histories::two_stores_agree(
        crate::subject::alone,
        crate::subject::memory,
        24,
    );
}

#[test]
fn the_events_of_random_histories_make_the_same_rows() {
    if testkit::postgres::shared().is_none() {
        return;
    }
    testkit::contract::histories::events_make_the_same_rows(crate::subject::alone, 24);
}

/// The same behind a pooler that gives each transaction another session.
mod pooled {
    testkit::store_contract!(crate::subject::pooled);
}
