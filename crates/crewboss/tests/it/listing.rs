//! What `status`, `show` and `deps` say about which tasks.

use crate::place::{Place, Ran};

fn keys(ran: Ran) -> Vec<String> {
    let document = ran.ok().json();
    let tasks = document["tasks"].as_array().unwrap();
    let keys = tasks
        .iter()
        .map(|task| task["key"].as_str().unwrap().to_owned());
    keys.collect()
}

#[test]
fn tasks_are_chosen_by_state_and_agent_and_shown_in_pages() {
    let place = Place::folder();
    for (agent, key) in [
        ("writer", "a"),
        ("late7", "b"),
        ("writer", "c"),
        ("late7", "d"),
        ("writer", "e"),
    ] {
        place.start(&[agent, "x", "--key", key]);
    }
    place.run(&["cancel", "a", "d"]).ok();
    let list = |args: &[&str]| {
        let args: Vec<&str> = ["status", "--json"].iter().chain(args).copied().collect();
        keys(place.run(&args))
    };
    assert_eq!(list(&["--state", "cancelled"]), ["a", "d"]);
    assert_eq!(
        list(&["--state", "pending", "--agent", "writer"]),
        ["c", "e"]
    );
    assert_eq!(
        list(&[
            "--state",
            "pending",
            "--state",
            "cancelled",
            "--agent",
            "late7"
        ]),
        ["b", "d"]
    );
    assert_eq!(list(&["--agent", "writer", "--limit", "2"]), ["c", "e"]);
    assert_eq!(
        list(&["--agent", "writer", "--limit", "2", "--before", "c"]),
        ["a"]
    );
    assert_eq!(list(&["--agent", "nobody"]), [""; 0]);
    let more = |args: &[&str]| place.run(args).ok().json()["more"].as_bool().unwrap();
    assert!(more(&[
        "status", "--json", "--agent", "writer", "--limit", "2"
    ]));
    assert!(!more(&[
        "status", "--json", "--agent", "writer", "--limit", "3"
    ]));
    assert!(!more(&["status", "--json"]));
    let page = place
        .run(&["status", "--agent", "writer", "--limit", "2"])
        .ok()
        .out;
    assert!(
        page.contains("The newest 2 shown: --before task_"),
        "{page}"
    );
    assert!(
        page.contains("Summary: 5 total"),
        "of the whole project: {page}"
    );
    let wrong = place.run(&["status", "--state", "done"]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.err.contains("pending, running, completed"),
        "{wrong:#?}"
    );
}

#[test]
fn tasks_that_are_named_are_named_with_their_keys() {
    let place = Place::folder();
    let first = place.start(&["late7", "x", "--key", "first"]);
    let second = place.start(&["writer", "y", "--key", "second", "--depends-on", "first"]);
    let shown = place.run(&["deps", "show", "second"]).ok().out;
    assert!(
        shown.contains(&format!("Task: {second} [second]\n"))
            && shown.contains(&format!("{first} [first] (pending)\n")),
        "{shown}"
    );
    let needed = place.run(&["deps", "show", "first"]).ok().out;
    assert!(
        needed.contains(&format!("  {second} [second] (pending)\n")),
        "{needed}"
    );
    let graph = place.run(&["deps", "graph"]).ok().out;
    assert!(
        graph.contains(&format!("└─> {first} [first] (pending)")),
        "{graph}"
    );
    assert_eq!(place.run(&["run", "--wait"]).code, 1);
    let status = place.run(&["status"]).ok().out;
    assert!(
        status.contains(&format!("| {first} [first] |"))
            && status.contains(&format!("Dependency {first} [first] failed")),
        "{status}"
    );
    let waited = place.run(&["wait", "first"]);
    assert!(
        waited
            .out
            .starts_with(&format!("Task {first} [first] failed")),
        "{waited:#?}"
    );
    let started = place.run(&["run", "first"]);
    assert_eq!(started.code, 4, "{started:#?}");
    assert!(
        started.err.contains("cannot start, it has failed")
            && started.err.contains("crewboss retry")
            && !started.err.contains("claim"),
        "{started:#?}"
    );
}

