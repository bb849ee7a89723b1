//! Creating tasks and finding them again.

use app::{
    command::{Command, NewTask, Output, QueueLimits},
    error::Error,
    query::{Query, View},
};
use domain::{
    session::StopReason,
    task::{Limits, TaskStatus},
};

use super::{
    Make,
    world::{World, work},
};

/// What is stored is what was given, in every field.
pub fn a_task_is_read_back_as_it_was_given(make: Make) {
    let world = World::new(make);
    let new = NewTask {
        key: Some("nightly".to_owned()),
        labels: vec!["a".to_owned(), "b".to_owned()],
        metadata: [("ticket".to_owned(), "7 \u{1F600} \"'\n".to_owned())].into(),
        limits: Limits {
            timeout_seconds: Some(90),
            timeout_warning_seconds: 5,
            retries_max: 7,
            auto_retry: true,
        },
        ..work("  \n  make it so\nand more")
    };
    let made = world.create(new);
    assert_eq!(made.spec.name, "make it so");
    assert_eq!(world.task(made.id), made);
    assert_eq!(world.counts(), [(TaskStatus::Pending, 1)].into());
    let again = world.run(super::world::register_command());
    let Ok(Output::Project { project }) = again else {
        panic!("{again:?}");
    };
    assert_eq!(project.id, world.project, "a directory is one project");
}

/// One clear error that names the field, and nothing written.
pub fn bad_input_changes_nothing(make: Make) {
    let world = World::new(make);
    let before = world.contents();
    let no_time = Limits {
        timeout_seconds: Some(0),
        ..Limits::default()
    };
    let bad = [
        ("prompt", work(" \n\t")),
        (
            "timeout",
            NewTask {
                limits: no_time,
                ..work("x")
            },
        ),
        (
            "key",
            NewTask {
                key: Some("../x".to_owned()),
                ..work("x")
            },
        ),
        (
            "key",
            NewTask {
                key: Some("123".to_owned()),
                ..work("x")
            },
        ),
    ];
    for (field, new) in bad {
        match world.try_create(new) {
            Err(Error::Invalid { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    assert_eq!(world.contents(), before);
}

/// A key is taken until its task is deleted.
pub fn a_key_names_one_task_that_is_not_deleted(make: Make) {
    let world = World::new(make);
    let keyed = || NewTask {
        key: Some("nightly".to_owned()),
        ..work("x")
    };
    let first = world.create(keyed());
    assert!(matches!(
        world.try_create(keyed()),
        Err(Error::Exists { .. })
    ));
    world.stop(first.id, StopReason::Cancel).expect("it ends");
    world
        .run(Command::DeleteTasks {
            tasks: vec![first.id],
        })
        .expect("it is deleted");
    let second = world.create(keyed());
    assert_eq!(resolve(&world, "nightly"), Ok(second.id));
}

fn resolve(world: &World, name: &str) -> Result<domain::id::TaskId, Error> {
    let query = Query::Resolve {
        deleted: false,
        project: world.project,
        name: name.to_owned(),
    };
    world.store.read(&query).map(|view| match view {
        View::Resolved { id } => id,
        other => panic!("resolving answers {other:?}"),
    })
}

/// A whole id, the end of one, or a key; an end that fits several is refused with their names.
pub fn ids_suffixes_and_keys_resolve(make: Make) {
    let world = World::new(make);
    let tasks: Vec<_> = (0..12)
        .map(|n| world.create(work(&format!("t{n}"))))
        .collect();
    for task in &tasks {
        let text = task.id.to_string();
        assert_eq!(resolve(&world, &text), Ok(task.id));
        let digits = text.trim_start_matches("task_");
        assert_eq!(resolve(&world, digits), Ok(task.id));
        assert_eq!(resolve(&world, &digits[digits.len() - 4..]), Ok(task.id));
    }
    let last = tasks[0].id.to_string();
    let last = &last[last.len() - 1..];
    match resolve(&world, last) {
        Err(Error::Ambiguous { candidates, .. }) => assert_eq!(candidates.len(), 2),
        other => panic!("{last}: {other:?}"),
    }
    for unknown in ["task_1", "nobody", "9999999"] {
        assert!(
            matches!(resolve(&world, unknown), Err(Error::NotFound { .. })),
            "{unknown}"
        );
    }
    for bad in ["../x", "task_/../x", "", "a b", "task_1\n"] {
        assert!(
            matches!(resolve(&world, bad), Err(Error::Invalid { .. })),
            "{bad:?}"
        );
    }
}

/// Numbers never repeat, whatever the clock does.
pub fn ids_rise_when_the_clock_goes_back(make: Make) {
    let world = World::new(make);
    let mut last = world.create(work("first")).id;
    for wall in [1_700_000_000_000, 1, -5, 1_800_000_000_001] {
        world.clock.set_wall(wall);
        let next = world.create(work("next")).id;
        assert!(next > last, "{next} after {last}");
        last = next;
    }
}

/// The limit counts what has not ended.
pub fn a_full_queue_refuses_or_warns(make: Make) {
    let world = World::new(make);
    let create = |refuse_when_full| {
        world.run(Command::CreateTask {
            project: world.project,
            task: Box::new(work("x")),
            queue: QueueLimits {
                queue_max: 2,
                refuse_when_full,
            },
        })
    };
    create(true).expect("the first");
    create(true).expect("the second");
    assert!(matches!(create(true), Err(Error::Limit { .. })));
    match create(false) {
        Ok(Output::Task { queue_over, .. }) => assert_eq!(queue_over, Some(3)),
        other => panic!("{other:?}"),
    }
}
