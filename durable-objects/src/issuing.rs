//! Certificates that the platform signs.

use crate::d1;
use crate::registration::{random_uuid, record};
use crate::site::{Refusal, Site};
use crate::{platform_authority, web_crypto};
use iot_types::{CertificateId, UnixMillis};
use registry::certificate::{self, CertificateStatus};
use registry::{ApiError, Partition, statements};
use x509::{CertificateSigningRequest, DistinguishedName, NameAttribute, PublicKey, Validity};
use zeroize::Zeroizing;

/// The subject of a certificate for which nobody asked for another, as in AWS.
const COMMON_NAME: &str = "Umbra IoT Certificate";

/// How long before it is made a certificate is valid, in milliseconds: clocks of devices are slow.
const CLOCK_SKEW_MILLIS: u64 = 10 * 60 * 1_000;

/// A certificate that has just been issued and stored.
pub struct Issued {
    /// Its identifier.
    pub certificate_id: CertificateId,
    /// The certificate.
    pub pem: String,
}

/// A certificate with its keys.
pub struct IssuedWithKeys {
    /// The certificate.
    pub issued: Issued,
    /// Its public key in PEM.
    pub public_key: String,
    /// Its private key in PEM, which is kept nowhere.
    pub private_key: Zeroizing<String>,
}

/// What a certificate is to be.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Whether it may be used.
    pub status: CertificateStatus,
    /// When it ends.
    pub not_after: UnixMillis,
}

impl Wanted {
    /// One that lasts as long as AWS's do.
    #[must_use]
    pub const fn lasting(status: CertificateStatus) -> Self {
        Self { status, not_after: Validity::AWS_NOT_AFTER }
    }
}

/// Makes a pair of keys and issues a certificate for it.
///
/// # Errors
/// When D1 or WebCrypto fails.
pub async fn with_new_keys(site: &Site<'_>, wanted: Wanted) -> Result<IssuedWithKeys, Refusal> {
    let pair = web_crypto::rsa_key_pair().await?;
    let public_key = PublicKey::from_spki_der(&pair.public)?;
    let private_key = Zeroizing::new(x509::rsa_private_key_pem(&pair.private)?.to_string());
    let issued = issue(site, &public_key, &default_subject()?, wanted).await?;
    Ok(IssuedWithKeys { issued, public_key: public_key.to_pem(), private_key })
}

/// Issues a certificate for who signs a request.
///
/// # Errors
/// `InvalidRequestException` for a request that is none; when D1 fails.
pub async fn for_request(site: &Site<'_>, pem: &str, wanted: Wanted) -> Result<Issued, Refusal> {
    let request =
        CertificateSigningRequest::from_pem(pem).map_err(|error| ApiError::invalid_request(error.to_string()))?;
    let asked = request.subject();
    let subject = if asked.is_empty() { default_subject()? } else { asked.clone() };
    issue(site, request.public_key(), &subject, wanted).await
}

/// Signs a certificate and stores it.
async fn issue(
    site: &Site<'_>,
    public_key: &PublicKey,
    subject: &DistinguishedName,
    wanted: Wanted,
) -> Result<Issued, Refusal> {
    let authority = platform_authority::load(site).await?;
    let not_before = UnixMillis(site.now.0.saturating_sub(CLOCK_SKEW_MILLIS));
    let validity = Validity { not_before, not_after: wanted.not_after };
    let invalid = |error: x509::Error| ApiError::new("CertificateValidationException", 400, error.to_string());
    let issued = authority.issue(public_key, subject, &web_crypto::random_bytes(), validity).map_err(invalid)?;
    let authority_id = authority.certificate().certificate_id()?;
    let record = record(&issued, wanted.status, Some(authority_id), random_uuid(), site.now)?;
    let results = site.registry().batch(&[statements::insert_certificate(Partition::FIRST, &record)]).await?;
    certificate::settle_register(site.scope, &record.certificate_id, d1::changes_at(&results, 0)?)?;
    Ok(Issued { certificate_id: record.certificate_id, pem: issued.to_pem() })
}

fn default_subject() -> Result<DistinguishedName, x509::Error> {
    DistinguishedName::new(&[(NameAttribute::CommonName, COMMON_NAME)])
}
