-- Access keys of people and services. Their secrets are derived, and not here.
CREATE TABLE IF NOT EXISTS api_keys (
    access_key_id TEXT NOT NULL PRIMARY KEY,
    description TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
