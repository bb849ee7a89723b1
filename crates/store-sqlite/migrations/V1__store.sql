-- Numbers of ids are the keys. A task's row is small, because every change of status rewrites it;
-- what was asked for stands in `specs` and is written once.

CREATE TABLE projects (
    id         INTEGER PRIMARY KEY,
    root       TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE tasks (
    id              INTEGER PRIMARY KEY,
    project         INTEGER NOT NULL REFERENCES projects (id),
    status          INTEGER NOT NULL, -- 0 pending, 1 running, 2 completed, 3 failed, 4 cancelled
    kind            INTEGER NOT NULL, -- 0 managed, 1 external
    priority        INTEGER NOT NULL,
    unmet           INTEGER NOT NULL, -- chains it waits for
    scheduled       INTEGER NOT NULL, -- 1 until its time was seen to have come
    fence           INTEGER NOT NULL,
    requeues        INTEGER NOT NULL,
    due_boot        TEXT,
    due_millis      INTEGER,
    due_wall        INTEGER,
    root            INTEGER NOT NULL,
    retry_of        INTEGER,
    retry_count     INTEGER NOT NULL,
    retried_by      INTEGER,
    agent           TEXT NOT NULL,
    owner           TEXT NOT NULL,
    key             TEXT,
    timeout         INTEGER,
    timeout_warning INTEGER NOT NULL,
    retries_max     INTEGER NOT NULL,
    auto_retry      INTEGER NOT NULL,
    archived_at     INTEGER,
    deleted_at      INTEGER,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    state           TEXT -- what the status alone does not say
) STRICT;

-- What may start, by group, so that the oldest of each is one step away.
CREATE INDEX tasks_ready ON tasks (project, priority, agent, owner, id)
    WHERE status = 0 AND kind = 0 AND unmet = 0 AND scheduled = 0 AND deleted_at IS NULL;
CREATE INDEX tasks_scheduled ON tasks (due_boot, due_millis)
    WHERE status = 0 AND kind = 0 AND unmet = 0 AND scheduled = 1 AND deleted_at IS NULL;
CREATE INDEX tasks_scheduled_wall ON tasks (due_wall)
    WHERE status = 0 AND kind = 0 AND unmet = 0 AND scheduled = 1 AND deleted_at IS NULL;
CREATE INDEX tasks_listed ON tasks (project, status, id)
    WHERE archived_at IS NULL AND deleted_at IS NULL;
CREATE INDEX tasks_archived ON tasks (project, id)
    WHERE archived_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX tasks_retries ON tasks (root, id) WHERE retry_of IS NOT NULL;
CREATE UNIQUE INDEX tasks_key ON tasks (project, key)
    WHERE key IS NOT NULL AND deleted_at IS NULL;

CREATE TABLE specs (
    id   INTEGER PRIMARY KEY REFERENCES tasks (id),
    spec TEXT NOT NULL
) STRICT;

CREATE TABLE dependencies (
    root INTEGER NOT NULL,
    task INTEGER NOT NULL REFERENCES tasks (id),
    PRIMARY KEY (root, task)
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
    project INTEGER NOT NULL,
    status  INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (project, status)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    id      INTEGER PRIMARY KEY,
    task    INTEGER NOT NULL REFERENCES tasks (id),
    project INTEGER NOT NULL,
    live    INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body    TEXT NOT NULL
) STRICT;

CREATE INDEX sessions_of_task ON sessions (task, id);
CREATE INDEX sessions_live ON sessions (project, id) WHERE live = 1;

-- The bytes of header and payload are the bytes that were hashed.
CREATE TABLE events (
    position    INTEGER PRIMARY KEY,
    stream_kind INTEGER NOT NULL, -- 0 project, 1 task, 2 session
    stream_id   INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    header      BLOB NOT NULL,
    payload     BLOB NOT NULL,
    stream_hash BLOB NOT NULL,
    global_hash BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_of_stream ON events (stream_kind, stream_id, seq);

CREATE TABLE effects (
    task    INTEGER PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT;

CREATE TABLE ids (
    kind INTEGER PRIMARY KEY, -- 0 project, 1 task, 2 session
    last INTEGER NOT NULL
) STRICT;

CREATE TABLE idempotency (
    key   TEXT PRIMARY KEY,
    at    INTEGER NOT NULL,
    reply TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_age ON idempotency (at);

PRAGMA user_version = 1;
