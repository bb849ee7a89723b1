//! The checks of work that an agent outside has done. Nobody here has started that agent, so all
//! that there is to own is its lease while the checks run.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    sync::{Arc, mpsc::channel},
};

use app::{
    error::Error,
    ports::folders::{FolderError, SessionPlace},
};
use domain::{
    failure::Failure,
    gate::{GateResult, GateSpec},
    redact::Redactor,
    session::Session,
};

use crate::{
    config::Deps,
    job::task_now,
    keeper::Keeper,
    verify::{self, Verifying},
    voice::{Voice, session_of},
    wishes::{Loss, Wishes},
};

/// What the checks said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Each of them, in order: the project's, then the task's.
    pub gates: Vec<GateResult>,
    /// Why the task is not done; none where every required check passed.
    pub failure: Option<Failure>,
}

/// Why the work was not checked to the end. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum GatesError {
    /// Another process is at it.
    #[error("the gates of {session} are running already")]
    Busy {
        /// Whose.
        session: String,
    },
    /// The session has no right to speak any more, or is to end.
    #[error("{session} does not hold its task any more")]
    Lost {
        /// Which.
        session: String,
    },
    /// The process was told to go down.
    #[error("interrupted: the gates were ended")]
    Interrupted,
    /// The store did not answer.
    #[error("the lease of the session could not be renewed")]
    Store(#[source] Error),
    /// Their output could not be kept.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// No thread, or no lock.
    #[error("the gates could not be started")]
    Start(#[source] io::Error),
}

/// Runs the project's gates and the task's own on the work of a session that has no runner: in its
/// workspace, else in the project's directory.
///
/// Its lease, of `deps.config.timings.lease`, is renewed as long as that takes, and the gates are
/// ended where it is lost, the task is stopped or the process is interrupted. No two processes do
/// this at once for one session; what an earlier one left running is ended first. The process
/// should be a subreaper.
///
/// # Errors
/// Where they did not run to their end.
pub fn run_gates(deps: &Deps, session: &Session) -> Result<Checked, GatesError> {
    let task = task_now(&*deps.store, session.task).map_err(GatesError::Store)?;
    let own = &task.spec.gates;
    let specs: Vec<GateSpec> = deps.config.gates.iter().chain(own).cloned().collect();
    let place = SessionPlace {
        root: deps.config.project_root.clone(),
        task: session.task,
        session: session.id,
    };
    let _only_one = lock(&deps.folders.gates_folder(&place)?, session)?;
    deps.processes
        .end_session(session.id, deps.config.timings.cancel_grace);

    let (events, _inbox) = channel();
    let wishes = Wishes::new(events);
    let keeper = keep(deps, session, &wishes)?;
    deps.interrupt.listen(&wishes);
    let workspace = session.workspace.as_ref();
    let verifying = Verifying {
        gates: &deps.gates,
        processes: &*deps.processes,
        wishes: &wishes,
        session: session.id,
        directory: workspace.map_or_else(
            || deps.config.project_root.clone(),
            |workspace| workspace.directory.clone(),
        ),
        session_dir: deps.folders.session_folder(&place)?,
        env: deps.config.gate_environment.clone(),
        redactor: Redactor::new(deps.config.secrets.iter().map(String::as_str)),
        grace: deps.config.timings.cancel_grace,
    };
    let gates = verifying.run(&specs);
    drop(keeper);
    let wanted = wishes.now();
    match wanted.loss {
        Some(Loss::Down) => return Err(GatesError::Interrupted),
        Some(Loss::Fence | Loss::Lease) => return Err(lost(session)),
        None if wanted.stop.is_some() => return Err(lost(session)),
        None => {}
    }
    let failure = verify::failure(&gates);
    Ok(Checked { gates, failure })
}

fn lost(session: &Session) -> GatesError {
    GatesError::Lost {
        session: session.id.to_string(),
    }
}

/// Held until it is dropped, or the process ends in whatever way.
fn lock(folder: &Path, session: &Session) -> Result<File, GatesError> {
    let folder = File::open(folder).map_err(GatesError::Start)?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => Err(GatesError::Busy {
            session: session.id.to_string(),
        }),
        Err(TryLockError::Error(error)) => Err(GatesError::Start(error)),
    }
}

/// Renews the lease now, and from now on.
fn keep(deps: &Deps, session: &Session, wishes: &Wishes) -> Result<Keeper, GatesError> {
    let lease = deps.config.timings.lease;
    let voice = Voice {
        store: Arc::clone(&deps.store),
        session: session.id,
        fence: session.fence,
        recovery: deps.config.recovery,
    };
    let millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
    let renewed = deps
        .store
        .execute(voice.renewal(millis))
        .and_then(|reply| session_of(reply.output))
        .map_err(|error| match error {
            Error::FenceLost { .. } | Error::NotFound { .. } => lost(session),
            other => GatesError::Store(other),
        })?;
    let clock = Arc::clone(&deps.clock);
    Keeper::start(voice, clock, wishes.clone(), lease, &renewed).map_err(GatesError::Start)
}
