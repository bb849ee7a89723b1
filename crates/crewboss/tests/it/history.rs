//! `history`, `note` and `decision`, by several processes at once and with some of them killed.

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::place::Place;

fn folder(place: &Place, id: &str) -> PathBuf {
    place.project().join(".crewboss/tasks").join(id)
}

fn log(place: &Place, id: &str) -> PathBuf {
    folder(place, id).join("logs.jsonl")
}

fn entries(place: &Place, args: &[&str]) -> Vec<Value> {
    let args: Vec<&str> = args.iter().chain(&["--json"]).copied().collect();
    let shown = place.run(&args).ok().json();
    shown["entries"].as_array().unwrap().clone()
}

fn messages(place: &Place, args: &[&str]) -> Vec<String> {
    let text = |entry: &Value| entry["message"].as_str().unwrap().to_owned();
    entries(place, args).iter().map(text).collect()
}

#[test]
fn a_task_tells_what_happened_to_it() {
    let place = Place::folder();
    let id = place.start(&["late7", "x"]);
    assert!(log(&place, &id).exists(), "the log is there with the task");
    place.run(&["run", "--wait"]);
    let all = entries(&place, &["history", &id]);
    let seqs: Vec<_> = all
        .iter()
        .map(|entry| entry["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=all.len() as u64).collect::<Vec<_>>());
    let positions: Vec<_> = all.iter().map(|entry| entry["position"].as_u64()).collect();
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
    let kinds: Vec<_> = all
        .iter()
        .map(|entry| entry["data"]["type"].as_str().unwrap())
        .collect();
    for kind in [
        "task.created",
        "session.created",
        "session.finished",
        "task.failed",
    ] {
        assert_eq!(
            kinds.iter().filter(|known| **known == kind).count(),
            1,
            "{kinds:?}"
        );
    }
    assert_eq!(all[0]["data"]["payload"]["task"]["spec"]["prompt"], "x");
    let grave = messages(&place, &["history", &id, "--level", "error"]);
    assert!(
        grave.len() == 2 && grave[1].starts_with("failed (process_failure)"),
        "{grave:?}"
    );
    let last = messages(&place, &["history", &id, "-n", "1"]);
    assert_eq!(last, [grave[1].clone()]);
    assert_eq!(
        entries(&place, &["history", &id, "--range", "2..3"]).len(),
        2
    );
    assert_eq!(
        entries(&place, &["history", &id, "--since", "1h"]).len(),
        all.len()
    );
    assert_eq!(entries(&place, &["history", &id, "--until", "1h"]).len(), 0);
    let text = place.run(&["history", &id]).ok().out;
    assert_eq!(text.lines().count(), all.len(), "{text}");
    let followed = place.run(&["history", &id, "--follow"]).ok().out;
    assert_eq!(followed, text);
}

#[test]
fn a_lost_log_is_made_again_as_it_was() {
    let place = Place::folder();
    let id = place.start(&["writer", "x"]);
    place.run(&["run", "--wait"]).ok();
    place.run(&["history", &id, "--verify"]).ok();
    let before = fs::read(log(&place, &id)).unwrap();
    fs::remove_file(log(&place, &id)).unwrap();
    place.run(&["history", &id]).ok();
    assert_eq!(fs::read(log(&place, &id)).unwrap(), before);
    fs::write(log(&place, &id), &before[..before.len() * 2 / 3]).unwrap();
    let shown = place.run(&["history", &id, "--json"]).ok().json();
    let told = shown["entries"].as_array().unwrap();
    assert!(
        told.iter()
            .any(|entry| entry["message"].as_str().unwrap().contains("torn"))
    );
    assert_eq!(shown["findings"].as_array().unwrap().len(), 0);
    place.run(&["history", &id, "--verify"]).ok();
}

#[test]
fn what_a_hand_changed_is_found() {
    let place = Place::folder();
    let id = place.start(&["writer", "x"]);
    place.run(&["note", &id, "all is well"]).ok();
    let good = fs::read_to_string(log(&place, &id)).unwrap();
    fs::write(log(&place, &id), good.replace("all is well", "all is lost")).unwrap();
    let found = place.run(&["history", &id, "--verify", "--json"]);
    assert_eq!(
        (found.code, found.json()["breach"].as_str()),
        (1, Some("edited"))
    );
    assert_eq!(found.json()["finding"]["line"], 2);
    fs::write(log(&place, &id), [good.as_bytes(), b"\xff\n"].concat()).unwrap();
    let ran = place.run(&["history", &id]).ok();
    assert!(
        ran.err.contains("logs.jsonl:3: byte 1 is not UTF-8"),
        "{ran:#?}"
    );
    assert_eq!(ran.out.lines().count(), 2);
    fs::remove_file(log(&place, &id)).unwrap();
    let outside = place.home().join("outside");
    fs::write(&outside, "safe").unwrap();
    symlink(&outside, log(&place, &id)).unwrap();
    assert_eq!(place.run(&["note", &id, "x"]).code, 5);
    let shown = place.run(&["history", &id, "--json"]).ok().json();
    assert_eq!(shown["entries"].as_array().unwrap().len(), 0);
    let findings = shown["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 2, "behind, and why: {findings:#?}");
    assert_eq!(fs::read_to_string(&outside).unwrap(), "safe");
}

/// Starts commands and kills every other one at some moment; answers those that said they were done.
fn kill_some(place: &Place, commands: &[Vec<String>]) -> Vec<usize> {
    let children: Vec<Child> = commands
        .iter()
        .map(|args| {
            place
                .command(args)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut done = vec![];
    for (number, mut child) in children.into_iter().enumerate() {
        if number % 2 == 1 {
            // Any moment will do: none may lose what was acknowledged.
            thread::sleep(Duration::from_millis(number as u64 * 7 % 23));
            drop(child.kill());
        }
        if child.wait().unwrap().success() {
            done.push(number);
        }
    }
    done
}

#[test]
fn what_was_acknowledged_outlives_any_kill() {
    let place = Place::folder();
    let id = place.start(&["writer", "x"]);
    let mut acknowledged = vec![];
    for round in 0..4 {
        let commands: Vec<Vec<String>> = (0..10)
            .map(|number| {
                let text = format!("{round} {number}");
                let words: [&str; 4] = match number % 5 {
                    0..3 => ["note", &id, &text, "--level=warn"],
                    _ => ["decision", "add", &id, &format!("--decision={text}")],
                };
                words.map(str::to_owned).to_vec()
            })
            .collect();
        for number in kill_some(&place, &commands) {
            acknowledged.push((number % 5 < 3, format!("{round} {number}")));
        }
    }
    assert!(acknowledged.len() >= 20, "{acknowledged:?}");
    let notes = messages(&place, &["history", &id]);
    let listed = place.run(&["decision", "list", &id, "--json"]).ok().json();
    assert_eq!(
        listed["findings"].as_array().unwrap().len(),
        0,
        "{listed:#}"
    );
    let decisions: Vec<_> = listed["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|decision| decision["decision"].as_str().unwrap().to_owned())
        .collect();
    for (is_note, text) in &acknowledged {
        let place = if *is_note { &notes } else { &decisions };
        assert_eq!(
            place.iter().filter(|known| *known == text).count(),
            1,
            "{text}: {place:?}"
        );
    }
    place.run(&["history", &id, "--verify"]).ok();
}

#[test]
fn events_are_in_the_log_once_whoever_is_killed() {
    let place = Place::folder();
    let ids: Vec<String> = (0..3).map(|_| place.start(&["writer", "x"])).collect();
    for round in 0..4_u32 {
        let commands: Vec<Vec<String>> = ids
            .iter()
            .flat_map(|id| {
                let limit = format!("{}m", round + 1);
                let change = ["timeout", "set", id, &limit].map(str::to_owned).to_vec();
                let look = ["history", id].map(str::to_owned).to_vec();
                [change.clone(), look.clone(), change, look]
            })
            .collect();
        kill_some(&place, &commands);
    }
    for id in &ids {
        place.run(&["history", id, "--verify"]).ok();
        let all = entries(&place, &["history", id]);
        let positions: Vec<_> = all.iter().map(|entry| entry["position"].as_u64()).collect();
        assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
    }
}

#[test]
fn a_decision_comes_back_as_it_was_made() {
    let place = Place::folder();
    let id = place.start(&["writer", "x", "--key", "it"]);
    assert_eq!(
        place
            .run(&["decision", "add", "it", "--decision", " "])
            .code,
        2
    );
    assert_eq!(place.run(&["decision", "list", "nothing"]).code, 3);
    let add = [
        "decision",
        "add",
        "it",
        "--decision",
        "Use a file",
        "--agent",
        "coder",
        "--context",
        "where rows go",
        "--alternative",
        "a server",
        "--alternative",
        "# none",
        "--reasoning",
        "-",
        "--metadata",
        "ticket=X-1=2",
    ];
    let reasons = "first\n\n## second\r\ntoken ghp_abcdefghijklmnopqrstuvwxyz0123456789\n";
    place.feed(&add, Some(reasons)).ok();
    let listed = place.run(&["decision", "list", &id, "--json"]).ok().json();
    let one = &listed["decisions"][0];
    assert_eq!(one["decision"], "Use a file");
    assert_eq!(one["agent"], "coder");
    assert_eq!(one["context"], "where rows go");
    assert_eq!(
        one["alternatives"],
        serde_json::json!(["a server", "# none"])
    );
    assert_eq!(one["reasoning"], "first\n\n## second\r\ntoken ***");
    assert_eq!(one["metadata"]["ticket"], "X-1=2");
    let file = folder(&place, &id).join("decisions.md");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n### Risks\n\n## By hand\n")).unwrap();
    let ran = place.run(&["decision", "list", &id]).ok();
    assert!(ran.out.contains("2. By hand"), "{ran:#?}");
    assert!(ran.err.contains("Risks"), "{ran:#?}");
}

#[test]
fn a_layout_has_neither() {
    let place = Place::folder();
    for args in [
        &["history", "x"][..],
        &["note", "x", "y"],
        &["decision", "list", "x"],
    ] {
        let args: Vec<&str> = args
            .iter()
            .chain(&["--layout", "gemini"])
            .copied()
            .collect();
        let ran = place.run(&args);
        assert_ne!(ran.code, 0, "{ran:#?}");
        assert!(
            ran.err.contains("a task of a layout has no log"),
            "{ran:#?}"
        );
    }
}
