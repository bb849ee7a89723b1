//! Stores of earlier forms, brought up to the present one.

use std::{path::PathBuf, sync::Arc};

use app::{
    audit::{Beginning, Report, verify},
    command::{Command, Output, Rekey},
    ports::store::Store as _,
    query::{Deleted, TaskFilter},
};
use domain::{id::TaskId, task::TaskStatus};
use rusqlite::Connection;
use store_sqlite::{SqliteLog, SqliteStore};
use testkit::contract::{
    clock::ManualClock,
    world::{World, request},
};

use crate::subject::Sqlite;

/// As the first release's program wrote it.
const V1: &str = include_str!("forms/v1.sql");

/// The form of today.
const NEWEST: i64 = 5;

struct Old {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Old {
    fn v1() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.sqlite");
        let raw = Connection::open(&path).expect("a file");
        raw.pragma_update(None, "foreign_keys", false).expect("set");
        raw.execute_batch(V1).expect("its own words");
        raw.pragma_update(None, "user_version", 1).expect("set");
        Self {
            _folder: folder,
            path,
        }
    }

    fn form(&self) -> i64 {
        let raw = Connection::open(&self.path).expect("a file");
        raw.query_row("PRAGMA user_version", [], |row| row.get(0))
            .expect("a number")
    }

    fn audit(&self) -> Report {
        let log = SqliteLog::open(&self.path).expect("a log");
        verify(&log, Beginning::default(), &[], &mut |_| {}).expect("it is readable")
    }

    fn world(&self) -> World {
        let clock = Arc::new(ManualClock::default());
        World::of(Arc::new(Sqlite::at(&self.path, clock.clone())), clock)
    }
}

#[test]
fn a_store_of_the_first_form_is_kept_whole() {
    let old = Old::v1();
    let before = old.audit();
    assert_eq!((before.fault, before.entries), (None, ENTRIES));
    assert_eq!(old.form(), 1, "reading its log changes nothing");
    let world = old.world();
    assert_eq!(old.form(), NEWEST);
    let page = |filter: TaskFilter| world.page(&filter, 10);
    let listed = page(TaskFilter::default());
    let deleted = page(TaskFilter {
        deleted: Deleted::Only,
        ..TaskFilter::default()
    });
    let archived = page(TaskFilter {
        archived: true,
        ..TaskFilter::default()
    });
    assert_eq!([&listed, &deleted, &archived].map(Vec::len), [2, 1, 1]);
    let mut counts = 0;
    let project = world.task(listed[0]).project;
    world.store.look(&mut |reader| {
        counts = reader.counts(project).expect("counters").values().sum();
    });
    assert_eq!(counts, 2_u64, "counted by owner, and together");
    assert_eq!(world.task(listed[0]).status(), TaskStatus::Failed);
    assert_eq!(world.task(deleted[0]).purged_at, None);

    let gone = deleted[0];
    let back = world
        .run(Command::UndeleteTask {
            task: gone,
            key: Rekey::Same,
        })
        .expect("it was only deleted");
    assert!(matches!(back, Output::Task { task, .. } if task.spec.key.is_some()));
    purge(&world, gone);
    let after = old.audit();
    assert_eq!(after.fault, None);
    assert!(
        after.dropped > 3 && after.entries == ENTRIES + 5,
        "{after:?}"
    );
}

const ENTRIES: u64 = 30;

fn purge(world: &World, task: TaskId) {
    world
        .run(Command::DeleteTask { task })
        .expect("it has ended");
    world
        .run(Command::PurgeTasks { tasks: vec![task] })
        .expect("it is deleted");
}

/// Whichever process comes first migrates; the others find it done.
#[test]
fn several_processes_may_open_an_old_store_at_once() {
    let old = Old::v1();
    std::thread::scope(|scope| {
        let open = || {
            let clock = Arc::new(ManualClock::default());
            SqliteStore::open(&old.path, clock).map(|store| {
                let command = testkit::contract::world::register_command();
                store.execute(request(command)).map(drop)
            })
        };
        let openers: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
        for opener in openers {
            let opened = opener.join().expect("no panic");
            opened.expect("a store").expect("it is written to");
        }
    });
    assert_eq!(old.form(), NEWEST);
    assert_eq!(old.audit().fault, None);
}
