//! The rows of a widely quoted benchmark: 100,000 tasks with a text key, two indexes and about 145
//! bytes of content, in WAL mode without a sync at each commit; and what the product's own calls do
//! for the same wishes, each on the disk before it is answered.

use std::{path::Path, thread, time::Duration};

use app::{
    ports::store::Store as _,
    query::{Query, TaskFilter, View},
};
use domain::task::{Task, TaskStatus};
use rusqlite::{Connection, params};
use store_sqlite::SqliteStore;
use testkit::contract::world::{create_command, request, work};

use crate::{
    Done, Place,
    measure::{per_second, timed, together},
};

const ROWS: usize = 100_000;
const BATCH: usize = 1_000;
const READS: usize = 10_000;
const RANGES: usize = 1_000;
const RANGE: usize = 100;
const WRITERS: usize = 100;

pub(crate) fn rows(folder: &Path) -> Done<serde_json::Value> {
    let mut measured = same_schema(folder)?;
    measured.extend(product(folder)?);
    Ok(measured.into())
}

type Numbers = serde_json::Map<String, serde_json::Value>;

fn rate(
    numbers: &mut Numbers,
    name: &str,
    count: usize,
    act: impl FnOnce() -> Done<()>,
) -> Done<()> {
    let seconds = timed(act)?.as_secs_f64();
    numbers.insert(name.to_owned(), per_second(count, seconds).into());
    Ok(())
}

fn connect(path: &Path) -> Done<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_mins(1))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536;
         PRAGMA temp_store = MEMORY;",
    )?;
    Ok(connection)
}

const SCHEMA: &str = "CREATE TABLE tasks (id TEXT PRIMARY KEY, name TEXT NOT NULL,
     status TEXT NOT NULL, owner TEXT, metadata TEXT, created_at TEXT NOT NULL);
     CREATE INDEX tasks_status ON tasks (status); CREATE INDEX tasks_owner ON tasks (owner);";
const INSERT: &str = "INSERT INTO tasks VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const STATUSES: [&str; 4] = ["pending", "running", "completed", "failed"];

fn insert(connection: &Connection, id: &str, row: usize) -> Done<()> {
    let status = STATUSES.get(row % STATUSES.len());
    connection.prepare_cached(INSERT)?.execute(params![
        id,
        format!("Task number {row}"),
        status,
        format!("agent-{}", row % 10),
        format!(
            "{{\"priority\":{},\"tags\":[\"a\",\"b\"],\"attempt\":{row}}}",
            row % 5
        ),
        "2026-01-01T00:00:00.000Z",
    ])?;
    Ok(())
}

fn same_schema(folder: &Path) -> Done<Numbers> {
    let place = Place::new(folder)?;
    let path = place.path("document.db");
    let connection = connect(&path)?;
    connection.execute_batch(SCHEMA)?;
    let mut numbers = Numbers::new();
    rate(&mut numbers, "same_insert", ROWS, || {
        for batch in 0..ROWS / BATCH {
            connection.execute_batch("BEGIN")?;
            for row in batch * BATCH..(batch + 1) * BATCH {
                insert(&connection, &format!("task_{row}"), row)?;
            }
            connection.execute_batch("COMMIT")?;
        }
        Ok(())
    })?;
    rate(&mut numbers, "same_read", READS, || {
        for read in 0..READS {
            let id = format!("task_{}", read.wrapping_mul(7_919) % ROWS);
            let mut statement = connection.prepare_cached("SELECT * FROM tasks WHERE id = ?1")?;
            statement.query_row([id], |row| row.get::<_, String>(4))?;
        }
        Ok(())
    })?;
    rate(&mut numbers, "same_range", RANGES, || {
        let sql = "SELECT * FROM tasks WHERE status = ?1 LIMIT 100";
        let mut statement = connection.prepare(sql)?;
        for range in 0..RANGES {
            count(&mut statement.query([STATUSES.get(range % STATUSES.len())])?)?;
        }
        Ok(())
    })?;
    rate(&mut numbers, "same_update", READS, || {
        let sql = "UPDATE tasks SET status = 'completed' WHERE id = ?1";
        let mut statement = connection.prepare(sql)?;
        for update in 0..READS {
            statement.execute([format!("task_{}", update.wrapping_mul(7_919) % ROWS)])?;
        }
        Ok(())
    })?;
    rate(&mut numbers, "same_scan", ROWS, || {
        count(&mut connection.prepare("SELECT * FROM tasks")?.query([])?)
    })?;
    rate(&mut numbers, "same_writers", WRITERS * 100, || {
        thread::scope(|scope| {
            let write = |writer: usize| -> Result<(), String> {
                let one = || -> Done<()> {
                    let own = connect(&path)?;
                    (0..100).try_for_each(|row| insert(&own, &format!("w_{writer}_{row}"), row))
                };
                one().map_err(|error| error.to_string())
            };
            let all: Vec<_> = (0..WRITERS)
                .map(|writer| scope.spawn(move || write(writer)))
                .collect();
            for one in all {
                one.join().map_err(|_| "a writer panicked")??;
            }
            Ok(())
        })
    })?;
    Ok(numbers)
}

/// Reads every column, as who asks for a row does.
fn count(rows: &mut rusqlite::Rows<'_>) -> Done<()> {
    while let Some(row) = rows.next()? {
        for column in 0..6 {
            std::hint::black_box(row.get_ref(column)?);
        }
    }
    Ok(())
}

fn product(folder: &Path) -> Done<Numbers> {
    let place = Place::new(folder)?;
    let (store, project) = place.store()?;
    let mut numbers = Numbers::new();
    let creates = together(WRITERS, ROWS / WRITERS, || {
        store.execute(request(create_command(project, work("work"))))?;
        Ok(())
    })?;
    numbers.insert("durable_insert".to_owned(), creates.into());
    let filter = TaskFilter {
        project: Some(project),
        statuses: vec![TaskStatus::Pending],
        ..TaskFilter::default()
    };
    let mut ids = vec![];
    rate(&mut numbers, "durable_scan", ROWS, || {
        let mut after = None;
        loop {
            let filter = TaskFilter {
                after,
                ..filter.clone()
            };
            let tasks = store_page(&store, filter, BATCH)?;
            after = tasks.last().map(|task| task.id);
            ids.extend(tasks.iter().map(|task| task.id));
            if after.is_none() {
                return Ok(());
            }
        }
    })?;
    rate(&mut numbers, "durable_read", READS, || {
        for read in 0..READS {
            let id = ids
                .get(read.wrapping_mul(7_919) % ids.len())
                .ok_or("an id")?;
            store.look(|reader| reader.task(*id))?.ok_or("a task")?;
        }
        Ok(())
    })?;
    rate(&mut numbers, "durable_range", RANGES, || {
        for _ in 0..RANGES {
            store_page(&store, filter.clone(), RANGE)?;
        }
        Ok(())
    })?;
    Ok(numbers)
}

fn store_page(store: &SqliteStore, filter: TaskFilter, limit: usize) -> Done<Vec<Task>> {
    match store.read(&Query::Tasks { filter, limit })? {
        View::Tasks { tasks } => Ok(tasks),
        _ => Err("a page has tasks".into()),
    }
}
