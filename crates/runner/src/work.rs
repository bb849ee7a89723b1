//! The work of a session, from its workspace to its outcome.

use std::{
    path::Path,
    sync::mpsc::{Receiver, Sender},
    thread,
    time::Duration,
};

use app::{
    crash_points::CrashPoint,
    error::Error,
    ports::{
        agents::{AgentCommand, AgentRequest, Driver},
        folders::SessionPlace,
        workspaces::{Authorship, Committed, PrepareRequest, WorkspaceError},
    },
};
use domain::{
    agent::{AgentConfig, DriverKind},
    completion::{Evidence, Verdict},
    failure::{Failure, FailureReason},
    gate::GateSpec,
    process::Exit,
    redact::Redactor,
    session::{Outcome, Session, SessionCommand, SessionResult},
    workspace::{WorkspaceMode, WorkspaceRecord},
};

use crate::{
    agent::{AgentEnd, RunningAgent, Surroundings},
    checkpoints::Keeping,
    config::Deps,
    control::{Board, Phase},
    event::Event,
    failures::{chain, of_folder, of_workspace},
    job::{Job, task_now},
    keeper::KeeperHandle,
    output::Output,
    sentinels::{self, SentinelFiles},
    verify::{self, Verifying},
    voice::Voice,
    watch::{Ending, Watch},
    wishes::{Loss, Wishes},
};

/// How much later than its agent a runner may be told that the machine goes down.
const TOLD_TOO: Duration = Duration::from_millis(300);

/// How often it is looked whether the last checkpoint is made.
const LOOK: Duration = Duration::from_millis(10);

/// Why there is no outcome.
#[derive(Debug)]
pub(crate) enum Abort {
    /// The session is not ours to end.
    Lost(Loss),
    /// The store did not answer before anything was done.
    Store(Error),
}

impl Abort {
    fn of(error: Error) -> Self {
        match error {
            Error::Unavailable { .. } | Error::Corrupt { .. } | Error::Conflict { .. } => {
                Self::Store(error)
            }
            _ => Self::Lost(Loss::Fence),
        }
    }
}

/// Why the work did not get to its next step.
enum Stop {
    Abort(Abort),
    /// The session ends here, in this way.
    End(SessionResult),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::End(SessionResult::Failed { failure })
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    pub(crate) deps: &'a mut Deps,
    pub(crate) voice: &'a Voice,
    pub(crate) session: &'a Session,
    pub(crate) job: &'a Job,
    pub(crate) place: &'a SessionPlace,
    pub(crate) output: &'a Output,
    pub(crate) wishes: &'a Wishes,
    pub(crate) keeper: &'a KeeperHandle,
    pub(crate) board: &'a Board,
    pub(crate) events: &'a Sender<Event>,
    pub(crate) inbox: &'a Receiver<Event>,
    /// The workspace, once it exists.
    pub(crate) workspace: Option<WorkspaceRecord>,
    /// The agent's sentinel files, once their place is known.
    pub(crate) files: Option<SentinelFiles>,
    /// What makes checkpoints while the agent is at work.
    pub(crate) keeping: Option<Keeping>,
}

