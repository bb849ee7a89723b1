//! Whose turn it is.

use std::time::Duration;

use app::ports::locks::Attempt;
use domain::lock::{Ask, LEASE_OF_WAITERS_MILLIS, LockRefused};

use super::{MakeLocks, Shortly as _, batch, important, now, patiently, why};

/// In the order in which they came.
pub fn first_come_first_served(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let mut held = locks.take(&now("first", "x"));
    let waiting: Vec<_> = (0..6)
        .map(|n| locks.queue(&patiently(&format!("w{n}"), "x")))
        .collect();
    for (n, ticket) in waiting.iter().enumerate() {
        assert_eq!(ticket.by.len(), n + 1, "the holder and those before");
    }
    for (n, ticket) in waiting.iter().enumerate() {
        locks.give_back(&held);
        for later in &waiting[n + 1..] {
            assert!(locks.look(later).is_none());
        }
        let next = locks.look(ticket).expect("its turn");
        assert!(next.token > held.token);
        held = next;
    }
}

/// Among those that came at about the same time.
pub fn the_more_important_goes_first(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let held = locks.take(&now("first", "x"));
    let low = locks.queue(&important(patiently("low", "x"), 3));
    let same = locks.queue(&important(patiently("same", "x"), 3));
    let high = locks.queue(&important(patiently("high", "x"), 8));
    assert_eq!(high.by.len(), 1, "only the holder is before it");
    locks.give_back(&held);
    let mut before = held.token;
    for ticket in [&high, &low, &same] {
        let next = locks.look(ticket).expect("its turn");
        assert!(next.token > before);
        before = next.token;
        locks.give_back(&next);
    }
}

/// Each 30 seconds of waiting are worth a step of priority.
pub fn who_has_waited_for_long_is_not_overtaken(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let held = locks.take(&Ask {
        ttl_millis: 600_000,
        ..now("first", "x")
    });
    let wait = |ask: Ask| Ask {
        wait_millis: 3_600_000,
        ..ask
    };
    let old = locks.queue(&wait(important(patiently("old", "x"), 3)));
    for _ in 0..31 {
        subject.pass(2_000);
        assert!(locks.look(&old).is_none());
    }
    let newer = locks.queue(&wait(important(patiently("newer", "x"), 5)));
    let urgent = locks.queue(&wait(important(patiently("urgent", "x"), 6)));
    assert_eq!(newer.by.len(), 2, "62 s are worth more than two steps");
    assert_eq!(urgent.by.len(), 1, "and less than three");
    locks.give_back(&held);
    let mut before = held.token;
    for ticket in [&urgent, &old, &newer] {
        let next = locks.look(ticket).expect("its turn");
        assert!(next.token > before);
        before = next.token;
        locks.give_back(&next);
    }
}

/// A batch that waits for one thing keeps its place at the others.
pub fn nobody_overtakes_a_waiting_batch(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let a = locks.take(&now("ada", "a"));
    let both = locks.queue(&batch("bob", &["a", "b"]));
    assert!(matches!(
        locks.refused(&now("eve", "b")),
        LockRefused::Busy { .. }
    ));
    let behind = locks.queue(&patiently("eve", "b"));
    locks.give_back(&a);
    let both = locks.look(&both).expect("its turn");
    assert!(locks.look(&behind).is_none());
    locks.give_back(&both);
    assert!(locks.look(&behind).is_some());
}

/// Whoever waits elsewhere is in nobody's way.
pub fn who_waits_for_other_things_blocks_nobody_else(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    locks.take(&now("ada", "a"));
    locks.queue(&patiently("bob", "a"));
    let other = locks.take(&now("eve", "b"));
    locks.give_back(&other);
}

/// A request without patience cannot get between a release and the first in the queue.
pub fn asking_often_wins_nothing(make: MakeLocks) {
    let subject = make();
    let (locks, greedy) = (subject.locks(), subject.another());
    let held = locks.take(&now("ada", "x"));
    let waiting = locks.queue(&patiently("bob", "x"));
    for _ in 0..20 {
        assert!(matches!(
            greedy.refused(&now("eve", "x")),
            LockRefused::Busy { .. }
        ));
    }
    locks.give_back(&held);
    assert!(matches!(
        greedy.refused(&now("eve", "x")),
        LockRefused::Busy { .. }
    ));
    assert!(locks.look(&waiting).is_some());
}

/// The one behind is next then.
pub fn a_waiter_that_leaves_lets_the_next_in(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let held = locks.take(&now("ada", "a"));
    let both = locks.queue(&batch("bob", &["a", "b"]));
    let behind = locks.queue(&patiently("eve", "b"));
    assert_eq!(locks.leave(both.id), Ok(true));
    assert_eq!(locks.leave(both.id), Ok(false));
    assert!(
        locks.look(&behind).is_some(),
        "nobody is before it any more"
    );
    locks.give_back(&held);
    locks.take(&now("dan", "a"));
}

/// What came between its last look and its end is given back.
pub fn a_waiter_that_was_granted_meanwhile_leaves_it_too(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let held = locks.take(&now("ada", "a"));
    let waiting = locks.queue(&patiently("bob", "a"));
    locks.give_back(&held);
    assert_eq!(locks.leave(waiting.id), Ok(true));
    locks.take(&now("eve", "a"));
}

/// A waiter that died is no obstacle.
pub fn a_waiter_that_is_not_heard_of_leaves(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let held = locks.take(&now("ada", "x"));
    let dead = locks.queue(&patiently("dead", "x"));
    let alive = locks.queue(&patiently("alive", "x"));
    for _ in 0..2 {
        subject.pass(LEASE_OF_WAITERS_MILLIS / 2 + 100);
        assert!(locks.look(&alive).is_none());
    }
    locks.give_back(&held);
    assert!(locks.look(&alive).is_some());
    let refused = why(locks.wait(dead.id, Duration::ZERO));
    assert!(
        matches!(refused, LockRefused::NotWaiting { .. }),
        "{refused}"
    );
}

/// Then it is told who is in the way, and has left.
pub fn a_wait_ends_with_its_time(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let held = locks.take(&now("ada", "x"));
    let short = locks.queue(&Ask {
        wait_millis: 1_000,
        ..now("bob", "x")
    });
    assert!(matches!(
        locks.wait(short.id, Duration::ZERO),
        Ok(Attempt::Queued { .. })
    ));
    subject.pass(1_100);
    match why(locks.wait(short.id, Duration::ZERO)) {
        LockRefused::TimedOut { waited_millis, by } => {
            assert!(waited_millis >= 1_000);
            assert_eq!(by[0].holder.to_string(), "ada");
        }
        refused => panic!("{refused}"),
    }
    locks.give_back(&held);
    locks.take(&now("eve", "x"));
}

/// Whoever does not come for what it was given loses it soon, however long its lease is.
pub fn a_grant_to_who_is_gone_goes_to_the_next_soon(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let held = locks.take(&now("ada", "x"));
    locks.queue(&Ask {
        ttl_millis: 600_000,
        ..patiently("dead", "x")
    });
    let alive = locks.queue(&patiently("alive", "x"));
    locks.give_back(&held);
    for _ in 0..2 {
        subject.pass(LEASE_OF_WAITERS_MILLIS / 2 + 100);
        if locks.look(&alive).is_some() {
            return;
        }
    }
    panic!("the next waits still");
}
