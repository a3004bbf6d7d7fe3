-- Which object has which virtual shard, for those that are no longer where the deployment began with them. The objects
-- themselves know better at any moment; this is where plans begin and what Brokers start from.
CREATE TABLE IF NOT EXISTS virtual_shards (
    kind TEXT NOT NULL, -- 'router' or 'sessions'
    shard INTEGER NOT NULL, -- 0 to 1023
    object INTEGER NOT NULL,
    PRIMARY KEY (kind, shard)
) STRICT, WITHOUT ROWID;
