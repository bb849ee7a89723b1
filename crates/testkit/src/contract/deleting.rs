//! Deleting, bringing back, and purging.

use app::{
    command::{Command, NewTask, Output, Rekey},
    error::Error,
    event::{Entry, Stream, StreamKind},
    query::{Deleted, Query, TaskFilter, View},
};
use domain::{
    id::TaskId,
    session::SessionResult,
    task::{Task, TaskStatus},
};

use super::{
    Make,
    world::{World, failed, task_of, work},
};

fn delete(world: &World, task: TaskId) -> Result<Task, Error> {
    world.run(Command::DeleteTask { task }).map(task_of)
}

fn undelete(world: &World, task: TaskId, key: Rekey) -> Result<Task, Error> {
    world.run(Command::UndeleteTask { task, key }).map(task_of)
}

fn purge(world: &World, task: TaskId) -> Result<Vec<TaskId>, Error> {
    let tasks = vec![task];
    match world.run(Command::PurgeTasks { tasks })? {
        Output::Tasks { tasks } => Ok(tasks),
        other => panic!("{other:?}"),
    }
}

fn named(key: &str) -> NewTask {
    NewTask {
        key: Some(key.to_owned()),
        ..work("find the bug")
    }
}

fn page(world: &World, deleted: Deleted) -> Vec<TaskId> {
    let filter = TaskFilter {
        deleted,
        ..TaskFilter::default()
    };
    world.page(&filter, 100)
}

fn resolve(world: &World, name: &str, deleted: bool) -> Result<TaskId, Error> {
    let query = Query::Resolve {
        project: world.project,
        name: name.to_owned(),
        deleted,
    };
    match world.store.read(&query)? {
        View::Resolved { id } => Ok(id),
        other => panic!("{other:?}"),
    }
}

/// It is in no list, no count and no queue, its key is free; and all that comes back.
pub fn what_is_deleted_comes_back_as_it_was(make: Make) {
    let world = World::new(make);
    let task = world.create(named("nightly"));
    let other = world.create(work("other"));
    assert!(
        delete(&world, task.id)
            .expect("it waits")
            .deleted_at
            .is_some()
    );
    let again = delete(&world, task.id).expect("it is deleted");
    assert_eq!(again.version, 2, "a second time changes nothing");
    assert_eq!(world.counts(), [(TaskStatus::Pending, 1)].into());
    assert_eq!(page(&world, Deleted::Without), [other.id]);
    assert_eq!(page(&world, Deleted::With), [task.id, other.id]);
    assert_eq!(page(&world, Deleted::Only), [task.id]);
    assert_eq!(world.claim().expect("the other").1.id, other.id);
    assert!(world.claim().is_none(), "a deleted one does not start");
    assert!(
        world
            .stop(task.id, domain::session::StopReason::Cancel)
            .is_err()
    );

    let taken = world.create(named("nightly"));
    assert!(matches!(
        undelete(&world, task.id, Rekey::Same),
        Err(Error::Exists { .. })
    ));
    let key = Rekey::To {
        key: "a b/../".to_owned(),
    };
    assert!(matches!(
        undelete(&world, task.id, key),
        Err(Error::Invalid { .. })
    ));
    let key = Rekey::To {
        key: "weekly".to_owned(),
    };
    let back = undelete(&world, task.id, key).expect("it comes back");
    assert_eq!(
        (back.deleted_at, back.status()),
        (None, TaskStatus::Pending)
    );
    assert_eq!(world.task(task.id), back, "as it was answered");
    assert_eq!(resolve(&world, "weekly", false), Ok(task.id));
    assert_eq!(resolve(&world, "nightly", false), Ok(taken.id));
    assert_eq!(
        world.counts(),
        [(TaskStatus::Pending, 2), (TaskStatus::Running, 1)].into()
    );
    let same = undelete(&world, task.id, Rekey::Same).expect("it is there");
    assert_eq!(same.version, back.version, "a second time changes nothing");
    delete(&world, taken.id).expect("it waits");
    delete(&world, task.id).expect("it waits");
    let back = undelete(&world, taken.id, Rekey::Without).expect("it comes back");
    assert_eq!(back.spec.key, None);
    assert_eq!(resolve(&world, "weekly", true), Ok(task.id));
    assert!(resolve(&world, "weekly", false).is_err());
}

/// An archived one goes back to the archive; the counters never counted it.
pub fn an_archived_task_is_deleted_and_comes_back_archived(make: Make) {
    let world = World::new(make);
    let task = world.create(work("x")).id;
    world.work_off(SessionResult::Completed);
    let tasks = vec![task];
    world
        .run(Command::ArchiveTasks {
            tasks,
            archived: true,
        })
        .expect("it has ended");
    delete(&world, task).expect("it has ended");
    assert_eq!(page(&world, Deleted::Only), [task]);
    let back = undelete(&world, task, Rekey::Same).expect("it comes back");
    assert!(back.archived_at.is_some());
    assert_eq!(world.counts(), [].into());
    assert_eq!(page(&world, Deleted::With), []);
}

