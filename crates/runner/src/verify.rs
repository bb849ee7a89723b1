//! The checks after an agent's work, and ending them when they are no longer wanted.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use app::ports::{
    gates::{GateRun, Gates},
    processes::Processes,
    workspaces::Committed,
};
use domain::{
    failure::{Failure, FailureReason},
    gate::{GateResult, GateSpec, GateStatus},
    id::SessionId,
    redact::Redactor,
};

use crate::wishes::Wishes;

/// Between two attempts to end checks that are not wanted any more.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// How many files a warning names.
const UNSEEN_NAMED_MAX: usize = 5;

/// Where checks are run.
#[derive(Debug)]
pub(crate) struct Verifying<'a> {
    pub(crate) gates: &'a Arc<dyn Gates>,
    pub(crate) processes: &'a dyn Processes,
    pub(crate) wishes: &'a Wishes,
    pub(crate) session: SessionId,
    pub(crate) directory: PathBuf,
    pub(crate) session_dir: PathBuf,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) redactor: Redactor,
    pub(crate) grace: Duration,
}

impl Verifying<'_> {
    /// Runs them one after the other, all of them unless the session is to end.
    pub(crate) fn run(&self, specs: &[GateSpec]) -> Vec<GateResult> {
        let (sender, results) = channel();
        let runs: Vec<(GateSpec, GateRun)> = specs
            .iter()
            .enumerate()
            .map(|(index, spec)| (spec.clone(), self.request(specs, index)))
            .collect();
        let gates = Arc::clone(self.gates);
        let wishes = self.wishes.clone();
        let run = move || {
            for (spec, request) in runs {
                if wishes.wants_end() || sender.send(gates.run(&spec, &request)).is_err() {
                    return;
                }
            }
        };
        let Ok(worker) = thread::Builder::new().name("gates".to_owned()).spawn(run) else {
            return specs.iter().map(unavailable).collect();
        };
        let mut finished = Vec::new();
        loop {
            match results.recv_timeout(ASK_AGAIN) {
                Ok(result) => finished.push(result),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if self.wishes.wants_end() => {
                    self.processes.end_session(self.session, self.grace);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        if worker.join().is_err() {
            finished.extend(specs.iter().skip(finished.len()).map(unavailable));
        }
        finished
    }

    fn request(&self, specs: &[GateSpec], index: usize) -> GateRun {
        GateRun {
            session: self.session,
            directory: self.directory.clone(),
            env: self.env.clone(),
            session_dir: self.session_dir.clone(),
            output: Path::new("gates").join(file_name(specs, index)),
            redactor: self.redactor.clone(),
        }
    }
}

/// `<name>.log`, with the gate's number where the name cannot be a file's or is taken.
fn file_name(specs: &[GateSpec], index: usize) -> String {
    let name = specs[index].name.as_str();
    let is_plain = (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    let is_first = specs[..index].iter().all(|other| other.name != name);
    if is_plain && is_first {
        format!("{name}.log")
    } else {
        format!("{}-{}.log", index + 1, domain::workspace::slug(name))
    }
}

fn unavailable(spec: &GateSpec) -> GateResult {
    GateResult {
        name: spec.name.clone(),
        required: spec.required,
        status: GateStatus::Unavailable,
        exit: None,
        duration_ms: 0,
        tail: "the check could not be started".to_owned(),
        output: None,
    }
}

/// The failure that checks are: of the first one that is required and did not pass.
pub(crate) fn failure(results: &[GateResult]) -> Option<Failure> {
    let mut bad = results
        .iter()
        .filter(|gate| gate.required && gate.status != GateStatus::Passed);
    let first = bad.next()?;
    let what = match first.status {
        GateStatus::Timeout => "took too long",
        GateStatus::Unavailable => "could not be run",
        GateStatus::Failed | GateStatus::Passed => "failed",
    };
    let mut message = format!("gate `{}` {what}", first.name);
    let others: Vec<String> = bad.map(|gate| format!("`{}`", gate.name)).collect();
    if !others.is_empty() {
        message = format!("{message}; {} did not pass either", others.join(", "));
    }
    Some(Failure::new(FailureReason::GateFailed, message).with_details(first.tail.clone()))
}

/// The warning that a check which passed may have needed files that the commit lacks.
pub(crate) fn unseen(results: &[GateResult], committed: Option<&Committed>) -> Option<String> {
    let ignored = &committed?.ignored;
    let passed = |gate: &GateResult| gate.status == GateStatus::Passed;
    if ignored.is_empty() || !results.iter().any(passed) {
        return None;
    }
    let named: Vec<&str> = ignored
        .iter()
        .take(UNSEEN_NAMED_MAX)
        .map(String::as_str)
        .collect();
    let mut warning = format!(
        "gates saw files that the commit does not have: {}",
        named.join(", ")
    );
    if ignored.len() > UNSEEN_NAMED_MAX {
        warning.push_str(", …");
    }
    Some(warning)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str) -> GateSpec {
        GateSpec {
            name: name.to_owned(),
            command: None,
            run: Some("true".to_owned()),
            timeout_seconds: 1,
            required: true,
        }
    }

    #[test]
    fn every_gate_has_a_file_of_its_own_inside_the_folder() {
        let specs = ["test", "test", "../x", ".hidden", "a b"].map(spec);
        let names: Vec<String> = (0..specs.len()).map(|i| file_name(&specs, i)).collect();
        assert_eq!(
            names,
            [
                "test.log",
                "2-test.log",
                "3-x.log",
                "4-hidden.log",
                "5-a-b.log"
            ]
        );
    }

    #[test]
    fn only_a_required_gate_fails_a_task() {
        let mut result = unavailable(&spec("lint"));
        assert_eq!(
            failure(&[result.clone()]).unwrap().message,
            "gate `lint` could not be run"
        );
        result.required = false;
        assert_eq!(failure(&[result]), None);
    }
}
