-- How much a project or an owner may have of something, and what is counted for that.

CREATE TABLE quotas (
    resource   INTEGER NOT NULL, -- 0 active sessions, 1 queued tasks, 2 tokens a month
    project    INTEGER NOT NULL, -- 0: all projects together
    owner      TEXT NOT NULL,    -- empty: all owners together
    max        INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    PRIMARY KEY (resource, project, owner)
) STRICT, WITHOUT ROWID;

CREATE TABLE token_months (
    month   INTEGER NOT NULL, -- 202611, in UTC
    project INTEGER NOT NULL,
    owner   TEXT NOT NULL,
    tokens  INTEGER NOT NULL,
    PRIMARY KEY (month, project, owner)
) STRICT, WITHOUT ROWID;

-- Tasks are counted by owner too.
CREATE TABLE owner_counters (
    project INTEGER NOT NULL,
    owner   TEXT NOT NULL,
    status  INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (project, owner, status)
) STRICT, WITHOUT ROWID;

INSERT INTO owner_counters (project, owner, status, count)
    SELECT project, owner, status, count(*) FROM tasks
    WHERE archived_at IS NULL AND deleted_at IS NULL
    GROUP BY project, owner, status;

DROP TABLE counters;
ALTER TABLE owner_counters RENAME TO counters;

PRAGMA user_version = 4;
