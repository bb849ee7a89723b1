//! Tasks from queue to end, by a plain shell agent in a plain folder.

use std::{fs, time::Duration};

use testkit::poll::poll_until;

use crate::place::Place;

#[test]
fn a_task_goes_from_queue_to_finish() {
    let place = Place::folder();
    let id = place.start(&["writer", "hello", "--workspace", "in-place"]);
    let run = place.run(&["run"]).ok();
    assert_eq!(place.plain(&run.out), "Started task task_<1> (PID: N).\n");
    let wait = place.run(&["wait", &id, "--timeout", "60"]).ok();
    assert_eq!(wait.out, format!("Task {id} completed\n"));
    assert_eq!(
        fs::read_to_string(place.project().join("result.txt")).unwrap(),
        "hello\n"
    );
    assert!(place.run(&["logs", &id]).ok().out.contains("working"));
    let status = place.run(&["status"]).ok().out;
    assert!(
        status.contains("✓ completed") && status.contains("1 completed"),
        "{status}"
    );
    assert_eq!(place.run(&["run"]).ok().out, "No pending tasks.\n");
    let cleaned = place.run(&["clean"]).ok();
    assert_eq!(cleaned.out, format!("Cleaned up 1 task: {id}\n"));
    assert_eq!(place.run(&["show", &id]).code, 3);
    assert_eq!(
        place.run(&["show", &id, "--include-deleted"]).code,
        0,
        "a deleted task is still known where it is asked for"
    );
    assert!(
        place
            .run(&["status"])
            .ok()
            .out
            .starts_with("No tasks found")
    );
}

#[test]
fn a_failure_says_why_and_is_tried_again_on_request() {
    let place = Place::folder();
    let id = place.start(&["late7", "x"]);
    assert_eq!(place.run(&["run", "--wait"]).code, 1);
    let shown = place.run(&["show", &id, "--json"]).ok().json();
    assert_eq!(shown["failure"]["reason"], "process_failure", "{shown:#}");
    assert_eq!(shown["failure"]["message"], "Process exited with code 7");
    let retry = place.run(&["retry", &id]).ok();
    let expected = "Task task_<1> created as retry for task_<2> (attempt 1/3)\n";
    assert_eq!(place.plain(&retry.out), expected);
    let status = place.run(&["status"]).ok().out;
    assert!(
        status.contains("↻ task_") && status.contains("| 1/3 |"),
        "{status}"
    );
    let again = place.run(&["retry", &id]);
    assert_eq!(again.code, 4, "{again:#?}");
    assert!(again.err.contains("already retried by"), "{again:#?}");
}

#[test]
fn a_key_means_the_newest_attempt() {
    let place = Place::repository();
    let fixed = place.project().join("fixed");
    let work = format!("test -e {} && echo yes >done.txt", fixed.display());
    let first = place.start(&["line", &work, "--key", "job"]);
    assert_eq!(place.run(&["run", "--wait"]).code, 1);
    let merge = place.run(&["merge", "job"]);
    assert_eq!(merge.code, 4, "{merge:#?}");
    assert!(
        merge.err.contains(&format!("`crewboss retry {first}`")),
        "{merge:#?}"
    );
    let taken = place.run(&["start", "line", "x", "--key", "job"]);
    assert_eq!(taken.code, 4, "{taken:#?}");
    assert!(taken.err.contains("`crewboss retry job`"), "{taken:#?}");
    fs::write(fixed, "").unwrap();
    place.run(&["retry", "job"]).ok();
    let early = place.run(&["merge", &first]);
    assert_eq!(early.code, 4, "{early:#?}");
    assert!(
        early.err.contains("it was tried again as task_"),
        "{early:#?}"
    );
    place.run(&["run"]).ok();
    place.run(&["wait", "job"]).ok();
    let shown = place.run(&["show", "job", "--json"]).ok().json();
    assert_eq!(
        (&shown["status"], &shown["retry_of"]),
        (&"completed".into(), &first.into())
    );
    place.run(&["merge", "job"]).ok();
    assert!(place.project().join("done.txt").exists());
}

