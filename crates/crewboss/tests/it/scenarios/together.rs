//! S3, S4, S17: several agents on one task, and many tasks at once.

use std::{collections::BTreeSet, process::Stdio};

use crate::place::Place;

#[test]
fn s03_three_agents_work_on_one_task_in_turn() {
    let place = Place::folder();
    let id = place
        .run(&["create-task", "pipeline", "--collaborative"])
        .ok()
        .id();
    let agents = ["agent-1", "agent-2", "agent-3"];
    for (number, agent) in agents.iter().enumerate() {
        place.run(&["resume-task", &id, "--agent", agent]).ok();
        let decision = format!("step {}", number + 1);
        place
            .run(&[
                "decision",
                "add",
                &id,
                "--agent",
                agent,
                "--decision",
                &decision,
                "--reasoning",
                "first\n\nthen: more",
            ])
            .ok();
        place.run(&["note", &id, &format!("{agent} is done")]).ok();
        if number < 2 {
            place.run(&["detach", &id, "--agent", agent]).ok();
        }
    }
    place
        .run(&["complete-task", &id, "--result", r#"{"steps":3}"#])
        .ok();
    let decisions = place.run(&["task-decisions", &id, "--json"]).ok().json();
    let told: Vec<(&str, &str)> = decisions["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["agent"].as_str().unwrap(),
                one["decision"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("agent-1", "step 1"),
            ("agent-2", "step 2"),
            ("agent-3", "step 3")
        ]
    );
    let executions = place.run(&["task-executions", &id, "--json"]).ok().json();
    let held: Vec<&str> = executions["executions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["agent"].as_str().unwrap())
        .collect();
    assert_eq!(held, agents);
    assert_eq!(place.status_of(&id), "completed");
}

#[test]
fn s03_they_may_hold_it_at_the_same_time() {
    let place = Place::folder();
    let id = place
        .run(&["create-task", "x", "--collaborative"])
        .ok()
        .id();
    for agent in ["a", "b", "c"] {
        place.run(&["resume-task", &id, "-a", agent]).ok();
    }
    assert_eq!(
        place.run(&["complete-task", &id]).code,
        4,
        "which of them says so?"
    );
    place.run(&["complete-task", &id, "-a", "b"]).ok();
    let executions = place.run(&["task-executions", &id, "--json"]).ok().json();
    let ends: Vec<&str> = executions["executions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["status"].as_str().unwrap())
        .collect();
    assert_eq!(ends, ["stopped", "completed", "stopped"]);
}

#[test]
fn s04_one_agent_holds_an_exclusive_task() {
    let place = Place::folder();
    let id = place.run(&["create-task", "x"]).ok().id();
    place.run(&["resume-task", &id, "-a", "first"]).ok();
    let refused = place.run(&["resume-task", &id, "-a", "second"]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert!(
        refused.err.contains("another agent holds it"),
        "{refused:#?}"
    );
    assert_eq!(place.run(&["complete-task", &id, "-a", "second"]).code, 4);
    place.run(&["detach", &id]).ok();
    place.run(&["resume-task", &id, "-a", "second"]).ok();
    place.run(&["complete-task", &id, "-a", "second"]).ok();
}

/// Makes tasks in processes of their own, so many at a time.
fn make(place: &Place, number: usize, at_once: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for begin in (0..number).step_by(at_once) {
        let children: Vec<_> = (begin..number.min(begin + at_once))
            .map(|n| {
                let name = format!("task {n}");
                let mut command = place.command(["create-task", &name, "--json"]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        for child in children {
            let ran = child.wait_with_output().unwrap();
            assert_eq!(ran.status.code(), Some(0), "{ran:?}");
            let document: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
            ids.push(document["id"].as_str().unwrap().to_owned());
        }
    }
    ids
}

#[test]
fn s17_a_thousand_tasks_made_at_once_have_ids_of_their_own() {
    let place = Place::folder();
    let mut ids = make(&place, 60, 3);
    ids.extend(make(&place, 340, 20));
    ids.extend(make(&place, 600, 50));
    let unique: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(unique.len(), 1_000);
    assert_eq!(
        place.run(&["task-stats", "--json"]).ok().json()["total"],
        1_000
    );
    place.run(&["index", "verify"]).ok();
}

#[test]
fn s17_a_chain_passes_on_what_came_of_each() {
    let place = Place::repository();
    let first = place.start(&["line", "echo one >result.txt", "--key", "first"]);
    let second = place.start(&[
        "line",
        "echo \"$(cat result.txt) two\" >result.txt",
        "--depends-on",
        &first,
    ]);
    let third = place.start(&[
        "line",
        "echo \"$(cat result.txt) three\" >result.txt",
        "--depends-on",
        &second,
    ]);
    for id in [&first, &second, &third] {
        place.run(&["run", "--wait"]).ok();
        assert_eq!(place.status_of(id), "completed");
    }
    let branch = place.run(&["show", &third, "--json"]).ok().json()["branch"].clone();
    let result = place
        .repo()
        .git(&["show", &format!("{}:result.txt", branch.as_str().unwrap())]);
    assert_eq!(result, "one two three");
}
