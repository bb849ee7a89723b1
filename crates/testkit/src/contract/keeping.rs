//! What is kept around tasks: counters, pages, answers, effects.

use app::{
    command::{Command, Meta, Output, Request},
    ports::store::Effect,
    query::TaskFilter,
};
use domain::{
    id::TaskId,
    session::{SessionResult, StopReason},
    task::TaskStatus,
};

use super::{
    Make,
    world::{World, create_command, failed, meta, request, work},
};

fn changed(output: Output) -> Vec<TaskId> {
    match output {
        Output::Tasks { tasks } => tasks,
        other => panic!("{other:?}"),
    }
}

/// Only what has ended; the counters follow.
pub fn deleting_and_archiving_move_the_counters(make: Make) {
    let world = World::new(make);
    let tasks: Vec<TaskId> = (0..3)
        .map(|n| world.create(work(&format!("{n}"))).id)
        .collect();
    let [done, lost, waiting] = tasks[..] else {
        panic!("three tasks");
    };
    world.work_off(SessionResult::Completed);
    world.work_off(failed());
    let archive = |tasks, archived| {
        world
            .run(Command::ArchiveTasks { tasks, archived })
            .map(changed)
    };
    assert_eq!(archive(vec![done], true), Ok(vec![done]));
    assert_eq!(archive(vec![done], true), Ok(vec![]), "it is there already");
    assert!(archive(vec![lost, waiting], true).is_err());
    let expected = [(TaskStatus::Pending, 1), (TaskStatus::Failed, 1)];
    assert_eq!(world.counts(), expected.into(), "all or nothing");
    let archived = TaskFilter {
        archived: true,
        ..TaskFilter::default()
    };
    assert_eq!(world.page(&archived, 10), [done]);
    assert_eq!(world.page(&TaskFilter::default(), 10), [lost, waiting]);
    assert_eq!(archive(vec![done], false), Ok(vec![done]));
    let delete = world.run(Command::DeleteTasks {
        tasks: vec![done, lost, waiting],
    });
    assert_eq!(delete.map(changed), Ok(vec![done, lost]));
    assert_eq!(world.counts(), [(TaskStatus::Pending, 1)].into());
    assert_eq!(world.page(&TaskFilter::default(), 10), [waiting]);
    assert!(world.task(done).deleted_at.is_some(), "the row stays");
    assert!(world.retry(lost, None).is_err());
}

/// A failed task whose retry others wait for is not deleted: nothing else could free them.
pub fn what_others_wait_for_is_not_deleted(make: Make) {
    let world = World::new(make);
    let first = world.create(work("first")).id;
    world.work_off(failed());
    let waiting = world.create_behind("second", &[first]);
    assert_eq!(waiting.spec.depends_on, [first]);
    let delete = |tasks| world.run(Command::DeleteTasks { tasks }).map(changed);
    assert_eq!(delete(vec![first]), Ok(vec![]));
    let again = world.retry(first, None).expect("it has failed").id;
    assert_eq!(delete(vec![first]), Ok(vec![first]), "its retry is there");
    assert_eq!(delete(vec![again]), Ok(vec![]));
}

/// Both directions, any status, no task twice and none left out.
pub fn pages_follow_each_other(make: Make) {
    let world = World::new(make);
    let all: Vec<TaskId> = (0..23)
        .map(|n| world.create(work(&format!("{n}"))).id)
        .collect();
    for n in 0..9 {
        world.work_off(if n % 3 == 0 {
            failed()
        } else {
            SessionResult::Completed
        });
    }
    let ended = |keep: fn(usize) -> bool| -> Vec<TaskId> {
        let kept = all.iter().enumerate().filter(|(n, _)| keep(*n));
        kept.map(|(_, id)| *id).collect()
    };
    let cases: [(Vec<TaskStatus>, Vec<TaskId>); 4] = [
        (vec![], all.clone()),
        (vec![TaskStatus::Pending], ended(|n| n >= 9)),
        (vec![TaskStatus::Failed], ended(|n| n < 9 && n % 3 == 0)),
        (
            vec![TaskStatus::Completed, TaskStatus::Pending],
            ended(|n| n >= 9 || n % 3 != 0),
        ),
    ];
    for (statuses, mut expected) in cases {
        for newest_first in [false, true] {
            let mut filter = TaskFilter {
                project: Some(world.project),
                statuses: statuses.clone(),
                newest_first,
                ..TaskFilter::default()
            };
            let mut seen = vec![];
            loop {
                let page = world.page(&filter, 4);
                assert!(page.len() <= 4);
                let Some(last) = page.last() else { break };
                filter.after = Some(*last);
                seen.extend(page);
            }
            assert_eq!(seen, expected, "{statuses:?}, newest first: {newest_first}");
            expected.reverse();
        }
    }
}

