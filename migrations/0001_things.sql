-- One row per thing and, without a rowid, one B-tree: a write is one row. The index holds only things that have a type,
-- so that the others do not pay for it. Names compare bytewise, which is the order that lists are merged in.
CREATE TABLE IF NOT EXISTS things (
    thing_name TEXT NOT NULL PRIMARY KEY,
    thing_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    attributes TEXT NOT NULL, -- a JSON object of strings
    thing_type_name TEXT,
    billing_group_name TEXT,
    created_at INTEGER NOT NULL -- Unix milliseconds, here and below
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS things_by_thing_type ON things (thing_type_name, thing_name)
    WHERE thing_type_name IS NOT NULL;
