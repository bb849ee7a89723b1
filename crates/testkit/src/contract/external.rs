//! External tasks: agents come from outside.

use app::{
    command::{Command, NewTask, Output, RecoveryPolicy},
    error::Error,
};
use domain::{
    failure::{Failure, FailureReason},
    id::TaskId,
    session::{Session, SessionResult, SessionStatus},
    task::{TaskKind, TaskMode, TaskStatus},
};

use super::{
    Make,
    world::{LEASE_MILLIS, World, agent, process, work},
};

fn outside(mode: TaskMode) -> NewTask {
    NewTask {
        kind: TaskKind::External,
        mode,
        ..work("x")
    }
}

fn attach(world: &World, task: TaskId, name: &str) -> Result<Session, Error> {
    let attached = world.run(Command::Attach {
        task,
        agent: agent(name),
        launcher: process(9),
        lease_millis: LEASE_MILLIS,
    })?;
    match attached {
        Output::Session { session } => Ok(*session),
        other => panic!("{other:?}"),
    }
}

fn end(
    world: &World,
    task: TaskId,
    name: Option<&str>,
    failure: Option<Failure>,
) -> Result<TaskStatus, Error> {
    world
        .run(Command::EndExternal {
            task,
            agent: name.map(agent),
            failure,
            summary: None,
            gates: vec![],
            recovery: RecoveryPolicy::default(),
        })
        .map(|output| super::world::task_of(output).status())
}

fn detach(world: &World, task: TaskId, name: Option<&str>) -> Result<TaskStatus, Error> {
    world
        .run(Command::Detach {
            task,
            agent: name.map(agent),
        })
        .map(|output| super::world::task_of(output).status())
}

/// One at a time; who leaves makes room for the next.
pub fn one_agent_holds_an_exclusive_task(make: Make) {
    let world = World::new(make);
    let task = world.create(outside(TaskMode::Exclusive));
    let first = attach(&world, task.id, "ann").expect("it is free");
    world.clock.advance(1);
    let again = attach(&world, task.id, "ann").expect("the same session");
    assert_eq!((first.id, first.fence), (again.id, again.fence));
    assert!(again.lease_until.millis > first.lease_until.millis);
    assert!(matches!(
        attach(&world, task.id, "bea"),
        Err(Error::Rejected(_))
    ));
    detach(&world, task.id, None).expect("she leaves");
    let second = attach(&world, task.id, "bea").expect("it is free again");
    assert!(second.fence > first.fence);
    assert!(matches!(
        end(&world, task.id, Some("ann"), None),
        Err(Error::Rejected(_))
    ));
    assert_eq!(end(&world, task.id, None, None), Ok(TaskStatus::Completed));
    let statuses: Vec<_> = world
        .details(task.id)
        .sessions
        .iter()
        .map(|session| session.status)
        .collect();
    assert_eq!(statuses, [SessionStatus::Stopped, SessionStatus::Completed]);
    assert!(matches!(
        end(&world, task.id, None, None),
        Err(Error::Rejected(_))
    ));
}

/// Several at once; one of them ends it for all.
pub fn several_agents_hold_a_collaborative_task(make: Make) {
    let world = World::new(make);
    let task = world.create(outside(TaskMode::Collaborative));
    for name in ["ann", "bea", "cid"] {
        attach(&world, task.id, name).expect("there is room");
    }
    assert_eq!(world.task(task.id).sessions().len(), 3);
    assert!(matches!(
        detach(&world, task.id, None),
        Err(Error::Rejected(_))
    ));
    detach(&world, task.id, Some("cid")).expect("he leaves");
    let failure = Failure::new(FailureReason::Reported, "cannot be done");
    assert_eq!(
        end(&world, task.id, Some("bea"), Some(failure)),
        Ok(TaskStatus::Failed)
    );
    let statuses: Vec<_> = world
        .details(task.id)
        .sessions
        .iter()
        .map(|session| session.status)
        .collect();
    assert_eq!(
        statuses,
        [
            SessionStatus::Stopped,
            SessionStatus::Failed,
            SessionStatus::Stopped
        ]
    );
}

/// Neither by the policy nor by name; and a managed one is not attached to.
pub fn an_external_task_is_never_claimed(make: Make) {
    let world = World::new(make);
    let task = world.create(outside(TaskMode::Exclusive));
    assert!(world.claim().is_none());
    assert!(matches!(
        world.claim_named(task.id),
        Err(Error::Rejected(_))
    ));
    let managed = world.create(work("managed"));
    assert!(matches!(
        attach(&world, managed.id, "ann"),
        Err(Error::Rejected(_))
    ));
}

/// As any other task does.
pub fn an_external_task_waits_for_its_dependencies(make: Make) {
    let world = World::new(make);
    let first = world.create(work("first"));
    let task = world.create(NewTask {
        depends_on: vec![first.id.to_string()],
        ..outside(TaskMode::Exclusive)
    });
    match attach(&world, task.id, "ann") {
        Err(Error::Rejected(rejected)) => assert_eq!(
            rejected.why,
            format!("it waits for {}, which is pending", first.id)
        ),
        other => panic!("{other:?}"),
    }
    world.work_off(SessionResult::Completed);
    attach(&world, task.id, "ann").expect("nothing stands in the way");
}
