//! One session from beginning to end.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc::channel},
    thread,
    time::Duration,
};

use app::{
    crash_points::CrashPoint,
    error::Error,
    ports::{folders::SessionPlace, processes::Processes},
    settle::{SettleError, Settling},
};
use domain::{
    id::SessionId,
    redact::Redactor,
    session::{Outcome, Session, SessionCommand, SessionResult},
    workspace::{WorkspaceMode, WorkspaceRecord},
};

use crate::{
    config::Deps,
    control::{Board, Control, Phase, RunnerStatus},
    failures::{chain, of_folder},
    job::Job,
    keeper::Keeper,
    output::Output,
    voice::Voice,
    wishes::{Loss, Wishes},
    work::{Abort, Work, unpublished},
};

/// How often, and after which pause, a store that does not answer is asked to let us begin.
const BEGIN_ATTEMPTS: u32 = 5;
const BEGIN_PAUSE: Duration = Duration::from_millis(500);

/// How a runner ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunnerExit {
    /// The store has the outcome.
    Settled(SessionResult),
    /// The session was not there to be begun; nothing was started.
    NotOurs,
    /// The session was lost to someone else; the agent was ended and nothing claimed.
    Lost,
    /// The process was told to go down; the session is to be recovered and its task requeued.
    Down,
    /// The outcome file is written, but the store does not have it: the next process applies it.
    Unsettled(String),
    /// The store did not answer before an agent was started; the session is to be recovered.
    Unreachable(String),
    /// A defect of the runner; the agent was ended and the session is to be recovered.
    Broken(String),
}

impl RunnerExit {
    /// The exit code of the process.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Settled(_) | Self::NotOurs => 0,
            Self::Lost => 4,
            Self::Unsettled(_) | Self::Unreachable(_) => 5,
            Self::Down => 143,
            Self::Broken(_) => 70,
        }
    }
}

/// Owns a session until its outcome is in the store, or it is lost.
///
/// Nothing of the session runs any more when this returns, whatever happened. The process must be
/// a subreaper, and should have called [`Interrupt::on_signals`](crate::Interrupt::on_signals) and
/// [`end_session_on_panic`].
pub fn run(deps: Deps, session: SessionId, fence: u64) -> RunnerExit {
    let processes = Arc::clone(&deps.processes);
    catch_unwind(AssertUnwindSafe(|| carry(deps, session, fence))).unwrap_or_else(|panic| {
        processes.end_session(session, Duration::ZERO);
        let said = panic.downcast_ref::<String>().cloned();
        let what = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        RunnerExit::Broken(what.unwrap_or_else(|| "a panic".to_owned()))
    })
}

/// Ends every process of a session when any thread panics, before the process aborts.
pub fn end_session_on_panic(processes: Arc<dyn Processes>, session: SessionId) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        processes.end_session(session, Duration::ZERO);
    }));
}

fn carry(mut deps: Deps, id: SessionId, fence: u64) -> RunnerExit {
    let voice = Voice {
        store: Arc::clone(&deps.store),
        session: id,
        fence,
        recovery: deps.config.recovery,
    };
    let session = match begin(&voice, &*deps.processes) {
        Ok(session) => session,
        Err(error @ (Error::Unavailable { .. } | Error::Corrupt { .. })) => {
            return RunnerExit::Unreachable(error.to_string());
        }
        Err(_) => return RunnerExit::NotOurs,
    };
    CrashPoint::Begun.reached();
    let (events, inbox) = channel();
    let wishes = Wishes::new(events.clone());
    deps.interrupt.listen(&wishes);
    wishes.hear(&session);
    let lease = deps.config.timings.lease;
    let clock = Arc::clone(&deps.clock);
    let keeper = match Keeper::start(voice.clone(), clock, wishes.clone(), lease, &session) {
        Ok(keeper) => keeper,
        Err(error) => return RunnerExit::Broken(format!("no thread to be had: {error}")),
    };
    let board = Board::new(RunnerStatus {
        session: id,
        task: session.task,
        phase: Phase::Preparing,
        pid: std::process::id(),
        agent: None,
    });
    let run_directory = &deps.config.run_directory;
    let control = Control::start(run_directory, id, board.clone(), keeper.handle());

    let place = SessionPlace {
        root: deps.config.project_root.clone(),
        task: session.task,
        session: id,
    };
    let (store, folders, checkpoints) = (&*deps.store, &*deps.folders, &*deps.checkpoints);
    let job = match Job::read(store, folders, checkpoints, &place) {
        Ok(job) => job,
        Err(error) => return RunnerExit::Unreachable(error.to_string()),
    };
    let redactor = Redactor::new(deps.config.secrets.iter().map(String::as_str));
    let log = match deps.folders.open_log(&place, &deps.config.log) {
        Ok(log) => log,
        Err(error) => {
            let failure = of_folder(&error);
            let now = deps.clock.now().wall;
            let outcome = Outcome::bare(SessionResult::Failed { failure }, now);
            return settle(&deps, &voice, &session, &place, outcome, None, &redactor);
        }
    };
    let output = Output::new(log, redactor, Arc::clone(&deps.clock));
    if let Err(error) = &control {
        output.note(&format!(
            "no control socket, so a cancel takes longer: {error}"
        ));
    }
    let mut work = Work {
        deps: &mut deps,
        voice: &voice,
        session: &session,
        job: &job,
        place: &place,
        output: &output,
        wishes: &wishes,
        keeper: &keeper.handle(),
        board: &board,
        events: &events,
        inbox: &inbox,
        workspace: None,
        files: None,
        keeping: None,
    };
    let done = work.carry_out();
    let (workspace, files) = (work.workspace.take(), work.files.take());
    board.show(Phase::Settling);
    match done {
        Ok(outcome) => {
            let redactor = output.redactor();
            let workspace = workspace.as_ref();
            let exit = settle(
                &deps, &voice, &session, &place, outcome, workspace, &redactor,
            );
            if let (RunnerExit::Settled(_), Some(files)) = (&exit, files) {
                files.clear();
            }
            if let RunnerExit::Unsettled(why) = &exit {
                output.note(&format!("the outcome waits in its file: {why}"));
            }
            exit
        }
        Err(Abort::Lost(Loss::Down)) => RunnerExit::Down,
        Err(Abort::Lost(Loss::Fence | Loss::Lease)) => RunnerExit::Lost,
        Err(Abort::Store(error)) => {
            if let Some(workspace) = &workspace {
                clear_away(&deps, &session, workspace);
            }
            RunnerExit::Unreachable(error.to_string())
        }
    }
}

