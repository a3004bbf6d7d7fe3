CREATE TABLE IF NOT EXISTS certificates (
    certificate_id TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the DER encoding, in lower-case hexadecimal digits
    pem TEXT NOT NULL,
    status TEXT NOT NULL,
    ca_certificate_id TEXT, -- NULL when it was registered without its CA
    attributes TEXT NOT NULL, -- what policy variables stand for: a JSON object of arrays of strings
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    customer_version INTEGER NOT NULL,
    generation_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS certificates_by_creation ON certificates (created_at, certificate_id);
