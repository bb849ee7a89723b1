//! What the program says about itself.

use std::fmt::Write as _;

use crate::place::Place;

const VERBS: &[&str] = &[
    "init",
    "start",
    "run",
    "status",
    "show",
    "wait",
    "attach",
    "logs",
    "cancel",
    "retry",
    "timeout",
    "diff",
    "merge",
    "checkpoint",
    "clean",
    "archive",
    "deps",
    "lock",
    "task",
    "daemon",
    "config",
    "index",
    "doctor",
    "self-test",
    "completions",
    "man",
];

#[test]
fn every_verb_has_its_help() {
    let place = Place::folder();
    let mut all = place.run(&["--help"]).ok().out;
    for verb in VERBS {
        let help = place.run(&[verb, "--help"]).ok().out;
        let _ = write!(all, "\n==== {verb}\n{help}");
    }
    insta::assert_snapshot!("help", all);
    assert!(
        !place.home().join("crewboss").exists(),
        "help makes nothing"
    );
}

#[test]
fn the_version_is_one_line() {
    let place = Place::folder();
    let version = format!("crewboss {}\n", env!("CARGO_PKG_VERSION"));
    for flag in ["--version", "-V"] {
        assert_eq!(place.run(&[flag]).ok().out, version);
    }
}

#[test]
fn no_verb_shows_the_help_and_is_no_error() {
    let place = Place::folder();
    let ran = place.run(&[]).ok();
    assert!(ran.out.contains("Usage: crewboss"), "{ran:?}");
}

#[test]
fn completions_and_the_manual_come_from_the_same_definitions() {
    let place = Place::folder();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            place
                .run(&["completions", shell])
                .ok()
                .out
                .contains("self-test"),
            "{shell}"
        );
    }
    let page = place.run(&["man"]).ok().out;
    assert!(
        page.contains(".TH crewboss") && page.contains("EXIT STATUS"),
        "{page}"
    );
    assert!(place.run(&["man", "start"]).ok().out.contains("priority"));
    assert_eq!(place.run(&["man", "nothing"]).code, 3);
}