#[test]
fn how_long_it_ran_and_who_ended_it_is_shown() {
    let place = Place::folder();
    let done = place.start(&["writer", "x"]);
    place.run(&["run", "--wait"]).ok();
    let row = |id: &str| {
        let status = place.run(&["status"]).ok().out;
        status
            .lines()
            .find(|line| line.contains(id))
            .unwrap()
            .to_owned()
    };
    let time = |id: &str| row(id).split('|').nth(5).unwrap().trim().to_owned();
    assert!(time(&done).ends_with('s'), "{}", row(&done));
    let document = place.run(&["show", &done, "--json"]).ok().json();
    assert!(
        document["started_at"].is_string() && document.get("claimed_at").is_none(),
        "{document:#}"
    );
    let asleep = place.start(&["sleeper", "x"]);
    assert_eq!(time(&asleep), "-");
    place.run(&["run"]).ok();
    place.until_at_work(&asleep);
    place.run(&["cancel", &asleep]).ok();
    assert!(time(&asleep).ends_with('s'), "{}", row(&asleep));
    let shown = place.run(&["show", &asleep]).ok().out;
    assert!(
        shown.contains("ended by Crewboss after a cancel: SIGTERM"),
        "{shown}"
    );
    assert!(shown.contains("\nRan:         "), "{shown}");
    let late = place.start(&["sleeper", "x", "--timeout", "1"]);
    assert_eq!(place.run(&["run", "--wait"]).code, 1);
    let shown = place.run(&["show", &late]).ok().out;
    assert!(
        shown.contains("ended by Crewboss when its time was up: SIGTERM"),
        "{shown}"
    );
}

#[test]
fn whoever_is_wrong_is_told_what_to_type() {
    let place = Place::folder();
    for (args, hint) in [
        (&["list"][..], "hint: `crewboss status` does that"),
        (
            &["add", "coder", "x"],
            "hint: `crewboss start AGENT PROMPT` does that",
        ),
        (
            &["frobnicate"],
            "hint: `crewboss --help` lists the commands",
        ),
        (&["start", "Fix the login"], "hint: the agent comes first"),
        (
            &["start", "--depends-on", "a", "writer", "x"],
            "write the prompt before it",
        ),
    ] {
        let ran = place.run(args);
        assert_eq!(ran.code, 2, "{ran:#?}");
        assert!(ran.err.contains(hint), "{hint}: {ran:#?}");
    }
    let doubtful = place.run(&["start", "writr", "x"]).ok();
    assert_eq!(
        doubtful.err,
        "warning: writr is not configured: it would be run as OpenCode agent writr, which OpenCode \
         does not have; did you mean writer?\n"
    );
    let near = place.run(&["start", "opencod", "x"]).ok().err;
    assert!(near.contains("did you mean opencode?"), "{near}");
    assert_eq!(place.run(&["start", "build", "x"]).ok().err, "");
}

#[test]
fn a_prompt_behind_dependencies_is_found_or_asked_for() {
    let place = Place::folder();
    for key in ["a", "b"] {
        place.start(&["writer", "x", "--key", key]);
    }
    let shown = |id: &str| {
        let task = place.run(&["show", id, "--json"]).ok().json();
        let depends = task["depends_on"].as_array().unwrap().len();
        (task["prompt"].as_str().unwrap().to_owned(), depends)
    };
    let id = place.start(&["writer", "--depends-on", "a", "Fix the login page"]);
    assert_eq!(shown(&id), ("Fix the login page".to_owned(), 1));
    let id = place.start(&["writer", "--depends-on", "a", "b", "Fix: the", "login"]);
    assert_eq!(shown(&id), ("Fix: the login".to_owned(), 2));
    let id = place.start(&["writer", "do", "it", "--depends-on", "a", "b"]);
    assert_eq!(shown(&id), ("do it".to_owned(), 2));
    let id = place.start(&["writer", "--depends-on=a", "--depends-on=b", "Fix"]);
    assert_eq!(shown(&id), ("Fix".to_owned(), 2));
    let before = place.run(&["status", "--json"]).ok().json()["counts"]["pending"].clone();
    for (args, code) in [
        (&["start", "writer", "--depends-on", "a", "Fix"][..], 2),
        (
            &[
                "start",
                "writer",
                "--depends-on",
                "a",
                "Fix",
                "the",
                "page!",
            ],
            3,
        ),
    ] {
        let ran = place.run(args);
        assert_eq!(ran.code, code, "{ran:#?}");
        assert!(ran.err.contains("write the prompt before it"), "{ran:#?}");
    }
    let after = place.run(&["status", "--json"]).ok().json()["counts"]["pending"].clone();
    assert_eq!(before, after);
}
