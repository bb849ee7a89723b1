//! `logs.jsonl` by itself: `log-speed FOLDER` measures and prints one JSON object of numbers, and
//! `log-speed recover FOLDER` reads a log of [`ENTRIES`] and says how much memory that took.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it measures, and its output is what it is for"
)]

use std::{
    error::Error,
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    ops::ControlFlow,
    path::Path,
    process::Command,
    time::Instant,
};

use app::ports::journal::{
    Journal as _, JournalLimits, Level, LogFilter, LogItem, NewEntry, Survives,
};
use domain::{id::TaskId, time::Timestamp};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use task_folder::ProjectJournal;

type Done<T> = Result<T, Box<dyn Error>>;

/// Entries of the long log.
const ENTRIES: u64 = 1_000_000;
const BATCH: usize = 100;
/// Batches of one round, with and without a sync at the end of each.
const BATCHES: usize = 2_000;
const SYNCED_BATCHES: usize = 200;
const SINGLE: usize = 500;
const LAST: usize = 50;
const ROUNDS: usize = 5;

fn main() -> Done<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match words.as_slice() {
        ["recover", folder] => recover(Path::new(folder)),
        [folder] => {
            let place = tempfile::tempdir_in(folder)?;
            println!("{}", measured(place.path())?);
            Ok(())
        }
        _ => Err("expected a folder".into()),
    }
}

fn measured(place: &Path) -> Done<serde_json::Value> {
    let (mut chained, mut plain) = (vec![], vec![]);
    let (mut synced, mut plain_synced, mut single) = (vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let folder = place.join(format!("round-{round}"));
        fs::create_dir_all(&folder)?;
        chained.push(append(&folder, task(1)?, BATCHES, BATCH, Survives::Crash)?);
        plain.push(unchained(&folder, BATCHES, false)?);
        synced.push(append(
            &folder,
            task(2)?,
            SYNCED_BATCHES,
            BATCH,
            Survives::PowerCut,
        )?);
        plain_synced.push(unchained(&folder, SYNCED_BATCHES, true)?);
        single.push(append(&folder, task(3)?, SINGLE, 1, Survives::PowerCut)?);
        fs::remove_dir_all(&folder)?;
    }
    append(
        place,
        task(1)?,
        usize::try_from(ENTRIES)? / 1_000,
        1_000,
        Survives::Crash,
    )?;
    let (mut verified, mut hashed, mut read, mut last) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        hashed.push(split_and_hash(place)?);
        verified.push(verify(place)?);
        read.push(read_all(place)?);
        last.push(read_last(place)?);
    }
    Ok(serde_json::json!({
        "batch_per_second": middle(chained)?,
        "plain_batch_per_second": middle(plain)?,
        "synced_batch_per_second": middle(synced)?,
        "plain_synced_batch_per_second": middle(plain_synced)?,
        "synced_single_per_second": middle(single)?,
        "verify_per_second": middle(verified)?,
        "hash_per_second": middle(hashed)?,
        "read_per_second": middle(read)?,
        "last_us": middle(last)?,
        "recovery_kib": recovery_kib(place)?,
    }))
}

fn task(number: u64) -> Done<TaskId> {
    Ok(TaskId::from_number(number).ok_or("an id")?)
}

/// Files that are never full: rotation is not what is measured.
fn journal() -> ProjectJournal {
    ProjectJournal::new(JournalLimits {
        file_bytes: u64::MAX,
        file_hours: u64::MAX,
        file_entries: u64::MAX,
        files_kept: 5,
    })
}

fn entry(number: usize) -> Done<NewEntry> {
    let data = format!("{{\"step\":{number},\"tool\":\"write\"}}");
    Ok(NewEntry {
        at: Timestamp::from_millis(1_767_225_600_000 + i64::try_from(number)?),
        level: Level::Info,
        message: format!("the agent has written file number {number}"),
        data: Some(RawValue::from_string(data)?),
        position: None,
    })
}

fn entries(first: usize, count: usize) -> Done<Vec<NewEntry>> {
    (first..first + count).map(entry).collect()
}

