//! A process that is killed while it writes.

#![expect(clippy::disallowed_methods, reason = "a test that starts itself again")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use domain::id::TaskId;
use testkit::contract::{log, world::work};

use crate::processes::{STORE, again, check_integrity, named_world, world_at};

#[test]
#[ignore = "is started by the test below, in a process of its own"]
fn writes_until_killed() {
    let Some(world) = named_world() else { return };
    let mut stdout = std::io::stdout().lock();
    loop {
        let task = world.create(work("x"));
        writeln!(stdout, "\n{}", task.id).expect("the parent reads");
        stdout.flush().expect("the parent reads");
    }
}

/// The system lets no file grow beyond some byte, and ends whoever tries.
#[test]
fn a_store_that_was_half_made_is_made_by_the_next() {
    let program = std::env::current_exe().expect("this binary");
    let folder = tempfile::tempdir().expect("a folder");
    let mut half_made = 0;
    for limit in (1..100_u32).map(|step| step * 1_531) {
        let path = folder.path().join(format!("{limit}.sqlite"));
        let status = Command::new("prlimit")
            .args(["--core=0", &format!("--fsize={limit}")])
            .arg(&program)
            .args(["--exact", "crash::makes_a_store", "--ignored", "--quiet"])
            .env(STORE, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("prlimit");
        half_made += u32::from(status.code().is_none());
        let world = world_at(&path);
        let task = world.create(work("x"));
        assert_eq!(world.task(task.id).id, task.id, "{limit}");
        log::verify(&world.contents().log);
        drop(world);
        check_integrity(&path);
    }
    assert!(half_made > 10, "{half_made}");
}

#[test]
#[ignore = "is started by the test above, in a process of its own"]
fn makes_a_store() {
    drop(named_world());
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.sqlite");
    let mut acknowledged: Vec<TaskId> = vec![];
    for round in 0..10 {
        let mut child = again("crash::writes_until_killed", &path, Stdio::piped());
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut seen = 0;
        while seen < 3 + round {
            let line = lines.next().expect("it writes on").expect("text");
            if let Ok(id) = line.parse() {
                acknowledged.push(id);
                seen += 1;
            }
        }
        child.kill().expect("it lives");
        child.wait().expect("it has ended");
        let rest = lines.map_while(Result::ok);
        acknowledged.extend(rest.filter_map(|line| line.parse::<TaskId>().ok()));
    }
    let world = world_at(&path);
    for id in &acknowledged {
        assert_eq!(world.task(*id).id, *id);
    }
    log::verify(&world.contents().log);
    check_integrity(&path);
}
