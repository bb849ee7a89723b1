//! S8, S18: a state that was tampered with, and everything in another place.

use std::fs;

use crate::place::Place;

#[test]
fn s08_a_flipped_byte_is_found_and_never_believed() {
    let place = Place::folder();
    let id = place.start(&["writer", "write it", "--meta", "team=blue"]);
    place.run(&["run", &id, "--wait"]).ok();
    let state = place
        .project()
        .join(".crewboss/tasks")
        .join(&id)
        .join("state.json");
    let whole = fs::read_to_string(&state).unwrap();
    let before = place.run(&["show", &id, "--json"]).ok().json();
    // In a nested field, and at the top.
    for (old, new) in [("\"blue\"", "\"blau\""), ("\"completed\"", "\"cancelled\"")] {
        let tampered = whole.replacen(old, new, 1);
        assert_ne!(tampered, whole);
        fs::write(&state, &tampered).unwrap();
        let shown = place.run(&["show", &id, "--json"]).ok().json();
        assert_eq!(shown, before, "the store is what is believed");
        let repaired = place.run(&["repair"]);
        let said = format!("{}{}", repaired.out, repaired.err);
        assert!(said.contains("state.json"), "it is reported: {repaired:#?}");
        assert_eq!(fs::read_to_string(&state).unwrap(), whole);
        let again = place.run(&["repair"]).ok();
        assert!(!again.out.contains("state.json"), "{again:#?}");
    }
}

#[test]
fn s18_everything_goes_to_another_store() {
    let place = Place::folder();
    for (name, owner) in [("one", "ada"), ("two", "bob"), ("three", "ada")] {
        place
            .run(&["create-task", name, "-o", owner, "--task-id", name])
            .ok();
    }
    place.run(&["resume-task", "one", "-a", "agent-1"]).ok();
    let decide = ["decision", "add", "one", "--decision", "use tabs"];
    place.run(&decide).ok();
    place
        .run(&["complete-task", "one", "-r", r#"{"n":1}"#])
        .ok();
    place.run(&["resume-task", "two"]).ok();
    place.run(&["task", "fail", "two", "--message", "no"]).ok();
    place.run(&["task", "delete", "three"]).ok();
    let looks: [&[&str]; 5] = [
        &["task-stats", "--json"],
        &["list-tasks", "--json"],
        &["task", "list", "--include-deleted", "--json"],
        &["task-decisions", "one", "--json"],
        &["task-executions", "one", "--json"],
    ];
    let look = |args: &&[&str]| place.run(args).ok().json();
    let before: Vec<_> = looks.iter().map(look).collect();
    let file = place.home().join("all.tar");
    let file = file.to_str().unwrap();
    place.run(&["export", file]).ok();
    fs::rename(place.home().join("crewboss"), place.home().join("old")).unwrap();
    assert_eq!(look(&looks[0])["total"], 0, "another store");
    place.run(&["import", file]).ok();
    let after: Vec<_> = looks.iter().map(look).collect();
    assert_eq!(before, after);
    place.run(&["audit", "verify"]).ok();
}
