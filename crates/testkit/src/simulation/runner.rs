//! A runner, one step at a time: what it asks of the world, in the order in which the real one does.

use app::{
    command::{Command, Output, RecoveryPolicy, Request},
    error::Error,
    ports::{
        folders::{Folders as _, SessionPlace},
        workspaces::{PrepareRequest, Workspaces as _},
    },
    settle::Settling,
};
use domain::{
    id::SessionId,
    process::ProcessIdentity,
    session::{Outcome, Session, SessionCommand, SessionResult},
    workspace::{WorkspaceMode, WorkspaceRecord},
};

use super::{Simulation, machine::Role, repository::commit_of};
use crate::contract::world::{LEASE_MILLIS, failed, meta};

/// What a runner does next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Begin,
    Prepare,
    TellPrepared(Box<WorkspaceRecord>),
    StartAgent,
    TellLaunched(ProcessIdentity),
    Work,
    Verify,
    Settle,
}

/// Whether a runner has more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goes {
    On,
    Home,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Runner {
    pub(super) process: ProcessIdentity,
    pub(super) session: SessionId,
    fence: u64,
    succeeds: bool,
    next: Step,
    agent: Option<ProcessIdentity>,
    known: Session,
}

impl Runner {
    pub(super) fn new(process: ProcessIdentity, session: &Session, succeeds: bool) -> Self {
        Self {
            process,
            session: session.id,
            fence: session.fence,
            succeeds,
            next: Step::Begin,
            agent: None,
            known: session.clone(),
        }
    }

    /// Does the next thing.
    pub(super) fn step(&mut self, around: &Simulation) -> Goes {
        match self.next.clone() {
            Step::Begin => {
                let runner = self.process.clone();
                match self.say(around, SessionCommand::Begin { runner }) {
                    Ok(()) => self.next = Step::Prepare,
                    // Nothing was started: whoever finds us gone puts it back into the queue.
                    Err(_) => return Goes::Home,
                }
            }
            Step::Prepare => {
                let request = PrepareRequest {
                    project: "/project".into(),
                    task: self.known.task,
                    session: self.session,
                    title: String::new(),
                    mode: WorkspaceMode::Worktree,
                    target: None,
                    base: None,
                    continue_from: None,
                    restore: None,
                    remote: None,
                    dependencies: vec![],
                };
                if let Ok(record) = around.repository.prepare(&request) {
                    self.next = Step::TellPrepared(Box::new(record));
                } else {
                    drop(
                        around
                            .repository
                            .abandon(request.project.as_ref(), self.session),
                    );
                    self.succeeds = false;
                    self.next = Step::Settle;
                }
            }
            Step::TellPrepared(workspace) => {
                let command = SessionCommand::Prepared {
                    workspace: *workspace,
                };
                match self.say(around, command) {
                    Ok(()) => self.next = Step::StartAgent,
                    Err(_) => return Goes::Home,
                }
            }
            Step::StartAgent => {
                around.start_agent(self.known.task, self.session);
                let agent = around.machine.start(Role::Agent, Some(self.session));
                self.agent = Some(agent.clone());
                self.next = Step::TellLaunched(agent);
            }
            Step::TellLaunched(process) => {
                let command = SessionCommand::Launched {
                    process,
                    deadline: None,
                };
                if Self::is_lost(&self.say(around, command)) {
                    return self.give_in(around);
                }
                self.next = Step::Work;
            }
            Step::Work => {
                around.repository.work_in(self.session);
                if Self::is_lost(&self.renew(around)) {
                    return self.give_in(around);
                }
                if let Some(agent) = self.agent.take() {
                    around.machine.end(&agent);
                }
                self.next = Step::Verify;
            }
            Step::Verify => {
                if Self::is_lost(&self.say(around, SessionCommand::Verify { gates: vec![] })) {
                    return self.give_in(around);
                }
                self.next = Step::Settle;
            }
            Step::Settle => {
                self.settle(around);
                return Goes::Home;
            }
        }
        Goes::On
    }

    /// The store learns of the end, or the file tells the next who looks.
    fn settle(&mut self, around: &Simulation) {
        let (result, commit) = if self.succeeds {
            (SessionResult::Completed, Some(commit_of(self.session)))
        } else {
            (failed(), None)
        };
        let mut outcome = Outcome::bare(result, around.now().wall);
        outcome.commit = commit;
        if !self.succeeds
            && let Some(workspace) = &self.known.workspace
            && around.repository.salvage(workspace, self.session).is_err()
        {
            return;
        }
        let place = SessionPlace {
            root: "/project".into(),
            task: self.known.task,
            session: self.session,
        };
        drop(around.disk.write_outcome(&place, &outcome));
        let (meta, recovery) = (meta(), RecoveryPolicy::default());
        let settling = Settling {
            store: &*around.store,
            workspaces: &*around.repository,
            meta: &meta,
            recovery: &recovery,
            keeps_worktrees: false,
        };
        drop(settling.settle(&self.known, &outcome));
    }

    /// Ends the agent and claims nothing.
    fn give_in(&mut self, around: &Simulation) -> Goes {
        if let Some(agent) = self.agent.take() {
            around.machine.end(&agent);
        }
        Goes::Home
    }

    /// Whether the session is another's by now; a store that does not answer says nothing.
    fn is_lost(said: &Result<(), Error>) -> bool {
        !matches!(said, Ok(()) | Err(Error::Unavailable { .. }))
    }

    fn renew(&mut self, around: &Simulation) -> Result<(), Error> {
        self.ask(
            around,
            Command::RenewLease {
                session: self.session,
                fence: self.fence,
                lease_millis: LEASE_MILLIS,
            },
        )
    }

    fn say(&mut self, around: &Simulation, command: SessionCommand) -> Result<(), Error> {
        self.ask(
            around,
            Command::Session {
                session: self.session,
                fence: self.fence,
                command,
                recovery: RecoveryPolicy::default(),
            },
        )
    }

    fn ask(&mut self, around: &Simulation, command: Command) -> Result<(), Error> {
        let reply = around.store.execute(Request {
            meta: meta(),
            done: vec![],
            command,
        })?;
        if let Output::Session { session } = reply.output {
            self.known = *session;
        }
        Ok(())
    }
}
