//! Quotas: what does not fit in is refused or waits, and nothing is counted twice.

use std::thread;

use app::{
    command::{Command, NewTask, Output, Rekey},
    error::Error,
    expected::Expected,
    query::{Query, View},
};
use domain::{
    id::ProjectId,
    quota::{Quota, QuotaKey, QuotaResource, QuotaUse},
    session::{Outcome, Session, SessionCommand, SessionResult, StopReason},
    task::{TaskKind, TaskMode, TaskStatus},
    usage::Usage,
};

use super::{
    Make,
    faults::fail_everywhere,
    world::{LEASE_MILLIS, World, agent, failed, priority, process, request, starts, work},
};

fn key(resource: QuotaResource, project: Option<ProjectId>, owner: Option<&str>) -> QuotaKey {
    QuotaKey {
        resource,
        project,
        owner: owner.map(str::to_owned),
    }
}

fn set_command(world: &World, key: &QuotaKey, max: u64) -> Command {
    Command::SetQuota {
        project: world.project,
        key: key.clone(),
        max,
    }
}

fn set(world: &World, key: &QuotaKey, max: u64) -> (Quota, u64) {
    match world.run(set_command(world, key, max)) {
        Ok(Output::Quota { quota, used }) => (quota, used),
        other => panic!("{other:?}"),
    }
}

