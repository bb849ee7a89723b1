//! A store that takes in everything of another one.

use std::sync::Arc;

use app::{error::Error, ports::clock::Clock};
use domain::{session::SessionResult, task::Limits};
use store_postgres::Target;
use testkit::contract::{
    Subject,
    clock::ManualClock,
    log,
    world::{World, work},
};

use crate::subject::{Postgres, at, memory};

fn empty(url: &str, clock: &Arc<ManualClock>) -> Arc<Postgres> {
    let target = Target::parse(url).expect("an address");
    Arc::new(Postgres(at(target, Arc::clone(clock) as Arc<dyn Clock>)))
}

#[test]
fn everything_comes_out_as_it_was() {
    let Some(url) = testkit::postgres::store() else {
        return;
    };
    let old = World::new(memory);
    let first = old.create(app::command::NewTask {
        key: Some("first".to_owned()),
        limits: Limits {
            auto_retry: true,
            ..Limits::default()
        },
        ..work("first")
    });
    let behind = old.create_behind("behind", &[first.id]);
    for n in 0..1_100 {
        let _many = old.create(work(&n.to_string()));
    }
    assert_eq!(old.work_off(SessionResult::Completed), first.id);

    let filled = empty(&url, &old.clock);
    let mut heard = 0;
    old.store.look(&mut |reader| {
        let told = filled
            .0
            .fill_from(reader, &mut |n| heard = n)
            .expect("it fills");
        assert_eq!((told.projects, told.tasks, told.sessions), (1, 1_102, 1));
        assert_eq!(told.events, heard);
    });
    let new = World {
        store: Arc::clone(&filled) as Arc<dyn Subject>,
        clock: Arc::clone(&old.clock),
        project: old.project,
    };
    assert_eq!(new.contents(), old.contents());
    log::verify(&new.contents().log);
    assert_eq!(new.details(behind.id).view.task.id, behind.id);

    // It goes on from there, and takes nothing in a second time.
    let next = new.create(work("next"));
    assert!(next.id > behind.id);
    old.store.look(&mut |reader| {
        let again = filled.0.fill_from(reader, &mut |_| ());
        assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
    });
    log::verify(&new.contents().log);
}
