//! `session`: go on with what an agent's session has left.

use app::{
    command::{Command, NewTask, Output, QueueLimits},
    ports::folders::SessionPlace,
};
use domain::{
    agent::AgentName,
    id::SessionId,
    session::Session,
    task::{Task, TaskStatus},
};

use super::history::refuse_layout;
use crate::{
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    launch::{Wanted, launch},
    render::document,
    wiring,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Go on with the agent's own conversation, and its work, as a new task
    Resume {
        /// The session, or a task of which the newest is meant
        #[arg(value_name = "SESSION|ID")]
        session: String,
        /// What the agent is told; its prompt again where the session did not complete
        #[arg(value_name = "PROMPT")]
        prompt: Vec<String>,
        /// Another agent that can go on with it
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// Start the new task at once
        #[arg(long)]
        run: bool,
    },
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let Verb::Resume {
            session,
            prompt,
            agent,
            run,
        } = self.verb;
        let agent = agent
            .map(|name| name.parse::<AgentName>())
            .transpose()
            .map_err(|error| Fail::usage(format!("--agent: {error}")))?;
        refuse_layout(context)?;
        resume(context, &session, &prompt.join(" "), agent, run)
    }
}

fn resume(
    context: &Context,
    name: &str,
    prompt: &str,
    agent: Option<AgentName>,
    run: bool,
) -> Outcome {
    let (task, session) = find(context, name)?;
    check(context, &task, &session, agent.as_ref())?;
    let is_plain = prompt.trim().is_empty() && agent.is_none();
    let command = if is_plain && may_retry(&task) {
        Command::RetryTask {
            task: task.id,
            retries_max: None,
            auto_retry: None,
            continues: true,
        }
    } else {
        next_task(context, &task, prompt, agent)?
    };
    let Output::Task { task: next, .. } = context.change(command)? else {
        return Err(unexpected("resume"));
    };
    let (out, id) = (&context.out, next.id);
    out.line(format_args!(
        "Task {id} goes on with the conversation of {}",
        session.id
    ))?;
    out.print(&document::task(&next))?;
    if !run {
        if out.terminal {
            out.say(format_args!("hint: `crewboss run {id}` starts it"));
        }
        return Ok(Exit::Ok);
    }
    let project = context.ensure_project()?;
    let launches = launch(context, &project, Wanted::Task(id))?;
    for one in &launches.started {
        let pid = one.runner.pid;
        out.line(format_args!("Started task {id} (PID: {pid})."))?;
    }
    for (_, why) in &launches.failed {
        out.say(format_args!("Error starting task: {why}"));
    }
    Ok(launches.exit())
}

/// The newest session of a task, by the task's name or by its own.
fn find(context: &Context, name: &str) -> Result<(Task, Session), Fail> {
    context.reconcile()?;
    let wanted = name.parse::<SessionId>().ok();
    let id = match wanted {
        Some(session) => context.session(session)?.task,
        None => context.resolve(name)?,
    };
    let details = context.details(id)?;
    let task = details.view.task;
    let Some(newest) = details.sessions.into_iter().next_back() else {
        let message = format!("Task {id} has had no session yet");
        return Err(
            Fail::new(Exit::Conflict, message).hint(format!("`crewboss run {id}` starts it"))
        );
    };
    match wanted {
        Some(wanted) if wanted != newest.id => {
            let message = format!("{wanted} is not the newest session of {id}");
            let newest = newest.id;
            Err(Fail::new(Exit::Conflict, message).hint(format!(
                "`crewboss session resume {newest}` goes on with that"
            )))
        }
        _ => Ok((task, newest)),
    }
}

/// Whether there is a conversation, and an agent for it.
fn check(
    context: &Context,
    task: &Task,
    session: &Session,
    agent: Option<&AgentName>,
) -> Result<(), Fail> {
    let id = task.id;
    if task.deleted_at.is_some() {
        return Err(Fail::new(Exit::Conflict, format!("Task {id} was deleted")));
    }
    match task.status() {
        TaskStatus::Running => {
            return Err(Fail::new(Exit::Conflict, format!("Task {id} is running"))
                .hint(format!("`crewboss attach {id}` shows what it does")));
        }
        TaskStatus::Pending => {
            let message = format!("Task {id} is pending: it goes on by itself when it is started");
            return Err(
                Fail::new(Exit::Conflict, message).hint(format!("`crewboss run {id}` starts it"))
            );
        }
        TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Cancelled => {}
    }
    let cannot = |why: &str| {
        let message = format!("{} cannot be gone on with: {why}", session.id);
        Fail::new(Exit::Conflict, message).hint(format!(
            "`crewboss start AGENT PROMPT --continue {id}` goes on from its work alone"
        ))
    };
    let registry = wiring::agents(context.config()?, &context.places, &context.places.project);
    let earlier = registry.resolve(&session.agent).config.driver;
    let next = registry
        .resolve(agent.unwrap_or(&session.agent))
        .config
        .driver;
    if earlier != next {
        let name = agent.unwrap_or(&session.agent);
        return Err(cannot(&format!(
            "{name} is another kind of agent than {}",
            session.agent
        )));
    }
    let place = SessionPlace {
        root: context.root_of(task.project)?.into(),
        task: id,
        session: session.id,
    };
    let folder = context.folders().private_folder(&place)?;
    let known = session.outcome.as_ref();
    let known = known.and_then(|outcome| outcome.agent_session.as_deref());
    registry
        .driver(next)
        .resumes(&folder, known)
        .map_err(|why| cannot(&why))
}

fn may_retry(task: &Task) -> bool {
    task.status() == TaskStatus::Failed
        && task.chain.retried_by.is_none()
        && task.chain.retry_count < task.limits.retries_max
}

/// A task like the earlier one, that is told something else or is another agent's.
fn next_task(
    context: &Context,
    task: &Task,
    prompt: &str,
    agent: Option<AgentName>,
) -> Result<Command, Fail> {
    if prompt.trim().is_empty() && task.status() == TaskStatus::Completed {
        return Err(Fail::usage(format!(
            "Task {} is completed: say what is to be done next",
            task.id
        ))
        .hint(format!(
            "crewboss session resume {} 'Now the tests'",
            task.id
        )));
    }
    let limits = &context.config()?.settings.limits;
    let spec = task.spec.clone();
    let prompt = match prompt.trim() {
        "" => spec.prompt,
        text if u64::try_from(text.len()).unwrap_or(u64::MAX) > limits.prompt_bytes_max => {
            return Err(Fail::usage(format!(
                "prompt: is longer than {} bytes (limits.prompt_bytes_max)",
                limits.prompt_bytes_max
            )));
        }
        text => text.to_owned(),
    };
    Ok(Command::CreateTask {
        project: task.project,
        task: Box::new(NewTask {
            agent: agent.unwrap_or(spec.agent),
            prompt,
            name: None,
            key: None,
            owner: context.owner(),
            labels: spec.labels,
            metadata: spec.metadata,
            priority: spec.priority,
            depends_on: vec![],
            workspace: spec.workspace,
            gates: spec.gates,
            require_diff: spec.require_diff,
            continues: Some(task.id.to_string()),
            kind: spec.kind,
            mode: spec.mode,
            limits: task.limits.clone(),
            not_before: None,
        }),
        queue: QueueLimits {
            queue_max: limits.queue_max,
            refuse_when_full: limits.queue_refuse,
        },
    })
}
