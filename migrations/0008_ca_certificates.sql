CREATE TABLE IF NOT EXISTS ca_certificates (
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

CREATE INDEX IF NOT EXISTS ca_certificates_by_creation ON ca_certificates (created_at, ca_certificate_id);
CREATE INDEX IF NOT EXISTS ca_certificates_by_subject ON ca_certificates (subject_digest);

-- What a certificate has to name that proves the key of an authority. One row at most.
CREATE TABLE IF NOT EXISTS registration_codes (
    registration_code TEXT NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The platform's own authority, which signs what CreateKeysAndCertificate and CreateCertificateFromCsr give. One row.
CREATE TABLE IF NOT EXISTS platform_authorities (
    number INTEGER NOT NULL PRIMARY KEY CHECK (number = 1),
    pem TEXT NOT NULL,
    sealed_key TEXT NOT NULL, -- PKCS #8, encrypted with a key made of MASTER_SECRET, in base64
    created_at INTEGER NOT NULL
) STRICT;

-- The latest transfer of a certificate, whether it is under way or over.
CREATE TABLE IF NOT EXISTS certificate_transfers (
    certificate_id TEXT NOT NULL PRIMARY KEY,
    transfer TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS certificates_by_ca ON certificates (ca_certificate_id, created_at, certificate_id)
    WHERE ca_certificate_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS certificates_in_transfer ON certificates (created_at, certificate_id)
    WHERE status = 'PENDING_TRANSFER';
