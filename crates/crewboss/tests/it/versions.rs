//! `--expected-version`: a change of what somebody else has changed meanwhile is refused, and says
//! what differs.

use std::{process::Child, thread};

use serde_json::Value;

use crate::place::{Place, Ran};

#[track_caller]
fn conflict(ran: &Ran) -> Value {
    assert_eq!(ran.code, 4, "{ran:#?}");
    let document = ran.json();
    assert_eq!(document["schema"], "crewboss.error");
    assert_eq!(document["code"], "version_conflict", "{document:#}");
    document
}

fn version(place: &Place, id: &str) -> u64 {
    let shown = place
        .run(&["show", id, "--include-deleted", "--json"])
        .ok()
        .json();
    shown["version"].as_u64().unwrap()
}

#[test]
fn the_error_says_what_differs_and_whether_to_ask_again() {
    let place = Place::folder();
    let id = place.start(&["writer", "a", "--timeout", "60"]);
    assert_eq!(version(&place, &id), 1);
    let extend = |seen: &str| {
        place.run(&[
            "timeout",
            "extend",
            &id,
            "30",
            "--expected-version",
            seen,
            "--json",
        ])
    };
    extend("1").ok();
    let document = conflict(&extend("1"));
    let found = &document["conflict"];
    assert_eq!(found["target"], id.as_str());
    assert_eq!(
        (&found["expected_version"], &found["found_version"]),
        (&1.into(), &2.into())
    );
    assert_eq!(found["fields"][0]["field"], "timeout_seconds");
    assert_eq!(found["fields"][0]["expected"], "60");
    assert_eq!(found["fields"][0]["found"], "90");
    assert_eq!(found["events"][0], "task.limits_changed");
    assert_eq!(
        (&document["retryable"], &document["exit_code"]),
        (&true.into(), &4.into())
    );
    extend("2").ok();
    let text = place.run(&["cancel", &id, "--if-version", "1"]);
    assert_eq!(text.code, 4, "{text:#?}");
    assert!(
        text.err
            .contains("has version 3, not 1: timeout_seconds changed since"),
        "{text:#?}"
    );
    assert!(text.err.contains("timeout_seconds: 60 -> 120"), "{text:#?}");
    assert_eq!(place.status_of(&id), "pending");
}

/// Each with the version that was seen before, and then with the one that there is.
#[test]
fn every_verb_that_changes_one_task_takes_it() {
    let place = Place::folder();
    let stale = |id: &str, args: &[&str]| {
        let before = version(&place, id);
        let old = (before - 1).to_string();
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let refused: Vec<&str> = args
            .iter()
            .copied()
            .chain(["--expected-version", &old])
            .collect();
        let document = conflict(&place.run(&refused));
        assert_eq!(document["conflict"]["found_version"], before, "{refused:?}");
        assert_eq!(version(&place, id), before, "{refused:?} changed nothing");
        let new = before.to_string();
        let good: Vec<&str> = args
            .iter()
            .copied()
            .chain(["--expected-version", &new])
            .collect();
        place.run(&good)
    };
    let moved = |args: &[&str]| {
        let id = place.start(args);
        place.run(&["timeout", "extend", &id, "1"]).ok();
        id
    };
    let limited = |agent| moved(&[agent, "x", "--timeout", "60"]);

    let id = limited("writer");
    stale(&id, &["cancel", &id]).ok();
    let id = limited("sleeper");
    stale(&id, &["run", &id]).ok();
    stale(&id, &["timeout", &id]).ok();
    stale(&id, &["retry", &id]).ok();
    let id = limited("late7");
    stale(&id, &["run", &id, "--wait"]);
    stale(&id, &["task", "delete", &id]).ok();
    stale(&id, &["task", "undelete", &id]).ok();
    stale(&id, &["task", "delete", &id]).ok();
    stale(&id, &["task", "purge", &id, "--yes"]).ok();

    let id = moved(&["ada", "x", "--timeout", "60", "--external"]);
    stale(&id, &["task", "attach", &id, "--agent", "ada"]).ok();
    stale(&id, &["task", "detach", &id]).ok();
    stale(&id, &["task", "attach", &id, "--agent", "ada"]).ok();
    stale(&id, &["task", "complete", &id]).ok();
    place.configure("[archive]\nmax_completed_age_days = 0\n");
    let id = moved(&["ada", "x", "--timeout", "60", "--external"]);
    place.run(&["task", "attach", &id, "--agent", "ada"]).ok();
    stale(&id, &["task", "fail", &id, "-m", "no"]).ok();
}

#[test]
fn a_running_task_that_is_deleted_as_it_was_seen_is_cancelled_first() {
    let place = Place::folder();
    let id = place.start(&["sleeper", "x"]);
    place.run(&["run", &id]).ok();
    let seen = version(&place, &id).to_string();
    place
        .run(&["task", "delete", &id, "--expected-version", &seen])
        .ok();
    let shown = place
        .run(&["show", &id, "--include-deleted", "--json"])
        .ok()
        .json();
    assert_eq!(shown["status"], "cancelled");
    assert!(!shown["deleted_at"].is_null());
}

#[test]
fn a_version_is_that_of_one_task() {
    let place = Place::folder();
    let (one, two) = (place.start(&["writer", "a"]), place.start(&["writer", "b"]));
    for args in [
        vec!["cancel", &one, &two, "--expected-version", "1"],
        vec!["run", "--expected-version", "1"],
        vec!["task", "delete", &one, &two, "--expected-version", "1"],
        vec!["cancel", &one, "--expected-version", "-1"],
        vec!["cancel", &one, "--expected-version", "x"],
    ] {
        let ran = place.run(&args);
        assert_eq!(ran.code, 2, "{args:?}: {ran:#?}");
    }
    assert_eq!(place.status_of(&one), "pending");
}

/// Ten processes that have all seen the same, with and without a daemon between them and the store.
#[test]
fn of_ten_processes_one_gets_through() {
    let place = Place::folder();
    let id = place.start(&["writer", "a", "--timeout", "60"]);
    let spawn = |_| {
        let args = [
            "timeout",
            "extend",
            &id,
            "1",
            "--expected-version",
            "1",
            "--json",
        ];
        place.command(args).spawn().unwrap()
    };
    let children: Vec<Child> = (0..10).map(spawn).collect();
    let waits = children
        .into_iter()
        .map(|child| thread::spawn(|| child.wait_with_output()));
    let waits: Vec<_> = waits.collect();
    let mut done = 0;
    for wait in waits {
        let output = wait.join().unwrap().unwrap();
        match output.status.code() {
            Some(0) => done += 1,
            Some(4) => {
                let document: Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!(document["conflict"]["found_version"], 2, "{document:#}");
            }
            _ => panic!("{output:?}"),
        }
    }
    assert_eq!(done, 1);
    assert_eq!(version(&place, &id), 2);
}
