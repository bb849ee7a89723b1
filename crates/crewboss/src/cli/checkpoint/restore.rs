//! Going back to a checkpoint: as a new task, or as the same one where that has not ended.

use app::{
    checkpoints::{CheckpointError, Checkpointer, Wish},
    command::{Command, Output, QueueLimits},
    crash_points::CrashPoint,
    ports::checkpoints::{Cause, Manifest},
};
use domain::{
    agent::AgentName,
    id::TaskId,
    project::Project,
    task::{Continuation, Task, TaskStatus},
    workspace::WorkspaceMode,
};

use super::{apply_rules, of_project, whole};
use crate::{
    cli::{expected::ExpectedVersion, history::refuse_layout},
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    launch::{Wanted, launch},
    render::document,
    stop::wait_until_gone,
};

pub(super) fn restore(
    context: &Context,
    checkpoint: &str,
    agent: Option<String>,
    run: bool,
    expected: ExpectedVersion,
) -> Outcome {
    let from = From {
        expected,
        ..From::find(context, checkpoint, agent)?
    };
    let task = from.task()?;
    if expected.is_stale(&task) {
        return from.make(None, true, run);
    }
    let status = task.status();
    if status.is_terminal() {
        return from.make(None, true, run);
    }
    if let Some(agent) = &from.agent {
        let (id, status, checkpoint) = (from.manifest.task, status.as_str(), from.manifest.id);
        let message = format!("Task {id} is {status}: it keeps its agent when it goes back");
        return Err(Fail::new(Exit::Conflict, message).hint(format!(
            "`crewboss checkpoint fork {checkpoint} --agent {agent}` makes another task"
        )));
    }
    match from.rewind(status, run) {
        // It has ended just now.
        Err(fail) if fail.exit == Exit::Conflict && from.is_final()? => from.make(None, true, run),
        done => done,
    }
}

pub(super) fn fork(
    context: &Context,
    checkpoint: &str,
    hint: Option<String>,
    agent: Option<String>,
    run: bool,
) -> Outcome {
    if hint.as_ref().is_some_and(|hint| hint.trim().is_empty()) {
        return Err(Fail::usage(
            "the hint is empty: say what the new task is told besides",
        ));
    }
    From::find(context, checkpoint, agent)?.make(hint, false, run)
}

/// A checkpoint that is whole.
struct From<'a> {
    context: &'a Context,
    project: Project,
    checkpointer: Checkpointer,
    manifest: Manifest,
    /// The agent that goes on, where it is another.
    agent: Option<AgentName>,
    /// How its task was seen.
    expected: ExpectedVersion,
}

impl<'a> From<'a> {
    fn find(context: &'a Context, checkpoint: &str, agent: Option<String>) -> Result<Self, Fail> {
        let agent = agent.map(|name| name.parse()).transpose();
        let agent = agent.map_err(|error| Fail::usage(format!("--agent: {error}")))?;
        let (project, checkpointer) = of_project(context)?;
        let manifest = whole(context, &checkpointer, checkpoint)?;
        context.reconcile()?;
        Ok(Self {
            context,
            project,
            checkpointer,
            manifest,
            agent,
            expected: ExpectedVersion::default(),
        })
    }

    /// Says so where the other agent gets no conversation.
    fn warn_of_agent(&self) -> Result<(), Fail> {
        let (Some(agent), Some(_)) = (&self.agent, &self.manifest.conversation) else {
            return Ok(());
        };
        let earlier = self.context.session(self.manifest.session)?.agent;
        let driver = |name| self.checkpointer.agents.resolve(name).config.driver;
        if driver(agent) != driver(&earlier) {
            self.context.out.warn(format_args!(
                "{agent} is another kind of agent than {earlier}: it gets files, plan and decisions, \
                 and no conversation"
            ));
        }
        Ok(())
    }

    fn task(&self) -> Result<Task, Fail> {
        Ok(self.context.details(self.manifest.task)?.view.task)
    }

    fn status(&self) -> Result<TaskStatus, Fail> {
        Ok(self.task()?.status())
    }

    /// Whether its task has ended, and not because of us.
    fn is_final(&self) -> Result<bool, Fail> {
        let task = self.task()?;
        let rewound = task.spec.continues.as_ref().and_then(|from| from.rewound);
        Ok(task.status().is_terminal() && rewound.is_none())
    }

    fn continuation(&self) -> Continuation {
        Continuation {
            session: self.manifest.session,
            commit: Some(self.manifest.workspace.commit.clone()),
            checkpoint: Some(self.manifest.id),
            rewound: None,
        }
    }

    /// What somebody works in himself is not overwritten.
    fn workspace(&self) -> Result<WorkspaceMode, Fail> {
        Ok(match self.manifest.workspace.mode {
            WorkspaceMode::InPlace => {
                let workspaces = self.context.workspaces();
                workspaces.default_mode(&self.checkpointer.root)?
            }
            mode => mode,
        })
    }

