//! The documented exit codes, each by a command that ends so.

use crate::place::Place;

#[test]
fn every_code_has_its_case() {
    let place = Place::folder();
    let pending = place.start(&["writer", "a task"]);
    let cancelled = place.start(&["writer", "another task"]);
    place.run(&["cancel", &cancelled]).ok();
    let table: &[(&[&str], i32)] = &[
        (&["status"], 0),
        (&["show", &pending], 0),
        (&["--nonsense"], 2),
        (&["nonsense"], 2),
        (&["start", "writer", "x", "--priority", "11"], 2),
        (&["show", "task_1"], 3),
        (&["show", "task_/../x"], 2),
        (&["cancel", "task_1"], 3),
        (&["cancel", &cancelled], 4),
        (&["retry", &pending], 4),
        (&["timeout", &pending], 4),
        (&["timeout", "extend", &pending, "5"], 4),
        (&["diff", &pending], 4),
        (&["merge", &pending], 4),
        (&["logs", &pending], 3),
        (&["archive"], 4),
        (&["clean", "bogus"], 2),
        (&["config", "get", "run.nothing"], 2),
        (&["wait", &pending, "--timeout", "1"], 124),
        (&["--project", "/nowhere/at/all", "status"], 3),
    ];
    for (args, code) in table {
        let ran = place.run(args);
        assert_eq!(ran.code, *code, "{args:?}: {ran:#?}");
        let quiet = ran.err.is_empty() || ran.err.starts_with("hint");
        assert!(quiet || *code != 0, "{ran:?}");
        assert!(!ran.err.contains("panicked"), "{ran:?}");
    }
}

#[test]
fn an_unusable_store_is_unavailable() {
    let mut place = Place::folder();
    place.set("CREWBOSS_HOME", "/dev/null/nowhere");
    let ran = place.run(&["start", "writer", "x"]);
    assert_eq!(ran.code, 5, "{ran:#?}");
    assert!(ran.err.starts_with("error: "), "{ran:?}");
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let place = Place::folder();
    let mut child = place.command(["man"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stderr, b"", "{output:?}");
}
