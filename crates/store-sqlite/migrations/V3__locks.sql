-- Locks: who holds what, and who waits for it.

CREATE TABLE locks (
    id       INTEGER PRIMARY KEY,
    project  INTEGER NOT NULL,
    standing INTEGER NOT NULL, -- 0 waiting, 1 held, 2 taken away
    token    INTEGER,
    holder   TEXT NOT NULL,
    rank     INTEGER NOT NULL, -- its place in the queue, the lower ones first
    shares   INTEGER NOT NULL, -- 1 where it goes with others that share
    boot     TEXT NOT NULL, -- when its time is over
    until    INTEGER NOT NULL,
    body     TEXT NOT NULL
) STRICT;

CREATE INDEX locks_standing ON locks (project, standing, id);
CREATE INDEX locks_of_holder ON locks (project, holder, id);
CREATE UNIQUE INDEX locks_of_token ON locks (token) WHERE token IS NOT NULL;

-- What is held or waited for, by path; a tree stands for all beneath it too.
CREATE TABLE lock_paths (
    project INTEGER NOT NULL,
    path    TEXT NOT NULL,
    lock    INTEGER NOT NULL,
    tree    INTEGER NOT NULL,
    PRIMARY KEY (project, path, lock)
) STRICT, WITHOUT ROWID;

CREATE TABLE lock_totals (
    project INTEGER PRIMARY KEY,
    body    TEXT NOT NULL
) STRICT;

PRAGMA user_version = 3;
