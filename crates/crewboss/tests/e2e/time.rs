//! Wall clocks that jump.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::arena::Arena;

const HOUR: i64 = 3_600_000;

/// An arena whose wall clock can be set, with the boot clock as it is.
fn with_clock() -> Arena {
    let mut arena = Arena::folder();
    let file = arena.root().join("clock").display().to_string();
    arena.set("CREWBOSS_TEST_CLOCK_FILE", &file);
    jump(&arena, 0);
    arena
}

fn jump(arena: &Arena, millis: i64) {
    fs::write(arena.root().join("clock.new"), format!("{millis} 0\n")).unwrap();
    fs::rename(arena.root().join("clock.new"), arena.root().join("clock")).unwrap();
}

#[test]
fn a_wall_clock_that_jumps_moves_no_deadline() {
    for hours in [1, -1] {
        let arena = with_clock();
        let id = arena.start("sleep 600", &["--timeout", "3"]);
        arena.run(&["run"]).ok();
        arena.runner_at_work(&id);
        let began = Instant::now();
        jump(&arena, hours * HOUR);
        arena.run(&["timeout", "extend", &id, "1"]).ok();
        arena.run(&["wait", &id, "--timeout", "60"]).with(1);
        let took = began.elapsed();
        assert!(took > Duration::from_secs(2), "{hours}: {took:?}");
        assert!(took < Duration::from_secs(20), "{hours}: {took:?}");
        assert_eq!(arena.show(&id)["sessions"].as_array().unwrap().len(), 1);
        assert_eq!(arena.show(&id)["failure"]["reason"], "timeout");
    }
}

#[test]
fn a_wall_clock_that_jumps_moves_no_backoff_and_no_lease() {
    for hours in [1, -1] {
        let arena = with_clock();
        let script = "test -e $HOME/failed && exit 0; touch $HOME/failed; exit 1";
        let id = arena.start(script, &["--auto-retry"]);
        let steady = arena.start("until test -e $HOME/go; do sleep 0.05; done", &[]);
        arena.run(&["run", "--parallel", "2"]).ok();
        arena.until("failed", || arena.status_of(&id) == "failed");
        let began = Instant::now();
        jump(&arena, hours * HOUR);
        let early = arena.run(&["run", "--parallel", "2"]).ok();
        assert!(
            early.out.contains("No pending tasks to launch"),
            "{hours}: {early:#?}"
        );
        arena.until("due", || {
            let ran = arena.run(&["run", "--parallel", "2"]).ok();
            ran.out.contains("Auto-retrying")
        });
        let took = began.elapsed();
        assert!(took > Duration::from_secs(1), "{hours}: {took:?}");
        assert!(took < Duration::from_secs(20), "{hours}: {took:?}");
        assert_eq!(arena.status_of(&steady), "running");
        fs::write(arena.root().join("home/go"), "").unwrap();
        arena.run(&["wait", &id, &steady, "--timeout", "60"]).ok();
        assert_eq!(arena.show(&steady)["sessions"].as_array().unwrap().len(), 1);
    }
}
