//! Time limits, exit codes and standard input.

use std::time::{Duration, Instant};

use crate::arena::Arena;

#[test]
fn a_limit_that_is_extended_holds_at_once_and_warns_before_it_ends() {
    let arena = Arena::folder();
    arena.configure("timeout_warning_seconds = 2\n");
    let id = arena.start("echo up; sleep 600", &["--timeout", "3"]);
    arena.run(&["run"]).ok();
    let began = Instant::now();
    arena.runner_at_work(&id);
    arena.run(&["timeout", "extend", &id, "3"]).ok();
    arena.run(&["wait", &id, "--timeout", "60"]).with(1);
    let took = began.elapsed();
    assert!(took > Duration::from_secs(5), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    let shown = arena.show(&id);
    assert_eq!(
        shown["failure"]["message"],
        "Task timed out after 6 seconds"
    );
    let log = arena.run(&["logs", &id]).ok().out;
    let warnings = log
        .lines()
        .filter(|line| line.contains("warning: the time limit ends"));
    assert!(warnings.count() >= 1, "{log}");
    assert!(log.contains("timed out after 6 s"), "{log}");
}

#[test]
fn a_limit_that_is_made_longer_just_before_its_end_is_the_one_that_counts() {
    let arena = Arena::folder();
    let id = arena.start("sleep 4; echo finished", &["--timeout", "2"]);
    arena.run(&["run"]).ok();
    arena.runner_at_work(&id);
    arena.run(&["timeout", "extend", &id, "5m"]).ok();
    arena.run(&["wait", &id, "--timeout", "60"]).ok();
    assert!(arena.run(&["logs", &id]).ok().out.contains("finished"));
}

#[test]
fn exit_codes_and_signals_are_recorded_and_waiting_says_what_came() {
    let arena = Arena::folder();
    let seven = arena.start("exit 7", &[]);
    let killed = arena.start("kill -KILL $$", &[]);
    let good = arena.start("exit 0", &[]);
    let endless = arena.start("sleep 600", &[]);
    arena.run(&["run", "--parallel", "4"]).ok();
    arena.run(&["wait", &good]).ok();
    arena.run(&["wait", &seven]).with(1);
    arena.run(&["wait", &killed]).with(1);
    arena.run(&["wait", &good, &seven]).with(1);
    arena.run(&["wait", &good, &endless, "--any"]).ok();
    arena.run(&["wait", &endless, "--timeout", "1"]).with(124);
    arena.run(&["wait", "task_4"]).with(3);
    let shown = arena.show(&seven);
    assert_eq!(shown["session"]["exit"]["code"], 7, "{shown:#}");
    assert_eq!(shown["failure"]["reason"], "process_failure");
    let shown = arena.show(&killed);
    assert_eq!(shown["session"]["exit"]["signal"], 9, "{shown:#}");
    assert_eq!(shown["failure"]["reason"], "process_killed");
    arena.run(&["cancel", &endless]).ok();
    arena.run(&["wait", &endless]).with(1);
}

#[test]
fn an_agent_that_reads_finds_the_end_at_once() {
    let arena = Arena::folder();
    let id = arena.start("cat; read line || echo nothing to read", &[]);
    arena.run(&["run", "--wait"]).ok();
    assert!(
        arena
            .run(&["logs", &id])
            .ok()
            .out
            .contains("nothing to read")
    );
}
