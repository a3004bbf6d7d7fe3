-- Static and dynamic thing groups. The path has the names from the root down, as in `/site/floor/room/`: who is below whom
-- is a range of paths. No group ever moves.
CREATE TABLE IF NOT EXISTS thing_groups (
    thing_group_name TEXT NOT NULL PRIMARY KEY,
    thing_group_id TEXT NOT NULL,
    parent_group_name TEXT NOT NULL, -- empty for a root
    path TEXT NOT NULL,
    version INTEGER NOT NULL,
    document TEXT NOT NULL, -- description, attributes and, of a dynamic group, its query: JSON
    is_dynamic INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX IF NOT EXISTS thing_groups_by_path ON thing_groups (path);

CREATE INDEX IF NOT EXISTS thing_groups_by_parent ON thing_groups (parent_group_name, thing_group_name);

CREATE INDEX IF NOT EXISTS dynamic_thing_groups ON thing_groups (thing_group_name) WHERE is_dynamic = 1;

-- In the partition of the thing.
CREATE TABLE IF NOT EXISTS thing_group_members (
    path TEXT NOT NULL,
    thing_name TEXT NOT NULL,
    is_dynamic INTEGER NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (path, thing_name)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS thing_group_members_by_thing ON thing_group_members (thing_name, path);

CREATE INDEX IF NOT EXISTS things_by_billing_group ON things (billing_group_name, thing_name)
    WHERE billing_group_name IS NOT NULL;
