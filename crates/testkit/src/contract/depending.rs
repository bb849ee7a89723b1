//! Dependencies: who waits for whom, and until when.

use app::{command::NewTask, error::Error};
use domain::{id::TaskId, session::SessionResult, task::TaskStatus};

use super::{
    Make,
    world::{World, failed, starts, work},
};

fn startable(world: &World) -> Vec<TaskId> {
    let mut found = vec![];
    let now = app::ports::clock::Clock::now(&*world.clock);
    world.store.look(&mut |reader| {
        let ready = reader.ready(Some(world.project), 10, &now);
        found = ready
            .expect("what is ready")
            .into_iter()
            .map(|candidate| candidate.task)
            .collect();
    });
    found.sort_unstable();
    found
}

/// One, then two at once, then the last.
pub fn a_diamond_opens_in_order(make: Make) {
    let world = World::new(make);
    let top = world.create(work("top"));
    let left = world.create_behind("left", &[top.id]);
    let right = world.create_behind("right", &[top.id]);
    let bottom = world.create_behind("bottom", &[left.id, right.id]);
    assert_eq!(startable(&world), [top.id]);
    assert_eq!(
        world.details(bottom.id).view.blocked_by,
        [
            (left.id, TaskStatus::Pending),
            (right.id, TaskStatus::Pending)
        ]
    );
    assert_eq!(world.details(top.id).dependants, [left.id, right.id]);
    world.work_off(SessionResult::Completed);
    assert_eq!(startable(&world), [left.id, right.id]);
    world.work_off(SessionResult::Completed);
    assert_eq!(startable(&world), [right.id]);
    world.work_off(SessionResult::Completed);
    assert_eq!(startable(&world), [bottom.id]);
    assert_eq!(world.work_off(SessionResult::Completed), bottom.id);
}

/// Refused, with its name, and nothing written.
pub fn an_unknown_dependency_is_refused(make: Make) {
    let world = World::new(make);
    let before = world.contents();
    let new = NewTask {
        depends_on: vec!["task_99".to_owned()],
        ..work("x")
    };
    match world.try_create(new) {
        Err(Error::NotFound { what, name }) => {
            assert_eq!(
                (what.as_str(), name.as_str()),
                ("Dependency task", "task_99")
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.contents(), before);
}

/// A dependant waits for the chain: a failure leaves it waiting, and the retry's success frees it.
pub fn a_retried_chain_heals_its_dependants(make: Make) {
    let world = World::new(make);
    let first = world.create(work("first"));
    let waiting = world.create_behind("waiting", &[first.id]);
    world.work_off(failed());
    assert_eq!(startable(&world), []);
    let second = world.retry(first.id, None).expect("a retry");
    let late = world.create_behind("named by its retry", &[second.id]);
    assert_eq!(
        late.spec.depends_on,
        [first.id],
        "the chain is what is waited for"
    );
    assert_eq!(world.work_off(failed()), second.id);
    let third = world.retry(second.id, None).expect("another");
    assert_eq!(
        world.details(waiting.id).view.blocked_by,
        [(third.id, TaskStatus::Pending)]
    );
    assert_eq!(world.work_off(SessionResult::Completed), third.id);
    assert_eq!(startable(&world), [waiting.id, late.id]);
    let chain: Vec<_> = world
        .details(first.id)
        .chain
        .into_iter()
        .map(|task| task.id)
        .collect();
    assert_eq!(chain, [first.id, second.id, third.id]);
}

/// Two names of one chain are one dependency.
pub fn a_dependency_named_twice_counts_once(make: Make) {
    let world = World::new(make);
    let first = world.create(work("first"));
    let waiting = world.create_behind("waiting", &[first.id, first.id]);
    assert_eq!(waiting.spec.depends_on, [first.id]);
    world.work_off(SessionResult::Completed);
    assert_eq!(startable(&world), [waiting.id]);
}

/// Also one that completed as a retry.
pub fn a_completed_dependency_blocks_nobody(make: Make) {
    let world = World::new(make);
    let first = world.create(work("first"));
    world.work_off(failed());
    let second = world.retry(first.id, None).expect("a retry");
    world.work_off(SessionResult::Completed);
    let by_root = world.create_behind("by root", &[first.id]);
    let by_tail = world.create_behind("by tail", &[second.id]);
    assert_eq!(startable(&world), [by_root.id, by_tail.id]);
    assert_eq!(world.claim_by(starts(5)).len(), 2);
}