fn append(
    root: &Path,
    task: TaskId,
    batches: usize,
    batch: usize,
    survives: Survives,
) -> Done<f64> {
    let journal = journal();
    let all: Vec<Vec<NewEntry>> = (0..batches)
        .map(|number| entries(number * batch, batch))
        .collect::<Done<_>>()?;
    let begun = Instant::now();
    for entries in &all {
        journal.append(root, task, entries, survives)?;
    }
    Ok(rate(batches * batch, begun))
}

/// The same contents as lines without a hash, written to one open file.
fn unchained(folder: &Path, batches: usize, syncs: bool) -> Done<f64> {
    let all: Vec<Vec<NewEntry>> = (0..batches)
        .map(|number| entries(number * BATCH, BATCH))
        .collect::<Done<_>>()?;
    let path = folder.join("plain.jsonl");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let begun = Instant::now();
    let mut seq = 0;
    for entries in &all {
        let mut lines = Vec::new();
        for entry in entries {
            seq += 1;
            serde_json::to_writer(
                &mut lines,
                &serde_json::json!({
                    "timestamp": entry.at, "seq": seq, "level": entry.level,
                    "message": entry.message, "data": entry.data,
                }),
            )?;
            lines.push(b'\n');
        }
        file.write_all(&lines)?;
        if syncs {
            file.sync_data()?;
        }
    }
    Ok(rate(batches * BATCH, begun))
}

fn log_file(root: &Path) -> Done<File> {
    let folder = root.join(".crewboss/tasks").join(task(1)?.to_string());
    Ok(File::open(folder.join("logs.jsonl"))?)
}

fn split_and_hash(root: &Path) -> Done<f64> {
    let begun = Instant::now();
    let mut lines = BufReader::with_capacity(1 << 16, log_file(root)?);
    let (mut line, mut previous, mut count) = (Vec::new(), [0; 32], 0);
    while lines.read_until(b'\n', &mut line)? > 0 {
        let mut hash = Sha256::new();
        hash.update(previous);
        hash.update(&line);
        previous = hash.finalize().into();
        line.clear();
        count += 1;
    }
    std::hint::black_box(previous);
    Ok(rate(count, begun))
}

fn verify(root: &Path) -> Done<f64> {
    let begun = Instant::now();
    let verdict = journal().verify(root, task(1)?)?;
    if let Some(breach) = verdict.breach {
        return Err(format!("{breach:?}").into());
    }
    Ok(rate(usize::try_from(verdict.entries)?, begun))
}

fn read(root: &Path, filter: &LogFilter) -> Done<usize> {
    let mut count = 0;
    journal().read(root, task(1)?, filter, &mut |item| {
        if let LogItem::Entry(entry) = item {
            std::hint::black_box(entry);
            count += 1;
        }
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

fn read_all(root: &Path) -> Done<f64> {
    let begun = Instant::now();
    let count = read(root, &LogFilter::all())?;
    if u64::try_from(count)? != ENTRIES {
        return Err(format!("{count} entries were read").into());
    }
    Ok(rate(count, begun))
}

fn read_last(root: &Path) -> Done<f64> {
    let begun = Instant::now();
    let filter = LogFilter {
        tail: Some(LAST),
        ..LogFilter::all()
    };
    if read(root, &filter)? != LAST {
        return Err("fewer entries than wanted".into());
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6)
}

/// What a process of its own needs at most for all entries.
fn recovery_kib(root: &Path) -> Done<f64> {
    let program = std::env::current_exe()?;
    let output = Command::new(program).arg("recover").arg(root).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

fn recover(root: &Path) -> Done<()> {
    read_all(root)?;
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|line| line.split_whitespace().next());
    println!("{}", kib.ok_or("its memory is known")?);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of some millions")]
fn rate(count: usize, begun: Instant) -> f64 {
    count as f64 / begun.elapsed().as_secs_f64()
}

fn middle(mut values: Vec<f64>) -> Done<f64> {
    values.sort_unstable_by(f64::total_cmp);
    Ok(*values.get(values.len() / 2).ok_or("nothing was measured")?)
}
