-- Names under which devices get temporary credentials, and the roles whose policies count for those.
CREATE TABLE IF NOT EXISTS role_aliases (
    role_alias TEXT NOT NULL PRIMARY KEY,
    role_arn TEXT NOT NULL,
    credential_duration_secs INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
