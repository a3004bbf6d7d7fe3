-- Tokens with a `jti`, which are good for one use, until they would have expired anyway.
CREATE TABLE IF NOT EXISTS token_uses (
    certificate_id TEXT NOT NULL,
    token TEXT NOT NULL, -- SHA-256 of the `jti`
    until INTEGER NOT NULL,
    PRIMARY KEY (certificate_id, token)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS token_uses_by_end ON token_uses (until);
