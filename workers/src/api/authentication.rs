//! Who calls: a signature (AWS Signature Version 4), a token signed by a device's key, a certificate that a relay or
//! Cloudflare has seen in TLS, or what a custom authorizer knows.

use super::authorizer_cache;
use super::error::{self, Failure};
use crate::deployment::Deployment;
use crate::http::{self, RawUrl};
use authorizer::Invocation;
use broker::StoredAuthority;
use device_auth::AuthError;
use device_auth::jwt::without_port;
use device_auth::principal::Principal;
use device_auth::relay_header::RELAY_CERTIFICATE_HEADER;
use device_auth::sigv4::{Expected, HttpRequest};
use durable_objects::{custom_authorizer, log_line};
use iot_types::UnixMillis;
use registry::{ApiError, Plane};
use serde_json::json;
use worker::web_sys;

/// A request of which nothing is believed yet.
pub struct Unproved<'a> {
    pub request: &'a web_sys::Request,
    pub method: &'a str,
    pub raw: &'a RawUrl,
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
    pub now: UnixMillis,
}

/// Who was found to be calling, and for which plane: services are told apart by what a signature is made for; devices
/// have only the data plane.
pub struct Caller {
    pub principal: Principal,
    pub plane: Plane,
    /// The certificate in DER, where it came with the proof.
    pub certificate: Option<Vec<u8>>,
    /// What it may do, where that came with the proof, too: from a custom authorizer.
    pub authority: Option<StoredAuthority>,
}

impl Unproved<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Where it comes from, if the platform tells.
    pub fn source_ip(&self) -> Option<&str> {
        self.header("cf-connecting-ip")
    }

    fn host(&self) -> &str {
        without_port(self.header("host").unwrap_or_default())
    }

    /// Who calls. The first kind of proof that a request brings decides: one that is no good is never tried as another.
    pub async fn prove(&self, deployment: &Deployment) -> Result<Caller, Failure> {
        if let Some(caller) = self.signature(deployment)? {
            return Ok(caller);
        }
        let device = |principal, certificate| Caller { principal, plane: Plane::IotData, certificate, authority: None };
        let pairs = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let invocation = Invocation::from_http(pairs, self.raw.query()).ok();
        let authorization = self.header("authorization").unwrap_or_default();
        if let Some(token) = http::bearer_token(authorization, invocation.as_ref()) {
            let proved = http::of_bearer_token(deployment, token, self.host(), self.now).await;
            return Ok(device(proved.map_err(|error| error::of_auth(&error))?, None));
        }
        if let Some(client) =
            http::relayed_client(deployment, self.header(RELAY_CERTIFICATE_HEADER), self.host(), self.now)
                .map_err(|error| error::of_auth(&error))?
        {
            return Ok(device(client.principal, client.certificate));
        }
        let client = http::tls_client(self.request, deployment.local_tls_secret.as_deref());
        match client.map_err(|error| error::of_auth(&error))? {
            Some(client) => Ok(device(client.principal, client.certificate)),
            None => self.custom_authorizer(deployment, invocation).await,
        }
    }

    /// The authorizer that the request names, or the default one. An answer may be good for all that bring the same.
    /// `invocation`: none when what the request brings is too large for one.
    async fn custom_authorizer(
        &self,
        deployment: &Deployment,
        invocation: Option<Invocation>,
    ) -> Result<Caller, Failure> {
        let missing = || Failure::from(error::of_auth(&AuthError::MissingAuthenticationToken));
        let invocation = invocation.ok_or_else(missing)?;
        let cached = authorizer_cache::find(&invocation, self.now);
        let authorization = match cached {
            Some(authorization) => authorization,
            None => {
                let refused = |reason: String| {
                    log_line(&json!({"level": "warn", "event": "authorizer_refused", "reason": reason}));
                    Failure::from(error::of_auth(&AuthError::UnrecognizedClient))
                };
                let meant = custom_authorizer::meant(&deployment.env, &invocation).await.map_err(refused)?;
                let row = meant.ok_or_else(missing)?;
                let presented = custom_authorizer::Presented {
                    invocation: &invocation,
                    server_name: self.host(),
                    has_http: true,
                    mqtt: None,
                    connection_id: &http::random_uuid(),
                };
                let found = custom_authorizer::authorize(&deployment.env, row, &presented).await;
                let authorization = found.map_err(refused)?;
                authorizer_cache::keep(&invocation, &authorization);
                authorization
            }
        };
        let (principal, authority) = (authorization.principal(), Some(authorization.authority()));
        Ok(Caller { principal, plane: Plane::IotData, certificate: None, authority })
    }

    fn signature(&self, deployment: &Deployment) -> Result<Option<Caller>, ApiError> {
        let pairs: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let signed = HttpRequest {
            method: self.method,
            path: self.raw.path(),
            query: self.raw.query(),
            headers: &pairs,
            body: self.body,
        };
        let expected = Expected::new(self.now, &deployment.config.scope.region);
        let proved = deployment.access_keys.authenticate_signature(&signed, &expected);
        let Some((principal, claim)) = proved.map_err(|error| error::of_auth(&error))? else { return Ok(None) };
        let plane = Plane::from_signing_name(&claim.service).ok_or_else(ApiError::unknown_operation)?;
        Ok(Some(Caller { principal, plane, certificate: None, authority: None }))
    }
}
