//! Checks, and doing nothing.

use std::fs;

use app::command::Command;
use domain::{
    agent::CompletionRule::ExitCode,
    gate::{GateSpec, GateStatus},
    session::StopReason,
    task::TaskStatus,
};
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

#[test]
fn gates_see_the_committed_tree_and_their_output_is_kept() {
    let mut bench = Bench::with_script("echo x >made.txt", ExitCode);
    let check = "test -z \"$(git status --porcelain)\" && git show HEAD:made.txt && echo checked";
    bench.config.gates = vec![gate("tree", check)];
    let ran = bench.run(|_| {});
    assert_eq!(ran.task.status(), TaskStatus::Completed, "{ran:?}");
    assert_eq!(ran.outcome().gates[0].status, GateStatus::Passed);
    let file = bench.folder(&ran.session).join("gates/tree.log");
    assert_eq!(fs::read_to_string(file).unwrap(), "x\nchecked\n");
}

#[test]
fn files_that_only_the_gates_saw_are_named() {
    let script = "printf '*.gen\\nout\\n' >.gitignore; mkdir out; touch out/a out/b 1.gen 2.gen";
    let mut bench = Bench::with_script(script, ExitCode);
    let warned = |bench: &Bench| bench.run(|_| {}).outcome().warnings.clone();
    assert_eq!(warned(&bench), [""; 0], "no gate looked");
    bench.config.gates = vec![gate("tree", "test -e out/a")];
    let said = "gates saw files that the commit does not have: 1.gen, 2.gen, out/";
    assert_eq!(warned(&bench), [said]);
}

#[test]
fn a_failed_gate_fails_the_task_with_its_last_lines() {
    let bench = Bench::with_script("echo x >made.txt", ExitCode);
    let ran = bench.run(|task| {
        let mut optional = gate("style", "false");
        optional.required = false;
        task.gates = vec![optional, gate("tests", "echo '1 of 2 failed'; exit 3")];
    });
    let (reason, message) = ran.failure();
    assert_eq!(
        (reason.as_str(), message.as_str()),
        ("gate_failed", "gate `tests` failed")
    );
    let details = ran.task.failure().unwrap().details.clone().unwrap();
    assert!(details.contains("1 of 2 failed"), "{details}");
    let outcome = ran.outcome();
    assert_eq!((outcome.gates.len(), &outcome.branch), (2, &None));
    let salvage = outcome.salvage.as_deref().unwrap();
    assert_eq!(
        bench.repo.git(&["show", &format!("{salvage}:made.txt")]),
        "x"
    );
}

#[test]
fn a_cancel_ends_the_gates() {
    let bench = Bench::with_script("echo started", ExitCode);
    let running = bench.start(|task| {
        task.gates = vec![
            gate("slow", "echo at work; sleep 600"),
            gate("next", "true"),
        ];
    });
    let output = bench.folder(&running.session).join("gates/slow.log");
    assert!(poll_until(LONG, || fs::metadata(&output)
        .is_ok_and(|file| file.len() > 0)));
    let (task, reason) = (running.session.task, StopReason::Cancel);
    bench.execute(Command::StopTask { task, reason });
    bench.poke(&running.session).unwrap();
    let ran = bench.finish(running);
    assert_eq!(ran.task.status(), TaskStatus::Cancelled);
    assert_eq!(ran.outcome().gates.len(), 1);
}

#[test]
fn a_task_that_asks_for_a_change_fails_without_one() {
    let bench = Bench::with_script("true", ExitCode);
    let ran = bench.run(|task| task.require_diff = true);
    assert_eq!(ran.failure().0, "no_effect");
    let ran = bench.run(|_| {});
    assert_eq!(ran.task.status(), TaskStatus::Completed);
    assert_eq!(ran.outcome().branch, None, "nothing to merge");
    assert!(ran.outcome().commit.is_some());
}
