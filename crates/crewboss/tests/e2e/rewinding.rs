//! A task that has not ended goes back to a checkpoint: the agent is ended, another goes on from
//! there, and nothing is lost or runs twice.

use std::fs;

use app::crash_points::CrashPoint;
use serde_json::{Value, json};

use crate::{arena::Arena, census, shutdown::checkpoints};

/// Notes its beginning and what it found, works in two steps, and waits in between.
const WORK: &str = r#"
trap '' TERM
n=$(ls "$HOME"/began-* 2>/dev/null | wc -l); ls > "$HOME/began-$n"; cat "$HOME/plan" 2>/dev/null
echo one > one; touch "$HOME/ready-$n"
while ! test -e "$HOME/go-$n"; do sleep 0.05; done
echo two > two; touch "$HOME/second-$n"
while ! test -e "$HOME/end-$n"; do sleep 0.05; done
"#;

#[track_caller]
fn json_of(arena: &Arena, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().chain(&["--json"]).copied().collect();
    serde_json::from_str(&arena.run(&args).ok().out).unwrap()
}

fn home(arena: &Arena, name: &str) -> std::path::PathBuf {
    arena.root().join("home").join(name)
}

fn touch(arena: &Arena, name: &str) {
    fs::write(home(arena, name), "").unwrap();
}

fn until_there(arena: &Arena, name: &str) {
    arena.until(name, || home(arena, name).exists());
}

fn plan(arena: &Arena, id: &str) -> std::path::PathBuf {
    arena
        .project()
        .join(format!(".crewboss/tasks/{id}/plan.md"))
}

fn decide(arena: &Arena, id: &str, what: &str) {
    arena.run(&["decision", "add", id, "--decision", what]).ok();
}

fn decisions(arena: &Arena, id: &str) -> Vec<String> {
    let listed = json_of(arena, &["decision", "list", id]);
    let all = listed["decisions"].as_array().unwrap().iter();
    all.map(|one| one["decision"].as_str().unwrap().to_owned())
        .collect()
}

fn sessions(arena: &Arena, id: &str) -> Vec<String> {
    let shown = arena.show(id);
    let all = shown["sessions"].as_array().unwrap().iter();
    all.map(|one| one["status"].as_str().unwrap().to_owned())
        .collect()
}

/// A task after its second step, with a checkpoint from after the first.
fn in_second_step(arena: &Arena) -> (String, String) {
    let id = arena.start(WORK, &["--meta", "ticket=7"]);
    arena.run(&["run", &id]).ok();
    until_there(arena, "ready-0");
    decide(arena, &id, "first");
    fs::write(plan(arena, &id), "then").unwrap();
    let made = json_of(arena, &["checkpoint", "create", &id]);
    touch(arena, "go-0");
    until_there(arena, "second-0");
    decide(arena, &id, "second");
    fs::write(plan(arena, &id), "now").unwrap();
    (id, made["id"].as_str().unwrap().to_owned())
}

/// The second agent's work, and what it found.
#[track_caller]
fn finish(arena: &Arena, id: &str, agent: usize) {
    let found = fs::read_to_string(home(arena, &format!("began-{agent}"))).unwrap();
    let found: Vec<&str> = found.lines().collect();
    assert_eq!(found, ["README.md", "one"]);
    touch(arena, &format!("go-{agent}"));
    touch(arena, &format!("end-{agent}"));
    arena.run(&["wait", id, "--timeout", "60"]).ok();
    let shown = arena.show(id);
    assert_eq!(shown["status"], "completed", "{shown:#}");
    assert_eq!(shown["metadata"]["ticket"], "7");
    let told = arena.run(&["history", id]).ok().out;
    assert!(!told.contains("queue, its session was lost"), "{told}");
    arena.until_deserted();
}

#[test]
fn one_at_work_goes_on_from_there_and_keeps_what_it_had() {
    let arena = Arena::repository();
    let (id, checkpoint) = in_second_step(&arena);
    let agent = arena.show(&id)["session"]["pid"].as_u64().unwrap();
    let back = json_of(&arena, &["checkpoint", "restore", &checkpoint]);
    assert_eq!(back["id"], id.as_str(), "the same task: {back:#}");
    assert_eq!(back["continues"]["checkpoint"], checkpoint.as_str());
    assert!(!census::is_alive(u32::try_from(agent).unwrap()));
    until_there(&arena, "ready-1");
    arena.until("the store knows of the second agent", || {
        sessions(&arena, &id) == ["stopped", "running"]
    });
    assert_eq!(decisions(&arena, &id), ["first"]);
    assert_eq!(fs::read_to_string(plan(&arena, &id)).unwrap(), "then");
    // What it had reached is a checkpoint too: with that it is where it was.
    let all = checkpoints(&arena, &id);
    assert_eq!(all[1]["cause"], "restore", "{all:#?}");
    let stat = [
        "checkpoint",
        "diff",
        &checkpoint,
        all[1]["id"].as_str().unwrap(),
        "--stat",
    ];
    let stat = arena.run(&stat).ok().out;
    assert!(stat.contains("A two") && stat.contains("1 file"), "{stat}");
    let told = arena.run(&["history", &id]).ok().out;
    assert!(
        told.contains(&format!("goes back to checkpoint {checkpoint}")),
        "{told}"
    );
    decide(&arena, &id, "third");
    finish(&arena, &id, 1);
    assert_eq!(decisions(&arena, &id), ["first", "third"]);
    arena.run(&["audit", "verify"]).ok();
}

