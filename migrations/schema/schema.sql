-- The sum of all D1 migrations, for reading. Never applied: it is in a directory of its own because wrangler applies
-- every *.sql beside the migrations. crates/registry/tests/sql.rs compares it with what the migrations make.

-- One row per thing and, without a rowid, one B-tree: a write is one row. The index holds only things that have a type,
-- so that the others do not pay for it. Names compare bytewise, which is the order that lists are merged in.
CREATE TABLE things (
    thing_name TEXT NOT NULL PRIMARY KEY,
    thing_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    attributes TEXT NOT NULL, -- a JSON object of strings
    thing_type_name TEXT,
    billing_group_name TEXT,
    created_at INTEGER NOT NULL -- Unix milliseconds, here and below
) STRICT, WITHOUT ROWID;

CREATE INDEX things_by_thing_type ON things (thing_type_name, thing_name)
    WHERE thing_type_name IS NOT NULL;

CREATE TABLE topic_rules (
    rule_name TEXT NOT NULL PRIMARY KEY,
    topic_pattern TEXT NOT NULL, -- the topic filter of FROM
    payload TEXT NOT NULL, -- TopicRulePayload as the client sent it
    program BLOB NOT NULL, -- the compiled rule
    rule_disabled INTEGER NOT NULL, -- 0 or 1
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What ListJobs answers and the scheduler looks for; the job itself is in its Durable Object.
CREATE TABLE jobs (
    job_id TEXT NOT NULL PRIMARY KEY,
    status TEXT NOT NULL,
    target_selection TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_updated_at INTEGER NOT NULL,
    completed_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_by_creation ON jobs (created_at, job_id);

CREATE INDEX jobs_by_status ON jobs (status, created_at, job_id);

-- Changes that Brokers must know, numbered 1, 2, 3 … in each partition. The newest row is never deleted: the next number
-- comes from it.
CREATE TABLE control_log (
    partition INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (partition, sequence)
) STRICT, WITHOUT ROWID;

-- Facts about the deployment, such as over how many objects the virtual shards were last spread.
CREATE TABLE deployment (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Which object has which virtual shard, for those that are no longer where the deployment began with them. The objects
-- themselves know better at any moment; this is where plans begin and what Brokers start from.
CREATE TABLE virtual_shards (
    kind TEXT NOT NULL, -- 'router' or 'sessions'
    shard INTEGER NOT NULL, -- 0 to 1023
    object INTEGER NOT NULL,
    PRIMARY KEY (kind, shard)
) STRICT, WITHOUT ROWID;

-- A policy's versions never change; which one is in force is in its row. Numbers never come back.
CREATE TABLE policies (
    policy_name TEXT NOT NULL PRIMARY KEY,
    default_version INTEGER NOT NULL,
    newest_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE policy_versions (
    policy_name TEXT NOT NULL,
    version INTEGER NOT NULL,
    document TEXT NOT NULL, -- as the client sent it
    created_at INTEGER NOT NULL,
    PRIMARY KEY (policy_name, version)
) STRICT, WITHOUT ROWID;

-- The target is an ARN, of a certificate for example, or another principal's identifier.
CREATE TABLE policy_attachments (
    target TEXT NOT NULL,
    policy_name TEXT NOT NULL,
    PRIMARY KEY (target, policy_name)
) STRICT, WITHOUT ROWID;

CREATE INDEX policy_attachments_by_policy ON policy_attachments (policy_name, target);

CREATE TABLE certificates (
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

CREATE INDEX certificates_by_creation ON certificates (created_at, certificate_id);

CREATE TABLE ca_certificates (
    ca_certificate_id TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the DER encoding, in lower-case hexadecimal digits
    pem TEXT NOT NULL,
    subject_digest TEXT NOT NULL, -- what equal subjects have in common
    status TEXT NOT NULL,
    registers_devices INTEGER NOT NULL, -- whether unknown devices are registered when they connect
    certificate_mode TEXT NOT NULL,
    registration_config TEXT, -- JSON
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    customer_version INTEGER NOT NULL,
    generation_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX ca_certificates_by_creation ON ca_certificates (created_at, ca_certificate_id);
CREATE INDEX ca_certificates_by_subject ON ca_certificates (subject_digest);

-- What a certificate has to name that proves the key of an authority. One row at most.
CREATE TABLE registration_codes (
    registration_code TEXT NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The platform's own authority, which signs what CreateKeysAndCertificate and CreateCertificateFromCsr give. One row.
CREATE TABLE platform_authorities (
    number INTEGER NOT NULL PRIMARY KEY CHECK (number = 1),
    pem TEXT NOT NULL,
    sealed_key TEXT NOT NULL, -- PKCS #8, encrypted with a key made of MASTER_SECRET, in base64
    created_at INTEGER NOT NULL
) STRICT;

-- The latest transfer of a certificate, whether it is under way or over.
CREATE TABLE certificate_transfers (
    certificate_id TEXT NOT NULL PRIMARY KEY,
    transfer TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;

CREATE INDEX certificates_by_ca ON certificates (ca_certificate_id, created_at, certificate_id)
    WHERE ca_certificate_id IS NOT NULL;
CREATE INDEX certificates_in_transfer ON certificates (created_at, certificate_id)
    WHERE status = 'PENDING_TRANSFER';

-- Which certificates, and other identities, belong to a thing.
CREATE TABLE thing_principals (
    principal TEXT NOT NULL, -- the ARN of a certificate, or another principal's identifier
    thing_name TEXT NOT NULL,
    is_exclusive INTEGER NOT NULL, -- whether the principal is to have no other thing
    PRIMARY KEY (principal, thing_name)
) STRICT, WITHOUT ROWID;

CREATE INDEX thing_principals_by_thing ON thing_principals (thing_name, principal);

-- Tokens with a `jti`, which are good for one use, until they would have expired anyway.
CREATE TABLE token_uses (
    certificate_id TEXT NOT NULL,
    token TEXT NOT NULL, -- SHA-256 of the `jti`
    until INTEGER NOT NULL,
    PRIMARY KEY (certificate_id, token)
) STRICT, WITHOUT ROWID;

CREATE INDEX token_uses_by_end ON token_uses (until);

-- Names under which devices get temporary credentials, and the roles whose policies count for those.
CREATE TABLE role_aliases (
    role_alias TEXT NOT NULL PRIMARY KEY,
    role_arn TEXT NOT NULL,
    credential_duration_secs INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Access keys of people and services. Their secrets are derived, and not here.
CREATE TABLE api_keys (
    access_key_id TEXT NOT NULL PRIMARY KEY,
    description TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which of them is the default one is a fact about the deployment: the key default_authorizer of its table.
CREATE TABLE authorizers (
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

CREATE INDEX authorizers_by_status ON authorizers (status, authorizer_name);

-- Who changed what, and what was denied to whom. Rows go after 90 days.
CREATE TABLE audit_log (
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

-- What is small, is read by its name and has no queries of its own: thing types, billing groups, settings and the like. The
-- kind says which; the document is the crate `registry`'s.
CREATE TABLE resources (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL, -- 1 at creation, one more with every change
    document TEXT NOT NULL, -- JSON
    created_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- Static and dynamic thing groups. The path has the names from the root down, as in `/site/floor/room/`: who is below whom
-- is a range of paths. No group ever moves.
CREATE TABLE thing_groups (
    thing_group_name TEXT NOT NULL PRIMARY KEY,
    thing_group_id TEXT NOT NULL,
    parent_group_name TEXT NOT NULL, -- empty for a root
    path TEXT NOT NULL,
    version INTEGER NOT NULL,
    document TEXT NOT NULL, -- description, attributes and, of a dynamic group, its query: JSON
    is_dynamic INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX thing_groups_by_path ON thing_groups (path);

CREATE INDEX thing_groups_by_parent ON thing_groups (parent_group_name, thing_group_name);

CREATE INDEX dynamic_thing_groups ON thing_groups (thing_group_name) WHERE is_dynamic = 1;

-- In the partition of the thing.
CREATE TABLE thing_group_members (
    path TEXT NOT NULL,
    thing_name TEXT NOT NULL,
    is_dynamic INTEGER NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (path, thing_name)
) STRICT, WITHOUT ROWID;

CREATE INDEX thing_group_members_by_thing ON thing_group_members (thing_name, path);

CREATE INDEX things_by_billing_group ON things (billing_group_name, thing_name)
    WHERE billing_group_name IS NOT NULL;

CREATE TABLE tags (
    resource_arn TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (resource_arn, key)
) STRICT, WITHOUT ROWID;

-- What fleet indexing finds things and thing groups by (crate `fleet-index`, schema.rs). Things are in their own partition,
-- thing groups in the first. The documents have row ids because they are large: without them, SQLite gives most of each
-- document a page of its own.

CREATE TABLE thing_index_documents (
    name TEXT PRIMARY KEY NOT NULL,
    revision INTEGER NOT NULL,
    document TEXT NOT NULL,
    terms TEXT NOT NULL
) STRICT;

CREATE TABLE thing_index_terms (
    field TEXT NOT NULL,
    value ANY NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    PRIMARY KEY (field, value, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE thing_group_index_documents (
    name TEXT PRIMARY KEY NOT NULL,
    revision INTEGER NOT NULL,
    document TEXT NOT NULL,
    terms TEXT NOT NULL
) STRICT;

CREATE TABLE thing_group_index_terms (
    field TEXT NOT NULL,
    value ANY NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    PRIMARY KEY (field, value, name)
) STRICT, WITHOUT ROWID;
