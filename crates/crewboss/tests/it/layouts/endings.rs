//! Agents that are told to end: how long they are given, and that nothing of them stays.

use std::{
    fs,
    time::{Duration, Instant},
};

use testkit::poll::poll_until;

use super::{PATIENCE, Queue, in_both, is_alive};

in_both![
    a_cancelled_stubborn_tree_gets_three_seconds,
    a_stubborn_tree_after_its_time_gets_five,
    two_generations_are_gone,
    an_extension_counts_while_it_runs,
    the_end_of_the_time_is_recorded,
    the_warning_before_the_deadline,
    work_goes_on_after_a_cancel,
];

/// Notes when it is asked to end, and does not.
const DEAF: &str = "trap 'echo asked >>asked' TERM; echo $$ >>pids; \
    (trap '' TERM; echo $(exec sh -c 'echo $PPID') >>pids; \
     (trap '' TERM; echo $(exec sh -c 'echo $PPID') >>pids; while :; do sleep 0.2; done) & \
     while :; do sleep 0.2; done) & \
    while :; do sleep 0.2; done";

fn pids(queue: &Queue) -> Vec<u64> {
    let lines = queue.lines("pids");
    lines.iter().filter_map(|line| line.parse().ok()).collect()
}

fn launch_deaf(queue: &Queue, more: &[&str]) -> String {
    queue.agent("deaf", DEAF);
    let id = queue.launch(&[&["deaf", "x"], more].concat());
    assert!(poll_until(PATIENCE, || pids(queue).len() == 3));
    id
}

#[track_caller]
fn assert_gone(queue: &Queue) {
    let pids = pids(queue);
    assert_eq!(pids.len(), 3, "{pids:?}");
    let left: Vec<_> = pids.iter().filter(|pid| is_alive(**pid)).collect();
    assert!(left.is_empty(), "{left:?} of {pids:?}");
}

fn a_cancelled_stubborn_tree_gets_three_seconds(queue: &Queue) {
    let id = queue.launch(&["stubborn", "x"]);
    let pid = queue.pid(&id);
    let began = Instant::now();
    let ran = queue.run(&["cancel", &id]).ok();
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(2_500), "{took:?}");
    assert!(ran.out.contains(&format!("(PID: {pid} terminated)")));
    assert!(!is_alive(pid));
    assert_eq!(queue.word(&id), "cancelled");
}

fn a_stubborn_tree_after_its_time_gets_five(queue: &Queue) {
    let id = launch_deaf(queue, &["--timeout", "1"]);
    let asked = poll_until(PATIENCE, || !queue.lines("asked").is_empty());
    assert!(asked, "{:#}", queue.json(&id));
    assert_eq!(queue.word(&id), "running", "it has some seconds left");
    queue.until(&id, "failed");
    assert_gone(queue);
    let took = queue.millis(&id, "completedAt") - queue.millis(&id, "startedAt");
    assert!(took >= 5_500, "one second and a grace of five: {took}");
    assert_eq!(queue.message(&id), "Task timed out after 1 seconds");
}

fn two_generations_are_gone(queue: &Queue) {
    let id = launch_deaf(queue, &[]);
    queue.run(&["cancel", &id]).ok();
    assert_gone(queue);
    fs::remove_file(queue.file("pids")).unwrap();
    let id = launch_deaf(queue, &[]);
    queue.run(&["timeout", &id]).ok();
    assert_gone(queue);
}

fn an_extension_counts_while_it_runs(queue: &Queue) {
    let id = queue.launch(&["sleeper", "x", "--timeout", "3"]);
    let pid = queue.pid(&id);
    queue.run(&["timeout", "extend", &id, "3"]).ok();
    assert_eq!(queue.pid(&id), pid);
    queue.until(&id, "failed");
    let took = queue.millis(&id, "completedAt") - queue.millis(&id, "startedAt");
    assert!(took >= 5_900, "{took}");
    assert!(!is_alive(pid));
    assert_eq!(queue.message(&id), "Task timed out after 6 seconds");
}

fn the_end_of_the_time_is_recorded(queue: &Queue) {
    let id = queue.launch(&["sleeper", "x", "--timeout", "1"]);
    queue.until(&id, "failed");
    let shown = queue.run(&["show", &id, "--json"]).ok().json();
    assert_eq!(shown["failure"]["reason"], "timeout", "{shown:#}");
    assert_eq!(shown["session"]["exit"]["signal"], 15, "{shown:#}");
    let said = poll_until(PATIENCE, || queue.log(&id).contains("timed out after 1 s"));
    assert!(said, "{}", queue.log(&id));
    let list = queue.run(&["timeout", "list"]).ok().out;
    let row = list.lines().find(|line| line.contains(&id)).unwrap();
    assert!(row.contains("✗⏱"), "{list}");
    assert!(list.contains("Total with timeouts: 1 | Running: 0 | Timed out: 1"));
}

fn the_warning_before_the_deadline(queue: &Queue) {
    let near = queue.launch(&["sleeper", "x", "--timeout", "30"]);
    let far = queue.launch(&["sleeper", "x", "--timeout", "3600"]);
    assert!(queue.row(&near).contains('⚠'), "{}", queue.row(&near));
    assert!(!queue.row(&far).contains('⚠'), "{}", queue.row(&far));
    let status = queue.run(&["status"]).ok().out;
    assert!(
        status.contains("2 running (2 with timeouts, 1 nearing timeout)"),
        "{status}"
    );
    let list = queue.run(&["timeout", "list"]).ok().out;
    let row = |id: &str| list.lines().find(|line| line.contains(id)).unwrap();
    assert!(row(&near).contains("⏱⚠"), "{list}");
    assert!(
        row(&far).contains('⏱') && !row(&far).contains('⚠'),
        "{list}"
    );
    let header = list.lines().next().unwrap();
    let columns = ["ID", "Status", "Timeout", "Elapsed", "Remaining", "State"];
    let named: Vec<&str> = header.trim_matches('|').split('|').map(str::trim).collect();
    assert_eq!(named, columns);
}

fn work_goes_on_after_a_cancel(queue: &Queue) {
    let id = queue.launch(&["sleeper", "x"]);
    queue.run(&["cancel", &id]).ok();
    let next = queue.launch(&["coder", "y"]);
    queue.until(&next, "complete");
    assert_eq!(queue.word(&id), "cancelled");
}
