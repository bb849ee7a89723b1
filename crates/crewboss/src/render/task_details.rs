//! Everything about one task, for a person.

use std::fmt::Write as _;

use app::{overview::TaskLine, query::TaskDetails};
use domain::{
    failure::FailureReason,
    gate::{GateResult, GateStatus},
    process::Exit,
    session::{Outcome, Session, SessionResult, SessionStatus},
    time::Now,
    usage::Usage,
    workspace::ChangeStatus,
};

use super::{duration, named, some_of, symbols::Symbol, task_table};
use crate::output::Output;

/// Changed files that are listed; `diff --stat` has all of them.
const FILES_SHOWN: usize = 20;
/// The signal that asks a process to end.
const TERM: i32 = 15;

/// The text of `show`.
pub(crate) fn render(out: &Output, details: &TaskDetails, now: &Now, folder: &str) -> String {
    let task = &details.view.task;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let label = if name.is_empty() {
                String::new()
            } else {
                format!("{name}:")
            };
            let _ = writeln!(text, "{label:<13}{value}");
        }
    };
    let short = TaskLine::from(&details.view);
    let symbol = task_table::symbol(&short, now);
    let status = format!("{} {}", symbol.text(out.unicode), task.status().as_str());
    line("Task", &task.id.to_string());
    line("Key", task.spec.key.as_ref().map_or("", |key| key.as_str()));
    line("Name", &task.spec.name);
    line("Status", &out.paint(symbol.color(), &status));
    let names = task_table::keys(&details.dependencies);
    line("Info", &task_table::info(&short, &names, now));
    let ran = task_table::elapsed(&short, now).map(duration::text);
    line("Ran", &ran.unwrap_or_default());
    line("Agent", task.spec.agent.as_str());
    line("Priority", &task.spec.priority.value().to_string());
    let continues = task.spec.continues.as_ref();
    let continues = continues.map(|earlier| earlier.session.to_string());
    line("Goes on", &continues.unwrap_or_default());
    let from = task.spec.continues.as_ref();
    let went_back = from.is_some_and(|from| from.rewound.is_some());
    let checkpoint = from.and_then(|from| from.checkpoint);
    let went_back_to = checkpoint.filter(|_| went_back).map(|id| id.to_string());
    line("Back to", &went_back_to.unwrap_or_default());
    let made_from = checkpoint.filter(|_| !went_back).zip(task.spec.forked_from);
    let made_from = made_from.map(|(checkpoint, task)| format!("{checkpoint} of {task}"));
    line("Made from", &made_from.unwrap_or_default());
    line("Owner", &task.spec.owner);
    line("Labels", &task.spec.labels.join(", "));
    for (key, value) in &task.spec.metadata {
        line("Metadata", &format!("{key}={value}"));
    }
    line("Version", &task.version.to_string());
    line("Created", &task.created_at.to_string());
    line(
        "Ended",
        &task.ended_at().map(|at| at.to_string()).unwrap_or_default(),
    );
    let deletion = [("Deleted", task.deleted_at), ("Purged", task.purged_at)];
    for (name, at) in deletion {
        line(name, &at.map(|at| at.to_string()).unwrap_or_default());
    }
    let limit = task.limits.timeout_seconds;
    line(
        "Timeout",
        &limit
            .map(|s| duration::text(u64::from(s)))
            .unwrap_or_default(),
    );
    line("Retries", &retries(details));
    let dependencies: Vec<String> = details
        .dependencies
        .iter()
        .map(|task| format!("{} ({})", named(task), task.status().as_str()))
        .collect();
    line("Waits for", &dependencies.join(", "));
    let quotas: Vec<String> = short.quotas.iter().map(ToString::to_string).collect();
    line("Quotas", &quotas.join(", "));
    line("Needed by", &some_of(&details.dependants, 10));
    if let Some(failure) = task.failure() {
        line(
            "Failure",
            &format!("{}: {}", failure.reason, failure.message),
        );
        for detail in failure.details.iter().flat_map(|details| details.lines()) {
            line("", &format!("  {detail}"));
        }
    }
    line("Files", folder);
    for session in &details.sessions {
        session_text(out, &mut text, session);
    }
    let _ = write!(text, "\nPrompt:\n{}", task.spec.prompt);
    text
}

fn retries(details: &TaskDetails) -> String {
    let task = &details.view.task;
    let auto = if task.limits.auto_retry {
        ", automatic"
    } else {
        ""
    };
    let of = task
        .chain
        .retry_of
        .map(|id| format!(", retry of {id}"))
        .unwrap_or_default();
    let by = task
        .chain
        .retried_by
        .map(|id| format!(", retried by {id}"))
        .unwrap_or_default();
    format!(
        "{}/{}{auto}{of}{by}",
        task.chain.retry_count, task.limits.retries_max
    )
}

