//! S1, S2, S9, S10: one task from its beginning to each of its ends.

use crate::place::Place;

#[test]
fn s01_a_first_task() {
    let place = Place::folder();
    let made = place
        .run(&[
            "create-task",
            "My First Task",
            "-o",
            "my-agent",
            "-m",
            r#"{"priority":"high","project":"demo"}"#,
            "--json",
        ])
        .ok()
        .json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["status"], "pending");
    assert!(
        made["created_at"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .is_ok()
    );
    place
        .run(&["resume-task", "--task", id, "--agent", "agent-1"])
        .ok();
    let running = place.run(&["status", id, "--json"]).ok().json();
    assert_eq!(running["status"], "running");
    place
        .run(&[
            "complete-task",
            "--task",
            id,
            "--result",
            r#"{"filesChanged":3}"#,
        ])
        .ok();
    let done = place.run(&["show", id, "--json"]).ok().json();
    assert_eq!(done["status"], "completed");
    for field in ["owner", "metadata", "name", "created_at"] {
        assert_eq!(done[field], made[field], "{field} is as it was");
        assert_eq!(running[field], made[field], "{field} was as it was");
    }
    assert_eq!(done["session"]["summary"], r#"{"filesChanged":3}"#);
    let history = place.run(&["task-history", id, "--json"]).ok().json();
    let said: Vec<&str> = history["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["message"].as_str().unwrap())
        .collect();
    let place_of = |part: &str| {
        said.iter()
            .position(|text| text.contains(part))
            .unwrap_or_else(|| panic!("{part}: {said:?}"))
    };
    assert!(place_of("created for") < place_of("attached"));
    assert!(place_of("attached") < said.iter().position(|text| *text == "completed").unwrap());
}

#[test]
fn s02_an_id_of_ones_own() {
    let place = Place::folder();
    place
        .run(&["create-task", "first", "--task-id", "custom_task_123"])
        .ok();
    let before = place
        .run(&["show", "custom_task_123", "--json"])
        .ok()
        .json();
    let twice = place.run(&[
        "create-task",
        "second",
        "--task-id",
        "custom_task_123",
        "--json",
    ]);
    assert_eq!(twice.code, 4, "{twice:#?}");
    assert_eq!(twice.json()["code"], "exists");
    let after = place
        .run(&["show", "custom_task_123", "--json"])
        .ok()
        .json();
    assert_eq!(before, after);
    assert_eq!(place.run(&["list-tasks", "--json"]).ok().json()["total"], 1);
}

#[test]
fn s09_an_error_is_found_again() {
    let place = Place::folder();
    let id = place
        .run(&["create-task", "x", "-m", r#"{"team":"blue"}"#])
        .ok()
        .id();
    place.run(&["resume-task", &id, "-a", "agent-1"]).ok();
    place.run(&["note", &id, "an ordinary line"]).ok();
    place
        .run(&[
            "task",
            "fail",
            &id,
            "--message",
            "the disk is gone",
            "--details",
            "E1",
        ])
        .ok();
    let shown = place.run(&["show", &id, "--json"]).ok().json();
    assert_eq!(shown["status"], "failed");
    assert_eq!(shown["failure"]["message"], "the disk is gone");
    assert_eq!(shown["metadata"]["team"], "blue", "what was there stays");
    assert_eq!(shown["session_status"], "failed", "its agent has left");
    let errors = place
        .run(&["task-history", &id, "--level", "error"])
        .ok()
        .out;
    assert!(
        errors.contains("the disk is gone") && !errors.contains("ordinary"),
        "{errors}"
    );
}

#[test]
fn s10_cancelled_while_it_waits_and_while_it_runs() {
    let place = Place::folder();
    let waiting = place.start(&["sleeper", "x"]);
    let running = place.start(&["sleeper", "y"]);
    place.run(&["run", &running]).ok();
    place.until_at_work(&running);
    for id in [&waiting, &running] {
        place.run(&["cancel", id]).ok();
        assert_eq!(place.status_of(id), "cancelled");
        for args in [
            &["cancel", id, "--json"][..],
            &["retry", id, "--json"],
            &["run", id, "--json"],
            &["task", "attach", id, "--agent", "a", "--json"],
            &["timeout", id, "--json"],
        ] {
            let refused = place.run(args);
            assert!(matches!(refused.code, 1 | 4), "{args:?}: {refused:#?}");
            let said = format!("{}{}", refused.out, refused.err);
            assert!(said.contains("cancelled"), "{args:?}: {said}");
        }
    }
}

/// Two of several ends, by processes of their own: exactly one is accepted.
#[test]
fn case_91_one_end_is_accepted() {
    let place = Place::folder();
    for round in 0..20 {
        let id = place.run(&["create-task", "x"]).ok().id();
        place.run(&["resume-task", &id]).ok();
        let commands: [&[&str]; 3] = [
            &["complete-task", &id],
            &["cancel", &id],
            &["task", "fail", &id, "-m", "no"],
        ];
        let children: Vec<_> = commands
            .iter()
            .map(|args| {
                let mut command = place.command(*args);
                command
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null());
                command.spawn().unwrap()
            })
            .collect();
        let codes: Vec<_> = children
            .into_iter()
            .map(|mut child| child.wait().unwrap().code())
            .collect();
        let accepted = codes.iter().filter(|code| **code == Some(0)).count();
        assert_eq!(accepted, 1, "round {round}: {codes:?}");
        let status = place.status_of(&id);
        let index = codes.iter().position(|code| *code == Some(0)).unwrap();
        assert_eq!(status, ["completed", "cancelled", "failed"][index]);
    }
    place.run(&["audit", "verify"]).ok();
}
