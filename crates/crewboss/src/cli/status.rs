//! `status`: what waits, runs and has ended.

use std::{io::IsTerminal as _, time::Duration};

use api_types::StatusDocument;
use app::{
    overview::TaskLine,
    query::{Counts, Deleted, TaskView},
};
use domain::{
    agent::AgentName,
    project::Project,
    task::{Task, TaskStatus},
};

use crate::{
    context::{Context, Newest},
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
    #[command(flatten)]
    wanted: Wanted,
    /// Accepted for scripts of older tools: looking never retries anything here
    #[arg(long, hide = true)]
    no_auto_retry: bool,
}

/// Which tasks, and how many.
#[derive(Debug, clap::Args)]
struct Wanted {
    /// Only tasks in this state: pending, running, completed, failed or cancelled; may be repeated
    #[arg(long = "state", value_name = "STATE", value_parser = state)]
    states: Vec<TaskStatus>,
    /// Only tasks of this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// At most so many, the newest, rather than `limits.status_tasks`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Only tasks that are older than this one: the next page
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// Deleted tasks too, as long as they are not purged
    #[arg(long)]
    include_deleted: bool,
}

pub(super) fn state(word: &str) -> Result<TaskStatus, String> {
    let wanted = word.to_ascii_lowercase();
    let known = TaskStatus::ALL
        .into_iter()
        .find(|status| status.as_str() == wanted);
    known.ok_or_else(|| {
        let words = TaskStatus::ALL.map(TaskStatus::as_str);
        format!("expected one of {}", words.join(", "))
    })
}

/// What is shown, whole or each task on a line.
struct Shown<T> {
    tasks: Vec<T>,
    counts: Counts,
    /// Whether there are others.
    more: bool,
}

impl<T> Shown<T> {
    /// The newest that there are.
    fn newest(tasks: Vec<T>, counts: Counts, limit: usize) -> Self {
        let total: u64 = counts.values().sum();
        let more = tasks.len() >= limit && u64::try_from(tasks.len()).is_ok_and(|n| n < total);
        Self {
            tasks,
            counts,
            more,
        }
    }
}

impl Wanted {
    fn is_all(&self) -> bool {
        self.states.is_empty()
            && self.agent.is_none()
            && self.before.is_none()
            && !self.include_deleted
    }

    fn limit(&self, context: &Context) -> Result<usize, Fail> {
        let default = context.config()?.settings.limits.status_tasks;
        Ok(usize::try_from(self.limit.unwrap_or(default)).unwrap_or(usize::MAX))
    }

    fn find(&self, context: &Context, project: &Project) -> Result<Shown<TaskView>, Fail> {
        let limit = self.limit(context)?;
        if self.is_all() {
            let (tasks, counts) = context.status(project, limit)?;
            let tasks = crate::layout::dress(context, tasks)?;
            return Ok(Shown::newest(tasks, counts, limit));
        }
        let before = self.before.as_deref();
        let before = before.map(|name| context.find(name, self.include_deleted));
        let is_wanted = |task: &Task| {
            self.agent
                .as_ref()
                .is_none_or(|name| *name == task.spec.agent)
        };
        let wanted = Newest {
            statuses: &self.states,
            before: before.transpose()?,
            limit: limit.saturating_add(1),
            deleted: if self.include_deleted {
                Deleted::With
            } else {
                Deleted::Without
            },
        };
        let mut ids = context.newest(project, &wanted, is_wanted)?;
        let more = ids.len() > limit;
        ids.truncate(limit);
        let views = ids.iter().rev().map(|id| Ok(context.details(*id)?.view));
        let counts = context.counts(project)?;
        Ok(Shown {
            tasks: views.collect::<Result<_, Fail>>()?,
            counts,
            more,
        })
    }

    /// How to see what is not shown.
    fn hint(&self, shown: &Shown<TaskLine>) -> Option<String> {
        let total: u64 = shown.counts.values().sum();
        let oldest = shown.tasks.first().filter(|_| shown.more)?.id;
        let number = shown.tasks.len();
        Some(if self.is_all() {
            format!("{number} of {total} shown: --limit N shows more, --state and --agent choose")
        } else {
            format!("The newest {number} shown: --before {oldest} shows those before")
        })
    }
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        if let Some(task) = &self.task {
            return super::show::show(context, task, self.wanted.include_deleted);
        }
        if self.watch {
            return self.watch(context);
        }
        look(context, &self.wanted)?;
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
                print(context, &self.wanted)?;
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

/// Recovers what is lost, then prints.
fn look(context: &Context, wanted: &Wanted) -> Result<(), Fail> {
    let is_plain = wanted.is_all() && !context.out.json && context.places.layout.is_none();
    if !is_plain {
        tell_recovered(context, context.reconcile()?)?;
        return print(context, wanted);
    }
    // One question is all that most looks take.
    let limit = wanted.limit(context)?;
    let Some(overview) = context.overview(limit)? else {
        return context.out.line("No tasks found");
    };
    let recovered = context.recover(&overview.live)?;
    if recovered > 0 {
        tell_recovered(context, recovered)?;
        return print(context, wanted);
    }
    let shown = Shown::newest(overview.tasks, overview.counts, limit);
    print_lines(context, wanted, &shown)
}

fn tell_recovered(context: &Context, recovered: usize) -> Result<(), Fail> {
    if recovered == 0 {
        return Ok(());
    }
    let out = &context.out;
    out.line(format_args!("Reconciled {recovered} task(s)"))
}

fn print(context: &Context, wanted: &Wanted) -> Result<(), Fail> {
    let out = &context.out;
    let Some(project) = context.known_project()? else {
        out.print(&StatusDocument {
            project: None,
            tasks: vec![],
            more: false,
            counts: document::counts(&Counts::default()),
        })?;
        return out.line("No tasks found");
    };
    let Shown {
        tasks,
        counts,
        more,
    } = wanted.find(context, &project)?;
    if out.json {
        return out.print(&StatusDocument {
            project: Some(project.root),
            tasks: tasks.iter().map(document::view).collect(),
            more,
            counts: document::counts(&counts),
        });
    }
    let shown = Shown {
        tasks: tasks.iter().map(TaskLine::from).collect(),
        counts,
        more,
    };
    print_lines(context, wanted, &shown)
}

fn print_lines(context: &Context, wanted: &Wanted, shown: &Shown<TaskLine>) -> Result<(), Fail> {
    let out = &context.out;
    let Shown { tasks, counts, .. } = shown;
    if tasks.is_empty() {
        return out.line("No tasks found");
    }
    let now = context.clock()?.now();
    out.line("Task Queue Status\n")?;
    out.line(task_table::render(out, tasks, &now))?;
    if let Some(hint) = wanted.hint(shown) {
        out.line(hint)?;
    }
    let summary = task_table::summary(tasks, counts, &now);
    out.line(format_args!("\n{summary}"))?;
    let waiting = counts.get(&TaskStatus::Pending).copied().unwrap_or(0);
    tell_of_waiting(context, waiting);
    Ok(())
}

/// Nothing starts by itself without a daemon, and the person should know.
fn tell_of_waiting(context: &Context, waiting: u64) {
    if waiting > 0 && !context.out.json && std::io::stderr().is_terminal() && !context.has_daemon()
    {
        context.out.say(format_args!(
            "hint: {waiting} wait; `crewboss run` starts the next, `crewboss daemon` all as slots come free"
        ));
    }
}