fn quotas(world: &World) -> Vec<(Quota, u64)> {
    match world.store.read(&Query::Quotas) {
        Ok(View::Quotas { quotas, .. }) => quotas,
        other => panic!("{other:?}"),
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> QuotaUse {
    match result {
        Err(Error::Quota(quota)) => quota,
        other => panic!("{other:?}"),
    }
}

fn of(owner: &str) -> NewTask {
    NewTask {
        owner: owner.to_owned(),
        ..work("x")
    }
}

/// The refusal names the quota; there is room again as soon as one no longer waits.
pub fn a_full_queue_takes_nothing_more(make: Make) {
    let world = World::new(make);
    let queued = QuotaResource::QueuedTasks;
    let adas = key(queued, Some(world.project), Some("ada"));
    set(&world, &adas, 2);
    set(&world, &key(queued, Some(world.project), None), 3);
    let first = world.create(of("ada"));
    let second = world.create(of("ada"));
    let before = world.contents();
    let refused = refusal(world.try_create(of("ada")));
    assert_eq!((refused.key, refused.max, refused.used), (adas, 2, 2));
    assert_eq!(world.contents(), before);
    let bobs = world.create(of("bob"));
    let refused = refusal(world.try_create(of("bob")));
    assert_eq!((refused.key.owner, refused.used), (None, 3));
    world.stop(bobs.id, StopReason::Cancel).expect("it ends");
    let (session, running) = world.claim().expect("a task starts");
    assert_eq!(running.id, first.id);
    let third = world.create(of("ada"));
    assert_eq!(refusal(world.try_create(of("ada"))).used, 2);

    world
        .run(Command::DeleteTask { task: third.id })
        .expect("it waits");
    let _fourth = world.create(of("ada"));
    let undelete = Command::UndeleteTask {
        task: third.id,
        key: Rekey::Same,
    };
    refusal(world.run(undelete));
    world.finish(&session, failed()).expect("it fails");
    refusal(world.retry(first.id, None));
    world.stop(second.id, StopReason::Cancel).expect("it ends");
    world.retry(first.id, None).expect("there is room again");
}

/// However many ask at once.
pub fn many_threads_fill_a_quota_and_no_more(make: Make) {
    let world = World::new(make);
    let queued = key(QuotaResource::QueuedTasks, None, Some("ada"));
    set(&world, &queued, 10);
    let created: usize = thread::scope(|scope| {
        let creators: Vec<_> = (0..25)
            .map(|_| scope.spawn(|| world.try_create(of("ada"))))
            .collect();
        let answers = creators
            .into_iter()
            .map(|one| one.join().expect("no panic"));
        answers
            .filter(|answer| match answer {
                Ok(_) => true,
                Err(Error::Quota(quota)) => {
                    assert_eq!(quota.used, 10);
                    false
                }
                Err(other) => panic!("{other}"),
            })
            .count()
    });
    assert_eq!(created, 10);
    assert_eq!(quotas(&world)[0].1, 10);
}

/// What comes back to the queue, or is tried again by itself, was there before.
pub fn waiting_tasks_stay_queued_by_themselves(make: Make) {
    let world = World::new(make);
    let mut new = of("ada");
    new.limits.auto_retry = true;
    let first = world.create(new);
    set(
        &world,
        &key(QuotaResource::QueuedTasks, None, Some("ada")),
        0,
    );
    let (session, _) = world.claim().expect("it was queued before");
    world.lose(&session).expect("its runner died");
    assert_eq!(world.task(first.id).status(), TaskStatus::Pending);
    let (session, _) = world.claim().expect("it goes on");
    world.finish(&session, failed()).expect("it fails");
    assert!(world.task(first.id).chain.retried_by.is_some());
    assert_eq!(quotas(&world)[0].1, 1);
}

/// A claim passes over whoever has used his quota up, and says why his tasks wait.
pub fn claims_pass_over_who_has_used_his_up(make: Make) {
    let world = World::new(make);
    let active = QuotaResource::ActiveSessions;
    let adas = key(active, Some(world.project), Some("ada"));
    set(&world, &adas, 2);
    let urgent = || NewTask {
        priority: priority(9),
        ..of("ada")
    };
    for _ in 0..30 {
        let _queued = world.create(urgent());
    }
    let last = world.create(urgent());
    let bobs = world.create(of("bob"));
    let claims = world.claim_by(starts(5));
    let owners: Vec<&str> = claims
        .iter()
        .map(|(_, task)| task.spec.owner.as_str())
        .collect();
    assert_eq!(owners, ["ada", "ada", "bob"]);
    assert_eq!(claims[2].1.id, bobs.id);
    assert!(world.claim_by(starts(5)).is_empty());
    assert_eq!(refusal(world.claim_named(last.id)).key, adas);
    let waits = world.details(last.id).view.quotas;
    assert_eq!(waits.len(), 1);
    assert_eq!((&waits[0].key, waits[0].max, waits[0].used), (&adas, 2, 2));
    world
        .finish(&claims[0].0, SessionResult::Completed)
        .expect("it ends");
    assert_eq!(world.details(last.id).view.quotas, []);
    assert_eq!(world.claim_by(starts(5)).len(), 1, "one slot is free again");

    // Whatever its owner still may, the project may nothing more.
    let whole = key(active, Some(world.project), None);
    set(&world, &whole, 3);
    let _bobs = world.create(of("bob"));
    assert!(world.claim_by(starts(5)).is_empty());
    set(&world, &whole, 4);
    assert_eq!(world.claim_by(starts(5)).len(), 1);
}

/// The session of an agent outside is one like any other.
pub fn an_outside_agent_counts_too(make: Make) {
    let world = World::new(make);
    let active = key(QuotaResource::ActiveSessions, None, None);
    set(&world, &active, 2);
    let task = world.create(NewTask {
        kind: TaskKind::External,
        mode: TaskMode::Collaborative,
        ..of("ada")
    });
    let attach = |name: &str| {
        world.run(Command::Attach {
            task: task.id,
            agent: agent(name),
            launcher: process(3),
            lease_millis: LEASE_MILLIS,
        })
    };
    attach("one").expect("the first");
    attach("two").expect("the second");
    assert_eq!(refusal(attach("three")).used, 2);
    attach("one").expect("who holds it already takes nothing more");
    world
        .run(Command::Detach {
            task: task.id,
            agent: Some(agent("two")),
        })
        .expect("it leaves");
    attach("three").expect("there is room");
}

fn finish_with(world: &World, session: &Session, tokens: u64, result: SessionResult) {
    let usage = Usage {
        input: tokens,
        ..Usage::default()
    };
    let outcome = Box::new(Outcome {
        usage,
        ..Outcome::bare(result, session.created_at)
    });
    let finish = SessionCommand::Finish { outcome };
    world.say(session, finish.clone()).expect("it ends");
    world.say(session, finish).expect("saying it again is fine");
}

/// Counted once, in the transaction that ends the session, in the month of UTC that it ends in.
pub fn tokens_are_counted_by_month(make: Make) {
    let world = World::new(make);
    let millis = |text: &str| -> i64 {
        let at: domain::time::Timestamp =
            serde_json::from_str(&format!("{text:?}")).expect("a time");
        at.as_millis()
    };
    world.clock.set_wall(millis("2026-01-31T23:00:00.000Z"));
    let tokens = QuotaResource::TokensMonth;
    let adas = key(tokens, None, Some("ada"));
    set(&world, &adas, 1_000);
    set(&world, &key(tokens, Some(world.project), None), 5_000);
    for _ in 0..4 {
        let _queued = world.create(of("ada"));
    }
    let (session, _) = world.claim().expect("a start");
    finish_with(&world, &session, 999, SessionResult::Completed);
    let (session, _) = world.claim().expect("one token is left");
    finish_with(&world, &session, 4_000, failed());
    let used = |world: &World| -> Vec<u64> { quotas(world).iter().map(|one| one.1).collect() };
    assert_eq!(used(&world), [4_999, 4_999]);
    assert!(world.claim().is_none());
    let bobs = world.create(of("bob"));
    let (session, task) = world.claim().expect("somebody else may");
    assert_eq!(task.id, bobs.id);
    finish_with(&world, &session, 1, SessionResult::Completed);
    let _bobs = world.create(of("bob"));
    assert!(world.claim().is_none(), "the project may not");
    assert_eq!(used(&world), [4_999, 5_000]);
    world.clock.set_wall(millis("2026-02-01T00:00:00.000Z"));
    assert_eq!(used(&world), [0, 0]);
    assert_eq!(world.claim_by(starts(9)).len(), 3, "a new month");
}

/// Each change is a version, and stands in the log of the project that it was asked from.
pub fn quotas_are_set_changed_and_removed(make: Make) {
    let world = World::new(make);
    let whole = key(QuotaResource::QueuedTasks, None, None);
    let (first, used) = set(&world, &whole, 3);
    assert_eq!((first.version, used), (1, 0));
    let before = world.contents();
    assert_eq!(set(&world, &whole, 3).0, first);
    assert_eq!(world.contents(), before, "the same again is no change");
    world.clock.advance(1_000);
    let (second, _) = set(&world, &whole, 4);
    assert_eq!((second.version, second.created_at), (2, first.created_at));
    assert!(second.updated_at > first.updated_at);
    let expecting = |version, command| Command::Expecting {
        expected: vec![Expected::Quota {
            key: whole.clone(),
            version,
        }],
        command: Box::new(command),
    };
    match world.run(expecting(1, set_command(&world, &whole, 9))) {
        Err(Error::Version(conflict)) => {
            assert_eq!((conflict.found, conflict.retryable), (2, true));
        }
        other => panic!("{other:?}"),
    }
    let remove = || Command::RemoveQuota {
        project: world.project,
        key: whole.clone(),
    };
    world.run(expecting(2, remove())).expect("as it was seen");
    assert_eq!(quotas(&world), []);
    assert!(matches!(world.run(remove()), Err(Error::NotFound { .. })));
    let kinds: Vec<String> = world
        .contents()
        .log
        .iter()
        .filter_map(|entry| serde_json::from_slice::<app::event::Header>(&entry.header).ok())
        .map(|header| header.kind)
        .filter(|kind| kind.starts_with("quota."))
        .collect();
    assert_eq!(kinds, ["quota.set", "quota.set", "quota.removed"]);
    for owner in ["", " ", "a\nb"] {
        let bad = key(QuotaResource::QueuedTasks, None, Some(owner));
        let refused = world.run(set_command(&world, &bad, 1));
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{owner:?}");
    }
    let elsewhere = ProjectId::from_number(1).expect("a number");
    let unknown = key(QuotaResource::QueuedTasks, Some(elsewhere), None);
    let refused = world.run(set_command(&world, &unknown, 1));
    assert!(matches!(refused, Err(Error::NotFound { .. })));
    let huge = world.run(set_command(&world, &whole, u64::MAX));
    assert!(matches!(huge, Err(Error::Invalid { .. })));
}

/// What runs and what waits stays; only nothing more comes.
pub fn a_lowered_quota_ends_nothing(make: Make) {
    let world = World::new(make);
    for _ in 0..3 {
        let _queued = world.create(of("ada"));
    }
    let claims = world.claim_by(starts(2));
    let active = key(
        QuotaResource::ActiveSessions,
        Some(world.project),
        Some("ada"),
    );
    assert_eq!(set(&world, &active, 1).1, 2);
    assert!(world.claim().is_none());
    for (session, _) in &claims {
        assert!(world.claim().is_none());
        world
            .finish(session, SessionResult::Completed)
            .expect("it ends");
    }
    assert!(world.claim().is_some(), "now there is room");
}

/// Every change of what ends a session with tokens fails once; they are counted once.
pub fn a_failing_call_counts_nothing(make: Make) {
    let world = World::new(make);
    let tokens = key(QuotaResource::TokensMonth, None, Some("ada"));
    fail_everywhere(&world, &request(set_command(&world, &tokens, 10)), 2);
    let _queued = world.create(of("ada"));
    let (session, _) = world.claim().expect("a start");
    let usage = Usage {
        output: 7,
        ..Usage::default()
    };
    let outcome = Box::new(Outcome {
        usage,
        ..Outcome::bare(SessionResult::Completed, session.created_at)
    });
    let finish = Command::Session {
        session: session.id,
        fence: session.fence,
        command: SessionCommand::Finish { outcome },
        recovery: app::command::RecoveryPolicy::default(),
    };
    fail_everywhere(&world, &request(finish), 3);
    assert_eq!(quotas(&world)[0].1, 7);
}
