//! The only two functions that change a session, and which outcome it believes.

use super::{
    Outcome, Session, SessionCommand, SessionEvent, SessionResult, SessionStatus, StopReason,
};
use crate::{gate::GateStatus, rejection::Rejected, time::Timestamp};

impl Session {
    /// The only place where a change is allowed or refused.
    ///
    /// A fence that is not the session's own, and a command whose effect is there already, yield no
    /// event.
    ///
    /// # Errors
    /// [`Rejected`] where the status does not allow it.
    pub fn decide(
        &self,
        fence: u64,
        command: &SessionCommand,
    ) -> Result<Vec<SessionEvent>, Rejected> {
        use SessionStatus as S;
        if fence != self.fence {
            return Ok(vec![]);
        }
        let rejected = |why: &str| {
            Err(Rejected::new(
                self.id,
                self.status.as_str(),
                command.name(),
                why,
            ))
        };
        if self.status.is_terminal() {
            return match command {
                SessionCommand::Finish { .. }
                | SessionCommand::Orphan { .. }
                | SessionCommand::Stop { .. } => Ok(vec![]),
                _ => rejected("it has ended"),
            };
        }
        match (self.status, command) {
            (S::Queued, SessionCommand::Begin { runner }) => {
                if self.stop.is_some() {
                    return rejected("it is to stop");
                }
                Ok(vec![SessionEvent::Begun {
                    runner: runner.clone(),
                }])
            }
            (_, SessionCommand::Begin { runner }) if self.runner.as_ref() == Some(runner) => {
                Ok(vec![])
            }
            (_, SessionCommand::Begin { .. }) => rejected("another runner has it"),
            (S::Preparing, SessionCommand::Prepared { workspace }) => {
                Ok(vec![SessionEvent::Prepared {
                    workspace: workspace.clone(),
                }])
            }
            (S::Preparing, SessionCommand::Launched { process, deadline }) => {
                Ok(vec![SessionEvent::Launched {
                    process: process.clone(),
                    deadline: deadline.clone(),
                }])
            }
            (S::Running, SessionCommand::Verify { gates }) => Ok(vec![SessionEvent::Verifying {
                gates: gates.clone(),
            }]),
            (_, SessionCommand::Stop { reason }) => match self.stop {
                // What only goes back can still be ended for good.
                None | Some(StopReason::Rewind) if self.stop != Some(*reason) => {
                    Ok(vec![SessionEvent::StopRequested { reason: *reason }])
                }
                Some(_) | None => Ok(vec![]),
            },
            (S::Running, SessionCommand::MoveDeadline { deadline }) => {
                if *deadline == self.deadline {
                    return Ok(vec![]);
                }
                Ok(vec![SessionEvent::DeadlineMoved {
                    deadline: deadline.clone(),
                }])
            }
            (_, SessionCommand::Finish { outcome }) => Ok(vec![SessionEvent::Finished {
                outcome: outcome.clone(),
            }]),
            (
                _,
                SessionCommand::Orphan {
                    why,
                    runner,
                    lease_until,
                    counts: _,
                },
            ) => {
                if *runner != self.runner || *lease_until != self.lease_until {
                    return Ok(vec![]);
                }
                Ok(vec![SessionEvent::Orphaned { why: why.clone() }])
            }
            (S::Verifying, SessionCommand::Verify { .. }) => Ok(vec![]),
            (_, SessionCommand::Prepared { .. } | SessionCommand::Launched { .. }) => {
                rejected("only a session in preparation can")
            }
            (_, SessionCommand::Verify { .. } | SessionCommand::MoveDeadline { .. }) => {
                rejected("its agent is not running")
            }
        }
    }

    /// Whether an outcome that was found in a file, and not heard from the runner, can be this
    /// session's: an agent may write such a file as well, but speaks neither before the session's
    /// gates run nor for them.
    ///
    /// # Errors
    /// What is missing.
    pub fn believes(&self, outcome: &Outcome) -> Result<(), String> {
        if outcome.result != SessionResult::Completed {
            return Ok(());
        }
        if self.status != SessionStatus::Verifying {
            return Err("its outcome file says completed, but its agent had not ended".to_owned());
        }
        let passed = outcome
            .gates
            .iter()
            .filter(|gate| gate.status == GateStatus::Passed);
        let mut passed: Vec<&str> = passed.map(|gate| gate.name.as_str()).collect();
        for name in &self.gates {
            let Some(at) = passed.iter().position(|known| known == name) else {
                return Err(format!(
                    "its outcome file says completed, but gate `{name}` did not pass"
                ));
            };
            passed.swap_remove(at);
        }
        Ok(())
    }

