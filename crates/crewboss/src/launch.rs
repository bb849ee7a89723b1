//! Claims tasks and starts a runner for each: a process of its own that outlives this one.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use app::{
    command::{Command, Output},
    crash_points::CrashPoint,
    faults::{self, Act, Deed, Thing},
    ports::{
        folders::{Folders, SessionPlace},
        processes::{Processes, SESSION_MARKER},
    },
};
use domain::{
    id::TaskId,
    process::ProcessIdentity,
    project::Project,
    session::{Session, SessionCommand},
    task::Task,
};

use crate::{
    cli::expected::ExpectedVersion,
    context::{Context, unexpected},
    fail::{Exit, Fail},
    wiring,
};

/// A task whose runner was started.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) task: Task,
    pub(crate) session: Session,
    pub(crate) runner: ProcessIdentity,
}

/// What a claim came to.
#[derive(Debug, Default)]
pub(crate) struct Launches {
    pub(crate) started: Vec<Launched>,
    /// Tasks that were not started, and why.
    pub(crate) failed: Vec<(TaskId, String)>,
    /// Whether no runner could be started for one of those: it is pending again.
    pub(crate) requeued: bool,
    /// How many run now.
    pub(crate) running: u32,
}

impl Launches {
    /// The exit code that tells of tasks that were not started.
    pub(crate) fn exit(&self) -> Exit {
        if self.requeued {
            Exit::Unavailable
        } else if self.failed.is_empty() {
            Exit::Ok
        } else {
            Exit::Failed
        }
    }
}

/// What to start.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    /// This one, whatever else waits.
    Task(TaskId),
    /// The same, where it has this version still.
    TaskOf(TaskId, ExpectedVersion),
    /// The next of the queue.
    Next,
    /// So many that at most so many run at once.
    UpTo(u32),
}

/// Claims and launches.
pub(crate) fn launch(
    context: &Context,
    project: &Project,
    wanted: Wanted,
) -> Result<Launches, Fail> {
    let config = context.config()?;
    let (task, policy) = match wanted {
        Wanted::Task(task) | Wanted::TaskOf(task, _) => {
            (Some(task), wiring::policy(config, None, 1))
        }
        Wanted::Next => (None, wiring::policy(config, None, 1)),
        Wanted::UpTo(max) => (None, wiring::policy(config, Some(max), max)),
    };
    let claim = Command::Claim {
        project: Some(project.id),
        task,
        policy,
        launcher: context.processes()?.own_identity(),
        node: None,
        lease_millis: config.settings.run.lease_seconds.saturating_mul(1_000),
    };
    let claim = match wanted {
        Wanted::TaskOf(task, expected) => expected.guard(task, claim),
        Wanted::Task(_) | Wanted::Next | Wanted::UpTo(_) => claim,
    };
    let Output::Claimed { claims, running } = context.change(claim)? else {
        return Err(unexpected("claim"));
    };
    CrashPoint::Claimed.reached();
    let starter = Starter::of(context)?;
    let mut launches = Launches {
        running,
        ..Launches::default()
    };
    for (session, task) in claims {
        match starter.start(Path::new(&project.root), &session, &context.out) {
            Ok(runner) => launches.started.push(Launched {
                task,
                session,
                runner,
            }),
            Err(why) => {
                give_up(context, &session, &why)?;
                launches.requeued = true;
                launches.running = launches.running.saturating_sub(1);
                launches.failed.push((task.id, why));
            }
        }
    }
    crate::layout::wait_for_agents(context, &mut launches)?;
    Ok(launches)
}

/// Starts runners.
#[derive(Debug, Clone)]
pub(crate) struct Starter {
    pub(crate) program: PathBuf,
    pub(crate) processes: Arc<dyn Processes>,
    pub(crate) folders: Arc<dyn Folders>,
    /// What runners see of the user's environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Configuration that was given on our own command line.
    pub(crate) flags: Vec<String>,
}

impl Starter {
    fn of(context: &Context) -> Result<Self, Fail> {
        Ok(Self {
            program: context.program()?,
            processes: context.processes()?,
            folders: context.folders(),
            environment: context.runner_environment()?,
            flags: context.flags().to_vec(),
        })
    }

    /// Starts the runner of a session, with its log in the session's folder.
    pub(crate) fn start(
        &self,
        root: &Path,
        session: &Session,
        out: &crate::output::Output,
    ) -> Result<ProcessIdentity, String> {
        let place = SessionPlace {
            root: root.to_owned(),
            task: session.task,
            session: session.id,
        };
        let folder = self
            .folders
            .session_folder(&place)
            .map_err(|error| with_cause(&error))?;
        let args = self.arguments(root, session);
        out.debug(format_args!(
            "command line: {} {}",
            self.program.display(),
            args.join(" ")
        ));
        let log = folder.join("runner.log");
        // The marker says from the first moment that somebody is at work on this session.
        let mut environment = self.environment.clone();
        environment.retain(|(name, _)| name != SESSION_MARKER);
        environment.push((SESSION_MARKER.to_owned(), self.processes.mark(session.id)));
        let act = Act::new(Thing::Runner, Deed::Spawn);
        let runner = faults::around_with(
            act,
            |error| error.to_string(),
            || {
                self.processes
                    .spawn_detached(&self.program, &args, &environment, &log)
                    .map_err(|error| with_cause(&error))
            },
        )?;
        CrashPoint::RunnerStarted.reached();
        out.debug(format_args!(
            "process created: {} for {}",
            runner.pid, session.id
        ));
        Ok(runner)
    }

    /// `runner --session ses_N --fence F --project ROOT`, with the flags that change configuration.
    fn arguments(&self, root: &Path, session: &Session) -> Vec<String> {
        let mut args = vec![
            "runner".to_owned(),
            "--session".to_owned(),
            session.id.to_string(),
            "--fence".to_owned(),
            session.fence.to_string(),
            "--project".to_owned(),
            root.display().to_string(),
        ];
        for flag in &self.flags {
            args.extend(["--config".to_owned(), flag.clone()]);
        }
        args
    }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// A task that cannot be started goes back to the queue; nothing of it has run.
fn give_up(context: &Context, session: &Session, why: &str) -> Result<(), Fail> {
    context.change(Command::Session {
        session: session.id,
        fence: session.fence,
        command: SessionCommand::Orphan {
            why: format!("its runner did not start: {why}"),
            runner: session.runner.clone(),
            lease_until: session.lease_until.clone(),
            counts: false,
        },
        recovery: context.recovery()?,
    })?;
    Ok(())
}

/// Where a session's files are, where its task's project is known.
///
/// # Errors
/// On another node than its own, by name: there they are.
pub(crate) fn session_folder(context: &Context, session: &Session) -> Result<PathBuf, Fail> {
    if session.is_elsewhere(context.node()?) {
        return Err(elsewhere(context, session));
    }
    let root = PathBuf::from(context.root_of(session.project)?);
    let place = SessionPlace {
        root,
        task: session.task,
        session: session.id,
    };
    context.folders().session_folder(&place).map_err(|error| {
        Fail::caused(
            Exit::Unavailable,
            "the session's files cannot be reached",
            &error,
        )
    })
}

fn elsewhere(context: &Context, session: &Session) -> Fail {
    let node = session.node.map(|node| context.node_name(node));
    let node = node.unwrap_or_default();
    let id = session.id;
    Fail::new(
        Exit::Unavailable,
        format!("the log and transcript of {id} are on the node {node}, not here"),
    )
    .hint(format!(
        "ask there; `crewboss node show {node}` says whether it can be reached"
    ))
}
