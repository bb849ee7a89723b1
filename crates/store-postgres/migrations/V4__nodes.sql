-- Several nodes share the store.

CREATE TABLE @nodes (
    id   bigint PRIMARY KEY,
    body text NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE @leader (
    one  smallint PRIMARY KEY CHECK (one = 1),
    body text NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE @checkouts (
    project bigint NOT NULL,
    node    bigint NOT NULL,
    root    text COLLATE "C" NOT NULL,
    PRIMARY KEY (project, node),
    UNIQUE (node, root)
);

ALTER TABLE @projects ADD COLUMN remote text COLLATE "C";
CREATE UNIQUE INDEX projects_remote ON @projects (remote) WHERE remote IS NOT NULL;

ALTER TABLE @sessions ADD COLUMN node bigint;
ALTER TABLE @sessions ADD COLUMN managed boolean NOT NULL DEFAULT true;

UPDATE @sessions SET managed = (body::json ->> 'kind' = 'managed') WHERE live;

CREATE INDEX sessions_of_node ON @sessions (node) WHERE live AND managed;
