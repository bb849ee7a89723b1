//! Several processes on one store. This test binary starts itself again as those processes.

#![expect(
    clippy::disallowed_methods,
    reason = "a test that starts itself again reads its own environment"
)]

use std::{
    collections::BTreeSet,
    env,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
};

use domain::{id::TaskId, task::TaskStatus};
use store_postgres::Target;
use testkit::contract::{
    clock::ManualClock,
    log,
    world::{World, work},
};

use crate::subject::{Postgres, at};

pub(crate) const STORE: &str = "CREWBOSS_TEST_STORE";
const THREADS: usize = 10;
const TASKS: usize = 6;

/// A world on the store that the environment names; `None` where this is no child.
pub(crate) fn named_world() -> Option<World> {
    Some(world_at(&env::var(STORE).ok()?))
}

/// A world on this store.
pub(crate) fn world_at(url: &str) -> World {
    let clock = Arc::new(ManualClock::default());
    let target = Target::parse(url).expect("an address");
    let store = Postgres(at(target, Arc::clone(&clock) as _));
    World::of(Arc::new(store), clock)
}

/// This binary again, as one of its ignored tests, on this store.
pub(crate) fn again(test: &str, url: &str, output: Stdio) -> Child {
    Command::new(env::current_exe().expect("this binary"))
        .args(["--exact", test, "--ignored", "--nocapture", "--quiet"])
        .env(STORE, url)
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .expect("a process")
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
    let Some(url) = testkit::postgres::store() else {
        return;
    };
    let children: Vec<Child> = (0..2)
        .map(|_| again("processes::creates_and_claims", &url, Stdio::null()))
        .collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    let world = world_at(&url);
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
}
