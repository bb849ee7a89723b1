//! S23: a log that grows.

use std::{fmt::Write as _, fs};

use crate::place::Place;

/// As many lines as a full file holds, three times, and a rest.
#[test]
fn s23_two_hundred_thousand_entries_are_four_files() {
    let place = Place::folder();
    let id = place.run(&["create-task", "x"]).ok().id();
    let mut lines = String::new();
    for n in 1..200_000 {
        let _ = writeln!(lines, "line {n}");
    }
    let noted = place
        .feed(
            &[
                "note",
                &id,
                "-",
                "--config",
                "limits.prompt_bytes_max=10000000",
            ],
            Some(&lines),
        )
        .ok();
    assert!(noted.out.contains("199999 entries"), "{noted:#?}");
    let folder = place.project().join(".crewboss/tasks").join(&id);
    let logs: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("logs"))
        .collect();
    assert!(logs.len() >= 4, "{logs:?}");
    let live = fs::read_to_string(folder.join("logs.jsonl")).unwrap();
    assert_eq!(
        live.lines().count(),
        20_000,
        "60,000, 60,000, 60,000 and the rest"
    );
    let said = |flags: &[&str]| place.messages("history", &id, flags);
    assert_eq!(said(&["--last", "2"]), ["line 199998", "line 199999"]);
    let across = said(&["--range", "59999..60003"]);
    let expected: Vec<String> = (59_998..60_003).map(|n| format!("line {n}")).collect();
    assert_eq!(across, expected, "over the end of a file");
    place.run(&["history", &id, "--verify"]).ok();
}
