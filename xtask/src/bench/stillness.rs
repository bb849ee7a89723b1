//! What costs something while nothing happens.

use std::{fs, process::Stdio, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    Tools,
    report::{Limit, Row},
    stage::{Stage, terminate},
};
use crate::shell;

/// Tasks that wait, and how long a daemon is given to have looked at them.
const QUEUED: u64 = 1_000_000;
const SETTLED: Duration = Duration::from_secs(5);

/// How long nothing happens.
const WATCHED: Duration = Duration::from_secs(30);

/// What a process has done since it began.
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    switches: u64,
    cpu_nanos: u64,
}

/// An idle daemon, and `status --watch`.
pub(crate) fn rows(tools: &Tools) -> Result<Vec<Row>> {
    let stage = Stage::new("stillness", &tools.crewboss)?;
    for _ in 0..20 {
        let id = stage.start("noop")?;
        stage.crewboss(&["run"]).status()?;
        stage.wait(&id)?;
    }
    let daemon = stage.daemon(3)?;
    let mut watching = stage.crewboss(&["status", "--watch"]);
    let mut watcher = watching.stdout(Stdio::null()).spawn()?;
    // What is done at the beginning is not the cost of staying.
    std::thread::sleep(Duration::from_secs(3));
    let (daemon_before, watcher_before) = (account(daemon.pid())?, account(watcher.id())?);
    let clock = shell::start_watch();
    std::thread::sleep(WATCHED);
    let seconds = clock.elapsed().as_secs_f64();
    let (daemon_after, watcher_after) = (account(daemon.pid())?, account(watcher.id())?);
    terminate(&mut watcher);
    // Without one who watches: each of its looks is a question that the daemon answers.
    std::thread::sleep(Duration::from_secs(1));
    let alone_before = account(daemon.pid())?;
    std::thread::sleep(WATCHED);
    let alone_after = account(daemon.pid())?;
    let resident = resident_mebibytes(daemon.pid())?;

    let rate = |from: u64, to: u64| number(to.saturating_sub(from)) / seconds;
    let wakeups = rate(alone_before.switches, alone_after.switches);
    let share = rate(watcher_before.cpu_nanos, watcher_after.cpu_nanos) / 1e7;
    let serving = rate(daemon_before.cpu_nanos, daemon_after.cpu_nanos) / 1e7;
    let limit = Limit::AtMost(1.0);
    Ok(vec![
        Row::of_number(
            "idle daemon, switches",
            (wakeups, "/s"),
            ("2/s", 2.0),
            limit,
            "-",
        ),
        Row::of_number(
            "idle daemon, memory",
            (resident, "MiB"),
            ("30 MB", 28.61),
            limit,
            "-",
        ),
        Row::of_number(
            "status --watch",
            (share, "% core"),
            ("0.5 %", 0.5),
            limit,
            "-",
        ),
        Row::of_number(
            "the daemon beside it",
            (serving, "% core"),
            ("0.5 %", 0.5),
            Limit::None,
            "-",
        ),
    ])
}

/// What a daemon holds for each task that is queued, over what an idle one holds.
pub(crate) fn of_the_queued(tools: &Tools) -> Result<Vec<Row>> {
    let stage = Stage::new("queued", &tools.crewboss)?;
    let patient = stage.start("patient")?;
    stage.crewboss(&["run"]).status()?;
    let idle = {
        let daemon = stage.daemon(1)?;
        std::thread::sleep(SETTLED);
        resident_mebibytes(daemon.pid())?
    };
    stage.start("noop")?;
    shell::run(
        shell::program(&tools.store_speed)
            .arg("queue")
            .arg(stage.store_file())
            .arg(QUEUED.to_string()),
    )?;
    let daemon = stage.daemon(1)?;
    std::thread::sleep(SETTLED);
    let full = resident_mebibytes(daemon.pid())?;
    drop(daemon);
    stage.crewboss(&["cancel", &patient]).status()?;
    let each = (full - idle) * 1_048_576.0 / number(QUEUED);
    Ok(vec![Row::of_number(
        "daemon, memory for each of 1,000,000 queued",
        (each.max(0.0), "B"),
        ("96 B", 96.0),
        Limit::AtMost(1.0),
        "-",
    )])
}

/// Over all its threads.
fn account(pid: u32) -> Result<Account> {
    let mut sum = Account::default();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).context("it runs")?;
    for thread in threads.flatten() {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        sum.switches += status
            .lines()
            .filter(|line| line.contains("ctxt_switches"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum::<u64>();
        let spent = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        let nanos = spent
            .split(' ')
            .next()
            .and_then(|word| word.parse::<u64>().ok());
        sum.cpu_nanos += nanos.unwrap_or(0);
    }
    Ok(sum)
}

fn resident_mebibytes(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(number(kibibytes.context("its memory is known")?) / 1024.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts of half a minute")]
fn number(count: u64) -> f64 {
    count as f64
}
