//! Tasks that another tool has started: whose process is it, and how did it end.

use app::{
    command::{Command, Output},
    error::Error,
    ports::folders::SessionPlace,
};
use domain::{
    failure::{Failure, FailureReason},
    id::{ProjectId, TaskId},
    plan::Policy,
    process::ProcessIdentity,
    session::{Outcome, Session, SessionCommand, SessionResult},
    task::TaskState,
    time::Timestamp,
};
use layouts::{Document, Word};

use super::Post;

/// Between the time that a tool writes down and the start of its process.
const START_SLACK_MILLIS: i64 = 15_000;

/// A task that is said to run without a process may be about to get one for so long.
const LAUNCH_MILLIS: i64 = 10_000;

/// A session of another tool's process is nobody's to renew.
const LEASE_MILLIS: u64 = 10 * 365 * 24 * 3_600 * 1_000;

/// How a task stands that a file calls running.
#[derive(Debug)]
pub(super) enum Running {
    /// The process that the tool started lives.
    Alive(ProcessIdentity),
    /// It has ended, like this.
    Ended(SessionResult),
    /// It was called running a moment ago and has no process yet.
    Starting,
}

impl Post {
    /// What is true of a task that a file calls running.
    pub(super) fn look_at(&self, document: &Document) -> Result<Running, Error> {
        let now = self.clock.now().wall;
        let found = self
            .folders
            .sentinels(self.root_path(), document.id)
            .map_err(super::post::of)?;
        if found.ends_it() {
            return Ok(Running::Ended(found.outcome(now).result));
        }
        let Some(pid) = document.pid else {
            let started = document.started_at.unwrap_or(document.created_at);
            let is_new = now.as_millis() - started.as_millis() < LAUNCH_MILLIS;
            let ended = || Running::Ended(found.outcome(now).result);
            return Ok(if is_new { Running::Starting } else { ended() });
        };
        Ok(match self.processes.identify(pid) {
            None => Running::Ended(found.outcome(now).result),
            Some(process) if self.is_theirs(document, &process) => Running::Alive(process),
            Some(_) => {
                let message = format!("stale pid: process {pid} is another program by now");
                let failure = Failure::new(FailureReason::StalePid, message);
                Running::Ended(SessionResult::Failed { failure })
            }
        })
    }

    /// Whether the process began when the file says that the task was started.
    fn is_theirs(&self, document: &Document, process: &ProcessIdentity) -> bool {
        let now = self.clock.now();
        let Some(started) = document.started_at else {
            return false;
        };
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let since_boot = process.start_ticks.saturating_mul(1_000) / ticks;
        let age = i64::try_from(now.moment.millis.saturating_sub(since_boot)).unwrap_or(i64::MAX);
        let began = now.wall.as_millis().saturating_sub(age);
        (began - started.as_millis()).abs() <= START_SLACK_MILLIS
    }

    /// Makes a waiting task a running one, whose process is this.
    pub(super) fn adopt(
        &self,
        project: ProjectId,
        id: TaskId,
        process: &ProcessIdentity,
    ) -> Result<Session, Error> {
        let session = self.claim(project, id, process)?;
        let place = SessionPlace {
            root: self.root_path().to_owned(),
            task: id,
            session: session.id,
        };
        self.folders.mark_foreign(&place).map_err(super::post::of)?;
        self.say(
            &session,
            SessionCommand::Begin {
                runner: process.clone(),
            },
        )?;
        let launched = SessionCommand::Launched {
            process: process.clone(),
            deadline: None,
        };
        self.say(&session, launched)
    }

    /// Makes a waiting task one that another tool has brought to an end.
    pub(super) fn adopt_ended(
        &self,
        project: ProjectId,
        id: TaskId,
        result: SessionResult,
    ) -> Result<(), Error> {
        let session = self.claim(project, id, &self.processes.own_identity())?;
        self.finish(&session, result)
    }

    fn claim(
        &self,
        project: ProjectId,
        id: TaskId,
        launcher: &ProcessIdentity,
    ) -> Result<Session, Error> {
        let policy = Policy {
            running_max: None,
            starts_max: 1,
            per_agent_max: [].into(),
            store_max: None,
            ageing_millis: 0,
        };
        let claim = Command::Claim {
            project: Some(project),
            task: Some(id),
            policy,
            launcher: launcher.clone(),
            node: None,
            lease_millis: LEASE_MILLIS,
        };
        match self.execute(claim)? {
            Output::Claimed { mut claims, .. } if claims.len() == 1 => Ok(claims.remove(0).0),
            other => Err(Error::corrupt(format!("unexpected answer {other:?}"))),
        }
    }

    fn say(&self, session: &Session, command: SessionCommand) -> Result<Session, Error> {
        let request = Command::Session {
            session: session.id,
            fence: session.fence,
            command,
            recovery: self.recovery,
        };
        match self.execute(request)? {
            Output::Session { session } => Ok(*session),
            other => Err(Error::corrupt(format!("unexpected answer {other:?}"))),
        }
    }

    pub(super) fn finish(&self, session: &Session, result: SessionResult) -> Result<(), Error> {
        let outcome = Box::new(Outcome::bare(result, self.clock.now().wall));
        self.say(session, SessionCommand::Finish { outcome })
            .map(drop)
    }
}

/// The state that an end leaves a task in.
pub(super) fn state_of(result: SessionResult, at: Timestamp) -> TaskState {
    match result {
        SessionResult::Completed => TaskState::Completed { at },
        SessionResult::Failed { failure } | SessionResult::TimedOut { failure } => {
            TaskState::Failed { failure, at }
        }
        SessionResult::Cancelled | SessionResult::Stopped => TaskState::Cancelled { at },
    }
}

/// The end that a document tells of.
pub(super) fn result_of(document: &Document) -> Option<SessionResult> {
    match document.status {
        Word::Pending | Word::Running => None,
        Word::Complete => Some(SessionResult::Completed),
        Word::Cancelled => Some(SessionResult::Cancelled),
        Word::Failed => {
            let message = document.error_message.as_deref().unwrap_or("Unknown error");
            let timed_out = document.timed_out_at.is_some();
            let reason = if timed_out {
                FailureReason::Timeout
            } else {
                FailureReason::AgentError
            };
            let failure = Failure::new(reason, message);
            Some(if timed_out {
                SessionResult::TimedOut { failure }
            } else {
                SessionResult::Failed { failure }
            })
        }
    }
}
