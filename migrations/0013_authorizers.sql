-- Which of them is the default one is a fact about the deployment: the key default_authorizer of its table.
CREATE TABLE IF NOT EXISTS authorizers (
    authorizer_name TEXT NOT NULL PRIMARY KEY,
    function_arn TEXT NOT NULL, -- or another name of the function, as the client sent it
    token_key_name TEXT, -- may be NULL when signing is disabled
    signing_keys TEXT NOT NULL, -- a JSON object: PEM by name
    signing_disabled INTEGER NOT NULL, -- 0 or 1
    status TEXT NOT NULL,
    enable_caching_for_http INTEGER NOT NULL, -- 0 or 1
    created_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS authorizers_by_status ON authorizers (status, authorizer_name);
