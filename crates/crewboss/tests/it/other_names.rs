//! Task commands by the names and flags that other tools have for them.

use crate::place::Place;

fn created(place: &Place, flags: &[&str]) -> serde_json::Value {
    let args: Vec<&str> = ["create-task", "A task", "--json"]
        .iter()
        .chain(flags)
        .copied()
        .collect();
    place.run(&args).ok().json()
}

fn id(document: &serde_json::Value) -> String {
    document["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_task_goes_its_way_by_the_other_names() {
    let place = Place::folder();
    let made = created(
        &place,
        &[
            "-d",
            "all of it",
            "-o",
            "ada",
            "-m",
            r#"{"team":"blue","size":3,"deep":{"a":[1]}}"#,
            "--task-id",
            "custom_task_123",
        ],
    );
    let id = id(&made);
    assert_eq!(
        (&made["status"], &made["owner"], &made["prompt"]),
        (&"pending".into(), &"ada".into(), &"all of it".into())
    );
    assert_eq!(made["metadata"]["deep"], r#"{"a":[1]}"#);
    assert_eq!(
        place.run(&["status", "--json"]).ok().json()["tasks"]
            .as_array()
            .unwrap()
            .len(),
        1,
        "made once"
    );

    place
        .run(&["resume-task", "--task", "custom_task_123", "-a", "agent-1"])
        .ok();
    place
        .run(&["detach", "custom_task_123", "--agent", "agent-1"])
        .ok();
    assert_eq!(place.status_of(&id), "pending");
    place.run(&["resume-task", &id]).ok();
    place
        .run(&["decision", "add", &id, "--decision", "x", "--agent", "b"])
        .ok();
    place
        .run(&["decision", "add", &id, "--decision", "y", "--agent", "c"])
        .ok();
    let done = place
        .run(&[
            "complete-task",
            "--task",
            &id,
            "-r",
            r#"{"success":true,"n":2}"#,
            "-m",
            "well done",
        ])
        .ok();
    assert_eq!(done.out, format!("Task {id} completed.\n"));
    let shown = place.run(&["show", &id, "--json"]).ok().json();
    assert_eq!(
        shown["session"]["summary"],
        "well done\n{\"success\":true,\"n\":2}"
    );

    let history = place
        .run(&["task-history", "--task", &id, "--limit", "2", "--json"])
        .ok()
        .json();
    assert_eq!(history["entries"].as_array().unwrap().len(), 2);
    for level in ["warn", "warning"] {
        place.run(&["task-history", &id, "--level", level]).ok();
    }
    place
        .run(&[
            "task-history",
            &id,
            "--start",
            "1h",
            "--end",
            "2099-01-01T00:00:00Z",
        ])
        .ok();
    let executions = place.run(&["task-executions", &id, "--json"]).ok().json();
    let agents: Vec<&str> = executions["executions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["agent"].as_str().unwrap())
        .collect();
    assert_eq!(agents, ["agent-1", "system"]);
    let decisions = place
        .run(&["task-decisions", "--task", &id, "-a", "c", "--json"])
        .ok()
        .json();
    assert_eq!(decisions["decisions"][0]["decision"], "y");
    assert_eq!(decisions["decisions"].as_array().unwrap().len(), 1);

    created(&place, &["--owner", "bob"]);
    for (args, number) in [
        (&["list-tasks"][..], 2),
        (&["list-tasks", "-o", "bob"], 1),
        (&["list-tasks", "-s", "completed", "-v"], 1),
        (&["find-task", "a TASK"], 2),
        (&["find-task"], 2),
        (&["find-task", "--name", "task", "-o", "ada"], 1),
        (&["find-task", "-m", r#"{"size":3}"#], 1),
        (&["find-task", "-m", r#"{"size":4}"#], 0),
        (&["task-stats"], 2),
    ] {
        let args: Vec<&str> = args.iter().chain(&["--json"]).copied().collect();
        assert_eq!(place.run(&args).ok().json()["total"], number, "{args:?}");
        place.run(&args[..args.len() - 1]).ok();
    }
    let page = place
        .run(&["list-tasks", "-l", "1", "--offset", "1", "--json"])
        .ok()
        .json();
    assert_eq!(
        (page["tasks"][0]["id"].as_str(), &page["offset"]),
        (Some(id.as_str()), &1.into())
    );

    let no = place.feed(&["cleanup-task", &id], Some("n\n")).ok();
    assert!(no.out.contains("Cancelled."), "{no:#?}");
    place.run(&["cleanup-task", "--task", &id, "--force"]).ok();
    assert_eq!(place.run(&["show", &id]).code, 3);
}

#[test]
fn a_result_without_success_is_a_failure() {
    let place = Place::folder();
    let id = id(&created(&place, &[]));
    place.run(&["resume-task", &id]).ok();
    let failed = place
        .run(&[
            "complete-task",
            &id,
            "--result",
            r#"{"success":false,"error":"no luck"}"#,
        ])
        .ok();
    assert_eq!(failed.out, format!("Task {id} failed.\n"));
    let shown = place.run(&["show", &id, "--json"]).ok().json();
    assert_eq!(
        (&shown["status"], &shown["failure"]["message"]),
        (&"failed".into(), &"no luck".into())
    );
    assert_eq!(
        shown["failure"]["details"],
        r#"{"success":false,"error":"no luck"}"#
    );
}

#[test]
fn checkpoints_by_the_other_names() {
    let place = Place::repository();
    let id = place.start(&["writer", "one"]);
    place.run(&["resume-task", &id]).ok();
    place.run(&["wait", &id, "--timeout", "60"]).ok();
    let first = place
        .run(&["checkpoint", &id, "-d", "first", "--json"])
        .ok()
        .json();
    assert_eq!(first["note"], "first", "{first:#}");
    let second = place
        .run(&[
            "checkpoint",
            "--task",
            &id,
            "--description",
            "second",
            "--json",
        ])
        .ok()
        .json();
    for args in [
        &["checkpoint", "--list", &id][..],
        &["checkpoint", "--task", &id, "--list"],
        &["restore-checkpoint", &id, "--list"],
        &["checkpoint", "list", &id],
    ] {
        let listed = place.run(args).ok().out;
        for one in [&first, &second] {
            assert!(
                listed.contains(one["id"].as_str().unwrap()),
                "{args:?}: {listed}"
            );
        }
    }
    let kept = first["id"].as_str().unwrap();
    let again = place
        .run(&["restore-checkpoint", "--task", &id, "-c", kept, "--json"])
        .ok()
        .json();
    assert_eq!(
        (again["forked_from"].as_str(), again["status"].as_str()),
        (Some(id.as_str()), Some("pending"))
    );
    let newest = place.run(&["restore-checkpoint", &id]).ok();
    assert_ne!(newest.id(), id);
    let went = place.run(&["resume-task", &id, "--checkpoint", kept]).ok();
    assert!(went.out.contains("task_"), "{went:#?}");
    let other = place.start(&["writer", "two"]);
    let refused = place.run(&["restore-checkpoint", &other, "-c", kept]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    let ended = place.run(&["resume-task", &id]);
    assert_eq!(ended.code, 4, "{ended:#?}");
    let agent = place.run(&["resume-task", &other, "-a", "somebody"]);
    assert_eq!(agent.code, 2, "{agent:#?}");
    place.run(&["wait", "--timeout", "60"]);
}

#[test]
fn wrong_input_is_refused_and_nothing_is_made() {
    let place = Place::folder();
    for args in [
        &["create-task"][..],
        &["create-task", " "],
        &["create-task", "x", "-m", "[]"],
        &["create-task", "x", "-m", "{"],
        &["create-task", "x", "--task-id", "../x"],
        &["create-task", "x", "-o", ""],
        &["resume-task"],
        &["resume-task", "a", "--task", "b"],
        &["resume-task", "x", "-c", "nonsense"],
        &["list-tasks", "-s", "gone"],
        &["list-tasks", "--limit", "x"],
        &["complete-task", "x", "-r", "{"],
        &["find-task", "-m", "1"],
        &["task-history", "x", "--level", "loud"],
        &["checkpoint"],
        &["checkpoint", "x", "--list", "-d", "y"],
    ] {
        let ran = place.run(args);
        assert_eq!(ran.code, 2, "{args:?}: {ran:#?}");
    }
    for args in [
        &["resume-task", "task_1"][..],
        &["detach", "task_1"],
        &["complete-task", "task_1"],
        &["cleanup-task", "task_1", "--force"],
        &["restore-checkpoint", "task_1"],
        &["task-history", "task_1"],
        &["task-executions", "task_1"],
        &["task-decisions", "task_1"],
        &["checkpoint", "task_1"],
    ] {
        let ran = place.run(args);
        assert_eq!(ran.code, 3, "{args:?}: {ran:#?}");
    }
    let dashes = place
        .run(&["create-task", "x", "--description=-rf /", "--json"])
        .ok()
        .json();
    assert_eq!(dashes["prompt"], "-rf /");
    assert_eq!(place.run(&["task-stats", "--json"]).ok().json()["total"], 1);
}
