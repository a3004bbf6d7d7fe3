-- A policy's versions never change; which one is in force is in its row. Numbers never come back.
CREATE TABLE IF NOT EXISTS policies (
    policy_name TEXT NOT NULL PRIMARY KEY,
    default_version INTEGER NOT NULL,
    newest_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS policy_versions (
    policy_name TEXT NOT NULL,
    version INTEGER NOT NULL,
    document TEXT NOT NULL, -- as the client sent it
    created_at INTEGER NOT NULL,
    PRIMARY KEY (policy_name, version)
) STRICT, WITHOUT ROWID;

-- The target is an ARN, of a certificate for example, or another principal's identifier.
CREATE TABLE IF NOT EXISTS policy_attachments (
    target TEXT NOT NULL,
    policy_name TEXT NOT NULL,
    PRIMARY KEY (target, policy_name)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS policy_attachments_by_policy ON policy_attachments (policy_name, target);
