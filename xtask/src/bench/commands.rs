//! Commands that only look, and the one that queues.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{
    Tools,
    disk::Append,
    report::{Limit, Row},
    sample::{Case, in_turns, time},
    stage::{Stage, quiet},
};
use crate::shell;

/// As many tasks as the store holds from which `status` reads without a daemon.
const TASKS: &str = "1000000";

/// As many as the peer and the daemon's store hold.
const TASKS_OF_PEER: &str = "1050";

const NOTHING: &str = "reads only";

/// `--version` and `status`.
pub(crate) fn looking(tools: &Tools, rounds: usize) -> Result<Vec<Row>> {
    let filled = filled("looking-file", tools, TASKS)?;
    let served = self::filled("looking-daemon", tools, TASKS_OF_PEER)?;
    let daemon = served.daemon(1)?;
    let peer = tools
        .pueue
        .as_deref()
        .map(super::pueue::Pueue::start)
        .transpose()?;
    if let Some(peer) = &peer {
        peer.add(1_050, true)?;
    }
    let mut cases: Vec<Case<'_>> = vec![
        Box::new(bin_true),
        Box::new(|| time(&mut quiet(&tools.crewboss, &["--version"]))),
        Box::new(|| time(&mut served.crewboss(&["status"]))),
        Box::new(|| time(&mut filled.crewboss(&["status"]))),
    ];
    if let Some(peer) = &peer {
        cases.push(Box::new(|| time(&mut peer.command(&["status"]))));
    }
    let series = in_turns(rounds, cases)?;
    drop(daemon);
    let of = |index: usize| series.get(index).context("every case was measured");
    let least = ("/bin/true", of(0)?.median_micros());
    let limit = Limit::AtMost;
    let mut rows = vec![
        Row::of_times("/bin/true", of(0)?, least, Limit::None, "-"),
        Row::of_times("--version", of(1)?, least, limit(1.2), "-"),
        Row::of_times("status, daemon", of(2)?, least, limit(2.0), NOTHING),
        Row::of_times("status, file, 1M tasks", of(3)?, least, limit(3.0), NOTHING),
    ];
    if peer.is_some() {
        let peer = ("pueue status, 1,050 tasks", of(4)?.median_micros());
        rows.push(Row::of_times(
            "status, file, 1M tasks",
            of(3)?,
            peer,
            limit(0.03),
            NOTHING,
        ));
        rows.push(Row::of_times(
            "status, daemon, 1,050",
            of(2)?,
            peer,
            limit(0.03),
            NOTHING,
        ));
    }
    Ok(rows)
}

/// `start`, until the task is on the disk.
pub(crate) fn queueing(tools: &Tools, rounds: usize) -> Result<Vec<Row>> {
    const DURABLE: &str = "WAL, synchronous=FULL";
    let alone = Stage::new("queueing-file", &tools.crewboss)?;
    let served = Stage::new("queueing-daemon", &tools.crewboss)?;
    for stage in [&alone, &served] {
        stage.start("noop")?;
    }
    // It serves the store and finds nothing to do: tasks of an outside agent wait for that.
    let daemon = served.daemon(1)?;
    let mut append = Append::new(alone.folder())?;
    let words = [
        "start",
        "noop",
        "work",
        "--not-before",
        "2100-01-01T00:00:00Z",
    ];
    let series = in_turns(
        rounds,
        vec![
            Box::new(bin_true),
            Box::new(move || append.time()),
            Box::new(|| time(&mut served.crewboss(&words))),
            Box::new(|| time(&mut alone.crewboss(&words))),
        ],
    )?;
    drop(daemon);
    let of = |index: usize| series.get(index).context("every case was measured");
    let (program, disk) = (of(0)?.median_micros(), of(1)?.median_micros());
    let against = |count: f64| disk + count * program;
    let limit = Limit::AtMost(1.0);
    Ok(vec![
        Row::of_times(
            "start, daemon",
            of(2)?,
            ("fdatasync + 4 x /bin/true", against(4.0)),
            limit,
            DURABLE,
        ),
        Row::of_times(
            "start, file",
            of(3)?,
            ("fdatasync + 6 x /bin/true", against(6.0)),
            limit,
            DURABLE,
        ),
        Row::of_times(
            "4 KiB append + fdatasync",
            of(1)?,
            ("/bin/true", program),
            Limit::None,
            "fdatasync",
        ),
    ])
}

/// The least that a command can take.
pub(crate) fn bin_true() -> Result<super::sample::Sample> {
    time(&mut quiet(Path::new("/bin/true"), &[]))
}

/// A place whose store holds so many tasks that have ended, and one that waits.
fn filled(name: &str, tools: &Tools, tasks: &str) -> Result<Stage> {
    let stage = Stage::new(name, &tools.crewboss)?;
    shell::run(&mut stage.crewboss(&[
        "start",
        "noop",
        "work",
        "--not-before",
        "2100-01-01T00:00:00Z",
    ]))?;
    shell::run(
        shell::program(&tools.store_speed)
            .arg("fill")
            .arg(stage.store_file())
            .arg(tasks),
    )?;
    Ok(stage)
}
