//! Retry chains.

use app::{
    command::{Command, NewTask},
    error::Error,
    ports::clock::Clock as _,
    query::{Query, View},
};
use domain::{
    id::TaskId,
    session::{SessionResult, StopReason},
    task::{Limits, TaskStatus},
};

use super::{
    Make,
    world::{World, failed, task_of, work},
};

/// A retry is a new task, linked both ways; nothing else is tried again, and nothing twice.
pub fn only_failed_tasks_are_retried_once_each(make: Make) {
    let world = World::new(make);
    let task = world.create(NewTask {
        key: Some("nightly".to_owned()),
        ..work("x")
    });
    let refused = |id| matches!(world.retry(id, None), Err(Error::Rejected(_)));
    assert!(refused(task.id), "pending");
    world.work_off(failed());
    let next = world.retry(task.id, None).expect("a retry");
    assert_eq!(next.chain.root, task.id);
    assert_eq!(next.chain.retry_of, Some(task.id));
    assert_eq!((next.chain.retry_count, next.spec.key), (1, None));
    assert_eq!(world.task(task.id).chain.retried_by, Some(next.id));
    let before = world.contents();
    assert!(refused(task.id), "retried already");
    assert_eq!(
        world.contents(),
        before,
        "the number that it took is given back"
    );
    world.work_off(SessionResult::Completed);
    assert!(refused(next.id), "completed");
    let given_up = world.create(work("y"));
    world.stop(given_up.id, StopReason::Cancel).expect("ended");
    assert!(refused(given_up.id), "cancelled");
}

/// A retry that continues goes on from the newest attempt; one that does not begins where that
/// began. A task may go on from any other that has been worked on and is not at the moment.
pub fn work_is_gone_on_from(make: Make) {
    let world = World::new(make);
    let first = world.create(work("x"));
    let after = |name: TaskId| NewTask {
        continues: Some(name.to_string()),
        ..work("more")
    };
    let refused = |name| matches!(world.try_create(after(name)), Err(Error::Rejected(_)));
    assert!(refused(first.id), "nobody has worked on it");
    world.work_off(failed());
    let tried = world.details(first.id).sessions.remove(0);
    let again = world.run(Command::RetryTask {
        task: first.id,
        retries_max: None,
        auto_retry: None,
        continues: true,
    });
    let again = task_of(again.expect("a retry"));
    let from = again.spec.continues.clone().expect("it goes on");
    assert_eq!((from.session, &from.commit), (tried.id, &None));
    let (claimed, _) = world.claim().expect("ready");
    assert!(refused(again.id), "somebody works on it");
    world.finish(&claimed, failed()).expect("it ends");
    let third = world.retry(again.id, None).expect("a retry");
    assert_eq!(
        third.spec.continues,
        Some(from),
        "from where that one began"
    );
    let more = world.create(after(again.id));
    let from = more.spec.continues.expect("it goes on");
    assert_eq!(from.session, claimed.id);
}

/// The chain's limit holds, and may be raised with the retry.
pub fn retries_have_a_limit(make: Make) {
    let world = World::new(make);
    let limits = Limits {
        retries_max: 1,
        ..Limits::default()
    };
    let task = world.create(NewTask {
        limits,
        ..work("x")
    });
    world.work_off(failed());
    let second = world.retry(task.id, None).expect("the first retry");
    world.work_off(failed());
    match world.retry(second.id, None) {
        Err(Error::Rejected(rejected)) => {
            assert_eq!(rejected.why, "it has reached max retries (1/1)");
        }
        other => panic!("{other:?}"),
    }
    let third = world.retry(second.id, Some(2)).expect("a raised limit");
    assert_eq!((third.chain.retry_count, third.limits.retries_max), (2, 2));
}

/// Whatever is called, however often: one successor, after the backoff.
pub fn auto_retry_makes_exactly_one_successor(make: Make) {
    let world = World::new(make);
    let limits = Limits {
        retries_max: 2,
        auto_retry: true,
        ..Limits::default()
    };
    let task = world.create(NewTask {
        limits,
        ..work("x")
    });
    for (retry, delay) in [(1, 2_000), (2, 4_000)] {
        let (session, _) = world.claim().expect("it may start");
        for _ in 0..3 {
            world.finish(&session, failed()).expect("heard");
        }
        let chain = world.details(task.id).chain;
        assert_eq!(chain.len(), retry + 1);
        let [.., failed, next] = chain.as_slice() else {
            panic!("{chain:?}");
        };
        assert_eq!(failed.chain.retried_by, Some(next.id));
        let due = next.not_before.as_ref().expect("a time");
        assert_eq!(due.millis_left(&world.clock.now()), delay);
        assert!(world.claim().is_none(), "not before its time");
        let twice = world.run(Command::RetryTask {
            task: failed.id,
            retries_max: None,
            auto_retry: None,
            continues: false,
        });
        assert!(matches!(twice, Err(Error::Rejected(_))), "{twice:?}");
        world.clock.advance(delay);
    }
    world.work_off(failed());
    let chain = world.details(task.id).chain;
    assert_eq!(chain.len(), 3, "the limit ends it");
    assert!(chain.iter().all(|task| task.status() == TaskStatus::Failed));
    let ids = vec![task.id];
    let last = world.store.read(&Query::Standings {
        ids: ids.clone(),
        retries: true,
    });
    let own = world.store.read(&Query::Standings {
        ids: ids.clone(),
        retries: false,
    });
    let (Ok(View::Standings { standings: last }), Ok(View::Standings { standings: own })) =
        (last, own)
    else {
        panic!("standings are answered by standings");
    };
    assert_eq!((last[0].task, own[0].task), (chain[2].id, task.id));
    let whole = world.store.read(&Query::TasksOf { ids });
    assert_eq!(
        whole,
        Ok(View::Tasks {
            tasks: chain[..1].to_vec()
        })
    );
}
