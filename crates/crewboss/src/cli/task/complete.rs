//! `task complete`: the gates run before a task is believed to be done, whoever did the work.

use std::{path::PathBuf, sync::Arc, thread, time::Duration};

use api_types::ProblemCode;
use app::{
    command::{Command, Output},
    ports::processes::Processes,
    query::TaskDetails,
};
use domain::{
    agent::AgentName,
    failure::Failure,
    gate::{GateResult, GateStatus},
    id::TaskId,
    session::{Session, SessionKind},
    task::Task,
};
use runner::{Checked, GatesError, Interrupt, run_gates};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    cli::expected::ExpectedVersion,
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    render::{document, duration, symbols::Symbol},
    wiring,
};

/// As long as an agent's last words.
const SUMMARY_BYTES_MAX: usize = 4_096;

/// What is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The task
    #[arg(value_name = "ID")]
    task: String,
    /// The agent that says so; needed where several hold it
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// What came of it; `-` reads standard input
    #[arg(long, value_name = "TEXT")]
    summary: Option<String>,
    /// Fail the task if a required gate does not pass, instead of leaving it with its holder
    #[arg(long)]
    fail_on_gate: bool,
    #[command(flatten)]
    expected: ExpectedVersion,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let id = context.resolve(&self.task)?;
        let summary = self.summary.as_deref();
        let summary = summary.map(|text| summary_of(context, text)).transpose()?;
        let details = context.details(id)?;
        let (expected, is_stale) = (self.expected, self.expected.is_stale(&details.view.task));
        let checked = match holder(&details, self.agent.as_ref()) {
            Some(session) if !is_stale => check(context, &details, session)?,
            // Ending it says what is wrong with that.
            _ => None,
        };
        let Some(checked) = checked else {
            let end = End {
                summary,
                expected,
                ..End::default()
            };
            let task = end_task(context, id, self.agent, end)?;
            return tell(context, &task, &[]);
        };
        report(context, &checked.gates)?;
        let Some(failure) = checked.failure else {
            let end = End {
                summary,
                gates: checked.gates.clone(),
                expected,
                ..End::default()
            };
            let task = end_task(context, id, self.agent, end)?;
            return tell(context, &task, &checked.gates);
        };
        let (task, hint) = if self.fail_on_gate {
            let end = End {
                failure: Some(failure.clone()),
                summary,
                gates: checked.gates.clone(),
                expected,
            };
            let task = end_task(context, id, self.agent, end)?;
            (task, format!("task {id} has failed"))
        } else {
            let task = context.details(id)?.view.task;
            let hint =
                format!("task {id} stays with its holder: mend the work and complete it again");
            (task, hint)
        };
        context
            .out
            .print(&document::with_gates(&task, &checked.gates))?;
        Err(Fail::gate(&failure).hint(hint))
    }
}

/// The session that would speak: the named agent's, or the only one.
fn holder<'a>(details: &'a TaskDetails, agent: Option<&AgentName>) -> Option<&'a Session> {
    let held = details.view.task.sessions();
    let mut holders = details.sessions.iter().filter(|session| {
        held.contains(&session.id)
            && session.kind == SessionKind::External
            && agent.is_none_or(|agent| session.agent == *agent)
    });
    holders.next().filter(|_| holders.next().is_none())
}

/// Runs the gates, if there are any.
fn check(
    context: &Context,
    details: &TaskDetails,
    session: &Session,
) -> Result<Option<Checked>, Fail> {
    let config = context.config()?;
    if config.gates.is_empty() && details.view.task.spec.gates.is_empty() {
        return Ok(None);
    }
    let host = wiring::host(&context.program()?, &context.places)?;
    host.become_subreaper()
        .map_err(|error| Fail::io("orphans of the gates cannot be adopted", &error))?;
    let processes: Arc<dyn Processes> = Arc::new(host);
    runner::end_session_on_panic(Arc::clone(&processes), session.id);
    let root = PathBuf::from(context.root_of(session.project)?);
    let mut deps = wiring::deps(context, processes, root, interruptible()?)?;
    deps.config.timings.lease = Duration::from_secs(config.settings.external.lease_seconds);
    run_gates(&deps, session)
        .map(Some)
        .map_err(|error| refused(&error))
}

