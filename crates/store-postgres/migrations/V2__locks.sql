-- Locks: who holds what, and who waits for it.

CREATE TABLE @locks (
    id       bigint PRIMARY KEY,
    project  bigint NOT NULL,
    standing smallint NOT NULL, -- 0 waiting, 1 held, 2 taken away
    token    bigint,
    until    bigint NOT NULL,   -- when its time is over
    boot     text COLLATE "C" NOT NULL,
    holder   text COLLATE "C" NOT NULL,
    body     text NOT NULL
);

CREATE INDEX locks_standing ON @locks (project, standing, id);
CREATE INDEX locks_of_holder ON @locks (project, holder, id);
CREATE UNIQUE INDEX locks_of_token ON @locks (token) WHERE token IS NOT NULL;

-- What is held or waited for, by path; a tree stands for all beneath it too.
CREATE TABLE @lock_paths (
    project bigint NOT NULL,
    lock    bigint NOT NULL,
    path    text COLLATE "C" NOT NULL,
    tree    boolean NOT NULL,
    PRIMARY KEY (project, path, lock)
);

CREATE INDEX lock_paths_of_lock ON @lock_paths (lock);

CREATE TABLE @lock_totals (
    project bigint PRIMARY KEY,
    body    text NOT NULL
);
