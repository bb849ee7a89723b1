//! How agents are ended.

use std::time::Duration;

use app::command::Command;
use domain::{
    agent::CompletionRule::ExitCode,
    process::Exit,
    session::{SessionStatus, StopReason},
    task::TaskStatus,
};
use testkit::{
    fake_agents::{Grandchildren, stubborn},
    poll::poll_until,
};

use crate::bench::{Bench, LONG, Running};

const SLEEPER: &str = "echo half >made.txt; echo started; exec sleep 600";

fn stop(bench: &Bench, running: &Running, reason: StopReason) {
    let task = running.session.task;
    bench.execute(Command::StopTask { task, reason });
    bench.poke(&running.session).unwrap();
}

#[test]
fn an_obedient_agent_is_cancelled_at_once_and_its_work_salvaged() {
    let bench = Bench::with_script(SLEEPER, ExitCode);
    let running = bench.start(|_| {});
    let before = bench.millis();
    stop(&bench, &running, StopReason::Cancel);
    let ran = bench.finish(running);
    assert!(bench.millis() - before < 2_500, "no grace is waited out");
    assert_eq!(ran.task.status(), TaskStatus::Cancelled);
    assert_eq!(ran.session.status, SessionStatus::Cancelled);
    assert_eq!(ran.outcome().exit, Some(Exit::Signal(15)));
    let salvage = ran.outcome().salvage.as_deref().unwrap();
    assert_eq!(
        bench.repo.git(&["show", &format!("{salvage}:made.txt")]),
        "half"
    );
}

#[test]
fn a_stubborn_tree_is_killed_after_the_grace() {
    let mut bench = Bench::new();
    bench.config.timings.cancel_grace = Duration::from_millis(500);
    let agent = stubborn(&bench.repo.beside("agents"), Grandchildren::KeepEnvironment);
    bench.add_agent(&agent.program, ExitCode);
    let running = bench.start(|_| {});
    assert_eq!(agent.pids().len(), 3);
    let before = bench.millis();
    stop(&bench, &running, StopReason::Cancel);
    let ran = bench.finish(running);
    assert!(bench.millis() - before >= 500);
    assert_eq!(ran.task.status(), TaskStatus::Cancelled);
    assert_eq!(ran.outcome().exit, Some(Exit::Signal(9)));
    let gone = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .map_or(true, |stat| stat.contains(") Z "))
    };
    assert!(agent.pids().iter().all(gone), "nobody is left");
}

#[test]
fn what_an_agent_leaves_behind_is_ended() {
    let bench = Bench::with_script("setsid sleep 601 </dev/null >/dev/null 2>&1 &", ExitCode);
    let ran = bench.run(|_| {});
    assert_eq!(ran.task.status(), TaskStatus::Completed);
}

#[test]
fn the_deadline_ends_it_after_a_warning() {
    let mut bench = Bench::with_script(SLEEPER, ExitCode);
    bench.config.timings.timeout_grace = Duration::from_millis(100);
    let before = bench.millis();
    let ran = bench.run(|task| task.limits.timeout_seconds = Some(1));
    assert!(bench.millis() - before >= 1_000);
    assert_eq!(ran.session.status, SessionStatus::Timeout);
    let expected = "Task timed out after 1 seconds".to_owned();
    assert_eq!(ran.failure(), ("timeout".to_owned(), expected));
    let log = bench.log_text(&ran.session);
    assert!(log.contains("warning: the time limit ends in 1 s"), "{log}");
    assert!(log.contains("timed out after 1 s"), "{log}");
}

#[test]
fn a_deadline_can_be_moved_while_it_runs() {
    let bench = Bench::with_script("echo started; sleep 4; echo late", ExitCode);
    let running = bench.start(|task| task.limits.timeout_seconds = Some(3));
    let session = running.session.clone();
    assert!(poll_until(LONG, || bench
        .session(session.id)
        .deadline
        .is_some()));
    bench.execute(Command::SetTimeout {
        task: session.task,
        extend_seconds: 600,
    });
    bench.poke(&session).unwrap();
    let ran = bench.finish(running);
    assert_eq!(ran.task.status(), TaskStatus::Completed, "{ran:?}");
    assert!(bench.log_text(&ran.session).contains("late\n"));
}

#[test]
fn someone_may_declare_it_timed_out() {
    let bench = Bench::with_script(SLEEPER, ExitCode);
    let running = bench.start(|_| {});
    stop(&bench, &running, StopReason::ManualTimeout);
    let ran = bench.finish(running);
    let expected = "Manually timed out".to_owned();
    assert_eq!(ran.failure(), ("timeout".to_owned(), expected));
}
