//! `wait`: stay until tasks have ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use api_types::WaitDocument;
use app::query::{Standing, TaskFilter};
use domain::{
    id::TaskId,
    task::{Task, TaskKind, TaskStatus},
};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    interrupt::Interrupt,
    render::{count, document, duration, named, some_of, with_key},
};

/// How often the store is asked whether anything has changed.
const LOOK: Duration = Duration::from_millis(50);
/// How often lost sessions are looked for: each time costs a look at their processes.
const RECOVER_MILLIS: u64 = 2_000;
/// Where there are so many tasks that a round takes long, the next waits this many times as long.
const ROUND_SHARE: u64 = 4;
/// Tasks that a warning names.
const NAMED: usize = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tasks; all that have not ended where none is named
    #[arg(value_name = "ID")]
    tasks: Vec<String>,
    /// Until one of them has ended
    #[arg(long)]
    any: bool,
    /// Give up after so long: seconds, or 5m, 1h30m
    #[arg(long, value_name = "TIME", value_parser = duration::parse_positive)]
    timeout: Option<u32>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    pub(super) any: bool,
    pub(super) timeout: Option<u32>,
    /// Whether a task that is tried again by itself has ended only when its last retry has.
    pub(super) retries: bool,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let mut ids = context.resolve_all(&self.tasks)?;
        if self.tasks.is_empty() {
            let open = context.tasks(TaskFilter {
                statuses: vec![TaskStatus::Pending, TaskStatus::Running],
                ..TaskFilter::default()
            })?;
            ids = open.iter().map(|task| task.id).collect();
        }
        if ids.is_empty() {
            context.out.line("No tasks to wait for.")?;
            context.out.print(&WaitDocument { tasks: vec![] })?;
            return Ok(Exit::Ok);
        }
        wait_for(
            context,
            &ids,
            Watch {
                any: self.any,
                timeout: self.timeout,
                retries: true,
            },
        )
    }
}

/// Stays until the tasks have ended.
pub(super) fn wait_for(context: &Context, ids: &[TaskId], watch: Watch) -> Outcome {
    let interrupt = Interrupt::listen()?;
    let clock = context.clock()?;
    let began = clock.now();
    let waited = || clock.now().millis_since(&began.moment).unwrap_or(u64::MAX);
    let mut rounds = Rounds::new(ids, watch);
    let (mut seen, mut look_at, mut recover_at) = (None, 0, 0);
    loop {
        if waited() >= recover_at {
            context.reconcile()?;
            rounds.warn_of_pending(context);
            recover_at = waited() + RECOVER_MILLIS;
        }
        let generation = context.store()?.generation()?;
        if seen != Some(generation) && waited() >= look_at {
            seen = Some(generation);
            let before = waited();
            rounds.look(context)?;
            if rounds.is_over() {
                return conclude(context, &rounds.all());
            }
            rounds.warn_of_pending(context);
            let took = waited().saturating_sub(before);
            look_at = waited() + took.saturating_mul(ROUND_SHARE);
        }
        if watch
            .timeout
            .is_some_and(|seconds| waited() >= u64::from(seconds) * 1_000)
        {
            rounds.look(context)?;
            return Err(Fail::new(
                Exit::Timeout,
                format!(
                    "the time to wait is over; {} not ended",
                    count(rounds.open.len(), "task")
                ),
            ));
        }
        if interrupt.pause(LOOK) {
            context.out.say(format_args!(
                "{} not ended, and going on without this; `crewboss wait` waits again",
                count(rounds.open.len(), "task")
            ));
            return Ok(Exit::Interrupted);
        }
    }
}

/// What is known of the tasks. Whatever has ended is not asked for again.
#[derive(Debug)]
struct Rounds {
    ids: Vec<TaskId>,
    watch: Watch,
    /// By the task that was asked for; those that have ended last seen as that.
    known: BTreeMap<TaskId, Standing>,
    /// Asked for again in the next round.
    open: Vec<TaskId>,
    /// Pending ones that the person knows of.
    told: BTreeSet<TaskId>,
}

impl Rounds {
    fn new(ids: &[TaskId], watch: Watch) -> Self {
        Self {
            ids: ids.to_vec(),
            watch,
            known: BTreeMap::new(),
            open: ids.to_vec(),
            told: BTreeSet::new(),
        }
    }

    /// Asks once for everything that was open.
    fn look(&mut self, context: &Context) -> Result<(), Fail> {
        let standings = context.standings(&self.open, self.watch.retries)?;
        let mut open = Vec::new();
        for (id, standing) in std::mem::take(&mut self.open).into_iter().zip(standings) {
            if !standing.status.is_terminal() {
                open.push(id);
            }
            let before = self.known.get(&id);
            if before != Some(&standing) && standing.status != TaskStatus::Pending {
                progress(context, &standing);
            }
            self.known.insert(id, standing);
        }
        self.open = open;
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.open.is_empty() || (self.watch.any && self.open.len() < self.ids.len())
    }

    /// In the order asked for, each task or what stands for it.
    fn all(&self) -> Vec<TaskId> {
        let last = |id: &TaskId| self.known.get(id).map_or(*id, |standing| standing.task);
        self.ids.iter().map(last).collect()
    }

    /// Says what is pending while no daemon runs that would start it; of each task once.
    fn warn_of_pending(&mut self, context: &Context) {
        let pending: Vec<&Standing> = self
            .open
            .iter()
            .filter_map(|id| self.known.get(id))
            .filter(|standing| standing.status == TaskStatus::Pending)
            // Nobody starts what an agent outside will take.
            .filter(|standing| standing.kind == TaskKind::Managed)
            .filter(|standing| !self.told.contains(&standing.task))
            .collect();
        if pending.is_empty() || context.has_daemon() {
            return;
        }
        let names: Vec<String> = pending.iter().map(|standing| describe(standing)).collect();
        context.out.warn(format_args!(
            "{} still pending, and no daemon runs that would start {}: {}. `crewboss run` or `crewboss daemon` does",
            count(names.len(), "task"),
            if names.len() == 1 { "it" } else { "them" },
            some_of(&names, NAMED),
        ));
        let told: Vec<TaskId> = pending.iter().map(|standing| standing.task).collect();
        self.told.extend(told);
    }
}

fn describe(standing: &Standing) -> String {
    let name = with_key(standing.task, standing.key.as_ref());
    match standing.retry_of {
        Some(of) => format!("{name}, the retry of {of}"),
        None => name,
    }
}

fn progress(context: &Context, standing: &Standing) {
    let name = with_key(standing.task, standing.key.as_ref());
    let text = format!("{name} is {}", standing.status.as_str());
    if context.out.terminal {
        context.out.say(text);
    } else {
        context.out.info(text);
    }
}

/// How a task has ended, in a line.
pub(crate) fn ending(task: &Task) -> String {
    let why = task
        .failure()
        .map(|failure| format!(": {}", failure.message));
    let (name, status) = (named(task), task.status().as_str());
    format!("Task {name} {status}{}", why.unwrap_or_default())
}

fn conclude(context: &Context, ids: &[TaskId]) -> Outcome {
    let tasks = context.tasks_of(ids)?;
    for task in &tasks {
        context.out.line(ending(task))?;
    }
    context.out.print(&WaitDocument {
        tasks: tasks.iter().map(document::task).collect(),
    })?;
    let is_bad = |task: &Task| matches!(task.status(), TaskStatus::Failed | TaskStatus::Cancelled);
    Ok(if tasks.iter().any(is_bad) {
        Exit::Failed
    } else {
        Exit::Ok
    })
}
