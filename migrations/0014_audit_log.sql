-- Who changed what, and what was denied to whom. Rows go after 90 days.
CREATE TABLE IF NOT EXISTS audit_log (
    sequence INTEGER NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    outcome TEXT NOT NULL, -- 'changed' or 'denied'
    principal TEXT NOT NULL, -- empty when nobody has proved anything
    source_ip TEXT,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    reason TEXT, -- why it was denied
    trace_id TEXT NOT NULL -- of the request or the connection
) STRICT;
