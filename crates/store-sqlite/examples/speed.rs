//! The store by itself: `speed fill FILE TASKS` adds tasks that have ended to a store that holds
//! one, and `speed port FOLDER` measures the store port and prints JSON.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it measures, and its output is what it is for"
)]

use std::{
    error::Error,
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use app::{command::Output, ports::store::Store as _};
use domain::id::ProjectId;
use store_sqlite::SqliteStore;
use testkit::contract::{
    clock::ManualClock,
    world::{claim_command, create_command, register_command, request, starts, work},
};

type Done<T> = Result<T, Box<dyn Error>>;

/// Requests of the cases with one caller, and callers and requests of each of the others.
const ALONE: usize = 500;
const CALLERS: usize = 100;
const CREATES: usize = 100;
const CLAIMS: usize = 50;

fn main() -> Done<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match words.as_slice() {
        ["fill", file, tasks] => fill(Path::new(file), tasks.parse()?),
        ["port", folder] => port(Path::new(folder)),
        _ => Err("expected `fill FILE TASKS` or `port FOLDER`".into()),
    }
}

/// Copies the first task, as one that has ended; one of a hundred was cancelled.
fn fill(file: &Path, tasks: u64) -> Done<()> {
    let connection = rusqlite::Connection::open(file)?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = OFF;
         BEGIN;
         CREATE TEMP TABLE new (id INTEGER PRIMARY KEY, status INTEGER, word TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {tasks})
         INSERT INTO new SELECT (SELECT min(id) FROM tasks) - {tasks} - 1 + i,
             CASE WHEN i % 100 = 0 THEN 4 ELSE 2 END,
             CASE WHEN i % 100 = 0 THEN 'cancelled' ELSE 'completed' END FROM n;
         CREATE TEMP TABLE first AS SELECT * FROM tasks ORDER BY id LIMIT 1;
         INSERT INTO tasks SELECT new.id, project, new.status, kind, priority, 0, 0, 1, 0,
             NULL, NULL, NULL, new.id, NULL, 0, NULL, agent, owner, NULL, timeout,
             timeout_warning, retries_max, auto_retry, NULL, NULL, created_at, updated_at, 3,
             '{{\"status\":\"' || new.word || '\",\"at\":\"2026-01-01T00:00:00.000Z\"}}'
             FROM new, first;
         INSERT INTO specs SELECT new.id, (SELECT spec FROM specs LIMIT 1) FROM new;
         INSERT INTO counters
             SELECT project, new.status, count(*) FROM new, first GROUP BY 1, 2
             ON CONFLICT DO UPDATE SET count = counters.count + excluded.count;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE);"
    ))?;
    Ok(())
}

fn port(folder: &Path) -> Done<()> {
    let place = tempfile::tempdir_in(folder)?;
    let path = place.path().join("store.db");
    let clock = Arc::new(ManualClock::default());

    let file = File::create(place.path().join("append"))?;
    let mut append_at = 0;
    let append = median(|| {
        file.write_all_at(&[7; 4096], append_at)?;
        append_at += 4096;
        Ok(file.sync_data()?)
    })?;
    let store = SqliteStore::own(&path, clock)?;
    let Output::Project { project } = store.execute(request(register_command()))?.output else {
        return Err("no project was made".into());
    };
    let create = median(|| {
        store.execute(request(create_command(project.id, work("work"))))?;
        Ok(())
    })?;
    let creates = together(CREATES, || creates_one(&store, project.id))?;
    let claims = together(CLAIMS, || claims_one(&store, project.id))?;
    println!(
        "{}",
        serde_json::json!({
            "append_us": append.as_secs_f64() * 1e6,
            "append_per_second": 1.0 / append.as_secs_f64(),
            "create_us": create.as_secs_f64() * 1e6,
            "creates_per_second": creates,
            "claims_per_second": claims,
        })
    );
    Ok(())
}

fn creates_one(store: &SqliteStore, project: ProjectId) -> Result<(), app::error::Error> {
    store
        .execute(request(create_command(project, work("work"))))
        .map(drop)
}

fn claims_one(store: &SqliteStore, project: ProjectId) -> Result<(), app::error::Error> {
    store
        .execute(request(claim_command(project, starts(1))))
        .map(drop)
}

fn median(mut act: impl FnMut() -> Done<()>) -> Done<Duration> {
    let mut times = Vec::with_capacity(ALONE);
    for _ in 0..ALONE {
        let begun = Instant::now();
        act()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times
        .get(ALONE / 2)
        .copied()
        .ok_or_else(|| "nothing was measured".into())
}

/// How many a second, from as many callers as there are.
fn together(each: usize, act: impl Fn() -> Result<(), app::error::Error> + Sync) -> Done<f64> {
    let begun = Instant::now();
    let act = &act;
    let results: Vec<Result<(), app::error::Error>> = std::thread::scope(|scope| {
        let caller = move || (0..each).try_for_each(|_| act());
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(caller)).collect();
        let ended = callers.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended.filter_map(Result::ok).collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    for result in results {
        result?;
    }
    Ok(f64::from(u32::try_from(CALLERS * each)?) / seconds)
}
