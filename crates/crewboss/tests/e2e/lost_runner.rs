//! Runners that are killed.

use std::fs;

use crate::{arena::Arena, census};

/// Works for ever, with a child in a session of its own. Says so where two of it are alive at once.
const WORKER: &str = "exec 9>>$HOME/alone; flock -n 9 || echo overlap >>$HOME/log; \
    echo begun $CREWBOSS_SESSION >>$HOME/log; echo half >half.txt; \
    (setsid sleep 600 >/dev/null 2>&1 &); exec sleep 600";

#[test]
fn what_it_left_is_ended_and_kept_before_the_task_starts_again() {
    let arena = Arena::repository();
    arena.configure("requeues_max = 2\n");
    let id = arena.start(WORKER, &[]);
    for life in 1..=3 {
        arena.run(&["run", &id]).ok();
        let log = || arena.lines("home/log");
        arena.until("at work", || log().len() == life);
        arena.until("half done", || {
            census::residents(arena.root())
                .iter()
                .any(|one| one.line.starts_with("sleep"))
        });
        census::kill(arena.runner_at_work(&id));
        // The next command, whichever it is, recovers: here the one that starts it again, too.
        let shown = if life == 2 {
            arena.run(&["status"]).ok();
            arena.show(&id)
        } else if life == 1 {
            continue;
        } else {
            arena.show(&id)
        };
        assert_eq!(shown["sessions"].as_array().unwrap().len(), life);
    }
    let shown = arena.show(&id);
    assert_eq!(shown["status"], "failed", "{shown:#}");
    assert_eq!(shown["failure"]["reason"], "infrastructure");
    let log = arena.lines("home/log");
    assert!(log.iter().all(|line| line.starts_with("begun ")), "{log:?}");
    assert_eq!(log.len(), 3);
    let repo = arena.repo();
    for session in shown["sessions"].as_array().unwrap() {
        assert_eq!(session["status"], "orphaned");
        let id = session["id"].as_str().unwrap();
        let kept = repo.git(&["show", &format!("refs/crewboss/salvage/{id}:half.txt")]);
        assert_eq!(kept, "half");
    }
    arena.until_deserted();
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
    assert_eq!(repo.git(&["for-each-ref", "refs/heads/crewboss"]), "");
    let retry = arena.run(&["retry", &id]).ok();
    assert!(retry.out.contains("attempt 1/3"), "{retry:#?}");
}

#[test]
fn a_runner_that_is_told_to_go_ends_its_agent_and_gives_the_task_back() {
    let arena = Arena::repository();
    let id = arena.start(WORKER, &[]);
    arena.run(&["run"]).ok();
    let runner = arena.runner_at_work(&id);
    arena.until("half done", || arena.lines("home/log").len() == 1);
    census::signal(runner, rustix::process::Signal::TERM);
    arena.until_deserted();
    arena.run(&["status"]).ok();
    let shown = arena.show(&id);
    assert_eq!(shown["status"], "pending", "{shown:#}");
    let salvaged = arena.repo().git(&["for-each-ref", "refs/crewboss/salvage"]);
    assert_eq!(salvaged.lines().count(), 1, "{salvaged}");
}

#[test]
fn a_runner_that_is_killed_while_it_ends_its_agent_leaves_a_task_that_ends() {
    let arena = Arena::folder();
    arena.configure("lease_seconds = 5\n");
    let script = "trap '' TERM; echo begun >>$HOME/log; while :; do sleep 0.1; done";
    let id = arena.start(script, &[]);
    arena.run(&["run"]).ok();
    let runner = arena.runner_at_work(&id);
    let mut cancel = arena.command(["cancel", &id]).spawn().unwrap();
    arena.until("asked to end", || {
        let file = arena.store().join("run");
        fs::read_dir(file).is_ok() && arena.show(&id)["session"]["status"] == "running"
    });
    census::kill(runner);
    assert!(cancel.wait().unwrap().success());
    let status = arena.status_of(&id);
    assert_eq!(status, "cancelled");
    arena.until_deserted();
}
