-- How much a project or an owner may have of something, and what is counted for that.

CREATE TABLE @quotas (
    resource   smallint NOT NULL, -- 0 active sessions, 1 queued tasks, 2 tokens a month
    project    bigint NOT NULL,   -- 0: all projects together
    owner      text COLLATE "C" NOT NULL, -- empty: all owners together
    max        bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    version    bigint NOT NULL,
    PRIMARY KEY (resource, project, owner)
);

CREATE TABLE @token_months (
    month   bigint NOT NULL, -- 202611, in UTC
    project bigint NOT NULL,
    owner   text COLLATE "C" NOT NULL,
    tokens  bigint NOT NULL,
    PRIMARY KEY (month, project, owner)
);

-- Tasks are counted by owner too. A row is put in the place of another, never changed, so that the
-- newest is found at once whatever snapshot somebody holds open.
DROP TABLE @counters;
CREATE TABLE @counters (
    project    bigint NOT NULL,
    owner      text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    counts     bigint[] NOT NULL,
    PRIMARY KEY (project, owner, generation)
);

INSERT INTO @counters (project, owner, generation, counts)
    SELECT project, owner, 0, ARRAY[
        count(*) FILTER (WHERE status = 0), count(*) FILTER (WHERE status = 1),
        count(*) FILTER (WHERE status = 2), count(*) FILTER (WHERE status = 3),
        count(*) FILTER (WHERE status = 4)]
    FROM @tasks WHERE archived_at IS NULL AND deleted_at IS NULL
    GROUP BY project, owner;
