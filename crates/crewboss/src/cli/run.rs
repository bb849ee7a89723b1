//! `run`: start waiting tasks.

use api_types::{RefusedTask, RunDocument, StartedTask};
use app::query::{Query, View};
use domain::{
    id::TaskId,
    project::Project,
    quota::{Quota, QuotaUse},
    task::TaskStatus,
};

use crate::{
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    launch::{Launched, Launches, Wanted, launch},
    render::duration,
};

use super::{
    expected::ExpectedVersion,
    wait::{Watch, wait_for},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Start this task rather than the next of the queue; may be several
    #[arg(value_name = "ID", conflicts_with = "parallel")]
    tasks: Vec<String>,
    /// Start as many as may run at once; without a number, run.parallel of the configuration
    #[arg(long, short, value_name = "N", num_args = 0..=1, default_missing_value = CONFIGURED, value_parser = parse_parallel)]
    parallel: Option<Parallel>,
    /// Stay until what was started has ended; fail if one of them does
    #[arg(long, short)]
    wait: bool,
    #[command(flatten)]
    expected: ExpectedVersion,
}

/// How many may run at once.
#[derive(Debug, Clone, Copy)]
enum Parallel {
    Configured,
    At(u32),
}

/// Stands for the number that was not given.
const CONFIGURED: &str = "configured";

fn parse_parallel(text: &str) -> Result<Parallel, String> {
    match text.parse::<u32>() {
        Ok(number @ 1..=1024) => Ok(Parallel::At(number)),
        Err(_) if text == CONFIGURED => Ok(Parallel::Configured),
        Ok(_) | Err(_) => Err("expected a number from 1 to 1024".to_owned()),
    }
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let config = context.config()?;
        let parallel = self.parallel.map(|parallel| match parallel {
            Parallel::Configured => config.settings.run.parallel,
            Parallel::At(number) => number,
        });
        let expected = self.expected;
        if expected.version().is_some() {
            expected.of_one(&self.tasks)?;
        }
        let ids = context.resolve_all(&self.tasks)?;
        let Some(project) = context.known_project()? else {
            context.out.line("No pending tasks.")?;
            context.out.print(&RunDocument {
                started: vec![],
                failed: vec![],
                running: 0,
            })?;
            return Ok(Exit::Ok);
        };
        let recovered = context.reconcile()?;
        if recovered > 0 {
            context
                .out
                .line(format_args!("Reconciled {recovered} task(s)"))?;
        }
        let launches = start(context, &project, &ids, parallel, expected)?;
        // Who waits gets the document of what it came to.
        if !self.wait {
            context.out.print(&document(&launches))?;
        }
        report(context, &project, &launches, &ids, parallel)?;
        if !self.wait {
            tell_of_waiting(context, &project, &launches)?;
            return Ok(launches.exit());
        }
        let started: Vec<TaskId> = launches.started.iter().map(|one| one.task.id).collect();
        let waited = wait_for(
            context,
            &started,
            Watch {
                any: false,
                timeout: None,
                // Only a daemon starts them.
                retries: context.has_daemon(),
            },
        )?;
        Ok(if launches.requeued {
            launches.exit()
        } else {
            waited
        })
    }
}

fn start(
    context: &Context,
    project: &Project,
    ids: &[TaskId],
    parallel: Option<u32>,
    expected: ExpectedVersion,
) -> Result<Launches, Fail> {
    if ids.is_empty() {
        return launch(
            context,
            project,
            parallel.map_or(Wanted::Next, Wanted::UpTo),
        );
    }
    let mut all = Launches::default();
    for id in ids {
        let one = launch(context, project, Wanted::TaskOf(*id, expected))?;
        all.started.extend(one.started);
        all.failed.extend(one.failed);
        all.requeued |= one.requeued;
        all.running = one.running;
    }
    Ok(all)
}

fn document(launches: &Launches) -> RunDocument {
    let started = launches.started.iter().map(|one| StartedTask {
        id: one.task.id,
        session: one.session.id,
        pid: one.runner.pid,
        agent: one.task.spec.agent.clone(),
    });
    let failed = launches.failed.iter().map(|(id, why)| RefusedTask {
        id: id.to_string(),
        message: why.clone(),
    });
    RunDocument {
        started: started.collect(),
        failed: failed.collect(),
        running: launches.running,
    }
}

fn report(
    context: &Context,
    project: &Project,
    launches: &Launches,
    ids: &[TaskId],
    parallel: Option<u32>,
) -> Result<(), Fail> {
    let out = &context.out;
    announce_retries(context, &launches.started)?;
    match parallel {
        Some(max) => report_parallel(context, project, launches, max)?,
        None => report_single(context, project, launches, ids)?,
    }
    for (_, why) in &launches.failed {
        out.say(format_args!("Error starting task: {why}"));
    }
    Ok(())
}

