//! Quotas, by real processes.

use std::{process::Child, thread};

use serde_json::Value;

use crate::place::Place;

fn quota<'a>(list: &'a Value, resource: &str) -> &'a Value {
    let quotas = list["quotas"].as_array().unwrap();
    let found = quotas.iter().find(|quota| quota["resource"] == resource);
    found.unwrap_or_else(|| panic!("{resource}: {list:#}"))
}

#[test]
fn of_twenty_five_processes_ten_fit_in() {
    let place = Place::folder();
    place
        .run(&["quota", "set", "queued-tasks", "10", "--owner", "ada"])
        .ok();
    let spawn = |n: usize| {
        let prompt = format!("task {n}");
        let args = ["start", "writer", &prompt, "--owner", "ada", "--json"];
        place.command(args).spawn().unwrap()
    };
    let children: Vec<Child> = (0..25).map(spawn).collect();
    let waits = children
        .into_iter()
        .map(|child| thread::spawn(|| child.wait_with_output()));
    let waits: Vec<_> = waits.collect();
    let mut created = 0;
    for wait in waits {
        let output = wait.join().unwrap().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        match output.status.code() {
            Some(0) => created += 1,
            Some(4) => {
                assert_eq!(document["code"], "quota_exceeded", "{document:#}");
                assert_eq!(document["quota"]["resource"], "queued_tasks");
                assert_eq!(document["quota"]["owner"], "ada");
                assert_eq!(
                    (&document["quota"]["max"], &document["quota"]["used"]),
                    (&10.into(), &10.into())
                );
                assert_eq!(document["retryable"], true);
            }
            _ => panic!("{output:?}"),
        }
    }
    assert_eq!(created, 10);
    let list = place.run(&["quota", "list", "--json"]).ok().json();
    assert_eq!(quota(&list, "queued_tasks")["used"], 10);
    let status = place.run(&["status", "--json"]).ok().json();
    assert_eq!(status["counts"]["pending"], 10);
}

#[test]
fn who_has_used_his_up_waits_and_is_told_why() {
    let place = Place::folder();
    place
        .run(&["quota", "set", "active-sessions", "1", "--owner", "ada"])
        .ok();
    let first = place.start(&["sleeper", "x", "--owner", "ada"]);
    let second = place.start(&["sleeper", "x", "--owner", "ada", "--priority", "10"]);
    let bobs = place.start(&["writer", "x", "--owner", "bob"]);
    place.run(&["run", &first]).ok();
    let refused = place.run(&["run", &second]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert!(
        refused.err.contains("active_sessions of ada"),
        "{refused:#?}"
    );
    let ran = place.run(&["run", "--wait"]).ok();
    assert_eq!(place.status_of(&bobs), "completed", "{ran:#?}");
    let nothing = place.run(&["run"]).ok();
    assert!(
        nothing
            .out
            .contains("A quota is used up: active_sessions of ada"),
        "{nothing:#?}"
    );

    let shown = place.run(&["show", &second, "--json"]).ok().json();
    assert_eq!(shown["quotas"][0]["resource"], "active_sessions");
    assert_eq!(shown["quotas"][0]["used"], 1);
    let table = place.run(&["status"]).ok();
    assert!(
        table.out.contains("waits for quota active_sessions of ada"),
        "{table:#?}"
    );
    let status = place.run(&["status", "--json"]).ok().json();
    let rows = status["tasks"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["id"] == second.as_str())
        .unwrap();
    assert_eq!(row["quotas"][0]["owner"], "ada");

    place.run(&["cancel", &first]).ok();
    place.run(&["run"]).ok();
    assert_eq!(place.status_of(&second), "running");
    place.run(&["cancel", &second]).ok();
}

#[test]
fn a_quota_is_a_row_with_a_version() {
    let place = Place::folder();
    let set = |args: &[&str]| {
        let all: Vec<&str> = ["quota", "set", "tokens-month"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        place.run(&all)
    };
    let made = set(&["1000", "--expected-version", "0", "--json"])
        .ok()
        .json();
    assert_eq!((&made["max"], &made["version"]), (&1_000.into(), &1.into()));
    assert!(
        made["month"].as_str().unwrap().starts_with("20"),
        "{made:#}"
    );
    assert!(made["owner"].is_null() && made["project"].is_string());
    let stale = set(&["5", "--expected-version", "0", "--json"]);
    assert_eq!(stale.code, 4, "{stale:#?}");
    assert_eq!(stale.json()["conflict"]["found_version"], 1);
    set(&["2000", "--expected-version", "1"]).ok();
    set(&["9", "--all-projects", "--owner", "ada"]).ok();
    let list = place.run(&["quota", "list"]).ok();
    assert!(
        list.out.contains("tokens_month") && list.out.contains("ada"),
        "{list:#?}"
    );
    place.run(&["quota", "remove", "tokens-month"]).ok();
    let gone = place.run(&["quota", "remove", "tokens-month", "--json"]);
    assert_eq!((gone.code, &gone.json()["code"]), (3, &"not_found".into()));
    let log = place.project().join(".crewboss/project.jsonl");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(
        log.contains("quota.set") && log.contains("quota.removed"),
        "{log}"
    );
}

#[test]
fn bad_input_is_refused_before_anything_is_set() {
    let place = Place::folder();
    for args in [
        vec!["quota", "set", "hats", "1"],
        vec!["quota", "set", "queued-tasks", "-1"],
        vec!["quota", "set", "queued-tasks", "many"],
        vec!["quota", "set", "queued-tasks", "18446744073709551615"],
        vec!["quota", "set", "queued-tasks", "1", "--owner", ""],
        vec!["quota", "set", "queued-tasks"],
    ] {
        let ran = place.run(&args);
        assert_eq!(ran.code, 2, "{args:?}: {ran:#?}");
    }
    let list = place.run(&["quota", "list", "--json"]).ok().json();
    assert_eq!(list["quotas"], serde_json::json!([]));
}
