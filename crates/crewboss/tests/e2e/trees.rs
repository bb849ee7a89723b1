//! Agents that will not end, and what they have started.

use testkit::{
    fake_agents::{Grandchildren, Stubborn, stubborn},
    poll::poll_until,
};

use crate::{
    arena::{Arena, LONG},
    census,
};

use Grandchildren::{ClearEnvironment, KeepEnvironment};

/// An arena in which the agent of a task ignores TERM, and so do its two grandchildren.
fn with_stubborn(grandchildren: Grandchildren, has_cgroups: bool) -> (Arena, Stubborn) {
    let mut arena = Arena::folder();
    if !has_cgroups {
        arena.set("CREWBOSS_TEST_CGROUP", "off");
    }
    let agent = stubborn(&arena.root().join("bin"), grandchildren);
    (arena, agent)
}

fn begin(arena: &Arena, agent: &Stubborn, flags: &[&str]) -> String {
    let id = arena.start(&format!("exec {}", agent.program.display()), flags);
    arena.run(&["run"]).ok();
    assert!(poll_until(LONG, || agent.pids().len() == Stubborn::ANNOUNCED));
    id
}

#[track_caller]
fn assert_gone(agent: &Stubborn) {
    let pids = agent.pids();
    assert_eq!(pids.len(), Stubborn::ANNOUNCED);
    let left: Vec<_> = pids.iter().filter(|pid| census::is_alive(**pid)).collect();
    assert!(left.is_empty(), "{left:?} of {pids:?}");
}

fn cancelled(grandchildren: Grandchildren, has_cgroups: bool) {
    let (arena, agent) = with_stubborn(grandchildren, has_cgroups);
    let id = begin(&arena, &agent, &[]);
    arena.run(&["cancel", &id]).ok();
    assert_gone(&agent);
    let shown = arena.show(&id);
    assert_eq!(shown["status"], "cancelled");
    assert_eq!(shown["session"]["exit"]["signal"], 9, "{shown:#}");
}

fn timed_out(grandchildren: Grandchildren, has_cgroups: bool) {
    let (arena, agent) = with_stubborn(grandchildren, has_cgroups);
    let id = begin(&arena, &agent, &["--timeout", "2"]);
    arena.run(&["wait", &id]).with(1);
    assert_gone(&agent);
    assert_eq!(arena.show(&id)["failure"]["reason"], "timeout");
}

fn left_by_a_killed_runner(grandchildren: Grandchildren, has_cgroups: bool) {
    let (arena, agent) = with_stubborn(grandchildren, has_cgroups);
    let id = begin(&arena, &agent, &[]);
    census::kill(arena.runner_at_work(&id));
    arena.run(&["status"]).ok();
    assert_gone(&agent);
    assert_eq!(arena.status_of(&id), "pending");
}

#[test]
fn none_is_left_after_a_cancel() {
    cancelled(KeepEnvironment, true);
}

#[test]
fn none_is_left_after_a_cancel_without_control_groups() {
    cancelled(KeepEnvironment, false);
}

#[test]
fn none_that_hides_is_left_after_a_cancel() {
    cancelled(ClearEnvironment, true);
}

#[test]
fn none_that_hides_is_left_after_a_cancel_without_control_groups() {
    cancelled(ClearEnvironment, false);
}

#[test]
fn none_is_left_after_a_timeout() {
    timed_out(KeepEnvironment, true);
}

#[test]
fn none_is_left_after_a_timeout_without_control_groups() {
    timed_out(KeepEnvironment, false);
}

#[test]
fn none_that_hides_is_left_after_a_timeout() {
    timed_out(ClearEnvironment, true);
}

#[test]
fn none_that_hides_is_left_after_a_timeout_without_control_groups() {
    timed_out(ClearEnvironment, false);
}

#[test]
fn a_killed_runner_leaves_none_for_long() {
    left_by_a_killed_runner(KeepEnvironment, true);
}

#[test]
fn a_killed_runner_leaves_none_for_long_without_control_groups() {
    left_by_a_killed_runner(KeepEnvironment, false);
}

/// Without control groups this is the one case that nobody can find.
#[test]
fn a_killed_runner_leaves_none_that_hides_for_long() {
    if crate::arena::has_control_groups() {
        left_by_a_killed_runner(ClearEnvironment, true);
    }
}
