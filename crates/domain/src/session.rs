//! The session aggregate: one agent at work on one task.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    agent::AgentName,
    failure::{Failure, FailureReason},
    gate::{GateResult, GateStatus},
    id::{ProjectId, SessionId, TaskId},
    process::{Exit, ProcessIdentity},
    redact::Redactor,
    rejection::Rejected,
    time::{Due, Moment, Timestamp},
    usage::Usage,
    workspace::{ChangedFile, CommitId, WorkspaceRecord},
};

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Claimed; its runner has not spoken yet.
    Queued,
    /// The runner makes the workspace.
    Preparing,
    /// The agent is at work.
    Running,
    /// The agent has ended; its work is committed and its gates run.
    Verifying,
    /// Done.
    Completed,
    /// Not done.
    Failed,
    /// Its deadline passed.
    Timeout,
    /// Its outside holder left without ending the task.
    Stopped,
    /// Someone did not want it any more.
    Cancelled,
    /// Its runner or its lease was lost.
    Orphaned,
}

impl SessionStatus {
    /// Every status.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Preparing,
        Self::Running,
        Self::Verifying,
        Self::Completed,
        Self::Failed,
        Self::Timeout,
        Self::Stopped,
        Self::Cancelled,
        Self::Orphaned,
    ];

    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Verifying => "verifying",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::Orphaned => "orphaned",
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(
            self,
            Self::Queued | Self::Preparing | Self::Running | Self::Verifying
        )
    }
}

/// Who does the work of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// A runner of ours.
    Managed,
    /// An agent outside, under this lease.
    External,
}

/// Why a living session is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Someone cancelled it.
    Cancel,
    /// Someone declared it timed out.
    ManualTimeout,
}

impl StopReason {
    /// How a session ends that was stopped for this.
    #[must_use]
    pub fn result(self) -> SessionResult {
        match self {
            Self::Cancel => SessionResult::Cancelled,
            Self::ManualTimeout => SessionResult::TimedOut {
                failure: Failure::new(FailureReason::Timeout, "Manually timed out"),
            },
        }
    }
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum SessionResult {
    /// The agent finished and the required gates passed.
    Completed,
    /// It did not.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// Its deadline passed, or someone said so.
    TimedOut {
        /// Why.
        failure: Failure,
    },
    /// Someone cancelled it.
    Cancelled,
    /// Its holder left.
    Stopped,
}

impl SessionResult {
    /// The status that a session with this result has.
    #[must_use]
    pub fn status(&self) -> SessionStatus {
        match self {
            Self::Completed => SessionStatus::Completed,
            Self::Failed { .. } => SessionStatus::Failed,
            Self::TimedOut { .. } => SessionStatus::Timeout,
            Self::Cancelled => SessionStatus::Cancelled,
            Self::Stopped => SessionStatus::Stopped,
        }
    }
}

/// Everything a runner reports at the end. Its file is written before it is applied, and applying
/// it twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub result: SessionResult,
    /// How the agent's process ended; `None` where none was started.
    pub exit: Option<Exit>,
    /// What it used.
    pub usage: Usage,
    /// The agent's own conversation id.
    pub agent_session: Option<String>,
    /// The commit that holds its work.
    pub commit: Option<CommitId>,
    /// The branch that points there.
    pub branch: Option<String>,
    /// The ref that keeps work that was not finished.
    pub salvage: Option<String>,
    /// What changed against the base.
    pub changes: Vec<ChangedFile>,
    /// What the gates said.
    pub gates: Vec<GateResult>,
    /// The agent's last words, cut to 4 KiB.
    pub summary: Option<String>,
    /// What a person should know that is no failure.
    pub warnings: Vec<String>,
    /// When it ended.
    pub ended_at: Timestamp,
}

impl Outcome {
    /// An outcome with nothing but a result.
    #[must_use]
    pub fn bare(result: SessionResult, ended_at: Timestamp) -> Self {
        Self {
            result,
            exit: None,
            usage: Usage::default(),
            agent_session: None,
            commit: None,
            branch: None,
            salvage: None,
            changes: vec![],
            gates: vec![],
            summary: None,
            warnings: vec![],
            ended_at,
        }
    }

    /// The same outcome, with every text that an agent or a check may have written redacted.
    #[must_use]
    pub fn without_secrets(mut self, redactor: &Redactor) -> Self {
        let mask = |text: &mut String| {
            if let Cow::Owned(masked) = redactor.text(text) {
                *text = masked;
            }
        };
        if let SessionResult::Failed { failure } | SessionResult::TimedOut { failure } =
            &mut self.result
        {
            mask(&mut failure.message);
            failure.details.as_mut().map(mask);
        }
        self.agent_session.as_mut().map(mask);
        self.summary.as_mut().map(mask);
        self.warnings.iter_mut().for_each(mask);
        for file in &mut self.changes {
            mask(&mut file.path);
            file.from.as_mut().map(mask);
        }
        for gate in &mut self.gates {
            mask(&mut gate.tail);
        }
        self
    }
}

