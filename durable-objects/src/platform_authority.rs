//! The platform's own certificate authority: made when it is first needed, its key encrypted in D1.

use crate::d1;
use crate::site::Site;
use crate::web_crypto;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use registry::ca_certificate::PlatformAuthorityRow;
use registry::{Partition, statements};
use worker::{Error, Result};
use x509::{Authority, AuthorityKey, Certificate, DistinguishedName, NameAttribute, Validity};

const P: Partition = Partition::FIRST;

/// How often a key is drawn: a number is out of range once in 2³² times.
const DRAWS: usize = 4;

/// The authority. Whoever comes first makes it; of two that come at once, both use what was stored first.
///
/// # Errors
/// When D1 fails, or when the master secret is not the one that its key was encrypted with.
pub async fn load(site: &Site<'_>) -> Result<Authority> {
    let registry = site.registry();
    let rows: Vec<PlatformAuthorityRow> = registry.read(statements::select_platform_authority(P)).await?;
    if let Some(row) = rows.into_iter().next() {
        return opened(site, &row).await;
    }
    let made = make(site)?;
    let key = made.key().to_pkcs8_der().map_err(unusable)?;
    let sealed = BASE64.encode(web_crypto::encrypt(site.authority_key.as_bytes(), &key).await?);
    let insert = statements::insert_platform_authority(P, &made.certificate().to_pem(), &sealed, site.now);
    let results = registry.batch(&[insert, statements::select_platform_authority(P)]).await?;
    let rows: Vec<PlatformAuthorityRow> = d1::rows_at(&results, 1)?;
    let row = rows.into_iter().next().ok_or("the platform's authority was not stored")?;
    opened(site, &row).await
}

async fn opened(site: &Site<'_>, row: &PlatformAuthorityRow) -> Result<Authority> {
    let sealed = BASE64.decode(&row.sealed_key).map_err(|error| Error::RustError(error.to_string()))?;
    let key = web_crypto::decrypt(site.authority_key.as_bytes(), &sealed).await?;
    let key = AuthorityKey::from_pkcs8_der(&key).map_err(unusable)?;
    Authority::new(key, Certificate::from_pem(&row.pem).map_err(unusable)?).map_err(unusable)
}

fn make(site: &Site<'_>) -> Result<Authority> {
    let drawn = (0..DRAWS).find_map(|_| AuthorityKey::from_random(&web_crypto::random_bytes()).ok());
    let key = drawn.ok_or("no key could be drawn")?;
    let account = site.scope.account_id.as_str();
    let subject = DistinguishedName::new(&[
        (NameAttribute::Organization, "Umbra"),
        (NameAttribute::OrganizationalUnit, account),
        (NameAttribute::CommonName, "Umbra device authority"),
    ]);
    let validity = Validity { not_before: site.now, not_after: Validity::AWS_NOT_AFTER };
    Authority::self_signed(key, &subject.map_err(unusable)?, &web_crypto::random_bytes(), validity).map_err(unusable)
}

fn unusable(error: x509::Error) -> Error {
    Error::RustError(error.to_string())
}
