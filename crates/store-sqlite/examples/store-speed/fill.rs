//! Many tasks in a store that holds one.

use std::path::Path;

use crate::Done;

/// Copies the first task, as one that has ended; one of a hundred was cancelled.
pub(crate) fn ended(file: &Path, tasks: u64) -> Done<()> {
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
             '{{\"status\":\"' || new.word || '\",\"at\":\"2026-01-01T00:00:00.000Z\"}}', NULL
             FROM new, first;
         INSERT INTO specs SELECT new.id, (SELECT spec FROM specs LIMIT 1) FROM new;
         INSERT INTO counters
             SELECT project, owner, new.status, count(*) FROM new, first GROUP BY 1, 2, 3
             ON CONFLICT DO UPDATE SET count = counters.count + excluded.count;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE);"
    ))?;
    Ok(())
}

/// Copies the newest task, which is waiting, as it stands.
pub(crate) fn queued(file: &Path, tasks: u64) -> Done<()> {
    let connection = rusqlite::Connection::open(file)?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = OFF;
         BEGIN;
         CREATE TEMP TABLE first AS SELECT * FROM tasks ORDER BY id DESC LIMIT 1;
         CREATE TEMP TABLE new AS
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {tasks})
             SELECT first.id - {tasks} - 1 + i AS id FROM n, first;
         INSERT INTO tasks SELECT new.id, project, status, kind, priority, 0, 0, 0, 0,
             NULL, NULL, NULL, new.id, NULL, 0, NULL, agent, owner, NULL, timeout,
             timeout_warning, retries_max, auto_retry, NULL, NULL, created_at, updated_at, 1, NULL,
             NULL
             FROM new, first;
         INSERT INTO specs SELECT new.id, (SELECT spec FROM specs ORDER BY id DESC LIMIT 1) FROM new;
         INSERT INTO counters SELECT project, owner, status, {tasks} FROM first WHERE true
             ON CONFLICT DO UPDATE SET count = counters.count + excluded.count;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE);"
    ))?;
    Ok(())
}
