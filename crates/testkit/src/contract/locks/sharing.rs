//! Who may hold what beside whom.

use domain::lock::{Ask, LockRefused, Mode, Release};

use super::{MakeLocks, Shortly as _, batch, important, now, patiently, resource, shared, why};

/// One at a time, each under a higher number.
pub fn an_exclusive_lock_is_held_by_one(make: MakeLocks) {
    let subject = make();
    let (one, other) = (subject.locks(), subject.another());
    let first = one.take(&now("ada", "deploy"));
    assert_eq!(first.resources, [resource("deploy")]);
    assert_eq!(first.depth, 1);
    match other.refused(&now("bob", "deploy")) {
        LockRefused::Busy { by } => {
            assert_eq!(by.len(), 1);
            assert_eq!(by[0].holder.to_string(), "ada");
            assert!(!by[0].waits);
        }
        refused => panic!("{refused}"),
    }
    let elsewhere = other.take(&now("bob", "release"));
    assert!(elsewhere.token > first.token);
    one.give_back(&first);
    let second = other.take(&now("bob", "deploy"));
    assert!(second.token > elsewhere.token);
}

/// Sharers go together; who does not share goes alone, and is not starved by sharers that come later.
pub fn those_who_share_are_never_beside_one_who_does_not(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let first = locks.take(&shared(now("ada", "docs")));
    let second = locks.take(&shared(now("bob", "docs")));
    let writer = locks.queue(&patiently("eve", "docs"));
    assert_eq!(writer.by.len(), 2);
    let late = locks.queue(&shared(patiently("dan", "docs")));
    assert!(
        late.by.iter().any(|by| by.waits),
        "it waits behind the writer"
    );
    locks.give_back(&first);
    assert!(locks.look(&writer).is_none());
    locks.give_back(&second);
    let written = locks.look(&writer).expect("its turn");
    assert!(locks.look(&late).is_none());
    locks.give_back(&written);
    let read = locks.look(&late).expect("its turn");
    assert!(read.token > written.token);
}

/// A path with a slash at its end, and an intent, take what is beneath.
pub fn a_path_is_taken_with_all_beneath_it(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let intent = |name: &str, what: &str| Ask {
        mode: Mode::Intent,
        ..now(name, what)
    };
    let held = locks.take(&intent("ada", "src/api"));
    assert_eq!(held.resources, [resource("src/api/")]);
    for taken in ["src/api/users.rs", "src/api", "src/api/v1/", "src/"] {
        assert!(
            matches!(locks.refused(&now("bob", taken)), LockRefused::Busy { .. }),
            "{taken}"
        );
    }
    for free in ["src/apis", "src/api.rs", "docs/"] {
        let grant = locks.take(&now("bob", free));
        locks.give_back(&grant);
    }
    assert!(matches!(
        locks.refused(&shared(now("bob", "src/api/users.rs"))),
        LockRefused::Busy { .. }
    ));
    assert!(matches!(
        locks.refused(&intent("bob", "src")),
        LockRefused::Busy { .. }
    ));
    locks.give_back(&held);
    let file = locks.take(&now("bob", "src/api/users.rs"));
    assert!(matches!(
        locks.refused(&intent("ada", "src")),
        LockRefused::Busy { .. }
    ));
    locks.give_back(&file);
    let tree = locks.take(&shared(now("ada", "src/")));
    let beneath = locks.take(&shared(now("bob", "src/main.rs")));
    locks.give_back(&tree);
    locks.give_back(&beneath);
}

/// Who waits for several things has none of them until it has all.
pub fn a_batch_is_given_whole_or_not_at_all(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let held = locks.take(&now("ada", "b"));
    let waiting = locks.queue(&batch("bob", &["c", "a", "b", "a"]));
    assert_eq!(waiting.by.len(), 1);
    let in_between = locks.queue(&patiently("eve", "a"));
    assert!(in_between.by.iter().all(|by| by.waits), "nobody holds it");
    locks.give_back(&held);
    let all = locks.look(&waiting).expect("its turn");
    let texts: Vec<String> = all.resources.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["a", "b", "c"], "in order, each once");
    assert!(locks.look(&in_between).is_none());
    locks.give_back(&all);
    assert!(locks.look(&in_between).is_some());
    let refused = locks.refused(&Ask {
        wait_millis: 0,
        ..batch("dan", &["x", "a"])
    });
    assert!(matches!(refused, LockRefused::Busy { .. }));
    locks.take(&now("dan", "x"));
}

/// Two batches named in opposite orders follow each other.
pub fn batches_in_any_order_do_not_block_each_other_for_ever(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let first = locks.take(&batch("ada", &["a", "b"]));
    let second = locks.queue(&batch("bob", &["b", "a"]));
    let third = locks.queue(&batch("eve", &["a", "b", "c"]));
    locks.give_back(&first);
    let second = locks.look(&second).expect("its turn");
    locks.give_back(&second);
    assert!(locks.look(&third).is_some());
}

/// Whoever has the token gets in again, and out as often.
pub fn a_lock_is_entered_again_by_its_token(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let held = locks.take(&now("ada", "src/"));
    let again = Ask {
        token: Some(held.token),
        ..now("ada", "src/main.rs")
    };
    let inner = locks.take(&again);
    assert_eq!((inner.token, inner.depth), (held.token, 2));
    let wider = Ask {
        token: Some(held.token),
        ..now("ada", "docs")
    };
    assert!(matches!(
        locks.refused(&wider),
        LockRefused::NotCovered { .. }
    ));
    let waiting = locks.queue(&patiently("bob", "src/"));
    assert_eq!(locks.release(&Release::of(held.token)), Ok(1));
    assert!(locks.look(&waiting).is_none(), "it is held still");
    assert_eq!(locks.release(&Release::of(held.token)), Ok(0));
    assert!(locks.look(&waiting).is_some());

    let reading = locks.take(&shared(now("eve", "docs")));
    let writing = Ask {
        token: Some(reading.token),
        ..now("eve", "docs")
    };
    assert!(matches!(
        locks.refused(&writing),
        LockRefused::NotCovered { .. }
    ));
}

/// The same name without the token waits like everybody else.
pub fn a_name_alone_enters_nothing(make: MakeLocks) {
    let subject = make();
    let locks = subject.locks();
    let held = locks.take(&now("ada", "deploy"));
    assert!(matches!(
        locks.refused(&now("ada", "deploy")),
        LockRefused::Busy { .. }
    ));
    let waiting = locks.queue(&important(patiently("ada", "deploy"), 9));
    locks.give_back(&held);
    assert!(locks.look(&waiting).is_some(), "it was in nobody's circle");
    let unknown = Ask {
        token: Some(held.token),
        ..now("ada", "deploy")
    };
    assert!(matches!(
        why(locks.begin(&unknown)),
        LockRefused::NotHeld { .. }
    ));
}