/// What others wait for stays, and so does what runs.
pub fn a_task_that_is_needed_is_not_deleted(make: Make) {
    let world = World::new(make);
    let first = world.create(work("first")).id;
    let behind = world.create_behind("behind", &[first]).id;
    let refused = delete(&world, first).expect_err("somebody waits");
    assert!(
        refused.to_string().contains(&behind.to_string()),
        "{refused}"
    );
    let (session, _) = world.claim().expect("it may start");
    assert!(delete(&world, first).is_err(), "it runs");
    delete(&world, behind).expect("it waits");
    assert!(delete(&world, first).is_err(), "it runs");
    world.finish(&session, failed()).expect("it runs");
    delete(&world, first).expect("nobody waits");
    let back = undelete(&world, behind, Rekey::Same).expect("it comes back");
    assert_eq!(back.status(), TaskStatus::Pending);
    assert!(
        world.claim().is_none(),
        "what it waits for has not completed"
    );
}

/// A chain stays a chain whichever of its tasks is deleted or purged.
pub fn a_chain_outlives_its_tasks(make: Make) {
    let world = World::new(make);
    let first = world.create(work("first")).id;
    let behind = world.create_behind("behind", &[first]).id;
    world.work_off(failed());
    let second = world.retry(first, None).expect("it has failed").id;
    delete(&world, first).expect("its retry is there");
    assert_eq!(purge(&world, first), Ok(vec![first]));
    assert!(delete(&world, second).is_err(), "somebody waits for it");
    world.work_off(SessionResult::Completed);
    delete(&world, second).expect("it has completed");
    assert_eq!(purge(&world, second), Ok(vec![second]));
    let details = world.details(behind);
    assert_eq!(details.view.blocked_by, [], "its chain has completed");
    assert_eq!(world.claim().expect("it may start").1.id, behind);
    let chain: Vec<TaskId> = world
        .details(first)
        .chain
        .iter()
        .map(|task| task.id)
        .collect();
    assert_eq!(chain, [first, second]);
    let later = world.create_behind("later", &[behind]);
    assert_eq!(later.spec.depends_on, [behind]);
}

/// Nothing that somebody wrote is left, and every hash still is.
pub fn a_purged_task_leaves_its_place_and_its_hashes(make: Make) {
    let world = World::new(make);
    let task = world.create(named("secret")).id;
    assert!(purge(&world, task).is_err(), "it is not deleted");
    world.work_off(failed());
    let session = world.details(task).sessions.remove(0);
    delete(&world, task).expect("it has ended");
    let before = world.contents().log;
    assert_eq!(purge(&world, task), Ok(vec![task]));
    assert_eq!(
        purge(&world, task),
        Ok(vec![]),
        "a second time changes nothing"
    );
    let log = world.contents().log;
    super::log::verify(&log);
    assert_eq!(log.len(), before.len() + 2, "that it was purged is there");
    let of = |kind, id| {
        let stream = Stream { kind, id };
        let is_own = move |entry: &&Entry| entry.stream == stream;
        log.iter()
            .filter(is_own)
            .map(|entry| entry.dropped.is_some())
    };
    let streams = [
        (StreamKind::Task, task.number()),
        (StreamKind::Session, session.id.number()),
    ];
    for (kind, id) in streams {
        let kept: Vec<bool> = of(kind, id).collect();
        let (last, rest) = kept.split_last().expect("it has a stream");
        assert!(!last && rest.iter().all(|dropped| *dropped), "{kept:?}");
    }
    let text = format!("{log:?}");
    assert!(!text.contains("find the bug"), "{text}");

    let left = world.task(task);
    assert!(left.purged_at.is_some() && left.status() == TaskStatus::Failed);
    assert_eq!((left.spec.prompt.as_str(), &left.spec.key), ("", &None));
    assert_eq!(
        left.failure().map(|failure| failure.message.as_str()),
        Some("")
    );
    let details = world.details(task);
    let emptied = &details.sessions[0];
    assert_eq!((emptied.id, emptied.status), (session.id, session.status));
    assert_eq!(page(&world, Deleted::With), []);
    assert!(undelete(&world, task, Rekey::Same).is_err());
    assert!(resolve(&world, "secret", true).is_err());
    assert_eq!(resolve(&world, &task.to_string(), true), Ok(task));
    let _again = world.create(named("secret"));
}

/// What a task that has not ended goes on from is not purged.
pub fn what_is_gone_on_from_is_not_purged(make: Make) {
    let world = World::new(make);
    let task = world.create(work("x")).id;
    world.work_off(failed());
    let user = world.create(NewTask {
        continues: Some(task.to_string()),
        ..work("more")
    });
    delete(&world, task).expect("it has ended");
    let refused = purge(&world, task).expect_err("somebody goes on from it");
    assert!(
        refused.to_string().contains(&user.id.to_string()),
        "{refused}"
    );
    assert!(world.task(task).purged_at.is_none());
    world.work_off(SessionResult::Completed);
    assert_eq!(purge(&world, task), Ok(vec![task]));
}

/// By id, by its end and by key; a live one goes before.
pub fn deleted_tasks_are_found_where_they_are_asked_for(make: Make) {
    let world = World::new(make);
    let first = world.create(named("nightly")).id;
    let digits = first.number().to_string();
    let end = &digits[digits.len() - 6..];
    delete(&world, first).expect("it waits");
    for name in [first.to_string().as_str(), digits.as_str(), end, "nightly"] {
        assert!(
            matches!(resolve(&world, name, false), Err(Error::NotFound { .. })),
            "{name}"
        );
        assert_eq!(resolve(&world, name, true), Ok(first), "{name}");
    }
    let second = world.create(named("nightly")).id;
    assert_eq!(resolve(&world, "nightly", true), Ok(second));
    delete(&world, second).expect("it waits");
    assert!(matches!(
        resolve(&world, "nightly", true),
        Err(Error::Ambiguous { .. })
    ));
}