/// A session with everything that decides about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its task.
    pub task: TaskId,
    /// Its project.
    pub project: ProjectId,
    /// The fence under which it speaks.
    pub fence: u64,
    /// The agent at work.
    pub agent: AgentName,
    /// Who does the work.
    pub kind: SessionKind,
    /// Where it stands.
    pub status: SessionStatus,
    /// The process that claimed it and has to start its runner.
    pub launcher: ProcessIdentity,
    /// Its runner, once that has spoken.
    pub runner: Option<ProcessIdentity>,
    /// The agent's process, once started.
    pub process: Option<ProcessIdentity>,
    /// The right to speak ends here unless renewed.
    pub lease_until: Moment,
    /// Set once someone wants it to end.
    pub stop: Option<StopReason>,
    /// The agent's time is up then.
    pub deadline: Option<Due>,
    /// Where it edits, once that exists.
    pub workspace: Option<WorkspaceRecord>,
    /// The gates that it has to pass, known from when its agent has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// When the agent was started.
    pub started_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Counts changes from 1.
    pub version: u64,
}

/// What may be asked of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionCommand {
    /// Its runner takes it over.
    Begin {
        /// The runner.
        runner: ProcessIdentity,
    },
    /// The workspace exists.
    Prepared {
        /// Where.
        workspace: WorkspaceRecord,
    },
    /// The agent's process runs.
    Launched {
        /// The process.
        process: ProcessIdentity,
        /// When its time is up.
        deadline: Option<Due>,
    },
    /// The agent has ended; gates follow.
    Verify {
        /// The names of those that it has to pass.
        #[serde(default)]
        gates: Vec<String>,
    },
    /// Someone wants it to end.
    Stop {
        /// Why.
        reason: StopReason,
    },
    /// Its time was changed.
    MoveDeadline {
        /// The new end.
        deadline: Option<Due>,
    },
    /// It has ended.
    Finish {
        /// How.
        outcome: Box<Outcome>,
    },
    /// Its runner or its lease is lost.
    Orphan {
        /// What was seen.
        why: String,
        /// The runner that was seen; another one since then makes the command void.
        runner: Option<ProcessIdentity>,
        /// The lease that was seen; a renewal since then makes the command void.
        lease_until: Moment,
        /// Whether it counts as a loss of the task; not where nothing of it was ever started.
        #[serde(default = "counts_by_default")]
        counts: bool,
    },
}

fn counts_by_default() -> bool {
    true
}

/// What happened to a session. Stored: fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SessionEvent {
    /// It was made.
    Created {
        /// Everything at its beginning.
        session: Box<Session>,
    },
    /// See [`SessionCommand::Begin`].
    Begun {
        /// The runner.
        runner: ProcessIdentity,
    },
    /// See [`SessionCommand::Prepared`].
    Prepared {
        /// Where.
        workspace: WorkspaceRecord,
    },
    /// See [`SessionCommand::Launched`].
    Launched {
        /// The process.
        process: ProcessIdentity,
        /// When its time is up.
        deadline: Option<Due>,
    },
    /// See [`SessionCommand::Verify`].
    Verifying {
        /// The names of the gates that it has to pass.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gates: Vec<String>,
    },
    /// See [`SessionCommand::Stop`].
    StopRequested {
        /// Why.
        reason: StopReason,
    },
    /// See [`SessionCommand::MoveDeadline`].
    DeadlineMoved {
        /// The new end.
        deadline: Option<Due>,
    },
    /// See [`SessionCommand::Finish`].
    Finished {
        /// How.
        outcome: Box<Outcome>,
    },
    /// See [`SessionCommand::Orphan`].
    Orphaned {
        /// What was seen.
        why: String,
    },
}

impl SessionEvent {
    /// The stored name of the event's type.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Created { .. } => "session.created",
            Self::Begun { .. } => "session.begun",
            Self::Prepared { .. } => "session.prepared",
            Self::Launched { .. } => "session.launched",
            Self::Verifying { .. } => "session.verifying",
            Self::StopRequested { .. } => "session.stop_requested",
            Self::DeadlineMoved { .. } => "session.deadline_moved",
            Self::Finished { .. } => "session.finished",
            Self::Orphaned { .. } => "session.orphaned",
        }
    }
}

impl SessionCommand {
    /// The command's name, as in rejections and documentation.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Begin { .. } => "begin",
            Self::Prepared { .. } => "prepared",
            Self::Launched { .. } => "launched",
            Self::Verify { .. } => "verify",
            Self::Stop { .. } => "stop",
            Self::MoveDeadline { .. } => "move deadline",
            Self::Finish { .. } => "finish",
            Self::Orphan { .. } => "orphan",
        }
    }
}

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
                Some(_) => Ok(vec![]),
                None => Ok(vec![SessionEvent::StopRequested { reason: *reason }]),
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
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
