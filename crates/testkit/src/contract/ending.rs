//! Sessions and how they end.

use app::{
    command::{Command, Output},
    error::Error,
    ports::clock::Clock as _,
};
use domain::{
    failure::FailureReason,
    session::{Session, SessionCommand, SessionResult, SessionStatus, StopReason},
    task::{Limits, TaskStatus},
};

use super::{
    Make,
    world::{World, failed, process, work},
};

fn running(world: &World) -> Session {
    let (session, _) = world.claim().expect("a task may start");
    let runner = process(50);
    let session = world
        .say(&session, SessionCommand::Begin { runner })
        .expect("it begins");
    assert_eq!(session.status, SessionStatus::Preparing);
    let launched = SessionCommand::Launched {
        process: process(51),
        deadline: Some(world.clock.now().after_millis(10_000)),
    };
    world.say(&session, launched).expect("it runs")
}

/// From the claim to the gates' verdict.
pub fn a_session_walks_through_its_life(make: Make) {
    let world = World::new(make);
    let task = world.create(work("x"));
    let session = running(&world);
    assert_eq!(session.status, SessionStatus::Running);
    let session = world
        .say(&session, SessionCommand::Verify { gates: vec![] })
        .expect("the agent ended");
    assert_eq!(session.status, SessionStatus::Verifying);
    let session = world
        .finish(&session, SessionResult::Completed)
        .expect("it is done");
    assert_eq!(session.status, SessionStatus::Completed);
    let details = world.details(task.id);
    assert_eq!(details.view.task.status(), TaskStatus::Completed);
    assert_eq!(details.sessions, [session]);
    assert_eq!(world.counts(), [(TaskStatus::Completed, 1)].into());
}

/// A runner whose session was given to another is told, and changes nothing.
pub fn a_void_fence_is_told_so(make: Make) {
    let world = World::new(make);
    let _task = world.create(work("x"));
    let lost = running(&world);
    world.lose(&lost).expect("it is lost");
    let (next, task) = world.claim().expect("it is queued again");
    assert!(next.fence > lost.fence);
    let before = world.contents();
    let verify = world.say(&lost, SessionCommand::Verify { gates: vec![] });
    assert!(matches!(verify, Err(Error::FenceLost { .. })), "{verify:?}");
    let renew = world.run(Command::RenewLease {
        session: lost.id,
        fence: lost.fence,
        lease_millis: 1,
    });
    assert!(matches!(renew, Err(Error::FenceLost { .. })), "{renew:?}");
    let late = world.finish(&lost, SessionResult::Completed);
    assert_eq!(late.expect("heard").status, SessionStatus::Orphaned);
    let wrong = world.say_under(
        &next,
        next.fence + 1,
        SessionCommand::Verify { gates: vec![] },
    );
    assert!(matches!(wrong, Err(Error::FenceLost { .. })), "{wrong:?}");
    assert_eq!(world.contents(), before);
    assert_eq!(world.task(task.id).status(), TaskStatus::Running);
}

/// The outcome of a session is applied once.
pub fn finishing_twice_changes_nothing(make: Make) {
    let world = World::new(make);
    let task = world.create(work("x"));
    let session = running(&world);
    world.finish(&session, failed()).expect("it ends");
    let before = world.contents();
    world.finish(&session, failed()).expect("heard");
    world
        .finish(&session, SessionResult::Completed)
        .expect("heard");
    assert_eq!(world.contents(), before);
    assert_eq!(world.task(task.id).status(), TaskStatus::Failed);
}

/// Three times back to the queue, each under a higher fence, and then it has failed.
pub fn a_lost_session_requeues_its_task_and_then_fails_it(make: Make) {
    let world = World::new(make);
    let task = world.create(work("x"));
    for round in 0..4 {
        let session = running(&world);
        assert_eq!(world.task(task.id).requeues, round);
        assert_eq!(session.fence, u64::from(round) * 2 + 1);
        world.lose(&session).expect("it is lost");
    }
    let task = world.task(task.id);
    let failure = task.failure().expect("it has failed");
    assert_eq!(failure.reason, FailureReason::Infrastructure);
    assert_eq!(world.details(task.id).sessions.len(), 4);
}

