//! Everything is told to go down: what tasks have reached is kept, and they go on from there.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::{poll::poll_until, scripted_model::Scenario};

use crate::{arena::Arena, census, ten_turns::with_opencode};

/// Works for ever the first time, and goes on from what is there the second time.
const WORK: &str = "if test -e half.txt; then echo whole > whole.txt; exit 0; fi; \
    echo half > half.txt; echo secret > ignored.txt; echo ready >> $HOME/log; exec sleep 600";

/// The oldest first.
#[track_caller]
pub(crate) fn checkpoints(arena: &Arena, id: &str) -> Vec<Value> {
    let ran = arena.run(&["checkpoint", "list", id, "--json"]).ok();
    let listed: Value = serde_json::from_str(&ran.out).unwrap();
    let newest_first = listed["checkpoints"].as_array().unwrap();
    newest_first.iter().rev().cloned().collect()
}

fn at_work(arena: &Arena, flags: &[&str]) -> (String, u32) {
    let before = arena.lines("home/log").len();
    let id = arena.start(WORK, flags);
    arena.run(&["run", &id]).ok();
    arena.until("at work", || arena.lines("home/log").len() > before);
    let runner = arena.runner_at_work(&id);
    (id, runner)
}

#[track_caller]
fn went_back(arena: &Arena, id: &str) {
    arena.until("back in the queue", || arena.status_of(id) == "pending");
    let shown = arena.show(id);
    assert_eq!(shown["sessions"][0]["status"], "stopped", "{shown:#}");
    let kept = checkpoints(arena, id);
    assert_eq!(kept.len(), 1, "{kept:#?}");
    assert_eq!(kept[0]["cause"], "shutdown");
    assert_eq!(kept[0]["findings"], json!([]));
    assert_eq!(shown["continues"]["checkpoint"], kept[0]["id"]);
    let told = arena.run(&["history", id]).ok().out;
    assert!(!told.contains("session was lost"), "{told}");
}

#[track_caller]
fn goes_on(arena: &Arena, id: &str) {
    arena.run(&["run", id]).ok();
    arena.run(&["wait", id, "--timeout", "60"]).ok();
    let shown = arena.show(id);
    let branch = shown["branch"].as_str().unwrap();
    let files = arena.repo().git(&["ls-tree", "--name-only", branch]);
    assert!(
        files.contains("half.txt") && files.contains("whole.txt"),
        "{files}"
    );
}

#[test]
fn all_that_run_are_kept_in_five_seconds_and_go_on_where_they_were() {
    let arena = Arena::repository();
    let tasks: Vec<(String, u32)> = (0..4).map(|_| at_work(&arena, &[])).collect();
    let began = Instant::now();
    for (_, runner) in &tasks {
        census::signal(*runner, Signal::TERM);
    }
    assert!(poll_until(crate::arena::LONG, || arena
        .runners()
        .is_empty()));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    arena.until_deserted();
    for (id, _) in &tasks {
        went_back(&arena, id);
    }
    for (id, _) in &tasks {
        goes_on(&arena, id);
    }
    arena.run(&["audit", "verify"]).ok();
}

#[test]
fn an_agent_that_is_told_first_has_not_failed() {
    let arena = Arena::repository();
    let (id, runner) = at_work(&arena, &[]);
    let agent = arena.show(&id)["session"]["pid"].as_u64().unwrap();
    let agent = u32::try_from(agent).unwrap();
    census::signal(agent, Signal::TERM);
    assert!(poll_until(crate::arena::LONG, || !census::is_alive(agent)));
    census::signal(runner, Signal::TERM);
    went_back(&arena, &id);
    goes_on(&arena, &id);
}

#[test]
fn an_agent_that_nobody_else_told_has_failed() {
    let arena = Arena::repository();
    let (id, _) = at_work(&arena, &[]);
    let agent = arena.show(&id)["session"]["pid"].as_u64().unwrap();
    census::signal(u32::try_from(agent).unwrap(), Signal::TERM);
    arena.run(&["wait", &id, "--timeout", "60"]).with(1);
    let shown = arena.show(&id);
    assert_eq!(shown["failure"]["reason"], "process_killed", "{shown:#}");
}

#[test]
fn a_runner_that_is_killed_over_its_last_checkpoint_is_a_lost_one() {
    use app::crash_points::CrashPoint;
    let mut arena = Arena::repository();
    arena.set("CREWBOSS_CRASH_AT", CrashPoint::CheckpointKept.as_str());
    let id = arena.start(WORK, &[]);
    arena.run(&["run", &id]).ok();
    arena.until("at work", || !arena.lines("home/log").is_empty());
    census::signal(arena.runner_at_work(&id), Signal::TERM);
    arena.set("CREWBOSS_CRASH_AT", "");
    arena.until("back in the queue", || arena.status_of(&id) == "pending");
    let shown = arena.show(&id);
    assert_eq!(shown["sessions"][0]["status"], "orphaned", "{shown:#}");
    assert_eq!(checkpoints(&arena, &id), Vec::<Value>::new());
    // What was whole is finished by the next, and can be gone back to.
    arena.run(&["checkpoint", "create", &id]).ok();
    let kept = checkpoints(&arena, &id);
    assert_eq!(kept[0]["cause"], "shutdown", "{kept:#?}");
    let first = kept[0]["id"].as_str().unwrap();
    arena.run(&["checkpoint", "restore", first]).ok();
    goes_on(&arena, &id);
}