impl Work<'_> {
    /// All of it. Work that is not finished is salvaged, with or without an outcome.
    pub(crate) fn carry_out(&mut self) -> Result<Outcome, Abort> {
        let now = self.deps.clock.now().wall;
        let mut outcome = Outcome::bare(SessionResult::Completed, now);
        let stop = self.steps(&mut outcome);
        self.keep_no_more();
        outcome.warnings.extend(self.output.faults());
        match stop {
            Ok(()) => {}
            Err(Stop::End(result)) => {
                outcome.result = result;
                self.salvage(&mut outcome);
            }
            Err(Stop::Abort(abort)) => {
                self.salvage(&mut outcome);
                return Err(abort);
            }
        }
        outcome.ended_at = self.deps.clock.now().wall;
        Ok(outcome)
    }

    fn steps(&mut self, outcome: &mut Outcome) -> Result<(), Stop> {
        self.may_go_on()?;
        let workspace = self.prepare_workspace()?;
        self.may_go_on()?;
        let end = self.run_agent(&workspace, outcome)?;
        if let Ending::Lost(loss) = end.ending {
            return Err(Stop::Abort(Abort::Lost(loss)));
        }
        let mut evidence = self.evidence(&end);
        let verdict = evidence.judge();
        if verdict != Verdict::Completed {
            self.perhaps_going_down(end.exit)?;
        }
        self.keep_no_more();
        accept(verdict)?;
        self.tell_verifying()?;
        let committed = self.commit(&workspace, outcome)?;
        CrashPoint::Committed.reached();
        evidence.has_diff = committed.as_ref().map(|committed| !committed.no_change);
        accept(evidence.judge())?;
        self.check(&workspace, outcome)?;
        CrashPoint::Checked.reached();
        outcome
            .warnings
            .extend(verify::unseen(&outcome.gates, committed.as_ref()));
        if committed.is_some_and(|committed| !committed.no_change) {
            outcome.branch = workspace.branch;
        }
        Ok(())
    }

    /// Ends the session as one whose process goes down, where that is why its agent has ended: a
    /// machine that goes down tells both at the same time.
    fn perhaps_going_down(&self, exit: Option<Exit>) -> Result<(), Stop> {
        let interrupt = &self.deps.interrupt;
        let was_told = matches!(exit, Some(Exit::Signal(15) | Exit::Code(143)));
        let mut left = if was_told { TOLD_TOO } else { Duration::ZERO };
        while !interrupt.is_raised() && !left.is_zero() {
            thread::sleep(LOOK);
            left = left.saturating_sub(LOOK);
        }
        if !interrupt.is_raised() {
            return Ok(());
        }
        // The last checkpoint is made or given up in a time of its own.
        while !self.wishes.wants_end() {
            thread::sleep(LOOK);
        }
        self.may_go_on()
    }

    fn keep_no_more(&mut self) {
        if let Some(keeping) = self.keeping.take() {
            keeping.end(self.deps, self.output);
        }
    }

    /// Whether nobody wants the session to end.
    fn may_go_on(&self) -> Result<(), Stop> {
        let wanted = self.wishes.now();
        if let Some(loss) = wanted.loss {
            return Err(Stop::Abort(Abort::Lost(loss)));
        }
        match wanted.stop {
            Some(reason) => Err(Stop::End(reason.result())),
            None => Ok(()),
        }
    }

    fn prepare_workspace(&mut self) -> Result<WorkspaceRecord, Stop> {
        let task = &self.job.task;
        let config = &self.deps.config;
        let workspaces = &self.deps.workspaces;
        let mode = match task.spec.workspace.or(config.workspace) {
            Some(mode) => mode,
            None => workspaces
                .default_mode(&config.project_root)
                .map_err(|error| of_workspace(&error))?,
        };
        let dependencies = if mode == WorkspaceMode::Worktree {
            self.job
                .dependencies(&*self.deps.store)
                .map_err(|error| Stop::Abort(Abort::of(error)))?
        } else {
            vec![]
        };
        let request = PrepareRequest {
            project: config.project_root.clone(),
            task: task.id,
            session: self.session.id,
            title: task.spec.name.clone(),
            mode,
            target: config.target.clone(),
            base: self.job.base.clone(),
            continue_from: self.job.continue_from.clone(),
            restore: self.job.restore.clone(),
            remote: self.deps.config.remote.clone(),
            dependencies,
        };
        let workspace = workspaces.prepare(&request).map_err(|error| {
            // What is left of it harms nobody.
            drop(workspaces.abandon(&config.project_root, self.session.id));
            of_workspace(&error)
        })?;
        CrashPoint::WorkspaceMade.reached();
        self.workspace = Some(workspace.clone());
        let command = SessionCommand::Prepared {
            workspace: workspace.clone(),
        };
        let known = self
            .voice
            .say(command)
            .map_err(|error| Stop::Abort(Abort::of(error)))?;
        self.wishes.hear(&known);
        CrashPoint::Prepared.reached();
        Ok(workspace)
    }

    fn run_agent(
        &mut self,
        workspace: &WorkspaceRecord,
        outcome: &mut Outcome,
    ) -> Result<AgentEnd, Stop> {
        let resolved = self.deps.agents.resolve(&self.session.agent);
        let config = resolved.config;
        let driver = self.deps.agents.driver(config.driver);
        let request = self.request(workspace, &config)?;
        let command = driver.prepare(&request)?;
        outcome.warnings.extend(self.job.warnings.iter().cloned());
        outcome.warnings.extend(command.warnings.iter().cloned());
        let command = self.finish_command(command);
        self.listen(&*driver, &config, &command)?;
        let files = SentinelFiles::new(&request.sentinels, &command.directory);
        self.files = Some(files.clone());

        let deps = &mut *self.deps;
        let around = Surroundings {
            processes: &deps.processes,
            clock: &*deps.clock,
            output: self.output,
            wishes: self.wishes,
            events: self.events,
            inbox: self.inbox,
            timings: deps.config.timings,
            line_bytes_max: deps.config.line_bytes_max,
        };
        let limits = task_now(&*deps.store, self.job.task.id)
            .map_or_else(|_| self.job.task.limits.clone(), |task| task.limits);
        let uses_sentinels = config.completion_rule().uses_sentinels();
        let id = self.session.id;
        let agent = RunningAgent::start(&around, id, command, files, uses_sentinels)?;
        CrashPoint::AgentStarted.reached();
        let watch = Watch::new(
            limits.timeout_seconds.map(u64::from).or(config.timeout),
            u64::from(limits.timeout_warning_seconds),
            deps.config.timings.sentinel_grace,
            &deps.clock.now(),
        )
        .at_most(deps.config.session_max, &deps.clock.now());
        self.keeper.say(self.voice.about(SessionCommand::Launched {
            process: agent.process().clone(),
            deadline: watch.deadline().cloned(),
        }));
        self.board.show_agent(agent.process());
        if let Some(launched) = deps.on_launched.take() {
            launched(agent.process());
        }
        let task = self.job.task.id;
        self.keeping = Keeping::start(deps, self.voice, task, self.output, self.wishes);
        let end = agent.attend(&around, watch);
        CrashPoint::AgentEnded.reached();
        self.keeper.wait_until_said();
        outcome.exit = end.exit;
        outcome.usage = end.report.usage;
        outcome.agent_session.clone_from(&end.report.agent_session);
        outcome.summary.clone_from(&end.report.last_text);
        outcome.warnings.extend(end.warnings.iter().cloned());
        Ok(end)
    }

    fn request(
        &self,
        workspace: &WorkspaceRecord,
        config: &AgentConfig,
    ) -> Result<AgentRequest, Failure> {
        let (folders, place) = (&self.deps.folders, self.place);
        let session_dir = folders
            .private_folder(place)
            .map_err(|error| of_folder(&error))?;
        let plan_file = folders
            .plan_file(&place.root, &self.job.task)
            .map_err(|error| of_folder(&error))?;
        let shown = self.deps.config.sentinel_directory.as_deref();
        Ok(AgentRequest {
            task: self.job.task.id,
            session: self.session.id,
            prompt: self.job.task.spec.prompt.clone(),
            agent: self.session.agent.clone(),
            config: config.clone(),
            workspace: workspace.directory.clone(),
            sentinels: sentinels::paths(shown.unwrap_or(&session_dir), self.job.task.id),
            session_dir,
            project_root: place.root.clone(),
            plan_file,
            log_file: self.output.log_path(),
            environment: self.deps.config.environment.clone(),
            continues: self.job.conversation.clone(),
        })
    }

    /// What every agent of ours may know of itself.
    fn finish_command(&self, mut command: AgentCommand) -> AgentCommand {
        let own = [
            ("CREWBOSS_TASK", self.job.task.id.to_string()),
            (
                "CREWBOSS_PROJECT",
                self.place.root.to_string_lossy().into_owned(),
            ),
        ];
        for (name, value) in own {
            command.env.retain(|(known, _)| known != name);
            command.env.push((name.to_owned(), value));
        }
        command
    }

    /// Makes the log mask the agent's credentials, and opens the transcript.
    fn listen(
        &self,
        driver: &dyn Driver,
        config: &AgentConfig,
        command: &AgentCommand,
    ) -> Result<(), Failure> {
        let deps = &self.deps;
        let secrets = deps.config.secrets.iter().chain(&command.secrets);
        let redactor = Redactor::new(secrets.map(String::as_str));
        let transcript = match config.driver {
            DriverKind::Command => None,
            DriverKind::Opencode => {
                let opened =
                    deps.folders
                        .open_transcript(self.place, &deps.config.log, redactor.clone());
                Some(opened.map_err(|error| of_folder(&error))?)
            }
        };
        self.output.listen_to(driver.parser(), transcript, redactor);
        Ok(())
    }

    fn evidence(&self, end: &AgentEnd) -> Evidence {
        let config = self.deps.agents.resolve(&self.session.agent).config;
        Evidence {
            rule: config.completion_rule(),
            sentinels: end.sentinels.clone(),
            exit: end.exit,
            stopped: match end.ending {
                Ending::Stopped(stop) => Some(stop),
                Ending::Exited | Ending::Sentinel | Ending::MustStop | Ending::Lost(_) => None,
            },
            protocol: end.report.verdict.clone(),
            had_tool_call: end.report.tool_calls > 0,
            has_diff: None,
            require_diff: self.job.task.spec.require_diff,
        }
    }

    fn tell_verifying(&self) -> Result<(), Stop> {
        self.board.show(Phase::Verifying);
        let required = self.gates().into_iter().filter(|gate| gate.required);
        let gates = required.map(|gate| gate.name).collect();
        match self.voice.say(SessionCommand::Verify { gates }) {
            Err(error) if crate::voice::is_loss(&error) => {
                Err(Stop::Abort(Abort::Lost(Loss::Fence)))
            }
            // The store learns of it with the outcome.
            Err(_) => Ok(()),
            Ok(session) => {
                self.wishes.hear(&session);
                Ok(())
            }
        }
    }

    fn commit(
        &self,
        workspace: &WorkspaceRecord,
        outcome: &mut Outcome,
    ) -> Result<Option<Committed>, Stop> {
        let task = &self.job.task;
        let authorship = Authorship {
            title: task.spec.name.clone(),
            task: task.id,
            session: self.session.id,
            agent: self.session.agent.to_string(),
        };
        match self.deps.workspaces.commit(workspace, &authorship) {
            Ok(committed) => {
                if let Some(committed) = &committed {
                    outcome.commit = Some(committed.commit.clone());
                    outcome.changes.clone_from(&committed.files);
                    outcome.warnings.extend(committed.warnings.iter().cloned());
                }
                Ok(committed)
            }
            Err(error) => {
                if let WorkspaceError::Diverged {
                    salvage: Some(salvage),
                    ..
                } = &error
                {
                    outcome.salvage = Some(salvage.reference.clone());
                    outcome.commit = Some(salvage.commit.clone());
                }
                Err(of_workspace(&error).into())
            }
        }
    }

    /// The project's checks and then the task's own.
    fn gates(&self) -> Vec<GateSpec> {
        let own = &self.job.task.spec.gates;
        self.deps.config.gates.iter().chain(own).cloned().collect()
    }

    fn check(&self, workspace: &WorkspaceRecord, outcome: &mut Outcome) -> Result<(), Stop> {
        let specs = self.gates();
        if specs.is_empty() {
            return self.may_go_on();
        }
        let (deps, folders) = (&*self.deps, &self.deps.folders);
        folders
            .gates_folder(self.place)
            .map_err(|error| of_folder(&error))?;
        let session_dir = folders
            .session_folder(self.place)
            .map_err(|error| of_folder(&error))?;
        let verifying = Verifying {
            gates: &deps.gates,
            processes: &*deps.processes,
            wishes: self.wishes,
            session: self.session.id,
            directory: workspace.directory.clone(),
            session_dir,
            env: deps.config.gate_environment.clone(),
            redactor: self.output.redactor(),
            grace: deps.config.timings.cancel_grace,
        };
        outcome.gates = verifying.run(&specs);
        self.may_go_on()?;
        match verify::failure(&outcome.gates) {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    /// Keeps what was done where no branch will hold it.
    fn salvage(&self, outcome: &mut Outcome) {
        let Some(workspace) = &self.workspace else {
            return;
        };
        if outcome.salvage.is_some() {
            return;
        }
        match self.deps.workspaces.salvage(workspace, self.session.id) {
            Ok(None) => {}
            Ok(Some(salvage)) => {
                outcome.warnings.extend(salvage.warnings);
                outcome.commit = Some(salvage.commit);
                outcome.salvage = Some(salvage.reference);
            }
            Err(error) => {
                let shown = Path::display(&workspace.path);
                outcome.warnings.push(format!(
                    "the work could not be kept and stays in {shown}: {}",
                    chain(&error)
                ));
            }
        }
    }
}

/// Goes on only if the agent did what it should.
fn accept(verdict: Verdict) -> Result<(), Stop> {
    Err(Stop::End(match verdict {
        Verdict::Completed => return Ok(()),
        Verdict::Failed(failure) => SessionResult::Failed { failure },
        Verdict::Cancelled => SessionResult::Cancelled,
        Verdict::Stopped => SessionResult::Stopped,
        Verdict::TimedOut { failure, at } => SessionResult::TimedOut {
            failure: match at {
                Some(at) => failure.with_details(format!("timed out at {at}")),
                None => failure,
            },
        },
    }))
}

/// The failure of a task whose finished work could not be published.
pub(crate) fn unpublished(error: &WorkspaceError) -> Failure {
    let failure = of_workspace(error);
    if failure.reason == FailureReason::DiskFull {
        return failure;
    }
    Failure::new(
        FailureReason::WorkspaceFailed,
        format!("the branch could not be moved: {}", failure.message),
    )
}
