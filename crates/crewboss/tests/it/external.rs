//! External tasks: the gates run before whoever holds one is believed.

use std::{fs, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use testkit::poll::poll_until;

use crate::place::Place;

/// A task with gates, held by `human`.
fn held(place: &Place, gates: &[&str]) -> String {
    let mut args = vec!["task", "create", "reviewer", "look at it"];
    for gate in gates {
        args.extend(["--gate", gate]);
    }
    let id = place.run(&args).ok().id();
    place.run(&["task", "attach", &id, "--agent", "human"]).ok();
    id
}

#[test]
fn gates_of_project_and_task_pass_before_it_is_done() {
    let place = Place::folder();
    place.configure("[gates.tools]\nrun = \"test -n \\\"$HOME\\\" && test -n \\\"$PATH\\\"\"\n");
    let id = held(&place, &["test -f result.txt"]);
    let early = place.run(&["task", "complete", &id]);
    assert_eq!(early.code, 1, "{early:#?}");
    assert!(early.err.contains("gate `gate-1` failed"), "{early:#?}");
    assert_eq!(place.status_of(&id), "running");

    fs::write(place.project().join("result.txt"), "x").unwrap();
    let done = place.run(&["task", "complete", &id]).ok();
    assert!(done.out.contains("tools passed"), "{done:#?}");
    assert!(done.out.contains("gate-1 passed"), "{done:#?}");
    assert!(done.out.ends_with(&format!("Task {id} completed.\n")));
    let shown = place.run(&["show", &id, "--json"]).ok().json();
    let gates = shown["session"]["gates"].as_array().unwrap();
    assert_eq!(gates.len(), 2, "{shown:#}");
    assert_eq!(gates[1]["status"], "passed");
}

#[test]
fn what_does_not_pass_stays_with_its_holder_unless_asked() {
    let place = Place::folder();
    let id = held(&place, &["echo 1 of 2 failed; exit 3"]);
    let refused = place.run(&["task", "complete", &id]);
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert!(refused.err.contains("1 of 2 failed"), "{refused:#?}");
    let document = place.run(&["task", "complete", &id, "--json"]).json();
    assert_eq!(document["status"], "running");
    assert_eq!(document["gates"][0]["tail"], "1 of 2 failed");

    let failed = place.run(&["task", "complete", &id, "--fail-on-gate"]);
    assert_eq!(failed.code, 1, "{failed:#?}");
    let shown = place.run(&["show", &id, "--json"]).ok().json();
    assert_eq!(shown["status"], "failed");
    assert_eq!(shown["failure"]["reason"], "gate_failed");
    assert_eq!(shown["failure"]["details"], "1 of 2 failed");
}

#[test]
fn who_does_not_hold_it_runs_no_gates() {
    let place = Place::folder();
    let id = held(&place, &["touch ran"]);
    let other = place.run(&["task", "complete", &id, "--agent", "other"]);
    assert_eq!(other.code, 4, "{other:#?}");
    place.run(&["task", "detach", &id]).ok();
    let nobody = place.run(&["task", "complete", &id]);
    assert_eq!(nobody.code, 4, "{nobody:#?}");
    let managed = place.start(&["writer", "x", "--gate", "touch ran"]);
    let wrong = place.run(&["task", "complete", &managed]);
    assert_eq!(wrong.code, 4, "{wrong:#?}");
    assert!(!place.project().join("ran").exists());
}

#[test]
fn an_interrupt_ends_the_gates_and_a_second_caller_waits_for_his_turn() {
    let place = Place::folder();
    let id = held(&place, &["echo $$ >pid; exec sleep 600"]);
    let first = place.command(["task", "complete", &id]).spawn().unwrap();
    let file = place.project().join("pid");
    let pid = || fs::read_to_string(&file).ok()?.trim().parse::<u32>().ok();
    assert!(poll_until(Duration::from_mins(1), || pid().is_some()));
    let second = place.run(&["task", "complete", &id, "--json"]);
    assert_eq!(second.code, 4, "{second:#?}");
    assert!(second.err.contains("running already"), "{second:#?}");
    let error = second.json();
    assert_eq!(
        (&error["code"], &error["retryable"]),
        (&"conflict".into(), &true.into())
    );

    let process = Pid::from_raw(i32::try_from(first.id()).unwrap()).unwrap();
    kill_process(process, Signal::INT).unwrap();
    let ended = first.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    let gate = fs::exists(format!("/proc/{}", pid().unwrap())).unwrap();
    assert!(!gate, "the gate went with it");
    assert_eq!(place.status_of(&id), "running");
}

#[test]
fn what_a_killed_caller_left_behind_ends_with_the_next() {
    let place = Place::folder();
    let id = held(
        &place,
        &["test -f again && exit 0; echo $$ >pid; exec sleep 600"],
    );
    let mut first = place.command(["task", "complete", &id]).spawn().unwrap();
    let file = place.project().join("pid");
    let pid = || fs::read_to_string(&file).ok()?.trim().parse::<u32>().ok();
    assert!(poll_until(Duration::from_mins(1), || pid().is_some()));
    first.kill().unwrap();
    first.wait().unwrap();
    fs::write(place.project().join("again"), "").unwrap();
    place.run(&["task", "complete", &id]).ok();
    // One that is ended and whose parent is slow to reap it counts as gone.
    let state = fs::read_to_string(format!("/proc/{}/stat", pid().unwrap())).unwrap_or_default();
    let is_gone = state.is_empty() || state.contains(") Z ");
    assert!(is_gone, "{state}");
    assert_eq!(place.status_of(&id), "completed");
}

#[test]
fn the_lease_of_an_agent_outside_is_its_own_and_attaching_renews_it() {
    let mut place = Place::folder();
    let clock = place.home().join("clock");
    place.set("CREWBOSS_TEST_CLOCK_FILE", clock.to_str().unwrap());
    let later = |seconds: u64| {
        // What stands there is replaced whole, as it is read at any time.
        let next = clock.with_extension("next");
        fs::write(&next, format!("{0} {0}", seconds * 1_000)).unwrap();
        fs::rename(next, &clock).unwrap();
    };
    later(0);
    let id = held(&place, &[]);
    later(3_000);
    assert_eq!(place.status_of(&id), "running");
    place.run(&["task", "attach", &id, "--agent", "human"]).ok();
    later(5_000);
    assert_eq!(place.status_of(&id), "running");
    later(7_000);
    assert_eq!(place.status_of(&id), "pending");

    let short = ["--config", "external.lease_seconds=5"];
    let attach = ["task", "attach", &id, "--agent", "human"];
    place.run(&[&attach[..], &short].concat()).ok();
    later(7_100);
    assert_eq!(place.status_of(&id), "pending");
    let zero = ["--config", "external.lease_seconds=0"];
    assert_eq!(place.run(&[&attach[..], &zero].concat()).code, 2);
}
