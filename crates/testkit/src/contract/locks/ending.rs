//! How locks end.

use app::ports::locks::LockFilter;
use domain::lock::{Ask, Gone, LockRefused, Release};

use super::{MakeLocks, Shortly as _, batch, holder, now, patiently, resource, shared, why};

/// The next in the queue gets it, under a higher number.
pub fn a_lease_that_is_not_renewed_ends(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let held = locks.take(&Ask {
        ttl_millis: 1_000,
        ..now("ada", "x")
    });
    let waiting = locks.queue(&patiently("bob", "x"));
    subject.pass(500);
    assert!(locks.look(&waiting).is_none());
    subject.pass(600);
    let next = locks.look(&waiting).expect("the lease is over");
    assert!(next.token > held.token);
    match why(locks.renew(held.token, None)) {
        LockRefused::NotHeld { token, why } => {
            assert_eq!(token, held.token);
            assert!(matches!(why, None | Some(Gone::Expired)));
        }
        refused => panic!("{refused}"),
    }
}

/// For as long as its holder says so.
pub fn a_renewed_lease_goes_on(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let held = locks.take(&Ask {
        ttl_millis: 1_500,
        ..now("ada", "x")
    });
    let waiting = locks.queue(&patiently("bob", "x"));
    for _ in 0..3 {
        subject.pass(800);
        let renewed = locks.renew(held.token, None).expect("it is held");
        assert_eq!(renewed.token, held.token);
        assert!(renewed.left_millis > 1_000 && renewed.left_millis <= 1_500);
        assert!(locks.look(&waiting).is_none());
    }
    let longer = locks.renew(held.token, Some(60_000)).expect("it is held");
    assert!(longer.left_millis > 50_000);
    subject.pass(1_600);
    assert_eq!(
        locks.check(held.token).expect("it is held").token,
        held.token
    );
}

/// Also where nobody has asked for the lock since.
pub fn a_late_holder_is_told_so(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let held = locks.take(&Ask {
        ttl_millis: 1_000,
        ..now("ada", "x")
    });
    subject.pass(1_100);
    assert!(matches!(
        why(locks.check(held.token)),
        LockRefused::NotHeld { .. }
    ));
    assert!(matches!(
        why(locks.renew(held.token, None)),
        LockRefused::NotHeld { .. }
    ));
    let late = why(locks.release(&Release::of(held.token)));
    assert!(matches!(late, LockRefused::NotHeld { .. }));
    locks.take(&now("bob", "x"));
}

/// Not that of another lock, and not one that is over.
pub fn a_release_needs_the_right_token(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let mine = locks.take(&now("ada", "x"));
    let yours = locks.take(&now("bob", "y"));
    let with = |token, name: Option<&str>, what: Option<&str>| Release {
        token,
        holder: name.map(holder),
        resource: what.map(resource),
    };
    for wrong in [
        with(yours.token, Some("ada"), None),
        with(yours.token, None, Some("x")),
        with(mine.token, Some("bob"), Some("x")),
    ] {
        let refused = why(locks.release(&wrong));
        assert!(matches!(refused, LockRefused::NotYours { .. }), "{refused}");
    }
    assert!(locks.check(yours.token).is_ok() && locks.check(mine.token).is_ok());
    assert_eq!(
        locks.release(&with(mine.token, Some("ada"), Some("x"))),
        Ok(0)
    );
    let twice = why(locks.release(&Release::of(mine.token)));
    assert!(matches!(twice, LockRefused::NotHeld { .. }), "{twice}");
}

/// Its holder is told at its next word, and the next in the queue has it.
pub fn what_is_released_by_force_is_lost(make: MakeLocks) {
    let subject = make();
    let (locks, other) = (subject.locks(), subject.another());
    let held = locks.take(&now("ada", "x"));
    let waiting = locks.queue(&patiently("bob", "x"));
    assert_eq!(other.force_release(&resource("y"), "root"), Ok(vec![]));
    let taken = other
        .force_release(&resource("x"), "root")
        .expect("it is there");
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].holder, holder("ada"));
    match why(locks.renew(held.token, None)) {
        LockRefused::NotHeld {
            why: Some(Gone::Forced { by }),
            ..
        } => assert_eq!(by, "root"),
        refused => panic!("{refused}"),
    }
    let next = locks.look(&waiting).expect("its turn");
    assert!(next.token > held.token);
}

/// What it holds and what it waits for, and nobody else's.
pub fn everything_of_a_holder_is_taken_at_once(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let first = locks.take(&now("ada", "x"));
    locks.take(&batch("ada", &["y", "z"]));
    let others = locks.take(&now("bob", "b"));
    let waits = locks.queue(&patiently("ada", "b"));
    let next = locks.queue(&patiently("eve", "z"));
    let taken = locks.emergency_cleanup("ada", "root").expect("it is done");
    assert_eq!(taken.len(), 3);
    assert_eq!(locks.emergency_cleanup("ada", "root"), Ok(vec![]));
    assert!(locks.look(&next).is_some());
    assert!(locks.check(others.token).is_ok());
    assert!(matches!(
        why(locks.check(first.token)),
        LockRefused::NotHeld { .. }
    ));
    let left = why(locks.wait(waits.id, std::time::Duration::ZERO));
    assert!(matches!(left, LockRefused::NotWaiting { .. }), "{left}");
}

/// Holders and queue, and what has happened.
pub fn status_and_numbers_tell_what_there_is(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    assert_eq!(locks.status(&LockFilter::default()), Ok(vec![]));
    let docs = locks.take(&shared(now("ada", "docs")));
    let held = locks.take(&now("ada", "src/"));
    let first = locks.queue(&patiently("bob", "src/main.rs"));
    let second = locks.queue(&patiently("eve", "src/main.rs"));
    let _busy = locks.refused(&now("dan", "src/lib.rs"));
    let all = locks.status(&LockFilter::default()).expect("a list");
    let ids: Vec<_> = all.iter().map(|view| view.lock.id).collect();
    assert_eq!(ids, [docs.id, held.id, first.id, second.id]);
    assert!(all[0].by.is_empty() && all[2].by.len() == 1 && all[3].by.len() == 2);
    assert!(all[1].left_millis > 0);
    let of = |filter| locks.status(&filter).expect("a list").len();
    let beneath = LockFilter {
        resource: Some(resource("src/main.rs")),
        holder: None,
    };
    assert_eq!(of(beneath), 3);
    assert_eq!(
        of(LockFilter {
            resource: None,
            holder: Some("ada".to_owned())
        }),
        2
    );
    assert_eq!(
        of(LockFilter {
            resource: Some(resource("x")),
            holder: None
        }),
        0
    );
    let numbers = locks.statistics().expect("numbers");
    assert_eq!((numbers.held, numbers.waiting), (2, 2));
    subject.pass(20);
    locks.give_back(&held);
    let next = locks.look(&first).expect("its turn");
    locks.give_back(&next);
    assert_eq!(locks.leave(second.id), Ok(true));
    let totals = locks.statistics().expect("numbers").totals;
    assert_eq!(totals.granted, 4);
    assert_eq!(totals.waited, 2);
    assert_eq!(totals.conflicts, 3);
    assert_eq!(totals.refused, 1);
    assert_eq!(totals.released, 3);
    assert!(totals.longest_hold_millis >= 20 && totals.longest_wait_millis >= 20);
}
