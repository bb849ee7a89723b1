//! Three ways to end a task, taken at the same moment by processes that know nothing of each
//! other; and the log that they leave.

use std::collections::BTreeMap;

use rustix::process::Signal;

use crate::{
    arena::{Arena, Ran, ended},
    census,
};

/// The rounds that `cargo xtask chaos` has, and a tenth of them here.
const ROUNDS: usize = 20;

/// Of those that say that they ended the task, the one way that it says it ended.
fn accepted(ran: &[Ran], ways: &[&str]) -> Vec<String> {
    ran.iter()
        .zip(ways)
        .filter(|(one, _)| one.code == Some(0))
        .map(|(_, way)| (*way).to_owned())
        .collect()
}

/// Types of the events of a task, by how often each was logged.
fn logged(arena: &Arena, id: &str) -> BTreeMap<String, usize> {
    let export = arena.run(&["audit", "export", "--stream", id]).ok().out;
    let mut types = BTreeMap::new();
    for line in export.lines().skip(1) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let header: serde_json::Value =
            serde_json::from_str(line["header"].as_str().unwrap()).unwrap();
        *types
            .entry(header["type"].as_str().unwrap().to_owned())
            .or_insert(0) += 1;
    }
    types
}

#[test]
fn complete_fail_and_cancel_at_once_end_a_task_in_one_way() {
    let arena = Arena::folder();
    for round in 0..ROUNDS {
        let id = arena.start("x", &["--external"]);
        arena.run(&["task", "attach", &id, "--agent", "me"]).ok();
        let complete: &[&str] = &["task", "complete", &id];
        let fail: &[&str] = &["task", "fail", &id];
        let cancel: &[&str] = &["cancel", &id];
        let mut all = [complete, fail, cancel, complete, fail, cancel];
        let mut ways = [
            "completed",
            "failed",
            "cancelled",
            "completed",
            "failed",
            "cancelled",
        ];
        all.rotate_left(round % 3);
        ways.rotate_left(round % 3);
        let ran = arena.at_once(&all);
        let status = arena.status_of(&id);
        assert_eq!(
            accepted(&ran, &ways),
            std::slice::from_ref(&status),
            "round {round}: {ran:#?}"
        );
        for one in ran.iter().filter(|one| one.code != Some(0)) {
            assert_eq!(one.code, Some(4), "round {round}: {ran:#?}");
            one.error();
        }
        let ends: usize = ["task.completed", "task.failed", "task.cancelled"]
            .iter()
            .filter_map(|end| logged(&arena, &id).get(*end).copied())
            .sum();
        assert_eq!(ends, 1, "round {round}: {:?}", logged(&arena, &id));
        assert_eq!(logged(&arena, &id)[&format!("task.{status}")], 1);
    }
    arena.run(&["audit", "verify"]).ok();
}

#[test]
fn a_daemon_signs_what_was_logged_before_it_ends() {
    let arena = Arena::folder();
    let daemon = arena
        .command(["daemon", "--config", "audit.head_events=5"])
        .spawn()
        .unwrap();
    arena.until_a_daemon();
    for number in 0..4 {
        arena.start(&format!("echo {number}"), &[]);
    }
    arena.run(&["wait", "--timeout", "60"]).ok();
    let verified = || -> serde_json::Value {
        serde_json::from_str(&arena.run(&["audit", "verify", "--json"]).ok().out).unwrap()
    };
    arena.until("several heads", || verified()["heads"].as_u64() > Some(2));
    census::signal(daemon.id(), Signal::TERM);
    ended(daemon).ok();
    let document = verified();
    assert_eq!(
        document["vouched_to"], document["last_position"],
        "{document:#}"
    );
}
