-- What fleet indexing finds things and thing groups by (crate `fleet-index`, schema.rs). Things are in their own partition,
-- thing groups in the first. The documents have row ids because they are large: without them, SQLite gives most of each
-- document a page of its own.

CREATE TABLE IF NOT EXISTS thing_index_documents (
    name TEXT PRIMARY KEY NOT NULL,
    revision INTEGER NOT NULL,
    document TEXT NOT NULL,
    terms TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS thing_index_terms (
    field TEXT NOT NULL,
    value ANY NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    PRIMARY KEY (field, value, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS thing_group_index_documents (
    name TEXT PRIMARY KEY NOT NULL,
    revision INTEGER NOT NULL,
    document TEXT NOT NULL,
    terms TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS thing_group_index_terms (
    field TEXT NOT NULL,
    value ANY NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    PRIMARY KEY (field, value, name)
) STRICT, WITHOUT ROWID;
