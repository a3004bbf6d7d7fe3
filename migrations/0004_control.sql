-- Changes that Brokers must know, numbered 1, 2, 3 … in each partition. The newest row is never deleted: the next number
-- comes from it.
CREATE TABLE IF NOT EXISTS control_log (
    partition INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (partition, sequence)
) STRICT, WITHOUT ROWID;

-- Values that the first deploy fixes, such as the number of shards.
CREATE TABLE IF NOT EXISTS deployment (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
