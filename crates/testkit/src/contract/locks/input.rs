//! Bad input.

use std::time::Duration;

use domain::{
    id::LockId,
    lock::{Ask, LockRefused, Release, Token},
};

use super::{MakeLocks, Shortly as _, now, patiently, resource, why};

/// One clear refusal that names the field, and nothing has changed.
pub fn what_is_out_of_bounds_is_refused(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let week = 7 * 24 * 3_600 * 1_000;
    let many = (0..65).map(|n| resource(&format!("r{n}"))).collect();
    for (field, ask) in [
        (
            "ttl",
            Ask {
                ttl_millis: 0,
                ..now("ada", "x")
            },
        ),
        (
            "ttl",
            Ask {
                ttl_millis: 999,
                ..now("ada", "x")
            },
        ),
        (
            "ttl",
            Ask {
                ttl_millis: week,
                ..now("ada", "x")
            },
        ),
        (
            "wait",
            Ask {
                wait_millis: week,
                ..now("ada", "x")
            },
        ),
        (
            "resource",
            Ask {
                resources: vec![],
                ..now("ada", "x")
            },
        ),
        (
            "resource",
            Ask {
                resources: many,
                ..now("ada", "x")
            },
        ),
    ] {
        match locks.refused(&ask) {
            LockRefused::Invalid { field: named, .. } => assert_eq!(named, field),
            refused => panic!("{refused}"),
        }
    }
    let held = locks.take(&now("bob", "x"));
    for ttl in [0, week] {
        let refused = why(locks.renew(held.token, Some(ttl)));
        assert!(matches!(refused, LockRefused::Invalid { .. }), "{refused}");
    }
    assert!(locks.check(held.token).is_ok());
}

/// What was never given out.
pub fn unknown_tokens_and_requests_are_told_so(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let token = Token(7);
    for answer in [
        locks.renew(token, None).map(drop),
        locks.check(token).map(drop),
        locks.release(&Release::of(token)).map(drop),
        locks
            .begin(&Ask {
                token: Some(token),
                ..patiently("ada", "x")
            })
            .map(drop),
    ] {
        assert_eq!(why(answer), LockRefused::NotHeld { token, why: None });
    }
    let id = LockId::from_number(7).expect("a number");
    assert_eq!(
        why(locks.wait(id, Duration::ZERO)),
        LockRefused::NotWaiting { why: None }
    );
    assert_eq!(locks.leave(id), Ok(false));
    assert_eq!(locks.emergency_cleanup("nobody", "root"), Ok(vec![]));
}