/// Asking again gets the same answer and changes nothing; a day later it is a new request.
pub fn an_idempotency_key_gets_the_first_answer_for_a_day(make: Make) {
    let world = World::new(make);
    let ask = |key: &str| {
        let keyed = Request {
            meta: Meta {
                idempotency_key: Some(key.to_owned()),
                ..meta()
            },
            ..request(create_command(world.project, work("once")))
        };
        world.store.execute(keyed)
    };
    let first = ask("k1").expect("an answer");
    let before = world.contents();
    world.clock.advance(86_399_000);
    assert_eq!(ask("k1").as_ref(), Ok(&first));
    assert_eq!(world.contents().log, before.log);
    assert_ne!(ask("k2").as_ref(), Ok(&first));
    world.clock.advance(1_000);
    assert_ne!(ask("k1").as_ref(), Ok(&first), "a day has passed");
    let bad = Request {
        meta: Meta {
            idempotency_key: Some("k3".to_owned()),
            ..meta()
        },
        ..request(create_command(world.project, work(" ")))
    };
    assert!(world.store.execute(bad).is_err());
    assert!(ask("k3").is_ok(), "a refusal is not kept");
}

/// A page begins behind the last task of the one before.
pub fn effects_are_read_in_pages(make: Make) {
    let world = World::new(make);
    for name in ["one", "two", "three"] {
        world
            .store
            .execute(request(create_command(world.project, work(name))))
            .expect("a task");
    }
    let mut pages = vec![];
    world.store.look(&mut |reader| {
        let first = reader.effects(None, 2).expect("effects");
        let second = reader.effects(Some(first[1].task), 2).expect("effects");
        let third = reader.effects(Some(second[0].task), 2).expect("effects");
        pages = vec![first, second, third];
    });
    let counts: Vec<usize> = pages.iter().map(Vec::len).collect();
    assert_eq!(counts, [2, 1, 0]);
    assert!(
        pages
            .concat()
            .is_sorted_by(|one, next| one.task < next.task)
    );
}

/// Each commit says what it owes; what is done is forgotten unless more has become owed.
pub fn effects_are_owed_until_they_are_done(make: Make) {
    let world = World::new(make);
    let owed = || {
        let mut effects = vec![];
        world.store.look(&mut |reader| {
            effects = reader.effects(None, 10).expect("effects");
        });
        effects
    };
    let reply = world
        .store
        .execute(request(create_command(world.project, work("x"))))
        .expect("a task");
    let task = super::world::task_of(reply.output);
    let first = Effect {
        task: task.id,
        version: 1,
    };
    assert_eq!(reply.effects, std::slice::from_ref(&first));
    let (_, claimed) = world.claim().expect("it may start");
    let second = Effect {
        task: task.id,
        version: claimed.version,
    };
    assert_eq!(
        owed(),
        std::slice::from_ref(&second),
        "one for each task, the latest"
    );
    let acknowledge = |effect| {
        let done = Request {
            done: vec![effect],
            ..request(super::world::register_command())
        };
        world.store.execute(done).expect("it is heard");
    };
    acknowledge(first);
    assert_eq!(
        owed(),
        std::slice::from_ref(&second),
        "an older version is not enough"
    );
    acknowledge(second);
    assert_eq!(owed(), []);
}

/// Also with commits of one's own; reading changes nothing.
pub fn generation_changes_with_every_commit(make: Make) {
    let world = World::new(make);
    let generation = || world.store.generation().expect("a number");
    let mut last = generation();
    for n in 0..3 {
        assert_eq!(generation(), last);
        let task = world.create(work(&format!("{n}")));
        let _details = world.details(task.id);
        assert_ne!(generation(), last);
        last = generation();
    }
    assert!(
        world
            .stop(TaskId::from_number(1).expect("one"), StopReason::Cancel)
            .is_err()
    );
    assert!(world.contents().log.len() > 3);
}
