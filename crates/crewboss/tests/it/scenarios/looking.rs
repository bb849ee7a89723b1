//! S12, S13: finding tasks, and what happened to them.

use serde_json::Value;

use crate::place::Place;

fn total(place: &Place, args: &[&str]) -> u64 {
    let args: Vec<&str> = args.iter().chain(&["--json"]).copied().collect();
    place.run(&args).ok().json()["total"].as_u64().unwrap()
}

#[test]
fn s12_by_status_owner_name_and_metadata() {
    let place = Place::folder();
    for n in 0..12 {
        let owner = ["ada", "bob", "eve"][n % 3];
        let name = format!("Build part {n}");
        let metadata = format!(r#"{{"team":"{}","n":{n}}}"#, ["red", "blue"][n % 2]);
        place
            .run(&["create-task", &name, "-o", owner, "-m", &metadata])
            .ok();
    }
    let all = place.run(&["list-tasks", "--json"]).ok().json();
    let ids: Vec<&str> = all["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["id"].as_str().unwrap())
        .collect();
    assert!(
        ids.is_sorted_by(|one, next| one > next),
        "newest first: {ids:?}"
    );
    for id in &ids[..3] {
        place.run(&["resume-task", id]).ok();
    }
    place.run(&["complete-task", ids[0]]).ok();
    place.run(&["task", "fail", ids[1]]).ok();
    place.run(&["cancel", ids[4]]).ok();

    for (args, number) in [
        (&["find-task", "PART 1"][..], 3),
        (&["find-task", "nothing such"], 0),
        (&["find-task", "-s", "pending"], 8),
        (&["find-task", "-s", "running", "-s", "failed"], 2),
        (&["find-task", "-o", "ada"], 4),
        (&["find-task", "-m", r#"{"team":"red"}"#], 6),
        (&["find-task", "-m", r#"{"team":"red","n":4}"#], 1),
        (&["find-task", "-m", r#"{"team":"re"}"#], 0),
        (
            &["find-task", "part", "-o", "bob", "-m", r#"{"team":"blue"}"#],
            2,
        ),
        (&["list-tasks", "-s", "completed"], 1),
    ] {
        assert_eq!(total(&place, args), number, "{args:?}");
    }
    let mut paged = Vec::new();
    for offset in ["0", "5", "10", "15"] {
        let page = place
            .run(&["list-tasks", "-l", "5", "--offset", offset, "--json"])
            .ok()
            .json();
        assert_eq!(page["total"], 12);
        paged.extend(
            page["tasks"]
                .as_array()
                .unwrap()
                .iter()
                .map(|task| task["id"].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(paged, ids);
    assert_eq!(
        place.run(&["list-tasks", "-l", "0", "--json"]).ok().json()["tasks"],
        Value::Array(vec![])
    );

    let stats = place.run(&["task-stats", "--json"]).ok().json();
    assert_eq!(stats["total"], total(&place, &["list-tasks"]));
    for status in ["pending", "running", "completed", "failed", "cancelled"] {
        assert_eq!(
            stats["statuses"][status],
            total(&place, &["list-tasks", "-s", status]),
            "{status}"
        );
    }
    for owner in ["ada", "bob", "eve"] {
        assert_eq!(
            stats["owners"][owner],
            total(&place, &["list-tasks", "-o", owner]),
            "{owner}"
        );
    }
    assert_eq!(stats["newest"].as_array().unwrap().len(), 5);
    let counted = place.run(&["status", "--json"]).ok().json();
    assert_eq!(
        counted["counts"], stats["statuses"],
        "the kept counters say the same"
    );
    place.run(&["task", "delete", ids[0]]).ok();
    let stats = place.run(&["task-stats", "--json"]).ok().json();
    assert_eq!(
        (&stats["total"], &stats["statuses"]["completed"]),
        (&11.into(), &0.into())
    );
}

#[test]
fn s13_history_by_level_time_and_number() {
    let place = Place::folder();
    let id = place.run(&["create-task", "x"]).ok().id();
    for (level, text) in [
        ("debug", "a detail"),
        ("info", "an event"),
        ("warn", "a doubt"),
        ("error", "a fault"),
    ] {
        place.run(&["note", &id, text, "--level", level]).ok();
    }
    let said = |flags: &[&str]| place.messages("task-history", &id, flags);
    assert_eq!(said(&["--level", "warn"]), ["a doubt", "a fault"]);
    assert_eq!(said(&["--level", "warning"]), ["a doubt", "a fault"]);
    assert_eq!(said(&["--level", "error"]), ["a fault"]);
    assert_eq!(
        said(&["--limit", "2"]),
        ["a doubt", "a fault"],
        "the last, not the first"
    );
    assert_eq!(said(&["--limit", "1", "--level", "info"]), ["a fault"]);
    assert_eq!(said(&["--start", "2099-01-01T00:00:00Z"]), [""; 0]);
    assert_eq!(said(&["--end", "2001-01-01T00:00:00Z"]), [""; 0]);
    assert_eq!(said(&["--start", "1h"]).len(), 5);
    let wrong = place.run(&["task-history", &id, "--start", "yesterday"]);
    assert_eq!(wrong.code, 2, "{wrong:#?}");
    place.run(&["history", &id, "--verify"]).ok();
}
