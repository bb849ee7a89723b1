-- Several nodes share the store. Sessions of old are of this machine.

CREATE TABLE nodes (
    id   INTEGER PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE leader (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    body TEXT NOT NULL
) STRICT;

CREATE TABLE checkouts (
    project INTEGER NOT NULL REFERENCES projects (id),
    node    INTEGER NOT NULL,
    root    TEXT NOT NULL,
    PRIMARY KEY (project, node)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX checkouts_place ON checkouts (node, root);

ALTER TABLE projects ADD COLUMN remote TEXT;
CREATE UNIQUE INDEX projects_remote ON projects (remote) WHERE remote IS NOT NULL;

ALTER TABLE sessions ADD COLUMN node INTEGER;
ALTER TABLE sessions ADD COLUMN managed INTEGER NOT NULL DEFAULT 1;

UPDATE sessions SET managed = (json_extract(body, '$.kind') = 'managed') WHERE live = 1;

CREATE INDEX sessions_of_node ON sessions (node) WHERE live = 1 AND managed = 1;

PRAGMA user_version = 5;