/// Ctrl+C ends the gates first, and this process after them.
fn interruptible() -> Result<Interrupt, Fail> {
    let cannot = |error: std::io::Error| Fail::io("cannot listen to signals", &error);
    let interrupt = Interrupt::default();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(cannot)?;
    let raised = interrupt.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                raised.raise();
            }
        })
        .map_err(cannot)?;
    Ok(interrupt)
}

fn refused(error: &GatesError) -> Fail {
    let code = match error {
        GatesError::Busy { .. } => ProblemCode::Conflict,
        GatesError::Lost { .. } => ProblemCode::FenceLost,
        GatesError::Interrupted => ProblemCode::Interrupted,
        GatesError::Store(_) | GatesError::Folder(_) | GatesError::Start(_) => {
            ProblemCode::Unavailable
        }
    };
    let fail = match std::error::Error::source(error) {
        Some(cause) => Fail::caused(Exit::Failed, error.to_string(), cause),
        None => Fail::new(Exit::Failed, error.to_string()),
    };
    fail.code(code)
}

fn report(context: &Context, gates: &[GateResult]) -> Result<(), Fail> {
    let out = &context.out;
    for gate in gates {
        let (symbol, word) = match gate.status {
            GateStatus::Passed => (Symbol::Check, "passed"),
            GateStatus::Failed => (Symbol::Failed, "failed"),
            GateStatus::Timeout => (Symbol::Failed, "took too long"),
            GateStatus::Unavailable => (Symbol::Failed, "could not be run"),
        };
        let symbol = if gate.lets_pass() && symbol == Symbol::Failed {
            Symbol::Warning
        } else {
            symbol
        };
        let sign = out.paint(symbol.color(), symbol.text(out.unicode));
        let time = duration::of_millis(gate.duration_ms);
        let optional = if gate.required { "" } else { ", not required" };
        out.line(format_args!(
            "{sign} {} {word} ({time}{optional})",
            gate.name
        ))?;
    }
    Ok(())
}

/// How its holder ends a task.
#[derive(Debug, Default)]
pub(super) struct End {
    /// Why it failed; completed where there is none.
    pub(super) failure: Option<Failure>,
    /// What came of it.
    pub(super) summary: Option<String>,
    /// What the gates said.
    pub(super) gates: Vec<GateResult>,
    /// How the task was seen.
    pub(super) expected: ExpectedVersion,
}

/// What came of a task, as far as it is kept with its end.
pub(super) fn summary_of(context: &Context, text: &str) -> Result<String, Fail> {
    let text = crate::cli::history::text_of(context, "summary", text)?;
    if text.len() > SUMMARY_BYTES_MAX {
        let fail = format!("the summary is longer than {SUMMARY_BYTES_MAX} bytes");
        return Err(Fail::usage(fail).hint("put the rest into a note: `crewboss note ID -`"));
    }
    Ok(text)
}

/// The holder ends its task.
pub(super) fn end_task(
    context: &Context,
    task: TaskId,
    agent: Option<AgentName>,
    end: End,
) -> Result<Task, Fail> {
    let command = Command::EndExternal {
        task,
        agent,
        failure: end.failure,
        summary: end.summary,
        gates: end.gates,
        recovery: context.recovery()?,
    };
    match context.change(end.expected.guard(task, command))? {
        Output::Task { task, .. } => Ok(*task),
        _ => Err(unexpected("end")),
    }
}

fn tell(context: &Context, task: &Task, gates: &[GateResult]) -> Outcome {
    let (id, status) = (task.id, task.status().as_str());
    context.out.line(format_args!("Task {id} {status}."))?;
    context.out.print(&document::with_gates(task, gates))?;
    Ok(Exit::Ok)
}
