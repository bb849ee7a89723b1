//! Killed under load with 1,000,000 tasks queued: until the first claim is served again.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use app::{
    audit::{self, Beginning},
    command::Output,
    ports::store::Store as _,
};
use domain::id::TaskId;
use rusqlite::Connection;
use store_sqlite::{SqliteLog, SqliteStore};
use testkit::contract::{
    clock::ManualClock,
    world::{claim_command, create_command, request, starts, work},
};

use crate::{
    Done, Place, fill,
    measure::{middle, timed, together},
};

const QUEUED: u64 = 1_000_000;
const ROUNDS: usize = 5;
/// Answers after which the process is killed.
const ANSWERS: usize = 3_000;
const CALLERS: usize = 24;

pub(crate) fn rows(folder: &Path) -> Done<serde_json::Value> {
    let place = Place::new(folder)?;
    let path = place.path("store.db");
    {
        let (store, project) = place.store()?;
        store.execute(request(create_command(project, work("work"))))?;
    }
    fill::queued(&path, QUEUED)?;
    let (mut ours, mut raw) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let answered = kill_under_load(&path)?;
        let log = std::fs::read(place.path("store.db-wal"))?;
        raw.push(timed(|| scan(&path))?.as_secs_f64() * 1e3);
        // What the scan may have cleared up is put back.
        std::fs::write(place.path("store.db-wal"), log)?;
        drop(std::fs::remove_file(place.path("store.db-shm")));
        ours.push(timed(|| first_claim(&path))?.as_secs_f64() * 1e3);
        check(&path, &answered)?;
    }
    Ok(serde_json::json!({ "first_claim_ms": middle(ours)?, "scan_ms": middle(raw)? }))
}

/// Creates and claims until somebody kills it; names each created task once its commit is answered.
pub(crate) fn load(path: &Path) -> Done<()> {
    let (store, project) = crate::open(path)?;
    together(CALLERS, usize::MAX, || {
        let created = store.execute(request(create_command(project, work("work"))))?;
        if let Output::Task { task, .. } = created.output {
            println!("{}", task.id.number());
        }
        store.execute(request(claim_command(project, starts(1))))?;
        Ok(())
    })?;
    Ok(())
}

fn kill_under_load(path: &Path) -> Done<BTreeSet<u64>> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("load")
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()?;
    let printed = BufReader::new(child.stdout.take().ok_or("it has an output")?);
    let mut answered = BTreeSet::new();
    for line in printed.lines().take(ANSWERS) {
        answered.insert(line?.parse()?);
    }
    child.kill()?;
    child.wait()?;
    Ok(answered)
}

fn scan(path: &Path) -> Done<()> {
    let connection = Connection::open(path)?;
    let mut statement = connection.prepare(
        "SELECT id FROM tasks INDEXED BY tasks_ready WHERE status = 0 AND kind = 0 AND unmet = 0
         AND scheduled = 0 AND deleted_at IS NULL",
    )?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

fn first_claim(path: &Path) -> Done<()> {
    let (store, project) = crate::open(path)?;
    match store
        .execute(request(claim_command(project, starts(1))))?
        .output
    {
        Output::Claimed { claims, .. } if claims.len() == 1 => Ok(()),
        other => Err(format!("one claim is served, not {other:?}").into()),
    }
}

/// Every task that was answered is there, and the log is whole.
fn check(path: &Path, answered: &BTreeSet<u64>) -> Done<()> {
    let store = SqliteStore::open(path, Arc::new(ManualClock::default()))?;
    for number in answered {
        let id = TaskId::from_number(*number).ok_or("an id")?;
        store
            .look(|reader| reader.task(id))?
            .ok_or("a task that was answered is lost")?;
    }
    let report = audit::verify(
        &SqliteLog::open(path)?,
        Beginning::default(),
        &[],
        &mut |_| (),
    )?;
    match report.fault {
        None => Ok(()),
        Some(fault) => Err(format!("{fault:?}").into()),
    }
}