fn session_text(out: &Output, text: &mut String, session: &Session) {
    let _ = write!(
        text,
        "\nSession {}: {}",
        session.id,
        session.status.as_str()
    );
    if let Some(process) = &session.process {
        let _ = write!(text, ", PID {}", process.pid);
    }
    let _ = writeln!(text);
    if let Some(started) = session.started_at {
        let _ = writeln!(text, "  started    {started}");
    }
    if let Some(workspace) = &session.workspace {
        let _ = writeln!(
            text,
            "  workspace  {} ({})",
            workspace.path.display(),
            workspace.mode
        );
    }
    if let Some(outcome) = &session.outcome {
        outcome_text(out, text, session, outcome);
    }
}

/// How the agent's process ended, and who ended it where that was Crewboss.
fn end_text(session: &Session, outcome: &Outcome, exit: Exit) -> String {
    let by_us = match (session.status, &outcome.result, exit) {
        (SessionStatus::Cancelled, _, _) => "ended by Crewboss after a cancel",
        (SessionStatus::Timeout, _, _) => "ended by Crewboss when its time was up",
        (_, SessionResult::Completed, Exit::Signal(_)) => {
            "ended by Crewboss when its work was done"
        }
        // Whoever else had sent it would be the reason.
        (_, SessionResult::Failed { failure }, Exit::Signal(TERM))
            if failure.reason != FailureReason::ProcessKilled =>
        {
            "ended by Crewboss when it had failed"
        }
        _ => return exit_text(exit),
    };
    match exit {
        Exit::Signal(_) => format!("{by_us}: {}", exit_text(exit)),
        Exit::Code(_) => format!("{}, {by_us}", exit_text(exit)),
    }
}

fn outcome_text(out: &Output, text: &mut String, session: &Session, outcome: &Outcome) {
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name:<10} {value}");
        }
    };
    line("ended", &outcome.ended_at.to_string());
    let end = outcome.exit.map(|exit| end_text(session, outcome, exit));
    line("exit", &end.unwrap_or_default());
    line("branch", outcome.branch.as_deref().unwrap_or_default());
    line(
        "commit",
        outcome.commit.as_ref().map_or("", |commit| commit.as_str()),
    );
    line("salvage", outcome.salvage.as_deref().unwrap_or_default());
    line("usage", &usage_text(&outcome.usage));
    for gate in &outcome.gates {
        line("gate", &gate_text(out, gate));
    }
    for change in outcome.changes.iter().take(FILES_SHOWN) {
        let lines = match (change.insertions, change.deletions) {
            (Some(added), Some(removed)) => format!("  +{added} -{removed}"),
            _ => "  binary".to_owned(),
        };
        line(
            "changed",
            &format!("{} {}{lines}", change_letter(change.status), change.path),
        );
    }
    if outcome.changes.len() > FILES_SHOWN {
        line(
            "changed",
            &format!("... and {} more", outcome.changes.len() - FILES_SHOWN),
        );
    }
    for warning in &outcome.warnings {
        line("warning", warning);
    }
    if let Some(summary) = &outcome.summary {
        line("said", &super::cut(summary, 200));
    }
}

/// The letter by which git tells what happened to a file.
pub(crate) fn change_letter(status: ChangeStatus) -> char {
    match status {
        ChangeStatus::Added => 'A',
        ChangeStatus::Modified => 'M',
        ChangeStatus::Deleted => 'D',
        ChangeStatus::Renamed => 'R',
        ChangeStatus::TypeChanged => 'T',
    }
}

/// How a process ended, in words.
pub(crate) fn exit_text(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("code {code}"),
        Exit::Signal(signal) => domain::completion::signal_name(signal),
    }
}

fn gate_text(out: &Output, gate: &GateResult) -> String {
    let (symbol, word) = match gate.status {
        GateStatus::Passed => (Symbol::Completed, "passed"),
        GateStatus::Failed => (Symbol::Failed, "failed"),
        GateStatus::Timeout => (Symbol::Failed, "timed out"),
        GateStatus::Unavailable => (Symbol::Failed, "unavailable"),
    };
    let mark = out.paint(
        symbol.color(),
        &format!("{} {word}", symbol.text(out.unicode)),
    );
    let optional = if gate.required { "" } else { ", not required" };
    format!(
        "{}: {mark} ({}{optional})",
        gate.name,
        duration::of_millis(gate.duration_ms)
    )
}

/// What was used, in words; nothing where that is nothing.
pub(crate) fn usage_text(usage: &Usage) -> String {
    if usage.is_zero() {
        return String::new();
    }
    let cost = match usage.cost_micro_usd {
        0 => String::new(),
        micros => format!(", ${}.{:04}", micros / 1_000_000, micros % 1_000_000 / 100),
    };
    format!(
        "{} tokens ({} in, {} out, {} reasoning, {} cached){cost}",
        usage.tokens(),
        usage.input + usage.cache_write,
        usage.output,
        usage.reasoning,
        usage.cache_read
    )
}
