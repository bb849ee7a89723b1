//! Claiming: who is next, and that nobody is next twice.

use std::{collections::BTreeSet, sync::Mutex, thread};

use app::{
    command::NewTask,
    error::Error,
    ports::clock::Clock as _,
    query::{Query, View},
};
use domain::{
    id::TaskId,
    plan::Policy,
    session::{SessionResult, SessionStatus},
    task::TaskStatus,
};

use super::{
    Make,
    world::{LEASE_MILLIS, World, agent, priority, starts, work},
};

/// The highest priority first, then the oldest.
pub fn priority_then_age_decides(make: Make) {
    let world = World::new(make);
    let create = |value| {
        world.create(NewTask {
            priority: priority(value),
            ..work("x")
        })
    };
    let (low, high, middle, high_too) = (create(1), create(10), create(5), create(10));
    let claims = world.claim_by(starts(3));
    let order: Vec<TaskId> = claims.iter().map(|(_, task)| task.id).collect();
    assert_eq!(order, [high.id, high_too.id, middle.id]);
    let (session, task) = world.claim().expect("the last");
    assert_eq!(task.id, low.id);
    assert_eq!((task.fence, session.fence), (1, 1));
    assert_eq!(session.status, SessionStatus::Queued);
    assert_eq!(task.sessions(), [session.id]);
    assert_eq!(
        session.lease_until,
        world.clock.now().moment.plus_millis(LEASE_MILLIS)
    );
    assert_eq!(world.task(low.id), task);
    assert!(world.claim().is_none());
    assert_eq!(world.counts(), [(TaskStatus::Running, 4)].into());
}

/// What waits long enough overtakes what is more important.
pub fn waiting_raises_priority(make: Make) {
    let world = World::new(make);
    let ageing = Policy {
        ageing_millis: 60_000,
        ..starts(1)
    };
    let old = world.create(NewTask {
        priority: priority(1),
        ..work("old")
    });
    world.clock.advance(5 * 60_000);
    let fresh = world.create(NewTask {
        priority: priority(6),
        ..work("fresh")
    });
    let mut claims = world.claim_by(ageing.clone());
    assert_eq!(
        claims.remove(0).1.id,
        old.id,
        "one and five are six, and older"
    );
    assert_eq!(world.claim_by(ageing).remove(0).1.id, fresh.id);
}

/// Two hundred waiting tasks of an agent at its cap do not hide the one behind them.
pub fn a_capped_agent_hides_nobody(make: Make) {
    let world = World::new(make);
    let policy = Policy {
        per_agent_max: [(agent("busy"), 1)].into(),
        ..starts(2)
    };
    for n in 0..200 {
        let _queued = world.create(NewTask {
            agent: agent("busy"),
            priority: priority(9),
            ..work(&format!("{n}"))
        });
    }
    let other = world.create(work("other"));
    let claims = world.claim_by(policy.clone());
    assert_eq!(claims.len(), 2);
    assert_eq!(claims[1].1.id, other.id);
    assert!(world.claim_by(policy.clone()).is_empty());
    world
        .finish(&claims[0].0, SessionResult::Completed)
        .expect("it ends");
    assert_eq!(world.claim_by(policy).len(), 1, "the cap is free again");
}

/// Among equals the owner with fewer running tasks goes first.
pub fn owners_take_turns(make: Make) {
    let world = World::new(make);
    for n in 0..50 {
        let _queued = world.create(work(&format!("ada {n}")));
    }
    for n in 0..2 {
        let _queued = world.create(NewTask {
            owner: "bob".to_owned(),
            ..work(&format!("bob {n}"))
        });
    }
    let owners: Vec<String> = (0..5)
        .filter_map(|_| world.claim())
        .map(|(_, task)| task.spec.owner)
        .collect();
    assert_eq!(owners, ["ada", "bob", "ada", "bob", "ada"]);
}

/// By name, policy or not; else the refusal says what stands in the way.
pub fn a_named_task_is_claimed_or_refused_with_the_reason(make: Make) {
    let world = World::new(make);
    let first = world.create(work("first"));
    let second = world.create_behind("second", &[first.id]);
    let why = |result: Result<_, Error>| match result {
        Err(Error::Rejected(rejected)) => rejected.why,
        other => panic!("{:?}", other.map(|_: (domain::session::Session, _)| ())),
    };
    let refused = why(world.claim_named(second.id));
    assert_eq!(
        refused,
        format!("it waits for {}, which is pending", first.id)
    );
    let (_, task) = world.claim_named(first.id).expect("it may start");
    assert_eq!(task.status(), TaskStatus::Running);
    assert_eq!(why(world.claim_named(first.id)), "it is running");
    let later = world.create(NewTask {
        not_before: Some(world.clock.now().after_millis(1_500)),
        ..work("later")
    });
    assert_eq!(why(world.claim_named(later.id)), "it is due in 2 s");
    let unknown = TaskId::from_number(1).expect("a number");
    assert!(matches!(
        world.claim_named(unknown),
        Err(Error::NotFound { .. })
    ));
}

/// A scheduled task waits for the boot clock, whatever the wall clock does.
pub fn nothing_starts_before_its_time(make: Make) {
    let world = World::new(make);
    let at = |millis| NewTask {
        not_before: Some(world.clock.now().after_millis(millis)),
        ..work("later")
    };
    let (second, first) = (world.create(at(5_000)), world.create(at(2_000)));
    assert!(world.claim().is_none());
    let agenda = || {
        let now = world.clock.now();
        let project = Some(world.project);
        match world.store.read(&Query::Agenda { project, now }) {
            Ok(View::Agenda {
                ready,
                next_due_millis,
            }) => (ready, next_due_millis),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(agenda(), (0, Some(2_000)));
    world.clock.set_wall(1_900_000_000_000);
    assert!(world.claim().is_none(), "the wall clock alone was moved");
    world.clock.advance(1_999);
    assert!(world.claim().is_none());
    world.clock.advance(1);
    assert_eq!(agenda(), (1, Some(3_000)));
    assert_eq!(world.claim().expect("it is due").1.id, first.id);
    world.clock.advance(3_000);
    assert_eq!(world.claim().expect("it is due").1.id, second.id);
    assert_eq!(agenda(), (0, None));
}

/// The boot clock of another boot says nothing.
pub fn after_a_reboot_the_wall_clock_decides(make: Make) {
    for boot in ["boot-a", "boot-c"] {
        let world = World::new(make);
        let task = world.create(NewTask {
            not_before: Some(world.clock.now().after_millis(60_000)),
            ..work("later")
        });
        world.clock.reboot(boot);
        assert!(world.claim().is_none());
        world.clock.advance(60_000);
        assert_eq!(world.claim().expect("it is due").1.id, task.id);
    }
}

/// Ten threads, sixty tasks, each claimed once.
pub fn many_threads_claim_each_task_once(make: Make) {
    let world = World::new(make);
    let tasks: BTreeSet<TaskId> = (0..60)
        .map(|n| world.create(work(&format!("{n}"))).id)
        .collect();
    let claimed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                while let Some((_, task)) = world.claim() {
                    claimed.lock().expect("a list").push(task.id);
                }
            });
        }
    });
    let claimed = claimed.into_inner().expect("a list");
    assert_eq!(claimed.len(), tasks.len(), "none twice");
    assert_eq!(
        claimed.into_iter().collect::<BTreeSet<_>>(),
        tasks,
        "none left"
    );
    super::log::verify(&world.contents().log);
}