fn announce_retries(context: &Context, started: &[Launched]) -> Result<(), Fail> {
    // A layout says it when the file of a retry appears.
    if context.places.layout.is_some() {
        return Ok(());
    }
    for one in started {
        let chain = &one.task.chain;
        if let (true, Some(of)) = (one.task.limits.auto_retry, chain.retry_of) {
            let (count, max) = (chain.retry_count, one.task.limits.retries_max);
            context
                .out
                .line(format_args!("Auto-retrying {of} (attempt {count}/{max})"))?;
        }
    }
    Ok(())
}

fn report_single(
    context: &Context,
    project: &Project,
    launches: &Launches,
    ids: &[TaskId],
) -> Result<(), Fail> {
    let out = &context.out;
    for one in &launches.started {
        out.line(format_args!(
            "Started task {} (PID: {}).",
            one.task.id, one.runner.pid
        ))?;
        if let Some(seconds) = one.task.limits.timeout_seconds {
            let text = duration::text(u64::from(seconds));
            out.line(format_args!("Timeout: {seconds}s ({text})"))?;
        }
    }
    if launches.started.is_empty() && launches.failed.is_empty() && ids.is_empty() {
        say_nothing_ready(
            context,
            project,
            "No pending tasks.",
            "No pending tasks to start",
        )?;
    }
    Ok(())
}

/// Says that nothing is pending, or how much of it is not ready.
fn say_nothing_ready(
    context: &Context,
    project: &Project,
    none: &str,
    some: &str,
) -> Result<(), Fail> {
    let (_, counts) = context.status(project, 1)?;
    match counts.get(&TaskStatus::Pending) {
        None | Some(0) => context.out.line(none),
        Some(waiting) => {
            context.out.line(format_args!(
                "{some}: {waiting} wait for others, for their time, or for an agent outside."
            ))?;
            tell_of_quotas(context, project)
        }
    }
}

/// Names the quotas of this project's owners that are used up.
fn tell_of_quotas(context: &Context, project: &Project) -> Result<(), Fail> {
    let View::Quotas { quotas, .. } = context.store()?.read(&Query::Quotas)? else {
        return Err(unexpected("quotas"));
    };
    for (Quota { key, max, .. }, used) in quotas {
        let is_ours = key.project.is_none_or(|of| of == project.id);
        if is_ours && key.resource.holds_up_starts() && used >= max {
            let full = QuotaUse { key, max, used };
            context
                .out
                .line(format_args!("A quota is used up: {full}."))?;
        }
    }
    Ok(())
}

fn report_parallel(
    context: &Context,
    project: &Project,
    launches: &Launches,
    max: u32,
) -> Result<(), Fail> {
    let out = &context.out;
    let running = launches.running;
    if launches.started.is_empty() {
        if running >= max {
            return out.line(format_args!(
                "Already running {running} tasks (max: {max}). No slots available."
            ));
        }
        if launches.failed.is_empty() {
            return say_nothing_ready(
                context,
                project,
                "No pending tasks to launch.",
                "No pending tasks to launch",
            );
        }
        return Ok(());
    }
    let ids: Vec<String> = launches
        .started
        .iter()
        .map(|one| one.task.id.to_string())
        .collect();
    let pids: Vec<String> = launches
        .started
        .iter()
        .map(|one| one.runner.pid.to_string())
        .collect();
    out.line(format_args!(
        "Started {} task(s): {} (PIDs: {})",
        ids.len(),
        ids.join(", "),
        pids.join(", ")
    ))?;
    out.line(format_args!("Running: {running}/{max} tasks"))?;
    let limited: Vec<String> = launches
        .started
        .iter()
        .filter_map(|one| {
            let seconds = one.task.limits.timeout_seconds?;
            Some(format!(
                "{} ({})",
                one.task.id,
                duration::text(u64::from(seconds))
            ))
        })
        .collect();
    if !limited.is_empty() {
        out.line(format_args!("Timeouts: {}", limited.join(", ")))?;
    }
    Ok(())
}

/// Nothing else is launched by itself without a daemon, and the person should know.
fn tell_of_waiting(context: &Context, project: &Project, launches: &Launches) -> Result<(), Fail> {
    if !context.out.terminal || launches.started.is_empty() || context.has_daemon() {
        return Ok(());
    }
    let (_, counts) = context.status(project, 1)?;
    if let Some(waiting) = counts
        .get(&TaskStatus::Pending)
        .filter(|waiting| **waiting > 0)
    {
        context.out.say(format_args!(
            "hint: {waiting} more wait; `crewboss run` starts the next, `crewboss daemon` all as slots come free"
        ));
    }
    Ok(())
}
