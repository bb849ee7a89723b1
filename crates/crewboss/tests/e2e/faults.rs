//! Acts that are made to stall or fail at a named moment.

use std::{path::PathBuf, process::Child};

use crate::arena::Arena;

/// A command that stands still for two seconds at a moment; answers once it does.
fn stalled(arena: &Arena, args: &[&str], moment: &str) -> Child {
    let counter = arena.root().join("counter");
    let mut command = arena.command(args);
    command
        .env("CREWBOSS_FAULT", format!("{moment},1,stall:2000"))
        .env("CREWBOSS_FAULT_COUNTER", &counter);
    let child = command.spawn().unwrap();
    arena.until(moment, || counter.exists());
    child
}

fn folder(arena: &Arena, id: &str) -> PathBuf {
    arena.project().join(".crewboss/tasks").join(id)
}

#[test]
fn a_task_that_is_purged_while_its_image_is_owed_has_none() {
    let arena = Arena::repository();
    let id = arena.start("true", &["--external"]);
    let mut cancel = stalled(&arena, &["cancel", &id], "logged,at");
    arena.run(&["clean", &id, "--yes", "--purge"]).ok();
    assert!(!folder(&arena, &id).exists());
    assert!(cancel.wait().unwrap().success());
    assert!(!folder(&arena, &id).exists(), "it came back");
}

#[test]
fn a_fault_happens_once_among_all_processes() {
    let arena = Arena::repository();
    let start = || {
        let mut command = arena.command(["start", "sh", "true"]);
        command
            .env("CREWBOSS_FAULT", "store-commit,before,3,enospc")
            .env("CREWBOSS_FAULT_COUNTER", arena.root().join("counter"));
        command.output().unwrap().status.code()
    };
    // The first of them registers the project too.
    assert_eq!([start(), start(), start()], [Some(0), Some(5), Some(0)]);
}