#[test]
fn a_pending_one_goes_on_from_there_when_it_is_run() {
    let arena = Arena::repository();
    let (id, checkpoint) = in_second_step(&arena);
    let fork = json_of(&arena, &["checkpoint", "fork", &checkpoint]);
    // One that waits for its turn again: its runner is lost.
    census::kill(arena.runner_at_work(&id));
    arena.until("pending", || arena.status_of(&id) == "pending");
    let ran = arena.run(&["checkpoint", "restore", &checkpoint]).ok();
    assert!(ran.out.contains("goes back to"), "{ran:?}");
    assert_eq!(arena.status_of(&id), "pending");
    assert_eq!(decisions(&arena, &id), ["first"]);
    assert_eq!(fs::read_to_string(plan(&arena, &id)).unwrap(), "then");
    // What it goes on from stays.
    arena.run(&["cancel", fork["id"].as_str().unwrap()]).ok();
    arena.run(&["checkpoint", "delete", &checkpoint]).with(4);
    arena.run(&["run", &id]).ok();
    until_there(&arena, "ready-1");
    let found = fs::read_to_string(home(&arena, "began-1")).unwrap();
    assert_eq!(found, "README.md\none\n");
    touch(&arena, "go-1");
    touch(&arena, "end-1");
    arena.run(&["wait", &id, "--timeout", "60"]).ok();
    arena.run(&["checkpoint", "delete", &checkpoint]).ok();
}

#[test]
fn dying_in_between_ends_in_the_same_place() {
    for point in [
        CrashPoint::CheckpointDrafted,
        CrashPoint::Rewound,
        CrashPoint::RewoundAlone,
    ] {
        let arena = Arena::repository();
        let (id, checkpoint) = in_second_step(&arena);
        let died = arena
            .command(["checkpoint", "restore", &checkpoint])
            .env("CREWBOSS_CRASH_AT", point.as_str())
            .output()
            .unwrap();
        assert_eq!(died.status.code(), None, "{point:?}");
        if point == CrashPoint::CheckpointDrafted {
            assert_eq!(sessions(&arena, &id), ["running"]);
            arena.run(&["checkpoint", "restore", &checkpoint]).ok();
        } else {
            // Its runner hears of it by itself.
            arena.until("pending", || arena.status_of(&id) == "pending");
            assert_eq!(sessions(&arena, &id), ["stopped"], "{point:?}");
            arena.run(&["run", &id]).ok();
        }
        until_there(&arena, "ready-1");
        assert_eq!(decisions(&arena, &id), ["first"], "{point:?}");
        assert_eq!(fs::read_to_string(plan(&arena, &id)).unwrap(), "then");
        finish(&arena, &id, 1);
    }
}

#[test]
fn a_runner_that_dies_meanwhile_is_no_loss() {
    let arena = Arena::repository();
    let (id, checkpoint) = in_second_step(&arena);
    let runner = arena.runner_at_work(&id);
    let died = arena
        .command(["checkpoint", "restore", &checkpoint])
        .env("CREWBOSS_CRASH_AT", CrashPoint::Rewound.as_str())
        .output()
        .unwrap();
    assert_eq!(died.status.code(), None);
    census::kill(runner);
    arena.until("pending", || arena.status_of(&id) == "pending");
    arena.run(&["run", &id]).ok();
    until_there(&arena, "ready-1");
    assert_eq!(decisions(&arena, &id), ["first"]);
    finish(&arena, &id, 1);
}

#[test]
fn several_at_once_leave_one_agent() {
    let arena = Arena::repository();
    let (id, checkpoint) = in_second_step(&arena);
    let args: &[&str] = &["checkpoint", "restore", &checkpoint];
    let ran = arena.at_once(&[args; 4]);
    assert!(
        ran.iter().all(|ran| matches!(ran.code, Some(0 | 4))),
        "{ran:#?}"
    );
    assert!(ran.iter().any(|ran| ran.code == Some(0)), "{ran:#?}");
    arena.until("running", || arena.status_of(&id) == "running");
    arena.until("one runner", || arena.runners().len() == 1);
    let all = sessions(&arena, &id);
    let (last, ended) = all.split_last().unwrap();
    assert!(ended.iter().all(|status| status == "stopped"), "{all:?}");
    assert_ne!(last, "stopped", "{all:?}");
    assert_eq!(decisions(&arena, &id), ["first"]);
    arena.run(&["cancel", &id]).ok();
    assert_eq!(arena.status_of(&id), "cancelled");
    arena.until_deserted();
}

#[test]
fn one_that_goes_back_can_still_be_cancelled() {
    let arena = Arena::repository();
    let (id, checkpoint) = in_second_step(&arena);
    let died = arena
        .command(["checkpoint", "restore", &checkpoint])
        .env("CREWBOSS_CRASH_AT", CrashPoint::Rewound.as_str())
        .output()
        .unwrap();
    assert_eq!(died.status.code(), None);
    arena.run(&["cancel", &id]).ok();
    assert_eq!(arena.status_of(&id), "cancelled");
    assert_eq!(sessions(&arena, &id).len(), 1);
    // And from its checkpoint a new one is made.
    let new = json_of(&arena, &["checkpoint", "restore", &checkpoint]);
    assert_eq!(new["forked_from"], json!(id));
    arena.run(&["cancel", new["id"].as_str().unwrap()]).ok();
}
