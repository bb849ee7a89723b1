//! Changing only what is still as it was seen.

use std::thread;

use app::{
    command::{Command, Output, Rekey},
    error::Error,
    expected::{Expected, VersionConflict},
};
use domain::{
    id::TaskId,
    session::{SessionCommand, StopReason},
    task::{Task, TaskStatus},
};

use super::{
    Make,
    world::{LEASE_MILLIS, World, process, work},
};

fn more_time(task: TaskId, seconds: u32) -> Command {
    Command::SetTimeout {
        task,
        extend_seconds: seconds,
    }
}

fn limited(world: &World) -> Task {
    let mut new = work("x");
    new.limits.timeout_seconds = Some(60);
    world.create(new)
}

fn conflict(result: Result<Output, Error>) -> VersionConflict {
    match result {
        Err(Error::Version(conflict)) => *conflict,
        other => panic!("{other:?}"),
    }
}

fn changed(conflict: &VersionConflict) -> Vec<(&str, Option<&str>, Option<&str>)> {
    let fields = conflict.fields.iter();
    fields
        .map(|one| {
            (
                one.field.as_str(),
                one.expected.as_deref(),
                one.found.as_deref(),
            )
        })
        .collect()
}

/// The conflict names both versions and what changed between them; nothing is written.
pub fn a_change_is_refused_where_another_came_between(make: Make) {
    let world = World::new(make);
    let seen = limited(&world);
    let guarded = |seconds| more_time(seen.id, seconds).if_task(seen.id, Some(seen.version));
    world.run(guarded(1)).expect("it is as it was seen");
    let before = world.contents();
    let found = conflict(world.run(guarded(5)));
    assert_eq!(world.contents(), before, "nothing was written");
    assert_eq!((found.expected, found.found), (1, 2));
    assert_eq!(found.target, seen.id.to_string());
    assert_eq!(
        changed(&found),
        [("timeout_seconds", Some("60"), Some("61"))]
    );
    assert_eq!(found.events, ["task.limits_changed"]);
    assert!(found.retryable && found.why_not.is_none());
    let again = more_time(seen.id, 5).if_task(seen.id, Some(found.found));
    world.run(again).expect("with the version that was found");
    assert_eq!(world.task(seen.id).limits.timeout_seconds, Some(66));
    world
        .run(more_time(seen.id, 1).if_task(seen.id, None))
        .expect("who has seen nothing expects nothing");
    let future = conflict(world.run(more_time(seen.id, 5).if_task(seen.id, Some(99))));
    assert_eq!((future.found, future.fields.len()), (4, 0));
    let unknown = TaskId::from_number(1).expect("a number");
    assert!(matches!(
        world.run(more_time(unknown, 5).if_task(unknown, Some(1))),
        Err(Error::NotFound { .. })
    ));
}

/// Where the state has gone on so far that the change makes no sense, it says so.
pub fn a_refusal_says_whether_asking_again_makes_sense(make: Make) {
    let world = World::new(make);
    let seen = limited(&world);
    let (session, _) = world.claim().expect("it starts");
    let retry = |world: &World| {
        let command = Command::RetryTask {
            task: seen.id,
            retries_max: None,
            auto_retry: None,
            continues: false,
        };
        conflict(world.run(command.if_task(seen.id, Some(seen.version))))
    };
    let running = retry(&world);
    assert!(!running.retryable);
    let why = running.why_not.clone().unwrap_or_default();
    assert!(why.contains("only failed tasks can be retried"), "{why}");
    let status = changed(&running)[0];
    assert_eq!(status, ("status", Some("pending"), Some("running")));
    world
        .finish(&session, super::world::failed())
        .expect("it fails");
    let before = world.contents();
    let failed = retry(&world);
    assert!(failed.retryable, "now a retry would be taken");
    assert_eq!(failed.events, ["task.claimed", "task.failed"]);
    assert_eq!(world.contents(), before, "and still nothing was written");
}

/// Two, or twenty, that have seen the same: one change, and every other is told.
pub fn of_many_from_one_version_one_gets_through(make: Make) {
    let world = World::new(make);
    let seen = limited(&world);
    let answers: Vec<Result<Output, Error>> = thread::scope(|scope| {
        let changes: Vec<_> = (1..=20)
            .map(|n| {
                let command = more_time(seen.id, n).if_task(seen.id, Some(seen.version));
                let world = &world;
                scope.spawn(move || world.run(command))
            })
            .collect();
        let answers = changes.into_iter().map(|one| one.join().expect("no panic"));
        answers.collect()
    });
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (1, 19));
    for answer in refused {
        assert_eq!(conflict(answer).found, 2);
    }
    assert_eq!(world.task(seen.id).version, 2);
}

/// Of a purged task only the kinds of its events are left.
pub fn what_is_no_longer_kept_is_not_invented(make: Make) {
    let world = World::new(make);
    let seen = limited(&world);
    world.stop(seen.id, StopReason::Cancel).expect("it ends");
    world
        .run(Command::DeleteTask { task: seen.id })
        .expect("it is deleted");
    world
        .run(Command::PurgeTasks {
            tasks: vec![seen.id],
        })
        .expect("it is purged");
    let undelete = Command::UndeleteTask {
        task: seen.id,
        key: Rekey::Same,
    };
    let found = conflict(world.run(undelete.if_task(seen.id, Some(seen.version))));
    assert_eq!(found.fields, []);
    assert_eq!(
        found.events,
        ["task.cancelled", "task.deleted", "task.purged"]
    );
    assert!(!found.retryable);
}

/// Renewing a lease changes it as well.
pub fn a_session_has_versions_too(make: Make) {
    let world = World::new(make);
    let _task = limited(&world);
    let (seen, _) = world.claim().expect("it starts");
    world
        .run(Command::RenewLease {
            session: seen.id,
            fence: seen.fence,
            lease_millis: 2 * LEASE_MILLIS,
        })
        .expect("it holds its task");
    let runner = process(9);
    world
        .say(&seen, SessionCommand::Begin { runner })
        .expect("it begins");
    let stop = Command::Expecting {
        expected: vec![Expected::Session {
            id: seen.id,
            version: seen.version,
        }],
        command: Box::new(Command::StopTask {
            task: seen.task,
            reason: StopReason::Cancel,
        }),
    };
    let found = conflict(world.run(stop));
    assert_eq!(found.found, seen.version + 2);
    let fields: Vec<&str> = found.fields.iter().map(|one| one.field.as_str()).collect();
    assert!(
        fields.contains(&"status") && fields.contains(&"runner_pid"),
        "{fields:?}"
    );
    assert!(found.retryable);
    assert_eq!(world.task(seen.task).status(), TaskStatus::Running);
}
