//! S5, S6: a task that goes wrong, and goes on from where it was well.

use std::{fs, path::Path, time::Duration};

use testkit::poll::poll_until;

use crate::place::Place;

/// Ten steps, each one waiting for leave; the seventh fails as long as it is told to.
fn steps(control: &Path) -> String {
    format!(
        r#"c={}; touch steps.txt; i=$(($(wc -l <steps.txt)+1));
while [ $i -le 10 ]; do echo "step $i" >>steps.txt; [ $i = 7 ] && [ -e $c/fail ] && exit 9;
touch $c/at-$i; until [ -e $c/go-$i ]; do sleep 0.02; done; i=$((i+1)); done"#,
        control.display()
    )
}

#[test]
fn s05_back_to_the_second_checkpoint() {
    let place = Place::repository();
    let control = place.home().join("control");
    fs::create_dir(&control).unwrap();
    fs::write(control.join("fail"), "").unwrap();
    let id = place.start(&[
        "line",
        &steps(&control),
        "--owner",
        "ada",
        "--meta",
        "team=blue",
    ]);
    place.run(&["run", &id]).ok();
    let at = |step: u32| {
        let there = control.join(format!("at-{step}"));
        assert!(
            poll_until(Duration::from_mins(1), || there.exists()),
            "step {step}"
        );
    };
    let go = |step: u32| fs::write(control.join(format!("go-{step}")), "").unwrap();
    at(1);
    place
        .run(&["decision", "add", &id, "--decision", "begin small"])
        .ok();
    let first = place
        .run(&["checkpoint", &id, "--description", "after 1", "--json"])
        .ok()
        .json();
    for step in 1..5 {
        go(step);
        at(step + 1);
    }
    let second = place
        .run(&["checkpoint", &id, "--description", "after 5", "--json"])
        .ok()
        .json();
    go(5);
    go(6);
    place.run(&["wait", &id, "--timeout", "60"]);
    assert_eq!(place.status_of(&id), "failed");
    let listed = place.run(&["checkpoint", "--list", &id]).ok().out;
    let line_of = |one: &serde_json::Value| listed.find(one["id"].as_str().unwrap()).unwrap();
    assert!(line_of(&second) < line_of(&first), "the newest first");

    let kept = second["id"].as_str().unwrap();
    let back = place
        .run(&["restore-checkpoint", &id, "-c", kept, "--json"])
        .ok()
        .json();
    let again = back["id"].as_str().unwrap();
    assert_eq!(back["status"], "pending");
    assert_eq!(
        (&back["owner"], &back["metadata"]["team"]),
        (&"ada".into(), &"blue".into())
    );
    let log = place.run(&["history", &id]).ok().out;
    assert_eq!(
        log.matches("kept as checkpoint").count(),
        2,
        "its log is not doubled: {log}"
    );

    fs::remove_file(control.join("fail")).unwrap();
    (1..=10).for_each(|step| fs::write(control.join(format!("go-{step}")), "").unwrap());
    place.run(&["resume-task", again]).ok();
    place.run(&["wait", again, "--timeout", "60"]).ok();
    let shown = place.run(&["show", again, "--json"]).ok().json();
    let start = shown["session"]["workspace"]["start"].as_str().unwrap();
    let five: Vec<String> = (1..=5).map(|n| format!("step {n}")).collect();
    assert_eq!(
        place.repo().git(&["show", &format!("{start}:steps.txt")]),
        five.join("\n")
    );
    let ten: Vec<String> = (1..=10).map(|n| format!("step {n}")).collect();
    let branch = shown["branch"].as_str().unwrap();
    assert_eq!(
        place.repo().git(&["show", &format!("{branch}:steps.txt")]),
        ten.join("\n")
    );
    let decisions = place.run(&["task-decisions", again]).ok().out;
    assert!(decisions.contains("begin small"), "{decisions}");
}

#[test]
fn s06_a_checkpoint_is_gone_back_to_and_gone_on_from_at_once() {
    let place = Place::repository();
    let control = place.home().join("control");
    fs::create_dir(&control).unwrap();
    let id = place.start(&["line", &steps(&control)]);
    place.run(&["run", &id]).ok();
    let reached = control.join("at-1");
    assert!(poll_until(Duration::from_mins(1), || reached.exists()));
    let kept = place.run(&["checkpoint", "--task", &id, "--json"]);
    let kept = kept.ok().json()["id"].as_str().unwrap().to_owned();
    place.run(&["cancel", &id]).ok();
    (1..=10).for_each(|step| fs::write(control.join(format!("go-{step}")), "").unwrap());
    let resumed = place
        .run(&["resume-task", "--task", &id, "--checkpoint", &kept])
        .ok();
    let again = resumed.id();
    assert_ne!(again, id, "what has ended stays as it is");
    place.run(&["wait", &again, "--timeout", "60"]).ok();
    let shown = place.run(&["show", &again, "--json"]).ok().json();
    assert_eq!(
        (shown["status"].as_str(), shown["agent"].as_str()),
        (Some("completed"), Some("line"))
    );
    let branch = shown["branch"].as_str().unwrap();
    let text = place.repo().git(&["show", &format!("{branch}:steps.txt")]);
    assert_eq!(text.lines().count(), 10, "{text}");
    assert_eq!(place.status_of(&id), "cancelled");
}