    /// Another task from there on.
    fn make(&self, hint: Option<String>, only_ended: bool, run: bool) -> Outcome {
        let context = self.context;
        self.warn_of_agent()?;
        let limits = &context.config()?.settings.limits;
        let command = Command::ForkTask {
            task: self.manifest.task,
            continues: self.continuation(),
            workspace: self.workspace()?,
            hint,
            agent: self.agent.clone(),
            only_ended,
            queue: QueueLimits {
                queue_max: limits.queue_max,
                refuse_when_full: limits.queue_refuse,
            },
        };
        let command = self.expected.guard(self.manifest.task, command);
        let Output::Task { task, .. } = context.change(command)? else {
            return Err(unexpected("restore"));
        };
        // Its runner does it where this is cut off.
        let from = (self.manifest.task, self.manifest.id);
        let checkpoints = &self.checkpointer.checkpoints;
        checkpoints.hand_down(&self.checkpointer.root, from, task.id)?;
        context.out.line(format_args!(
            "Task {} created from {} of {}",
            task.id, self.manifest.id, self.manifest.task
        ))?;
        context.out.print(&document::task(&task))?;
        if run {
            return self.start(task.id);
        }
        if context.out.terminal {
            let id = task.id;
            context
                .out
                .say(format_args!("hint: `crewboss run {id}` starts it"));
        }
        Ok(Exit::Ok)
    }

    /// The same task from there on: whoever works on it is ended, and what it has reached is kept.
    fn rewind(&self, before: TaskStatus, run: bool) -> Outcome {
        let context = self.context;
        refuse_layout(context)?;
        let id = self.manifest.task;
        let kept = self.keep(id)?;
        let command = Command::RewindTask {
            task: id,
            continues: self.continuation(),
            workspace: self.workspace()?,
        };
        // Keeping what it has reached is a change of ours.
        let expected = self.expected.after(u64::from(kept.is_some()));
        let command = expected.guard(id, command);
        let Output::Stopping { task, session } = context.change(command)? else {
            return Err(unexpected("restore"));
        };
        CrashPoint::Rewound.reached();
        if let Some(session) = session {
            wait_until_gone(context, *session)?;
        }
        CrashPoint::RewoundAlone.reached();
        let now = self.status()?;
        if now.is_terminal() {
            let (status, checkpoint) = (now.as_str(), self.manifest.id);
            let message = format!("Task {id} was {status} before it could go back");
            return Err(Fail::new(Exit::Conflict, message).hint(format!(
                "`crewboss checkpoint restore {checkpoint}` makes a new task of it"
            )));
        }
        let version = task.spec.continues.and_then(|from| from.rewound);
        let from = (id, self.manifest.id);
        // Its runner does it where this is cut off.
        let checkpoints = &self.checkpointer.checkpoints;
        checkpoints.bring_back(
            &self.checkpointer.root,
            from,
            (id, version.unwrap_or(task.version)),
        )?;
        let out = &context.out;
        out.line(format_args!("Task {id} goes back to {}", self.manifest.id))?;
        if let Some(kept) = kept {
            out.line(format_args!("What it had reached is kept as {kept}"))?;
        }
        apply_rules(context, &self.project, &self.checkpointer);
        let starts = run || before == TaskStatus::Running;
        let exit = if starts && !context.has_daemon() {
            self.start_once(id)?
        } else {
            Exit::Ok
        };
        out.print(&document::task(&self.task()?))?;
        Ok(exit)
    }

    /// Nothing of a task that goes back is lost.
    fn keep(&self, task: TaskId) -> Result<Option<domain::id::CheckpointId>, Fail> {
        match self
            .checkpointer
            .create(task, &Wish::because(Cause::Restore))
        {
            Ok(made) => {
                for warning in &made.warnings {
                    self.context.out.warn(warning);
                }
                Ok(Some(made.manifest.id))
            }
            // Nobody has worked on it yet.
            Err(CheckpointError::Refused(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Starts a task, unless somebody else was faster.
    fn start_once(&self, id: TaskId) -> Outcome {
        match self.start(id) {
            Err(fail) if fail.exit == Exit::Conflict && self.status()? == TaskStatus::Running => {
                Ok(Exit::Ok)
            }
            done => done,
        }
    }

    fn start(&self, id: TaskId) -> Outcome {
        let context = self.context;
        let launches = launch(context, &self.project, Wanted::Task(id))?;
        for one in &launches.started {
            let pid = one.runner.pid;
            context
                .out
                .line(format_args!("Started task {id} (PID: {pid})."))?;
        }
        for (_, why) in &launches.failed {
            context.out.say(format_args!("Error starting task: {why}"));
        }
        Ok(launches.exit())
    }
}
