//! Going back to a checkpoint: always as a new task.

use app::command::{Command, Output, QueueLimits};
use domain::{
    task::{Continuation, TaskStatus},
    workspace::WorkspaceMode,
};

use super::{of_project, whole};
use crate::{
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    launch::{Wanted, launch},
    render::document,
};

pub(super) fn make(
    context: &Context,
    checkpoint: &str,
    hint: Option<String>,
    only_ended: bool,
    run: bool,
) -> Outcome {
    if hint.as_ref().is_some_and(|hint| hint.trim().is_empty()) {
        return Err(Fail::usage(
            "the hint is empty: say what the new task is told besides",
        ));
    }
    let (project, checkpointer) = of_project(context)?;
    let manifest = whole(context, &checkpointer, checkpoint)?;
    context.reconcile()?;
    let old = context.details(manifest.task)?.view.task;
    if only_ended && !old.status().is_terminal() {
        return Err(not_ended(&old.id.to_string(), old.status(), checkpoint));
    }
    let kept = &manifest.workspace;
    let workspaces = context.workspaces();
    // What somebody works in himself is not overwritten.
    let workspace = match kept.mode {
        WorkspaceMode::InPlace => workspaces.default_mode(&checkpointer.root)?,
        mode => mode,
    };
    let limits = &context.config()?.settings.limits;
    let command = Command::ForkTask {
        task: manifest.task,
        continues: Continuation {
            session: manifest.session,
            commit: Some(kept.commit.clone()),
            checkpoint: Some(manifest.id),
        },
        workspace,
        hint,
        only_ended,
        queue: QueueLimits {
            queue_max: limits.queue_max,
            refuse_when_full: limits.queue_refuse,
        },
    };
    let Output::Task { task, .. } = context.change(command)? else {
        return Err(unexpected("restore"));
    };
    // Its runner does it where this is cut off.
    let from = (manifest.task, manifest.id);
    let checkpoints = &checkpointer.checkpoints;
    checkpoints.hand_down(&checkpointer.root, from, task.id)?;
    let (out, new, id) = (&context.out, task.id, manifest.id);
    out.line(format_args!(
        "Task {new} created from {id} of {}",
        manifest.task
    ))?;
    out.print(&document::task(&task))?;
    if !run {
        if out.terminal {
            out.say(format_args!("hint: `crewboss run {new}` starts it"));
        }
        return Ok(Exit::Ok);
    }
    let launches = launch(context, &project, Wanted::Task(new))?;
    for one in &launches.started {
        let pid = one.runner.pid;
        out.line(format_args!("Started task {new} (PID: {pid})."))?;
    }
    for (_, why) in &launches.failed {
        out.say(format_args!("Error starting task: {why}"));
    }
    Ok(launches.exit())
}

fn not_ended(task: &str, status: TaskStatus, checkpoint: &str) -> Fail {
    let status = status.as_str();
    Fail::new(
        Exit::Conflict,
        format!("Task {task} is {status}: only one that has ended is begun again"),
    )
    .hint(format!(
        "`crewboss cancel {task}` ends it; `crewboss checkpoint fork {checkpoint}` makes another task beside it"
    ))
}