/// A pending task, and one whose runner has not spoken, end at once.
pub fn stopping_ends_what_nobody_works_on(make: Make) {
    let world = World::new(make);
    let pending = world.create(work("pending"));
    let (task, session) = world.stop(pending.id, StopReason::Cancel).expect("it ends");
    assert_eq!(task.status(), TaskStatus::Cancelled);
    assert_eq!(session, None);
    let again = world.stop(pending.id, StopReason::Cancel);
    assert!(matches!(again, Err(Error::Rejected(_))), "{again:?}");

    let queued = world.create(work("queued"));
    let (session, _) = world.claim().expect("it may start");
    let (task, told) = world.stop(queued.id, StopReason::Cancel).expect("it ends");
    assert_eq!((task.status(), told), (TaskStatus::Cancelled, None));
    let sessions = world.details(queued.id).sessions;
    assert_eq!(sessions[0].status, SessionStatus::Cancelled);
    let runner = process(50);
    let late = world.say(&session, SessionCommand::Begin { runner });
    assert!(matches!(late, Err(Error::FenceLost { .. })), "{late:?}");

    let overdue = world.create(work("overdue"));
    let _claimed = world.claim().expect("it may start");
    let (task, _) = world
        .stop(overdue.id, StopReason::ManualTimeout)
        .expect("it ends");
    let failure = task.failure().expect("it has failed");
    assert_eq!(failure.reason, FailureReason::Timeout);
}

/// A running session hears of it with its next renewal, and ends its task itself.
pub fn stopping_tells_a_running_session(make: Make) {
    let world = World::new(make);
    let task = world.create(work("x"));
    let session = running(&world);
    let (_, told) = world.stop(task.id, StopReason::Cancel).expect("it is told");
    assert_eq!(told.expect("a session").stop, Some(StopReason::Cancel));
    assert_eq!(world.task(task.id).status(), TaskStatus::Running);
    world.stop(task.id, StopReason::Cancel).expect("told twice");
    world
        .finish(&session, SessionResult::Cancelled)
        .expect("it ends");
    assert_eq!(world.task(task.id).status(), TaskStatus::Cancelled);

    let second = world.create(work("its runner dies meanwhile"));
    let session = running(&world);
    world.stop(second.id, StopReason::Cancel).expect("told");
    world.lose(&session).expect("it is lost");
    let status = world.task(second.id).status();
    assert_eq!(
        status,
        TaskStatus::Cancelled,
        "what was to stop is not requeued"
    );
}

/// The task's limit grows, and with it the deadline of a session at work.
pub fn more_time_moves_the_deadline(make: Make) {
    let world = World::new(make);
    let task = world.create(app::command::NewTask {
        limits: Limits {
            timeout_seconds: Some(10),
            ..Limits::default()
        },
        ..work("x")
    });
    let session = running(&world);
    let before = session.deadline.clone().expect("a deadline");
    let extend = |seconds| {
        world.run(Command::SetTimeout {
            task: task.id,
            extend_seconds: seconds,
        })
    };
    extend(30).expect("more time");
    assert_eq!(world.task(task.id).limits.timeout_seconds, Some(40));
    let after = world.details(task.id).sessions[0].deadline.clone();
    let after = after.expect("a deadline");
    assert_eq!(after.moment, before.moment.plus_millis(30_000));
    assert_eq!(after.wall.as_millis(), before.wall.as_millis() + 30_000);
    assert!(matches!(extend(0), Err(Error::Invalid { .. })));
    world
        .finish(&session, SessionResult::Completed)
        .expect("done");
    assert!(matches!(extend(1), Err(Error::Rejected(_))));
    let endless = world.create(work("no limit"));
    let refused = world.run(Command::SetTimeout {
        task: endless.id,
        extend_seconds: 1,
    });
    assert!(matches!(refused, Err(Error::Rejected(_))), "{refused:?}");
}

/// Renewing moves the lease from now on.
pub fn a_lease_is_renewed(make: Make) {
    let world = World::new(make);
    let _task = world.create(work("x"));
    let session = running(&world);
    world.clock.advance(1_000);
    let renewed = world.run(Command::RenewLease {
        session: session.id,
        fence: session.fence,
        lease_millis: 5_000,
    });
    match renewed {
        Ok(Output::Session { session }) => assert_eq!(
            session.lease_until,
            world.clock.now().moment.plus_millis(5_000)
        ),
        other => panic!("{other:?}"),
    }
}
