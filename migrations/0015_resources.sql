-- What is small, is read by its name and has no queries of its own: thing types, billing groups, settings and the like. The
-- kind says which; the document is the crate `registry`'s.
CREATE TABLE IF NOT EXISTS resources (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL, -- 1 at creation, one more with every change
    document TEXT NOT NULL, -- JSON
    created_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
