-- Deleted tasks can be listed, brought back and purged; a content that was dropped leaves its hash.

ALTER TABLE tasks ADD COLUMN purged_at INTEGER;

CREATE INDEX tasks_deleted ON tasks (project, id)
    WHERE deleted_at IS NOT NULL AND purged_at IS NULL;

ALTER TABLE events ADD COLUMN dropped BLOB; -- the payload's hash; the payload is empty then

PRAGMA user_version = 2;
