//! The store and the logs by themselves, without processes around them, and beside them the scripts
//! of two documents that claim numbers for the same.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    Subject, Tools,
    report::{Limit, Row},
};
use crate::shell;

const SYNCED: &str = "WAL, synchronous=FULL";
const NO_SYNC: &str = "WAL, synchronous=NORMAL, no sync at commit";
const READS: &str = "reads only";

/// What prints numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// The example of `store-sqlite`, with this subject.
    Store(&'static str),
    /// The example of `task-folder`.
    Logs,
    /// A script of the documents' peers.
    Script(&'static str),
}

#[derive(Debug, Clone, Copy)]
enum Beside {
    Number(f64),
    Of(Source, &'static str),
    /// So much more than that.
    More(f64, Source, &'static str),
}

#[derive(Debug)]
struct Line {
    case: &'static str,
    ours: (Source, &'static str, &'static str),
    label: &'static str,
    beside: Beside,
    limit: Limit,
    durability: &'static str,
}

const fn line(
    case: &'static str,
    ours: (Source, &'static str, &'static str),
    beside: (&'static str, Beside),
    limit: Limit,
    durability: &'static str,
) -> Line {
    Line {
        case,
        ours,
        label: beside.0,
        beside: beside.1,
        limit,
        durability,
    }
}

const PORT: Source = Source::Store("port");
const JOBS: Source = Source::Store("jobs");
const WRITERS: Source = Source::Store("writers");
const REGISTRY: Source = Source::Store("registry");
const RESTART: Source = Source::Store("restart");
const VERIFY: Source = Source::Store("verify");
const LOCKS: Source = Source::Store("locks");
const DOCUMENT: Source = Source::Store("document");
const SQLITE_SCRIPT: Source = Source::Script("sqlite.mjs");
const JSONL_SCRIPT: Source = Source::Script("jsonl.mjs");

const APPENDS: (&str, Beside) = (
    "4 KiB append + fdatasync",
    Beside::Of(PORT, "append_per_second"),
);

const STORE_LINES: &[Line] = &[
    line(
        "port: create, 1 caller",
        (PORT, "create_us", "us"),
        ("4 KiB append + fdatasync", Beside::Of(PORT, "append_us")),
        Limit::None,
        SYNCED,
    ),
    line(
        "port: create, 100 callers",
        (PORT, "creates_per_second", "/s"),
        APPENDS,
        Limit::None,
        SYNCED,
    ),
    line(
        "port: claim, 100 callers",
        (PORT, "claims_per_second", "/s"),
        APPENDS,
        Limit::None,
        SYNCED,
    ),
    line(
        "jobs: attach + complete with session, events, effects; 24 workers",
        (JOBS, "external_per_second", "/s"),
        (
            "group commit of the same rows and bytes",
            Beside::Of(JOBS, "raw_per_second"),
        ),
        Limit::AtLeast(0.5),
        SYNCED,
    ),
    line(
        "jobs: claim 10 + finish each, 24 workers",
        (JOBS, "managed_per_second", "/s"),
        (
            "group commit of the same rows and bytes",
            Beside::Of(JOBS, "raw_per_second"),
        ),
        Limit::None,
        SYNCED,
    ),
    line(
        "10 writers in 5 processes, 10,000 creates",
        (WRITERS, "writers_10_per_second", "/s"),
        APPENDS,
        Limit::None,
        SYNCED,
    ),
    line(
        "25 writers",
        (WRITERS, "writers_25_per_second", "/s"),
        APPENDS,
        Limit::None,
        SYNCED,
    ),
    line(
        "50 writers",
        (WRITERS, "writers_50_per_second", "/s"),
        APPENDS,
        Limit::None,
        SYNCED,
    ),
    line(
        "100 writers",
        (WRITERS, "writers_100_per_second", "/s"),
        APPENDS,
        Limit::None,
        SYNCED,
    ),
    line(
        "newest 50 of 1,000,000, p99",
        (REGISTRY, "newest_large_us", "us"),
        ("of 10,000", Beside::Of(REGISTRY, "newest_small_us")),
        Limit::AtMost(1.3),
        READS,
    ),
    line(
        "a page at random depth of 1,000,000, p99",
        (REGISTRY, "random_page_large_us", "us"),
        ("of 10,000", Beside::Of(REGISTRY, "random_page_small_us")),
        Limit::AtMost(1.3),
        READS,
    ),
    line(
        "counts of 1,000,000, p99",
        (REGISTRY, "counts_large_us", "us"),
        ("of 10,000", Beside::Of(REGISTRY, "counts_small_us")),
        Limit::AtMost(1.3),
        READS,
    ),
    line(
        "what status shows of 1,000,000, p99",
        (REGISTRY, "overview_large_us", "us"),
        ("of 10,000", Beside::Of(REGISTRY, "overview_small_us")),
        Limit::AtMost(1.3),
        READS,
    ),
    line(
        "disk for a task, row and what was asked for",
        (REGISTRY, "bytes_per_task", "B"),
        (
            "150 B and what was asked for",
            Beside::More(150.0, REGISTRY, "bytes_asked_for"),
        ),
        Limit::AtMost(1.3),
        READS,
    ),
    line(
        "killed under load, 1,000,000 queued: until a claim is served",
        (RESTART, "first_claim_ms", "ms"),
        (
            "opening the file and reading its ready index",
            Beside::Of(RESTART, "scan_ms"),
        ),
        Limit::AtMost(2.0),
        SYNCED,
    ),
    line(
        "audit verify of 200,000 entries, chain and headers",
        (VERIFY, "verify_mb_per_second", "MB/s"),
        (
            "reading the rows, one hash each",
            Beside::Of(VERIFY, "raw_mb_per_second"),
        ),
        Limit::None,
        READS,
    ),
];

const LOCK_LINES: &[Line] = &[
    line(
        "lock: handed on among 50 waiters, in strict order",
        (LOCKS, "handovers_per_second", "/s"),
        (
            "commits of the same rows, 1 caller",
            Beside::Of(LOCKS, "cycles_per_second"),
        ),
        Limit::AtLeast(0.8),
        SYNCED,
    ),
    line(
        "lock: shares of 50 waiters, Jain's index",
        (LOCKS, "jain_index", ""),
        ("all the same", Beside::Number(1.0)),
        Limit::AtLeast(0.99),
        SYNCED,
    ),
    line(
        "lock: acquire and release, 1 caller",
        (LOCKS, "pair_us", "us"),
        (
            "two commits of the same rows",
            Beside::Of(LOCKS, "two_cycles_us"),
        ),
        Limit::None,
        SYNCED,
    ),
    line(
        "lock: a conflict is told, p99",
        (LOCKS, "conflict_p99_us", "us"),
        ("5 ms", Beside::Number(5_000.0)),
        Limit::AtMost(1.0),
        SYNCED,
    ),
    line(
        "lock: in memory through the port, 100,000 names, 1 thread",
        (LOCKS, "memory_pairs_per_second", "/s"),
        (
            "std Mutex<HashMap<String, _>>, the same names",
            Beside::Of(LOCKS, "map_pairs_per_second"),
        ),
        Limit::None,
        "nothing is durable",
    ),
];

const LOG_LINES: &[Line] = &[
    line(
        "log: batches of 100, chained, no sync",
        (Source::Logs, "batch_per_second", "/s"),
        (
            "the same lines without a chain",
            Beside::Of(Source::Logs, "plain_batch_per_second"),
        ),
        Limit::AtLeast(0.6),
        "page cache",
    ),
    line(
        "log: batches of 100, chained, each synced",
        (Source::Logs, "synced_batch_per_second", "/s"),
        (
            "the same lines without a chain, each batch synced",
            Beside::Of(Source::Logs, "plain_synced_batch_per_second"),
        ),
        Limit::AtLeast(0.9),
        "fdatasync of each batch",
    ),
    line(
        "log: verifying 1,000,000 entries, chain and form",
        (Source::Logs, "verify_per_second", "/s"),
        (
            "splitting lines, one hash each",
            Beside::Of(Source::Logs, "hash_per_second"),
        ),
        Limit::None,
        READS,
    ),
    line(
        "log: reading 1,000,000 entries, typed",
        (Source::Logs, "read_per_second", "/s"),
        ("the document's script", Beside::Of(JSONL_SCRIPT, "read")),
        Limit::AtLeast(4.0),
        READS,
    ),
    line(
        "log: memory for reading 1,000,000 entries",
        (Source::Logs, "recovery_kib", "KiB"),
        ("30 MB", Beside::Number(29_297.0)),
        Limit::AtMost(1.0),
        READS,
    ),
    line(
        "log: the last 50 of 1,000,000",
        (Source::Logs, "last_us", "us"),
        ("1 ms", Beside::Number(1_000.0)),
        Limit::None,
        READS,
    ),
    line(
        "log: batches of 100, each synced",
        (Source::Logs, "synced_batch_per_second", "/s"),
        (
            "the document's batches, never synced (it claims 377,060)",
            Beside::Of(JSONL_SCRIPT, "batch"),
        ),
        Limit::None,
        "ours: fdatasync of each batch; theirs: none",
    ),
    line(
        "log: batches of 100, no sync",
        (Source::Logs, "batch_per_second", "/s"),
        (
            "the document's batches (377,060)",
            Beside::Of(JSONL_SCRIPT, "batch"),
        ),
        Limit::None,
        "page cache, both",
    ),
    line(
        "log: single entries, each synced",
        (Source::Logs, "synced_single_per_second", "/s"),
        (
            "the document's, never synced (10,785)",
            Beside::Of(JSONL_SCRIPT, "append"),
        ),
        Limit::None,
        "ours: fdatasync of each; theirs: none",
    ),
];

macro_rules! claim {
    ($what:literal, $claimed:literal, $key:literal, $durability:expr) => {
        line(
            concat!($what, ", the document's schema"),
            (DOCUMENT, concat!("same_", $key), "/s"),
            (
                concat!("its script (it claims ", $claimed, ")"),
                Beside::Of(SQLITE_SCRIPT, $key),
            ),
            Limit::None,
            $durability,
        )
    };
}

const DOCUMENT_LINES: &[Line] = &[
    claim!("batch insert", "212,319", "insert", NO_SYNC),
    claim!("single read", "302,724", "read", READS),
    claim!("range of 100", "18,197", "range", READS),
    claim!("update", "13,009", "update", NO_SYNC),
    claim!("full scan, rows", "731,917", "scan", READS),
    claim!(
        "100 writers (ours are threads, its take turns)",
        "66,426",
        "writers",
        NO_SYNC
    ),
    line(
        "100 callers create tasks, with events and log",
        (DOCUMENT, "durable_insert", "/s"),
        (
            "its 100 writers in turn (66,426)",
            Beside::Of(SQLITE_SCRIPT, "writers"),
        ),
        Limit::None,
        "ours: synced before each answer; theirs: never",
    ),
    line(
        "a task by id, whole",
        (DOCUMENT, "durable_read", "/s"),
        ("its single read", Beside::Of(SQLITE_SCRIPT, "read")),
        Limit::None,
        READS,
    ),
    line(
        "100 tasks of a status, whole",
        (DOCUMENT, "durable_range", "/s"),
        ("its range of 100", Beside::Of(SQLITE_SCRIPT, "range")),
        Limit::None,
        READS,
    ),
    line(
        "every task, whole, by pages of 1,000",
        (DOCUMENT, "durable_scan", "/s"),
        ("its full scan, rows", Beside::Of(SQLITE_SCRIPT, "scan")),
        Limit::None,
        READS,
    ),
];

/// The rows of one subject.
pub(crate) fn rows(tools: &Tools, subject: Subject) -> Result<Vec<Row>> {
    let lines = match subject {
        Subject::Port => STORE_LINES,
        Subject::Locks => LOCK_LINES,
        Subject::Logs => LOG_LINES,
        Subject::Documents => DOCUMENT_LINES,
        _ => &[],
    };
    let mut numbers = Numbers {
        tools,
        printed: BTreeMap::new(),
    };
    let mut rows = Vec::new();
    for line in lines {
        let (source, name, unit) = line.ours;
        let Some(ours) = numbers.get(source, name)? else {
            continue;
        };
        let beside = match line.beside {
            Beside::Number(number) => Some(number),
            Beside::Of(source, name) => numbers.get(source, name)?,
            Beside::More(more, source, name) => {
                numbers.get(source, name)?.map(|number| number + more)
            }
        };
        // Without the peers there is nothing beside it.
        let Some(beside) = beside else { continue };
        let row = Row::of_number(
            line.case,
            (ours, unit),
            (line.label, beside),
            line.limit,
            line.durability,
        );
        rows.push(row);
    }
    Ok(rows)
}

struct Numbers<'a> {
    tools: &'a Tools,
    printed: BTreeMap<Source, Option<Value>>,
}

impl Numbers<'_> {
    /// A number of a source, which is asked once; none where it is a peer that is left out.
    fn get(&mut self, source: Source, name: &str) -> Result<Option<f64>> {
        if !self.printed.contains_key(&source) {
            let printed = self.ask(source)?;
            self.printed.insert(source, printed);
        }
        let Some(Some(printed)) = self.printed.get(&source) else {
            return Ok(None);
        };
        let number = printed.get(name).and_then(Value::as_f64);
        number
            .with_context(|| format!("{source:?} measures {name}"))
            .map(Some)
    }

    fn ask(&self, source: Source) -> Result<Option<Value>> {
        let folder = shell::target().join("bench");
        fs::create_dir_all(&folder)?;
        let mut command = match source {
            Source::Store(subject) => {
                let mut command = shell::program(&self.tools.store_speed);
                command.arg(subject);
                command
            }
            Source::Logs => shell::program(&self.tools.log_speed),
            Source::Script(name) => {
                let Some(scripts) = &self.tools.documents else {
                    return Ok(None);
                };
                let mut command = shell::program("node");
                command.arg(scripts.join(name));
                command
            }
        };
        let printed = shell::output(command.arg(folder))?;
        let value = serde_json::from_str(&printed);
        value
            .with_context(|| format!("{source:?} prints JSON"))
            .map(Some)
    }
}

/// Installs the documents' scripts with their library; answers their folder.
pub(crate) fn install_documents() -> Result<PathBuf> {
    let folder = shell::target().join("bench/documents");
    fs::create_dir_all(&folder)?;
    let peers = shell::root().join("bench/peers/documents");
    for name in [
        "package.json",
        "package-lock.json",
        "sqlite.mjs",
        "jsonl.mjs",
    ] {
        fs::copy(peers.join(name), folder.join(name))?;
    }
    let is_built = folder
        .join("node_modules/better-sqlite3/build/Release/better_sqlite3.node")
        .exists();
    if !is_built {
        let mut npm = shell::program("npm");
        npm.args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&folder);
        // Its addon is compiled against the headers that came with node.
        npm.env("npm_config_nodedir", node_prefix()?);
        shell::run(npm.stdout(std::process::Stdio::null()))?;
    }
    Ok(folder)
}

fn node_prefix() -> Result<String> {
    let script =
        "process.stdout.write(require('path').dirname(require('path').dirname(process.execPath)))";
    shell::output(shell::program("node").args(["-e", script]))
}
