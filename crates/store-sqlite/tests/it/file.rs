//! The file itself: its rights, its form, and what is wrong with it.

use std::{fs, os::unix::fs::MetadataExt as _, sync::Arc};

use app::{error::Error, ports::store::Store as _};
use rusqlite::Connection;
use store_sqlite::SqliteStore;
use testkit::contract::{
    clock::ManualClock,
    world::{World, create_command, request, work},
};

use crate::subject::Sqlite;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::default())
}

#[test]
fn the_file_and_its_folder_are_for_their_user_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a/b/store.sqlite");
    let store = Arc::new(Sqlite::at(&path, clock()));
    let world = World::of(store, clock());
    let _task = world.create(work("x"));
    let mode = |path: &std::path::Path| fs::metadata(path).expect("a file").mode() & 0o777;
    assert_eq!(mode(path.parent().expect("a folder")), 0o700);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_extension("sqlite-wal")), 0o600);
    assert_eq!(mode(&path.with_extension("sqlite-ticket")), 0o600);
}

#[test]
fn a_newer_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.sqlite");
    drop(SqliteStore::open(&path, clock()).expect("a store"));
    let raw = Connection::open(&path).expect("a file");
    raw.pragma_update(None, "user_version", 999).expect("set");
    for opened in [
        SqliteStore::open(&path, clock()),
        SqliteStore::own(&path, clock()),
    ] {
        match opened {
            Err(Error::Unavailable { message }) => assert!(message.contains("newer"), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_no_store_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.sqlite");
    fs::write(&path, "not a database, ".repeat(500)).expect("written");
    match SqliteStore::open(&path, clock()) {
        Err(Error::Corrupt { .. }) => {}
        other => panic!("{other:?}"),
    }
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").expect("written");
    match SqliteStore::open(&blocked.join("store.sqlite"), clock()) {
        Err(Error::Unavailable { message }) => assert!(message.contains("file"), "{message}"),
        other => panic!("{other:?}"),
    }
}

/// Whoever was told by one handle that nothing is new must not take the word of another for the
/// same: a daemon that has just begun has counted no commit of those before it.
#[test]
fn no_two_handles_count_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.sqlite");
    let clock = clock();
    let open = || SqliteStore::open(&path, Arc::clone(&clock) as _).expect("a store");
    let first = open();
    let world = World::of(
        Arc::new(Sqlite::at(&path, Arc::clone(&clock) as _)),
        Arc::clone(&clock),
    );
    let seen = first.generation().expect("a number");
    let _task = world.create(work("x"));
    let second = open();
    assert_ne!(second.generation().expect("a number"), seen);
    assert_ne!(first.generation().expect("a number"), seen);
}

/// A process that opens the store when nobody has it open reads the whole log first.
#[test]
fn handles_that_come_and_go_keep_the_log_short() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.sqlite");
    let log = path.with_extension("sqlite-wal");
    let clock = clock();
    let world = World::of(
        Arc::new(Sqlite::at(&path, Arc::clone(&clock) as _)),
        Arc::clone(&clock),
    );
    let project = world.project;
    drop(world);
    let mut longest = 0;
    for _ in 0..60 {
        let store = SqliteStore::open(&path, Arc::clone(&clock) as _).expect("a store");
        let create = request(create_command(project, work("x")));
        store.execute(create).expect("a task");
        drop(store);
        longest = longest.max(fs::metadata(&log).map_or(0, |log| log.len()));
    }
    assert!(longest < 512 * 1024, "{longest} bytes");
}

#[test]
fn two_handles_see_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.sqlite");
    let clock = clock();
    let owner = SqliteStore::own(&path, Arc::clone(&clock) as _).expect("a store");
    let world = World::of(Arc::new(Sqlite::at(&path, Arc::clone(&clock) as _)), clock);
    let before = owner.generation().expect("a number");
    let task = world.create(work("x"));
    assert_ne!(owner.generation().expect("a number"), before);
    let seen = owner.look(|reader| reader.task(task.id)).expect("a read");
    assert_eq!(seen, Some(task));
    drop(owner);
    let _more = world.create(work("after the owner has gone"));
}
