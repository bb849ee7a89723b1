//! Losing the session, the store, or the machine.

use std::{sync::atomic::Ordering, time::Duration};

use app::{
    command::{Command, Meta, RecoveryPolicy},
    event::{Actor, ActorKind, Door},
    ports::processes::Processes as _,
    settle::Settling,
};
use domain::{
    agent::CompletionRule::ExitCode,
    session::{SessionCommand, SessionStatus},
    task::TaskStatus,
};
use runner::RunnerExit;
use testkit::poll::poll_until;

use crate::bench::{Bench, LONG};

const SLEEPER: &str = "echo half >made.txt; echo started; exec sleep 600";

#[test]
fn a_lost_fence_ends_the_agent_and_claims_nothing() {
    let bench = Bench::with_script(SLEEPER, ExitCode);
    let running = bench.start(|_| {});
    bench.poke(&running.session).unwrap();
    let session = bench.session(running.session.id);
    bench.execute(Command::Session {
        session: session.id,
        fence: session.fence,
        command: SessionCommand::Orphan {
            why: "a test".to_owned(),
            runner: session.runner.clone(),
            lease_until: session.lease_until.clone(),
            counts: true,
        },
        recovery: RecoveryPolicy::default(),
    });
    bench.poke(&session).unwrap_err();
    let ran = bench.finish(running);
    assert_eq!(ran.exit, RunnerExit::Lost);
    assert_eq!(ran.session.status, SessionStatus::Orphaned);
    assert_eq!(ran.task.status(), TaskStatus::Pending);
    assert_eq!(bench.outcome_file(&ran.session), None);
    let salvage = format!("refs/crewboss/salvage/{}", session.id);
    assert_eq!(
        bench.repo.git(&["show", &format!("{salvage}:made.txt")]),
        "half"
    );
}

#[test]
fn a_lease_that_cannot_be_renewed_ends_the_agent_before_it_runs_out() {
    let mut bench = Bench::with_script(SLEEPER, ExitCode);
    bench.config.timings.lease = Duration::from_secs(5);
    bench.store.refuses_renewals.store(true, Ordering::SeqCst);
    let running = bench.start(|_| {});
    let id = running.session.id;
    assert!(poll_until(LONG, || bench.processes.members(id).is_empty()));
    assert!(bench.millis() < running.session.lease_until.millis);
    let ran = bench.finish(running);
    assert_eq!(ran.exit, RunnerExit::Lost);
    assert_eq!(
        ran.session.status,
        SessionStatus::Running,
        "for recovery to end"
    );
    assert_eq!(bench.outcome_file(&ran.session), None);
}

#[test]
fn a_lease_is_renewed_as_long_as_it_takes() {
    let mut bench = Bench::with_script("sleep 3", ExitCode);
    bench.config.timings.lease = Duration::from_millis(1_500);
    let ran = bench.run(|_| {});
    assert_eq!(ran.task.status(), TaskStatus::Completed, "{ran:?}");
}

#[test]
fn without_the_store_the_outcome_waits_in_its_file() {
    let bench = Bench::with_script("echo x >made.txt", ExitCode);
    bench.store.refuses_ends.store(true, Ordering::SeqCst);
    let ran = bench.run(|_| {});
    assert!(
        matches!(ran.exit, RunnerExit::Unsettled(_)),
        "{:?}",
        ran.exit
    );
    assert_eq!(ran.exit.code(), 5);
    assert_eq!(ran.session.status, SessionStatus::Verifying);
    let outcome = bench.outcome_file(&ran.session).unwrap();

    bench.store.refuses_ends.store(false, Ordering::SeqCst);
    let deps = bench.deps();
    let meta = Meta {
        actor: Actor {
            kind: ActorKind::System,
            id: "recovery".to_owned(),
        },
        door: Door::System,
        idempotency_key: None,
        correlation: None,
    };
    let settling = Settling {
        store: &*deps.store,
        workspaces: &*deps.workspaces,
        meta: &meta,
        recovery: &deps.config.recovery,
        keeps_worktrees: false,
    };
    for _ in 0..2 {
        let settled = settling.settle(&ran.session, &outcome).unwrap();
        assert_eq!(settled.status, SessionStatus::Completed);
    }
    assert_eq!(bench.task(&ran.session).status(), TaskStatus::Completed);
    let branch = outcome.branch.unwrap();
    assert_eq!(
        bench.repo.git(&["show", &format!("{branch}:made.txt")]),
        "x"
    );
}

#[test]
fn going_down_leaves_the_session_to_be_recovered() {
    let bench = Bench::with_script(SLEEPER, ExitCode);
    let running = bench.start(|_| {});
    bench.interrupt.raise();
    let ran = bench.finish(running);
    assert_eq!(ran.exit, RunnerExit::Down);
    assert_eq!(ran.task.status(), TaskStatus::Running);
    assert_eq!(bench.outcome_file(&ran.session), None);
    let salvage = format!("refs/crewboss/salvage/{}", ran.session.id);
    assert_eq!(
        bench.repo.git(&["show", &format!("{salvage}:made.txt")]),
        "half"
    );
}

#[test]
fn a_panic_ends_the_agent() {
    let bench = Bench::with_script(SLEEPER, ExitCode);
    let task = bench.create(|_| {});
    let session = bench.claim(&task);
    let mut deps = bench.deps();
    deps.on_launched = Some(Box::new(|_| panic!("a defect")));
    let exit = runner::run(deps, session.id, session.fence);
    assert_eq!(exit, RunnerExit::Broken("a defect".to_owned()));
    assert_eq!(bench.processes.members(session.id), []);
}
