//! Requests that wait for each other.

use std::time::Duration;

use domain::lock::{LockRefused, Wait};

use super::{MakeLocks, Shortly as _, important, now, patiently, shared, why};

fn names(cycle: &[Wait]) -> Vec<String> {
    cycle
        .iter()
        .map(|wait| format!("{}:{}", wait.holder, wait.resource))
        .collect()
}

/// The one that closes the circle is refused at once, being the last.
pub fn two_who_wait_for_each_other(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let a = locks.take(&now("ada", "a"));
    locks.take(&now("bob", "b"));
    let waiting = locks.queue(&patiently("bob", "a"));
    match locks.refused(&patiently("ada", "b")) {
        LockRefused::Deadlock { cycle } => assert_eq!(names(&cycle), ["ada:b", "bob:a"]),
        refused => panic!("{refused}"),
    }
    assert!(locks.look(&waiting).is_none());
    locks.give_back(&a);
    assert!(locks.look(&waiting).is_some());
    assert_eq!(locks.statistics().expect("numbers").totals.deadlocks, 1);
}

/// Wherever it is in the circle: it is told at its next look, and the others go on.
pub fn three_in_a_circle_and_the_least_important_steps_out(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let a = locks.take(&now("ada", "a"));
    let b = locks.take(&now("bob", "b"));
    locks.take(&now("eve", "c"));
    let first = locks.queue(&patiently("ada", "b"));
    let least = locks.queue(&important(patiently("bob", "c"), 2));
    let last = locks.queue(&patiently("eve", "a"));
    match why(locks.wait(least.id, Duration::ZERO)) {
        LockRefused::Deadlock { cycle } => {
            assert_eq!(names(&cycle), ["bob:c", "eve:a", "ada:b"]);
        }
        refused => panic!("{refused}"),
    }
    locks.give_back(&b);
    assert!(locks.look(&first).is_some());
    locks.give_back(&a);
    assert!(locks.look(&last).is_some());
}

/// One who holds, and who waits behind who waits for it.
pub fn a_circle_through_a_queue(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let read = locks.take(&shared(now("ada", "x")));
    let writer = locks.queue(&patiently("bob", "x"));
    let again = locks.refused(&shared(patiently("ada", "x")));
    assert!(matches!(again, LockRefused::Deadlock { .. }), "{again}");
    locks.give_back(&read);
    assert!(locks.look(&writer).is_some());
}

/// Long lines and forks are not taken for circles.
pub fn waiting_in_line_is_no_circle(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    for n in 0..8 {
        locks.take(&now(&format!("h{n}"), &format!("r{n}")));
    }
    for n in 0..7 {
        locks.queue(&patiently(&format!("h{n}"), &format!("r{}", n + 1)));
    }
    locks.queue(&patiently("other", "r3"));
    locks.queue(&patiently("other2", "r3"));
    assert_eq!(locks.statistics().expect("numbers").totals.deadlocks, 0);
    assert_eq!(locks.statistics().expect("numbers").waiting, 9);
}
