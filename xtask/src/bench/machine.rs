//! The machine that is measured on, and how busy it is.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::shell;

/// The load of the last minute.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split(' ').next().and_then(|word| word.parse().ok());
    first.unwrap_or(f64::NAN)
}

pub(crate) fn processors() -> u32 {
    std::thread::available_parallelism()
        .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

/// A machine that is busier than this says nothing about a program.
pub(crate) fn load_max() -> f64 {
    f64::from(processors()) / 2.0
}

/// Processes that have ended and were not reaped: every look at the process table passes them.
pub(crate) fn zombies() -> usize {
    let stats = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter(|stat| {
            let state = stat.rsplit(')').next().unwrap_or_default();
            state.trim_start().starts_with('Z')
        })
        .count()
}

/// What a reader needs to know of it.
pub(crate) fn describe(folder: &Path) -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, name)| name);
    let date = shell::output(shell::program("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]));
    json!({
        "date": date.unwrap_or_default().trim(),
        "processor": model,
        "processors": processors(),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "filesystem": filesystem(folder),
        "load1": load(),
        "load1_max": load_max(),
        "zombies": zombies(),
    })
}

fn filesystem(folder: &Path) -> String {
    let printed = shell::output(shell::program("stat").args(["-f", "-c", "%T"]).arg(folder));
    printed.unwrap_or_default().trim().to_owned()
}