    /// Folds one event into the session. Total: history is never refused.
    #[must_use]
    pub fn evolve(mut self, event: &SessionEvent, at: Timestamp) -> Self {
        self.version += 1;
        self.updated_at = at;
        match event {
            SessionEvent::Created { session } => return (**session).clone(),
            SessionEvent::Begun { runner } => {
                self.runner = Some(runner.clone());
                self.status = SessionStatus::Preparing;
            }
            SessionEvent::Prepared { workspace } => self.workspace = Some(workspace.clone()),
            SessionEvent::Launched { process, deadline } => {
                self.process = Some(process.clone());
                self.deadline.clone_from(deadline);
                self.started_at = Some(at);
                self.status = SessionStatus::Running;
            }
            SessionEvent::Verifying { gates } => {
                self.gates.clone_from(gates);
                self.status = SessionStatus::Verifying;
            }
            SessionEvent::StopRequested { reason } => self.stop = Some(*reason),
            SessionEvent::DeadlineMoved { deadline } => self.deadline.clone_from(deadline),
            SessionEvent::Finished { outcome } => {
                self.status = outcome.result.status();
                self.outcome = Some((**outcome).clone());
            }
            SessionEvent::Orphaned { .. } => self.status = SessionStatus::Orphaned,
            SessionEvent::Purged { session } => {
                return Self {
                    updated_at: at,
                    version: self.version,
                    ..(**session).clone()
                };
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        failure::{Failure, FailureReason},
        gate::GateResult,
        process::ProcessIdentity,
        redact::Redactor,
        session::SessionKind,
        time::Moment,
    };

    fn gate(name: &str, status: GateStatus) -> GateResult {
        GateResult {
            name: name.to_owned(),
            required: true,
            status,
            exit: None,
            duration_ms: 0,
            tail: String::new(),
            output: None,
        }
    }

    fn session(status: SessionStatus, gates: &[&str]) -> Session {
        let boot = crate::time::BootId("b".to_owned());
        Session {
            id: "ses_1".parse().unwrap(),
            task: "task_1".parse().unwrap(),
            project: "prj_1".parse().unwrap(),
            fence: 1,
            agent: "a".parse().unwrap(),
            kind: SessionKind::Managed,
            status,
            node: None,
            launcher: ProcessIdentity {
                pid: 1,
                start_ticks: 1,
                boot: boot.clone(),
                namespace: None,
            },
            runner: None,
            process: None,
            lease_until: Moment { boot, millis: 1 },
            stop: None,
            deadline: None,
            workspace: None,
            gates: gates.iter().map(|name| (*name).to_owned()).collect(),
            outcome: None,
            started_at: None,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            version: 1,
        }
    }

    fn completed(gates: Vec<GateResult>) -> Outcome {
        let bare = Outcome::bare(SessionResult::Completed, Timestamp::default());
        Outcome { gates, ..bare }
    }

    #[test]
    fn a_file_that_says_completed_is_believed_only_behind_the_gates() {
        use GateStatus::{Failed, Passed};
        let bare = completed(vec![]);
        let running = session(SessionStatus::Running, &[]);
        running.believes(&bare).unwrap_err();
        let verifying = SessionStatus::Verifying;
        session(verifying, &[]).believes(&bare).unwrap();
        let checked = session(verifying, &["test", "test", "lint"]);
        let doubt = |gates| checked.believes(&completed(gates)).unwrap_err();
        assert!(doubt(vec![]).contains("`test`"));
        let (test, lint) = (gate("test", Passed), gate("lint", Passed));
        assert!(doubt(vec![test.clone(), lint.clone()]).contains("`test`"));
        let failed = gate("lint", Failed);
        assert!(doubt(vec![test.clone(), test.clone(), failed]).contains("`lint`"));
        let all = completed(vec![test.clone(), lint, test]);
        checked.believes(&all).unwrap();
        let cancelled = Outcome::bare(SessionResult::Cancelled, Timestamp::default());
        checked.believes(&cancelled).unwrap();
    }

    #[test]
    fn every_text_of_an_outcome_is_masked() {
        let redactor = Redactor::new(["own-password-1"]);
        let said = || "own-password-1".to_owned();
        let failure = Failure::new(FailureReason::AgentError, said()).with_details(said());
        let mut outcome = Outcome::bare(SessionResult::Failed { failure }, Timestamp::default());
        outcome.agent_session = Some(said());
        outcome.summary = Some(said());
        outcome.warnings = vec![said()];
        outcome.gates = vec![GateResult {
            tail: said(),
            ..gate("test", GateStatus::Failed)
        }];
        let masked = outcome.without_secrets(&redactor);
        let text = serde_json::to_string(&masked).unwrap();
        assert!(!text.contains("password"), "{text}");
        assert_eq!(text.matches("***").count(), 6, "{text}");
    }
}
