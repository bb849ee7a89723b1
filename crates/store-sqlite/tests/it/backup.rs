//! Copies, and files that are not whole.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use app::error::Error;
use store_sqlite::{SqliteStore, back_up, check};
use testkit::contract::{
    clock::ManualClock,
    world::{World, work},
};

use crate::subject::Sqlite;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::default())
}

fn world(path: &Path) -> World {
    let clock = clock();
    World::of(Arc::new(Sqlite::at(path, Arc::clone(&clock) as _)), clock)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it works");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("it works")
                .file_name()
                .into_string()
                .expect("it works")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_copy_is_a_store_with_the_same_content() {
    let folder = tempfile::tempdir().expect("it works");
    let (path, copy) = (folder.path().join("store.db"), folder.path().join("copies"));
    fs::create_dir(&copy).expect("it works");
    let world_before = world(&path);
    let task = world_before.create(work("x"));
    let contents = world_before.contents();
    let file = copy.join("copy.db");
    let copied = back_up(&path, &file).expect("it works");
    assert_eq!(copied.tasks, 1);
    assert_eq!(copied.bytes, fs::metadata(&file).expect("it works").len());
    assert_eq!(fs::metadata(&file).expect("it works").mode() & 0o777, 0o600);
    assert_eq!(names(&copy), ["copy.db"], "nothing else is left");
    let _later = world_before.create(work("after the copy"));

    let again = SqliteStore::open(&file, clock()).expect("it works");
    assert_eq!(
        again.look(|reader| reader.task(task.id)).expect("it works"),
        Some(task)
    );
    drop(again);
    assert_eq!(world(&file).contents(), contents);
    match back_up(&path, &file) {
        Err(Error::Exists { name, .. }) => assert!(name.ends_with("copy.db"), "{name}"),
        other => panic!("{other:?}"),
    }
}

/// Each task is created in one transaction with its events: a copy never has a part of one.
#[test]
fn a_copy_is_of_one_moment_while_others_write() {
    let folder = tempfile::tempdir().expect("it works");
    let path = folder.path().join("store.db");
    let world = world(&path);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _task = world.create(work("x"));
            }
        });
        let mut last = 0;
        for number in 0..10 {
            let file = folder.path().join(format!("copy{number}.db"));
            let copied = back_up(&path, &file).expect("it works");
            assert_eq!(check(&file).expect("it works"), [""; 0]);
            let store = SqliteStore::open(&file, clock()).expect("it works");
            let events = store
                .look(|reader| reader.events(None, 0, 1_000_000))
                .expect("it works");
            let created = events.iter().filter(|entry| {
                String::from_utf8_lossy(&entry.header).contains("\"task.created\"")
            });
            assert_eq!(created.count() as u64, copied.tasks);
            assert_eq!(
                events.last().map_or(0, |entry| entry.position),
                copied.position
            );
            assert!(copied.tasks >= last);
            last = copied.tasks;
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_file_that_is_not_whole_is_told_and_not_copied() {
    let folder = tempfile::tempdir().expect("it works");
    let path = folder.path().join("store.db");
    let other = world(&path);
    for _ in 0..200 {
        let _task = other.create(work(&"x".repeat(500)));
    }
    drop(other);
    let whole = folder.path().join("whole.db");
    back_up(&path, &whole).expect("it works");
    let mut bytes = fs::read(&whole).expect("it works");
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 2_000] {
        *byte ^= 0x5a;
    }
    let broken = folder.path().join("broken.db");
    fs::write(&broken, bytes).expect("it works");
    let told = check(&broken);
    assert!(
        told.as_ref().map_or(true, |wrong| !wrong.is_empty()),
        "{told:?}"
    );
    let copy = folder.path().join("copy.db");
    assert!(back_up(&broken, &copy).is_err());
    assert!(
        !names(folder.path())
            .iter()
            .any(|name| name.starts_with("copy.db"))
    );
}