#[test]
fn a_running_task_is_cancelled_with_all_that_it_started() {
    let place = Place::folder();
    let id = place.start(&["sleeper", "x"]);
    place.run(&["run"]).ok();
    place.until_at_work(&id);
    let shown = place.run(&["show", &id, "--json"]).ok().json();
    let pid = shown["pid"].as_u64().unwrap();
    let cancel = place.run(&["cancel", &id]).ok();
    assert_eq!(
        cancel.out,
        format!("Task {id} cancelled (PID: {pid} terminated).\n")
    );
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z"), "{state}");
    assert_eq!(place.status_of(&id), "cancelled");
    let again = place.run(&["cancel", &id]);
    assert_eq!(again.code, 4);
    assert!(
        again
            .err
            .contains("is already cancelled and cannot be cancelled"),
        "{again:#?}"
    );
    let pending = place.start(&["writer", "y"]);
    let cancel = place.run(&["cancel", &pending]).ok();
    assert_eq!(
        cancel.out,
        format!("Task {pending} cancelled (was pending).\n")
    );
}

#[test]
fn so_many_run_at_once_and_no_more() {
    let place = Place::folder();
    let ids: Vec<String> = (0..4)
        .map(|n| place.start(&["sleeper", &n.to_string()]))
        .collect();
    let first = place.run(&["run", "--parallel"]).ok().out;
    assert!(
        first.starts_with(&format!("Started 3 task(s): {}", ids[..3].join(", "))),
        "{first}"
    );
    assert!(first.contains("Running: 3/3 tasks"), "{first}");
    let second = place.run(&["run", "--parallel"]).ok().out;
    assert_eq!(
        second,
        "Already running 3 tasks (max: 3). No slots available.\n"
    );
    let third = place.run(&["run", "-p", "4"]).ok().out;
    assert!(third.starts_with("Started 1 task(s): "), "{third}");
    let none = place.run(&["run", "-p", "9"]).ok().out;
    assert_eq!(none, "No pending tasks to launch.\n");
    let ids: Vec<&str> = ["cancel"]
        .into_iter()
        .chain(ids.iter().map(String::as_str))
        .collect();
    place.run(&ids).ok();
}

#[test]
fn time_runs_out_is_extended_and_is_ended_by_hand() {
    let place = Place::folder();
    let short = place.start(&["sleeper", "x", "--timeout", "1"]);
    assert_eq!(place.run(&["run", "--wait"]).code, 1);
    let shown = place.run(&["show", &short, "--json"]).ok().json();
    assert_eq!(
        shown["failure"]["message"],
        "Task timed out after 1 seconds"
    );
    let long = place.start(&["sleeper", "x", "--timeout", "300"]);
    let run = place.run(&["run"]).ok().out;
    assert!(run.ends_with("Timeout: 300s (5m)\n"), "{run}");
    place.until_at_work(&long);
    let extend = place.run(&["timeout", "extend", &long, "300"]).ok().out;
    let expected = format!("Extended timeout for task {long} by 300s (new limit: 600s, 10m)\n");
    assert_eq!(extend, expected);
    let list = place.run(&["timeout", "list"]).ok().out;
    assert!(
        list.contains("Total with timeouts: 2 | Running: 1 | Timed out: 1"),
        "{list}"
    );
    let end = place.run(&["timeout", &long]).ok().out;
    assert_eq!(
        place.plain(&end),
        "Task task_<1> timed out (PID: N terminated)\n"
    );
    let shown = place.run(&["show", &long, "--json"]).ok().json();
    assert_eq!(shown["failure"]["message"], "Manually timed out");
}

#[test]
fn a_gate_that_fails_fails_the_task() {
    let place = Place::folder();
    let id = place.start(&["writer", "x", "--gate", "echo broken; exit 3"]);
    assert_eq!(place.run(&["run", "--wait"]).code, 1);
    let shown = place.run(&["show", &id, "--json"]).ok().json();
    assert_eq!(shown["failure"]["reason"], "gate_failed", "{shown:#}");
    let text = place.run(&["show", &id]).ok().out;
    assert!(text.contains("gate-1: ✗ failed"), "{text}");
}

