//! What `wait` and `cancel` make of tasks that nothing starts.

use std::time::Duration;

use testkit::poll::poll_until;

use crate::place::Place;

#[test]
fn a_retry_that_nothing_starts_is_named_and_can_be_cancelled() {
    let place = Place::folder();
    let id = place.start(&["late7", "x", "--auto-retry", "--key", "job"]);
    let pending = place.run(&["wait", &id, "--timeout", "1"]);
    assert_eq!(pending.code, 124, "{pending:#?}");
    assert!(
        pending.err.contains(&format!(
            "1 task still pending, and no daemon runs that would start it: {id} [job]."
        )) && pending.err.contains("crewboss run"),
        "{pending:#?}"
    );
    assert_eq!(place.run(&["run", "--wait"]).code, 1);
    let retry = place.run(&["show", &id, "--json"]).ok().json()["retried_by"]
        .as_str()
        .unwrap()
        .to_owned();
    let waited = place.run(&["wait", &id, "--timeout", "1"]);
    assert_eq!(waited.code, 124, "{waited:#?}");
    assert!(
        waited
            .err
            .contains(&format!("{retry} [job], the retry of {id}")),
        "{waited:#?}"
    );
    let cancelled = place.run(&["cancel", &id]).ok();
    assert_eq!(
        cancelled.out,
        format!(
            "Task {retry} cancelled (was pending).\nIt is the retry of {id}, which has failed.\n"
        )
    );
    let ended = place.run(&["wait", &id]);
    assert_eq!(
        (ended.code, ended.out),
        (1, format!("Task {retry} cancelled\n"))
    );
    let again = place.run(&["cancel", &id]);
    assert_eq!(again.code, 4, "{again:#?}");
    assert!(again.err.contains("already failed"), "{again:#?}");
}

#[test]
fn whoever_stops_waiting_is_told_that_it_goes_on() {
    let place = Place::folder();
    let id = place.start(&["sleeper", "x"]);
    place.run(&["run"]).ok();
    place.until_at_work(&id);
    let waiting = place.command(["--debug", "wait", &id]).spawn().unwrap();
    let listens = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", waiting.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        u64::from_str_radix(caught.unwrap().trim(), 16).unwrap() & 0b10 != 0
    };
    assert!(poll_until(Duration::from_mins(1), listens));
    let pid = rustix::process::Pid::from_raw(i32::try_from(waiting.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("1 task not ended, and going on without this"),
        "{said}"
    );
    assert_eq!(place.status_of(&id), "running");
}

#[test]
fn many_are_waited_for_at_once() {
    let place = Place::folder();
    let ids: Vec<String> = (0..20)
        .map(|_| place.start(&["writer", "x", "--in", "1h"]))
        .collect();
    let late = place.run(&["wait", "--timeout", "1"]);
    assert_eq!(late.code, 124);
    assert!(late.err.contains("20 tasks not ended"), "{late:#?}");
    assert!(late.err.contains("... and 17 more"), "{late:#?}");
    let args: Vec<&str> = ["cancel"]
        .into_iter()
        .chain(ids.iter().map(String::as_str))
        .collect();
    place.run(&args).ok();
    let args: Vec<&str> = ["wait"]
        .into_iter()
        .chain(ids.iter().map(String::as_str))
        .collect();
    let ended = place.run(&args);
    assert_eq!((ended.code, ended.out.lines().count()), (1, 20));
}

#[test]
fn what_an_agent_outside_will_take_is_not_to_be_started() {
    let place = Place::folder();
    place
        .run(&["start", "anyone", "x", "--external", "--key", "outside"])
        .ok();
    let waited = place.run(&["wait", "outside", "--timeout", "1"]);
    assert_eq!(waited.code, 124);
    assert!(!waited.err.contains("crewboss run"), "{waited:#?}");
}
