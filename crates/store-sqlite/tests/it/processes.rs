//! Several processes on one file. This test binary starts itself again as those processes.

#![expect(
    clippy::disallowed_methods,
    reason = "a test that starts itself again reads its own environment"
)]

use std::{
    collections::BTreeSet,
    env,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
};

use domain::{id::TaskId, task::TaskStatus};
use rusqlite::Connection;
use testkit::contract::{
    clock::ManualClock,
    log,
    world::{World, work},
};

use crate::subject::Sqlite;

pub(crate) const STORE: &str = "CREWBOSS_TEST_STORE";
const THREADS: usize = 10;
const TASKS: usize = 6;

/// A world on the file that the environment names; `None` where this is no child.
pub(crate) fn named_world() -> Option<World> {
    let path = env::var_os(STORE)?;
    Some(world_at(Path::new(&path)))
}

/// A world on this file.
pub(crate) fn world_at(path: &Path) -> World {
    let clock = Arc::new(ManualClock::default());
    World::of(Arc::new(Sqlite::at(path, Arc::clone(&clock) as _)), clock)
}

/// This binary again, as one of its ignored tests, on this file.
pub(crate) fn again(test: &str, path: &Path, output: Stdio) -> Child {
    Command::new(env::current_exe().expect("this binary"))
        .args(["--exact", test, "--ignored", "--nocapture", "--quiet"])
        .env(STORE, path)
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .expect("a process")
}

/// SQLite's own view of the file.
pub(crate) fn check_integrity(path: &Path) {
    let raw = Connection::open(path).expect("a file");
    let found: String = raw
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a verdict");
    assert_eq!(found, "ok");
}

#[test]
#[ignore = "is started by the test below, in a process of its own"]
fn creates_and_claims() {
    let Some(world) = named_world() else { return };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for n in 0..TASKS {
                    let _created = world.create(work(&format!("{n}")));
                    world.claim().expect("one waits for each that was made");
                }
            });
        }
    });
}

#[test]
fn two_processes_of_ten_threads_lose_and_double_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.sqlite");
    let children: Vec<Child> = (0..2)
        .map(|_| again("processes::creates_and_claims", &path, Stdio::null()))
        .collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    let world = world_at(&path);
    let total = 2 * THREADS * TASKS;
    assert_eq!(
        world.counts(),
        [(TaskStatus::Running, u64::try_from(total).expect("small"))].into()
    );
    let mut tasks = BTreeSet::<TaskId>::new();
    world.store.look(&mut |reader| {
        for session in reader.live_sessions(None).expect("sessions") {
            assert!(tasks.insert(session.task), "{} twice", session.task);
        }
    });
    assert_eq!(tasks.len(), total);
    log::verify(&world.contents().log);
    check_integrity(&path);
}
