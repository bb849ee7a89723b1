-- Numbers of ids are the keys. A task's row is small, because every change of status rewrites it;
-- what was asked for stands in `specs` and is written once. No row is changed by every transaction:
-- counters, numbers and generations are added, read from their newest row, and cut now and then, so
-- that a snapshot that somebody holds open makes nothing slow. Writers take turns by one lock, so
-- that nothing here has to guard against two of them.

CREATE TABLE @projects (
    id         bigint PRIMARY KEY,
    root       text COLLATE "C" NOT NULL UNIQUE,
    name       text NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE @tasks (
    id              bigint PRIMARY KEY,
    project         bigint NOT NULL,
    status          smallint NOT NULL, -- 0 pending, 1 running, 2 completed, 3 failed, 4 cancelled
    kind            smallint NOT NULL, -- 0 managed, 1 external
    priority        smallint NOT NULL,
    scheduled       boolean NOT NULL,  -- until its time was seen to have come
    auto_retry      boolean NOT NULL,
    unmet           integer NOT NULL,  -- chains it waits for
    fence           bigint NOT NULL,
    requeues        bigint NOT NULL,
    due_millis      bigint,
    due_wall        bigint,
    root            bigint NOT NULL,
    retry_of        bigint,
    retry_count     bigint NOT NULL,
    retried_by      bigint,
    timeout         bigint,
    timeout_warning bigint NOT NULL,
    retries_max     bigint NOT NULL,
    archived_at     bigint,
    deleted_at      bigint,
    purged_at       bigint,
    created_at      bigint NOT NULL,
    updated_at      bigint NOT NULL,
    version         bigint NOT NULL,
    agent           text COLLATE "C" NOT NULL,
    owner           text COLLATE "C" NOT NULL,
    key             text COLLATE "C",
    due_boot        text COLLATE "C",
    state           text -- what the status alone does not say
) WITH (fillfactor = 80);

-- What may start, by group, so that the oldest of each is one step away.
CREATE INDEX tasks_ready ON @tasks (project, priority, agent, owner, id)
    WHERE status = 0 AND kind = 0 AND unmet = 0 AND NOT scheduled AND deleted_at IS NULL;
CREATE INDEX tasks_scheduled ON @tasks (due_boot, due_millis)
    WHERE status = 0 AND kind = 0 AND unmet = 0 AND scheduled AND deleted_at IS NULL;
CREATE INDEX tasks_scheduled_wall ON @tasks (due_wall)
    WHERE status = 0 AND kind = 0 AND unmet = 0 AND scheduled AND deleted_at IS NULL;
CREATE INDEX tasks_listed ON @tasks (project, status, id)
    WHERE archived_at IS NULL AND deleted_at IS NULL;
CREATE INDEX tasks_archived ON @tasks (project, id)
    WHERE archived_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX tasks_deleted ON @tasks (project, id)
    WHERE deleted_at IS NOT NULL AND purged_at IS NULL;
CREATE INDEX tasks_retries ON @tasks (root, id) WHERE retry_of IS NOT NULL;
CREATE UNIQUE INDEX tasks_key ON @tasks (project, key)
    WHERE key IS NOT NULL AND deleted_at IS NULL;

CREATE TABLE @specs (
    id   bigint PRIMARY KEY,
    spec text NOT NULL
);

CREATE TABLE @dependencies (
    root bigint NOT NULL,
    task bigint NOT NULL,
    PRIMARY KEY (root, task)
);

CREATE TABLE @sessions (
    id      bigint PRIMARY KEY,
    task    bigint NOT NULL,
    project bigint NOT NULL,
    live    boolean NOT NULL,
    version bigint NOT NULL,
    body    text NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX sessions_of_task ON @sessions (task, id);
CREATE INDEX sessions_live ON @sessions (project, id) WHERE live;

-- The bytes of header and payload are the bytes that were hashed.
CREATE TABLE @events (
    position    bigint PRIMARY KEY,
    stream_id   bigint NOT NULL,
    seq         bigint NOT NULL,
    stream_kind smallint NOT NULL, -- 0 project, 1 task, 2 session
    header      bytea NOT NULL,
    payload     bytea NOT NULL,
    stream_hash bytea NOT NULL,
    global_hash bytea NOT NULL,
    dropped     bytea -- the payload's hash; the payload is empty then
);

CREATE UNIQUE INDEX events_of_stream ON @events (stream_kind, stream_id, seq);

CREATE TABLE @effects (
    task    bigint PRIMARY KEY,
    version bigint NOT NULL
);

-- How many tasks of a project have each status, as of a generation; the newest row counts.
CREATE TABLE @counters (
    project    bigint NOT NULL,
    generation bigint NOT NULL,
    counts     bigint[] NOT NULL,
    PRIMARY KEY (project, generation)
);

-- A row for each transaction: who made it, and the last number of each kind since.
CREATE TABLE @commits (
    generation bigint PRIMARY KEY,
    writer     bigint NOT NULL,
    at         bigint NOT NULL,
    project    bigint NOT NULL,
    task       bigint NOT NULL,
    session    bigint NOT NULL
);

-- Numbers that the store keeps of itself.
CREATE TABLE @marks (
    kind  smallint PRIMARY KEY,
    value bigint NOT NULL
);

CREATE TABLE @answers (
    key   text COLLATE "C" PRIMARY KEY,
    at    bigint NOT NULL,
    reply text NOT NULL
);

CREATE INDEX answers_age ON @answers (at);
