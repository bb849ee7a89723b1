//! What is queued, shown and taken out again, before anything runs.

use crate::place::Place;

#[test]
fn start_says_what_differs_from_the_defaults() {
    let place = Place::folder();
    let plain = place
        .run(&["start", "writer", "Write a Hello World function"])
        .ok();
    assert_eq!(
        plain.out,
        format!("Task {} created for writer.\n", plain.id())
    );
    let all = place
        .run(&[
            "start",
            "writer",
            "X",
            "--timeout=300",
            "--priority",
            "8",
            "--auto-retry",
            "--max-retries",
            "5",
            "--depends-on",
            &plain.id(),
        ])
        .ok();
    insta::assert_snapshot!("start_with_options", place.plain(&all.out));
    let words = place.start(&[
        "writer",
        "Create",
        "a",
        "REST",
        "API",
        "--priority",
        "7",
        "server",
    ]);
    let shown = place.run(&["show", &words, "--json"]).ok().json();
    assert_eq!(shown["prompt"], "Create a REST API server");
    assert_eq!(shown["priority"], 7);
}

#[test]
fn prompts_arrive_as_they_are() {
    let place = Place::folder();
    let prompt_of = |id: &str| {
        let shown = place.run(&["show", id, "--json"]).ok().json();
        shown["prompt"].as_str().unwrap().to_owned()
    };
    for prompt in [
        "- a list item",
        "--all of it",
        "literal {agent} $(id) \"q\" \\n",
        "ümläut 🚫",
    ] {
        let id = place.start(&["writer", prompt]);
        assert_eq!(prompt_of(&id), prompt);
    }
    let dashes = place.start(&["--priority", "3", "--", "writer", "--force"]);
    assert_eq!(prompt_of(&dashes), "--force");
    let piped = place
        .feed(&["start", "writer", "-"], Some("from\nstdin\n"))
        .ok()
        .id();
    assert_eq!(prompt_of(&piped), "from\nstdin\n");
}

#[test]
fn status_is_markdown_for_programs() {
    let place = Place::folder();
    assert_eq!(place.run(&["status"]).ok().out, "No tasks found\n");
    assert!(
        !place.home().join("crewboss").exists(),
        "looking makes no store"
    );
    let first = place.start(&[
        "writer",
        "the first of all tasks, with a prompt of some length",
    ]);
    place.start(&["sleeper", "the second", "--depends-on", &first]);
    let third = place.start(&["late7", "the third", "--in", "1h"]);
    place.run(&["cancel", &third]).ok();
    let ran = place.run(&["status"]).ok();
    insta::assert_snapshot!("status", place.plain(&ran.out));
    assert!(!ran.out.contains('\x1b'), "no colour when piped");
    let json = place.run(&["status", "--json"]).ok().json();
    assert_eq!(json["schema"], "crewboss.status");
    assert_eq!(json["counts"]["pending"], 2);
    assert_eq!(json["tasks"][1]["blocked_by"][0]["id"], first.as_str());
}

#[test]
fn without_a_unicode_locale_signs_are_ascii() {
    let mut place = Place::folder();
    place.start(&["writer", "x"]);
    place.set("LC_ALL", "C");
    let ran = place.run(&["status"]).ok();
    assert!(
        ran.out.contains("[ ] pending") && ran.out.is_ascii(),
        "{ran:#?}"
    );
}

#[test]
fn a_task_is_named_by_id_by_its_end_and_by_key() {
    let place = Place::folder();
    let id = place.start(&["writer", "x", "--key", "nightly"]);
    for name in [id.as_str(), &id[id.len() - 6..], "nightly"] {
        assert_eq!(
            place.run(&["show", name, "--json"]).ok().json()["id"],
            id.as_str()
        );
    }
    let taken = place.run(&["start", "writer", "x", "--key", "nightly"]);
    assert_eq!(taken.code, 4, "{taken:#?}");
}

#[test]
fn another_folder_of_the_project_is_the_same_queue() {
    let place = Place::repository();
    let id = place.start(&["writer", "x"]);
    let deep = place.project().join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    let output = place
        .command(["status"])
        .current_dir(&deep)
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&output.stdout).contains(&id),
        "{output:?}"
    );
}

#[test]
fn dependencies_are_shown_as_a_graph() {
    let place = Place::folder();
    let a = place.start(&["writer", "A"]);
    let b = place.start(&["writer", "B", "--depends-on", &a]);
    let c = place.start(&["writer", "C", "--depends-on", &a]);
    let d = place.start(&["writer", "D", "--depends-on", &b, &c]);
    let mut text = place.run(&["deps", "graph"]).ok().out;
    text.push_str("----\n");
    text.push_str(&place.run(&["deps", "show", &d]).ok().out);
    text.push_str("----\n");
    text.push_str(&place.run(&["deps", "validate"]).ok().out);
    insta::assert_snapshot!("deps", place.plain(&text));
}

#[test]
fn the_kept_counters_agree_with_the_tasks() {
    let place = Place::folder();
    for priority in ["10", "5", "5"] {
        place.start(&["writer", "x", "--priority", priority]);
    }
    let verify = place.run(&["index", "verify"]).ok();
    assert_eq!(verify.out, "✓ Index is consistent\n");
    insta::assert_snapshot!("index_stats", place.run(&["index", "stats"]).ok().out);
    assert!(
        place
            .run(&["index", "rebuild"])
            .ok()
            .out
            .contains("Index rebuilt with 3 tasks")
    );
}

#[test]
fn a_full_queue_refuses() {
    let place = Place::folder();
    place.configure("[limits]\nqueue_max = 1\n");
    place.start(&["writer", "x"]);
    let ran = place.run(&["start", "writer", "y"]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert!(ran.err.contains("the queue is full"), "{ran:#?}");
    let warned = place
        .run(&[
            "--config",
            "limits.queue_refuse=false",
            "start",
            "writer",
            "y",
        ])
        .ok();
    assert!(
        warned.err.contains("Task queue size (2) exceeds limit (1)"),
        "{warned:#?}"
    );
}

#[test]
fn every_read_is_one_json_document() {
    let place = Place::folder();
    let id = place.start(&["writer", "x"]);
    for args in [
        &["status"][..],
        &["show", &id],
        &["timeout", "list"],
        &["deps", "graph"],
        &["deps", "show", &id],
        &["deps", "validate"],
        &["config", "show"],
        &["config", "path"],
        &["config", "get", "run.parallel"],
        &["index", "stats"],
        &["index", "verify"],
        &["archive", "stats"],
        &["archive", "list"],
        &["archive", "--dry-run"],
        &["doctor"],
        &["clean", "completed"],
        &["cancel", &id],
    ] {
        let args: Vec<&str> = args.iter().chain(&["--json"]).copied().collect();
        let document = place.run(&args).json();
        assert!(
            document["schema"]
                .as_str()
                .unwrap()
                .starts_with("crewboss."),
            "{args:?}"
        );
        assert_eq!(document["schema_version"], 1, "{args:?}");
    }
}
