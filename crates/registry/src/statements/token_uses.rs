//! Statements about tokens that are good for one use.

use super::{Sql, Statement};
use crate::partition::Partition;
use iot_types::{CertificateId, UnixMillis};

/// Tokens of one certificate that are remembered: one for each half minute of the time in which they could be used. More
/// are refused, so that nobody fills the table.
const MAXIMUM_OF_CERTIFICATE: u64 = 160;

/// Rows of tokens that have expired which each use takes away: more than it adds.
const FORGOTTEN_AT_ONCE: u64 = 4;

pub(super) const USE_TOKEN: Sql = Sql {
    name: "USE_TOKEN",
    text: "INSERT INTO token_uses (certificate_id, token, until) SELECT ?1, ?2, ?3 \
           WHERE (SELECT COUNT(*) FROM token_uses WHERE certificate_id = ?1) < ?4 \
           ON CONFLICT (certificate_id, token) DO NOTHING",
    parameters: &["certificate_id", "token", "until", "most of a certificate"],
    plan: "SCAN CONSTANT ROW; \
           SCALAR SUBQUERY 1; \
           SEARCH token_uses USING PRIMARY KEY (certificate_id=?)",
};

pub(super) const FORGET_TOKENS: Sql = Sql {
    name: "FORGET_TOKENS",
    text: "DELETE FROM token_uses WHERE (certificate_id, token) IN \
           (SELECT certificate_id, token FROM token_uses WHERE until < ?1 ORDER BY until LIMIT ?2)",
    parameters: &["now", "limit"],
    plan: "SEARCH token_uses USING PRIMARY KEY (certificate_id=? AND token=?); \
           LIST SUBQUERY 2; \
           SEARCH token_uses USING COVERING INDEX token_uses_by_end (until<?); \
           CREATE BLOOM FILTER",
};

/// Notes that a token is used; changes 0 rows when it was used before, or too many of the certificate's have been.
/// With [`forget_tokens`] before it in the batch.
#[must_use]
pub fn use_token(partition: Partition, id: &CertificateId, token: &str, until: UnixMillis) -> Statement {
    USE_TOKEN.bind(partition, vec![id.as_str().into(), token.into(), until.into(), MAXIMUM_OF_CERTIFICATE.into()])
}

/// Forgets some tokens that have expired.
#[must_use]
pub fn forget_tokens(partition: Partition, now: UnixMillis) -> Statement {
    FORGET_TOKENS.bind(partition, vec![now.into(), FORGOTTEN_AT_ONCE.into()])
}
