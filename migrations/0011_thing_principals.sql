-- Which certificates, and other identities, belong to a thing.
CREATE TABLE IF NOT EXISTS thing_principals (
    principal TEXT NOT NULL, -- the ARN of a certificate, or another principal's identifier
    thing_name TEXT NOT NULL,
    is_exclusive INTEGER NOT NULL, -- whether the principal is to have no other thing
    PRIMARY KEY (principal, thing_name)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS thing_principals_by_thing ON thing_principals (thing_name, principal);