fn begin(voice: &Voice, processes: &dyn Processes) -> Result<Session, Error> {
    let command = SessionCommand::Begin {
        runner: processes.own_identity(),
    };
    let mut attempts = 1;
    loop {
        match voice.say(command.clone()) {
            Err(Error::Unavailable { .. }) if attempts < BEGIN_ATTEMPTS => {
                attempts += 1;
                thread::sleep(BEGIN_PAUSE);
            }
            answer => return answer,
        }
    }
}

/// Writes the outcome down without secrets, then carries it into the world, the store, and out of
/// the way.
fn settle(
    deps: &Deps,
    voice: &Voice,
    session: &Session,
    place: &SessionPlace,
    outcome: Outcome,
    workspace: Option<&WorkspaceRecord>,
    redactor: &Redactor,
) -> RunnerExit {
    let mut outcome = outcome.without_secrets(redactor);
    let meta = voice.meta();
    let settling = Settling {
        store: &*deps.store,
        workspaces: &*deps.workspaces,
        meta: &meta,
        recovery: &deps.config.recovery,
        keeps_worktrees: deps.config.keep_worktrees,
    };
    // Where it cannot be written the store may still take it.
    let unwritten = deps.folders.write_outcome(place, &outcome).err();
    CrashPoint::OutcomeWritten.reached();
    let mut settled = settling.settle(session, &outcome);
    if let Err(SettleError::Publish { source, .. }) = &settled {
        let failure = unpublished(source);
        outcome = not_published(deps, session, outcome, failure, workspace);
        outcome = outcome.without_secrets(redactor);
        drop(deps.folders.write_outcome(place, &outcome));
        settled = settling.settle(session, &outcome);
    }
    CrashPoint::Finished.reached();
    match settled {
        Ok(now) if now.status == outcome.result.status() => RunnerExit::Settled(outcome.result),
        Ok(_) => {
            // Somebody else has the task: what was done here is kept apart.
            if let Some(workspace) = workspace {
                clear_away(deps, session, workspace);
            }
            RunnerExit::Lost
        }
        Err(error) => match unwritten {
            None => RunnerExit::Unsettled(chain(&error)),
            Some(why) => RunnerExit::Unsettled(format!("{}; {}", chain(&error), chain(&why))),
        },
    }
}

fn not_published(
    deps: &Deps,
    session: &Session,
    mut outcome: Outcome,
    failure: domain::failure::Failure,
    workspace: Option<&WorkspaceRecord>,
) -> Outcome {
    outcome.result = SessionResult::Failed { failure };
    outcome.branch = None;
    let salvage = workspace.map(|record| deps.workspaces.salvage(record, session.id));
    match salvage {
        Some(Ok(Some(salvage))) => outcome.salvage = Some(salvage.reference),
        Some(Err(error)) => outcome.warnings.push(chain(&error)),
        Some(Ok(None)) | None => {}
    }
    outcome
}

/// Removes a workspace in which nobody has worked, or of which nobody takes the work; what is there
/// is salvaged.
fn clear_away(deps: &Deps, session: &Session, workspace: &WorkspaceRecord) {
    let stays = match workspace.mode {
        WorkspaceMode::Worktree => deps.config.keep_worktrees,
        WorkspaceMode::Folder => false,
        WorkspaceMode::InPlace => true,
    };
    if !stays {
        // What cannot be removed now harms nobody: it is found again by the inventory.
        drop(deps.workspaces.remove(workspace, session.id));
    }
}
