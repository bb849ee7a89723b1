//! `status`: what waits, runs and has ended.

use std::{io::IsTerminal as _, time::Duration};

use api_types::StatusDocument;
use domain::{project::Project, task::TaskStatus};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    interrupt::Interrupt,
    render::{document, task_table},
};

/// How often the store is asked whether anything has changed: one cheap read.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show everything about this task instead (as `show`)
    #[arg(value_name = "ID")]
    task: Option<String>,
    /// Stay, and show again what changes; Ctrl+C ends it
    #[arg(long, short)]
    watch: bool,
    /// Seconds after which running times are shown anew under --watch
    #[arg(long, short, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    interval: u64,
    /// Accepted for scripts of older tools: looking never retries anything here
    #[arg(long, hide = true)]
    no_auto_retry: bool,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        if let Some(task) = &self.task {
            return super::show::show(context, task);
        }
        if self.watch {
            return self.watch(context);
        }
        let recovered = context.reconcile()?;
        if recovered > 0 {
            context
                .out
                .line(format_args!("Reconciled {recovered} task(s)"))?;
        }
        print(context)?;
        Ok(Exit::Ok)
    }

    fn watch(&self, context: &Context) -> Outcome {
        let interrupt = Interrupt::listen()?;
        let mut shown = None;
        let mut since_drawn = Duration::ZERO;
        loop {
            let generation = if context.has_store()? {
                context.store()?.generation()?
            } else {
                0
            };
            let is_old = since_drawn.as_secs() >= self.interval;
            if shown != Some(generation) || is_old {
                if is_old || shown.is_none() {
                    crate::layout::sync(context)?;
                    context.reconcile()?;
                }
                if context.out.terminal {
                    context.out.raw(b"\x1b[2J\x1b[H")?;
                }
                print(context)?;
                context.out.line(format_args!(
                    "\nRefreshing on every change (Ctrl+C to exit)..."
                ))?;
                shown = Some(generation);
                since_drawn = Duration::ZERO;
            }
            if interrupt.pause(LOOK) {
                context.out.line("Watch mode stopped")?;
                return Ok(Exit::Ok);
            }
            since_drawn += LOOK;
        }
    }
}

fn print(context: &Context) -> Result<(), Fail> {
    let out = &context.out;
    let Some(project) = context.known_project()? else {
        out.print(&StatusDocument {
            project: None,
            tasks: vec![],
            counts: document::counts(&app::query::Counts::default()),
        })?;
        return out.line("No tasks found");
    };
    let limit = usize::try_from(context.config()?.settings.limits.status_tasks).unwrap_or(50);
    let (tasks, counts) = context.status(&project, limit)?;
    let tasks = crate::layout::dress(context, tasks)?;
    if out.json {
        return out.print(&StatusDocument {
            project: Some(project.root),
            tasks: tasks.iter().map(document::view).collect(),
            counts: document::counts(&counts),
        });
    }
    if tasks.is_empty() {
        return out.line("No tasks found");
    }
    let now = context.clock()?.now();
    out.line("Task Queue Status\n")?;
    out.line(task_table::render(out, &tasks, &now))?;
    out.line(format_args!(
        "\n{}",
        task_table::summary(&tasks, &counts, &now)
    ))?;
    tell_of_waiting(
        context,
        &project,
        counts.get(&TaskStatus::Pending).copied().unwrap_or(0),
    );
    Ok(())
}

/// Nothing starts by itself without a daemon, and the person should know.
fn tell_of_waiting(context: &Context, _project: &Project, waiting: u64) {
    if waiting > 0 && !context.out.json && std::io::stderr().is_terminal() && !context.has_daemon()
    {
        context.out.say(format_args!(
            "hint: {waiting} wait; `crewboss run` starts the next, `crewboss daemon` all as slots come free"
        ));
    }
}