#[test]
fn work_in_the_users_checkout_is_kept_and_stays_there() {
    let arena = Arena::repository();
    let (id, runner) = at_work(&arena, &["--workspace", "in-place"]);
    census::signal(runner, Signal::TERM);
    arena.until_deserted();
    arena.until("back in the queue", || arena.status_of(&id) == "pending");
    assert_eq!(checkpoints(&arena, &id)[0]["cause"], "shutdown");
    assert!(arena.project().join("half.txt").exists());
    arena.run(&["run", &id]).ok();
    arena.run(&["wait", &id, "--timeout", "60"]).ok();
    assert!(arena.project().join("whole.txt").exists());
}

#[test]
fn none_is_made_where_none_is_wanted() {
    let arena = Arena::repository();
    arena.configure("[checkpoint]\non_shutdown = false\n");
    let (id, runner) = at_work(&arena, &[]);
    census::signal(runner, Signal::TERM);
    arena.until("back in the queue", || arena.status_of(&id) == "pending");
    assert_eq!(checkpoints(&arena, &id), Vec::<Value>::new());
    let shown = arena.show(&id);
    assert_eq!(shown["sessions"][0]["status"], "orphaned", "{shown:#}");
}

/// Six turns, of which the fourth waits.
fn six_turns() -> Scenario {
    let turn = |number: usize| {
        let wait = if number == 4 {
            "touch \"$OPENCODE_GATE/waits\"; until test -e \"$OPENCODE_GATE/go\"; do sleep 0.05; done"
        } else {
            "true"
        };
        let command = format!("echo {number} > {number}.txt; {wait}");
        let arguments = json!({"command": command, "description": "Works"});
        let tools = json!([{"name": "bash", "arguments": arguments}]);
        json!({"text": format!("Turn {number} begins."), "tools": tools})
    };
    let mut turns: Vec<Value> = (1..=6).map(turn).collect();
    turns.push(json!({"text": "All is done."}));
    let script = json!({"name": "six", "match": "Six turns", "against": "first", "turns": turns});
    Scenario::from_json(&json!({"scripts": [script]}).to_string()).unwrap()
}

#[test]
fn a_conversation_goes_on_after_the_machine_went_down() {
    let mut arena = Arena::repository();
    let Some(_model) = with_opencode(&mut arena, six_turns()) else {
        return;
    };
    let gate = arena.root().join("gate");
    fs::create_dir(&gate).unwrap();
    arena.set("OPENCODE_GATE", gate.to_str().unwrap());
    // The configuration is found below the home of OpenCode here.
    let config = arena.project().join(".crewboss");
    fs::create_dir(&config).unwrap();
    fs::write(
        config.join("config.toml"),
        "[checkpoint]\nevery_turns = 2\n",
    )
    .unwrap();
    let ran = arena
        .run(&["start", "opencode", "Six turns", "--json"])
        .ok();
    let queued: Value = serde_json::from_str(&ran.out).unwrap();
    let id = queued["id"].as_str().unwrap().to_owned();
    arena.run(&["run", &id]).ok();
    arena.until("in the fourth turn", || gate.join("waits").exists());
    let causes = |arena: &Arena| -> Vec<String> {
        let kept = checkpoints(arena, &id);
        kept.iter()
            .map(|one| one["cause"].as_str().unwrap().to_owned())
            .collect()
    };
    arena.until("kept after two", || causes(&arena) == ["turns"]);
    let runner = arena.runner_at_work(&id);
    let began = Instant::now();
    census::signal(runner, Signal::TERM);
    arena.until("kept", || causes(&arena) == ["turns", "shutdown"]);
    assert!(began.elapsed() < Duration::from_secs(5));
    arena.until("back in the queue", || arena.status_of(&id) == "pending");
    fs::write(gate.join("go"), "").unwrap();
    arena.run(&["run", &id]).ok();
    arena.run(&["wait", &id, "--timeout", "120"]).ok();
    let shown = arena.show(&id);
    assert_eq!(shown["session"]["warnings"], json!([]), "{shown:#}");
    let branch = shown["branch"].as_str().unwrap();
    let files = arena.repo().git(&["ls-tree", "--name-only", branch]);
    for number in 1..=6 {
        assert!(files.contains(&format!("{number}.txt")), "{files}");
    }
    // The second session begins with the fifth turn.
    let said = arena.run(&["logs", &id]).ok().out;
    assert!(
        said.contains("Turn 5 begins.") && !said.contains("Turn 4 begins."),
        "{said}"
    );
}
