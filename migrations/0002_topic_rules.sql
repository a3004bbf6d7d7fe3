CREATE TABLE IF NOT EXISTS topic_rules (
    rule_name TEXT NOT NULL PRIMARY KEY,
    topic_pattern TEXT NOT NULL, -- the topic filter of FROM
    payload TEXT NOT NULL, -- TopicRulePayload as the client sent it
    program BLOB NOT NULL, -- the compiled rule
    rule_disabled INTEGER NOT NULL, -- 0 or 1
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
