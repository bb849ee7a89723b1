//! Commands that start agents and end them, and whole tasks.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    Tools,
    commands::bin_true,
    report::{Limit, Row},
    sample::{Sample, Series, children_cpu, time},
    stage::{Stage, quiet, runs, until},
};
use crate::shell;

const DURABLE: &str = "WAL, synchronous=FULL; outcome file synced";

/// Tasks that run at once in the throughput case, and spawns beside them.
const AT_ONCE: usize = 8;

/// `run`, until the command returns: the runner goes on by itself.
pub(crate) fn launching(tools: &Tools, rounds: usize) -> Result<Vec<Row>> {
    let stage = Stage::new("launching", &tools.crewboss)?;
    let (mut ours, mut least) = (Series::default(), Series::default());
    for round in 0..=rounds {
        let id = stage.start("noop")?;
        let reference = bin_true()?;
        let sample = time(&mut stage.crewboss(&["run"]))?;
        // What it started must not disturb the next round.
        stage.wait(&id)?;
        until_alone(&stage)?;
        if round > 0 {
            ours.push(sample);
            least.push(reference);
        }
    }
    let reference = ("/bin/true", least.median_micros());
    Ok(vec![Row::of_times(
        "run",
        &ours,
        reference,
        Limit::AtMost(8.0),
        "WAL, synchronous=FULL",
    )])
}

/// `cancel` of an agent that ends when it is told to, until neither agent nor runner is left.
pub(crate) fn cancelling(tools: &Tools, rounds: usize) -> Result<Vec<Row>> {
    let stage = Stage::new("cancelling", &tools.crewboss)?;
    let (mut tree, mut whole) = (Series::default(), Series::default());
    for round in 0..=rounds {
        let id = stage.start("patient")?;
        shell::run(&mut stage.crewboss(&["run"]))?;
        let mut agent = None;
        until("a running agent", Duration::from_millis(5), || {
            agent = stage
                .show(&id)?
                .pointer("/session/pid")
                .and_then(serde_json::Value::as_u64);
            Ok(agent.is_some())
        })?;
        let agent = agent.context("it runs")?;
        let (gone, returned) = cancel(&stage, &id, agent)?;
        if round > 0 {
            tree.push(gone);
            whole.push(returned);
        }
    }
    let allowed = ("50 ms", 50_000.0);
    let limit = Limit::AtMost(1.0);
    Ok(vec![
        Row::of_times(
            "cancel to an empty tree",
            &tree,
            allowed,
            limit,
            "WAL, synchronous=FULL",
        ),
        Row::of_times(
            "cancel to its return",
            &whole,
            allowed,
            Limit::None,
            DURABLE,
        ),
    ])
}

fn cancel(stage: &Stage, id: &str, agent: u64) -> Result<(Sample, Sample)> {
    let before = children_cpu()?;
    let watch = shell::start_watch();
    let mut command = stage.crewboss(&["cancel", id]).spawn()?;
    while runs(agent) {
        std::thread::sleep(Duration::from_micros(200));
    }
    let gone = Sample {
        wall: watch.elapsed(),
        cpu: Duration::ZERO,
    };
    let status = command.wait()?;
    anyhow::ensure!(status.success(), "`crewboss cancel` ended with {status}");
    let wall = watch.elapsed();
    Ok((
        gone,
        Sample {
            wall,
            cpu: children_cpu()?.saturating_sub(before),
        },
    ))
}

/// Tasks from the queue to their end, beside bare processes, and the peer.
pub(crate) fn whole_tasks(tools: &Tools, rounds: usize) -> Result<Vec<Row>> {
    let tasks = 200;
    let mut ours = Vec::new();
    let mut bare = Vec::new();
    for _ in 0..rounds.clamp(3, 7) {
        bare.push(pairs_per_second(tasks)?);
        ours.push(tasks_per_second(tools, tasks)?);
    }
    let (ours, bare) = (median(ours), median(bare));
    let value = (ours, "/s");
    let mut rows = vec![Row::of_number(
        "no-op tasks, 8 at once",
        value,
        ("2 x posix_spawn, 8 at once", bare),
        Limit::AtLeast(0.25),
        DURABLE,
    )];
    if let Some(programs) = &tools.pueue {
        let peer = super::pueue::Pueue::start(programs)?;
        peer.add(60, false)?;
        let reference = ("pueue, 8 at once", peer.tasks_per_second(60, AT_ONCE)?);
        let limit = Limit::AtLeast(10.0);
        rows.push(Row::of_number(
            "no-op tasks, 8 at once",
            value,
            reference,
            limit,
            DURABLE,
        ));
    }
    Ok(rows)
}

/// All wait when the daemon starts; the clock stops when it says that all are completed.
fn tasks_per_second(tools: &Tools, tasks: usize) -> Result<f64> {
    let stage = Stage::new("tasks", &tools.crewboss)?;
    for _ in 0..tasks {
        stage.start("noop")?;
    }
    let watch = shell::start_watch();
    let mut daemon = stage.daemon(AT_ONCE)?;
    daemon.wait_for(&format!("0 running, 0 pending, {tasks} completed"))?;
    let seconds = watch.elapsed().as_secs_f64();
    until_alone(&stage)?;
    Ok(per_second(tasks, seconds))
}

/// Two processes one after the other for each, as many pairs at once as we run tasks.
fn pairs_per_second(pairs: usize) -> Result<f64> {
    let watch = shell::start_watch();
    std::thread::scope(|scope| {
        let share = || -> Result<()> {
            for _ in 0..2 * pairs / AT_ONCE {
                shell::run(&mut quiet(Path::new("/bin/true"), &[]))?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(share)).collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        anyhow::Ok(())
    })?;
    Ok(per_second(pairs, watch.elapsed().as_secs_f64()))
}

pub(crate) fn per_second(count: usize, seconds: f64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Waits until no runner of this place is left.
fn until_alone(stage: &Stage) -> Result<()> {
    let home = stage.folder().display().to_string();
    until("the end of every runner", Duration::from_millis(2), || {
        let processes = std::fs::read_dir("/proc")?.flatten();
        let mut others = processes.filter_map(|entry| {
            let words = std::fs::read(entry.path().join("cmdline")).ok()?;
            let words = String::from_utf8_lossy(&words).into_owned();
            Some(words.contains(&home) && words.contains("runner"))
        });
        Ok(!others.any(|is_runner| is_runner))
    })
}
