//! Checks of the work of agents that nobody here has started.

use std::{fs, thread};

use app::command::{Command, Output};
use domain::{
    agent::CompletionRule::ExitCode,
    gate::{GateSpec, GateStatus},
    session::{Session, StopReason},
    task::TaskKind,
};
use runner::GatesError;
use testkit::poll::poll_until;

use crate::bench::{Bench, LONG};

fn gate(name: &str, run: &str) -> GateSpec {
    GateSpec {
        name: name.to_owned(),
        command: None,
        run: Some(run.to_owned()),
        timeout_seconds: 60,
        required: true,
    }
}

/// An external task with a gate of its own, and its holder's session.
fn held(bench: &Bench, own: GateSpec, lease_millis: u64) -> Session {
    use app::ports::processes::Processes as _;
    let task = bench.create(|task| {
        task.kind = TaskKind::External;
        task.gates = vec![own];
    });
    let attach = Command::Attach {
        task: task.id,
        agent: "outside".parse().unwrap(),
        launcher: bench.processes.own_identity(),
        lease_millis,
    };
    match bench.execute(attach).output {
        Output::Session { session } => *session,
        other => panic!("{other:?}"),
    }
}

#[test]
fn gates_of_project_and_task_run_in_the_projects_directory() {
    let mut bench = Bench::with_script("exit 0", ExitCode);
    bench.config.gates = vec![gate("place", "pwd -P")];
    let session = held(&bench, gate("own", "echo 2 of 3 failed; exit 3"), 60_000);
    let checked = runner::run_gates(&bench.deps(), &session).unwrap();
    let statuses: Vec<GateStatus> = checked.gates.iter().map(|gate| gate.status).collect();
    assert_eq!(statuses, [GateStatus::Passed, GateStatus::Failed]);
    assert_eq!(
        checked.gates[0].tail,
        bench.config.project_root.display().to_string()
    );
    let failure = checked.failure.unwrap();
    assert_eq!(failure.details.as_deref(), Some("2 of 3 failed"));
    let kept = bench.folder(&session).join("gates/own.log");
    assert_eq!(fs::read_to_string(kept).unwrap(), "2 of 3 failed\n");
    assert!(!bench.session(session.id).status.is_terminal());
}

#[test]
fn a_gate_may_take_longer_than_the_lease() {
    let mut bench = Bench::with_script("exit 0", ExitCode);
    bench.config.timings.lease = std::time::Duration::from_secs(2);
    let session = held(&bench, gate("slow", "sleep 4"), 2_000);
    let checked = runner::run_gates(&bench.deps(), &session).unwrap();
    assert_eq!(checked.failure, None);
    assert!(bench.session(session.id).lease_until.millis > bench.millis());
}

#[test]
fn a_cancel_an_interrupt_and_a_second_caller_are_told_apart() {
    use app::ports::processes::Processes as _;
    let bench = Bench::with_script("exit 0", ExitCode);
    for interrupts in [false, true] {
        let session = held(&bench, gate("slow", "echo at work; sleep 600"), 60_000);
        let mut deps = bench.deps();
        deps.config.timings.lease = std::time::Duration::from_millis(900);
        let kept = bench.folder(&session).join("gates/slow.log");
        let first = {
            let session = session.clone();
            thread::spawn(move || runner::run_gates(&deps, &session))
        };
        assert!(poll_until(LONG, || {
            fs::metadata(&kept).is_ok_and(|file| file.len() > 0)
        }));
        let second = runner::run_gates(&bench.deps(), &session);
        assert!(matches!(second, Err(GatesError::Busy { .. })), "{second:?}");
        if interrupts {
            bench.interrupt.raise();
        } else {
            let (task, reason) = (session.task, StopReason::Cancel);
            bench.execute(Command::StopTask { task, reason });
        }
        let ended = first.join().unwrap();
        match ended {
            Err(GatesError::Interrupted) => assert!(interrupts),
            Err(GatesError::Lost { .. }) => assert!(!interrupts),
            other => panic!("{other:?}"),
        }
        assert_eq!(bench.processes.members(session.id), []);
    }
}