#[test]
fn dependants_wait_for_the_chain() {
    let place = Place::folder();
    let first = place.start(&["late7", "x"]);
    let second = place.start(&["writer", "y", "--depends-on", &first]);
    assert_eq!(place.run(&["run", "--wait"]).code, 1);
    let status = place.run(&["status"]).ok().out;
    assert!(status.contains("🚫 pending"), "{status}");
    assert!(
        status.contains(&format!("Dependency {first} failed")),
        "{status}"
    );
    let none = place.run(&["run", &second]);
    assert_eq!(none.code, 4, "{none:#?}");
    assert!(none.err.contains("it waits for"), "{none:#?}");
}

#[test]
fn an_external_task_is_ended_by_its_holder() {
    let place = Place::folder();
    let id = place
        .run(&["task", "create", "reviewer", "look at it"])
        .ok()
        .id();
    assert_eq!(
        place.run(&["run"]).ok().out,
        "No pending tasks to start: 1 wait for others, for their time, or for an agent outside.\n"
    );
    place.run(&["task", "attach", &id, "--agent", "human"]).ok();
    let other = place.run(&["task", "attach", &id, "--agent", "other"]);
    assert_eq!(other.code, 4, "{other:#?}");
    let done = place.run(&["task", "complete", &id]).ok();
    assert_eq!(done.out, format!("Task {id} completed.\n"));
}

#[test]
fn logs_follow_to_the_end_and_attach_leaves_it_running() {
    let place = Place::folder();
    let id = place.start(&["writer", "x"]);
    let follower = place.command(["logs", &id, "--follow"]).spawn().unwrap();
    place.run(&["run"]).ok();
    let output = follower.wait_with_output().unwrap();
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("working"),
        "{output:?}"
    );
    let sleeper = place.start(&["sleeper", "y"]);
    place.run(&["run"]).ok();
    place.until_at_work(&sleeper);
    let attached = place.command(["attach", &sleeper]).spawn().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(attached.id()).unwrap()).unwrap();
    let listens = || {
        let status = fs::read_to_string(format!("/proc/{}/status", attached.id())).unwrap();
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & 0b10 != 0
    };
    assert!(poll_until(Duration::from_mins(1), listens));
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = attached.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(place.status_of(&sleeper), "running");
    place.run(&["cancel", &sleeper]).ok();
}

#[test]
fn the_self_test_leaves_nothing() {
    let place = Place::folder();
    let ran = place.run(&["self-test"]).ok();
    assert!(
        ran.out.starts_with("✓ A task went from queue to finish"),
        "{ran:#?}"
    );
    assert!(!place.home().join("crewboss").exists());
}

#[test]
fn debug_says_what_is_done() {
    let place = Place::folder();
    place.start(&["writer", "x"]);
    let ran = place.run(&["--debug", "run"]).ok();
    for step in [
        "debug: configuration loaded: ",
        "debug: command line: ",
        "debug: process created: ",
    ] {
        assert!(ran.err.contains(step), "{step}: {ran:#?}");
    }
}

#[test]
fn a_daemon_starts_what_comes_and_only_one_lives() {
    let place = Place::folder();
    let daemon = place
        .command(["daemon", "--max-concurrent", "2"])
        .spawn()
        .unwrap();
    let socket = place.home().join("crewboss/daemon.sock");
    assert!(poll_until(Duration::from_mins(1), || socket.exists()));
    let second = place.run(&["daemon"]);
    assert_eq!(second.code, 4, "{second:#?}");
    assert!(
        second.err.contains("a daemon is already running"),
        "{second:#?}"
    );
    let id = place.start(&["writer", "x"]);
    place.run(&["wait", &id, "--timeout", "60"]).ok();
    let pid = rustix::process::Pid::from_raw(i32::try_from(daemon.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = daemon.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in [
        "Crewboss Daemon Started",
        "Max concurrent tasks: 2",
        "Launched task",
        "Daemon stopped",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}
