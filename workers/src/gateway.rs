//! The door for MQTT: authenticates what HTTP shows, picks a Broker and forwards the upgrade with a sealed grant.

use crate::api::error;
use crate::brokers::Brokers;
use crate::deployment::Deployment;
use crate::http::{self, RawUrl, random_uuid};
use authorizer::Invocation;
use device_auth::internal_header::{ConnectionGrant, GRANT_HEADER, seal};
use device_auth::jwt::without_port;
use device_auth::relay_header::RELAY_CERTIFICATE_HEADER;
use device_auth::sigv4::{Expected, HttpRequest, WEBSOCKET_SERVICE};
use durable_objects::failed_proofs::Prover;
use durable_objects::{log_line, open};
use messages::address::{Address, BrokerId};
use placement::admission::REFUSED_HEADER;
use placement::region::Origin;
use placement::{BrokerRegion, Choice, Refusal as BrokerRefusal};
use registry::{ApiError, Plane};
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::{Context, Error, Headers, Result, web_sys};

/// Where AWS has it too.
pub const PATH: &str = "/mqtt";

/// WebSocket subprotocols, the preferred first ([MQTT-6.0.0-3], [MQTT-6.0.0-4] and the older registration).
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// The largest certificate that is told to a Broker: a sealed header has 16 KiB at most.
const MAXIMUM_CERTIFICATE_BYTES: usize = 6 * 1_024;

/// Why a client is not let in.
enum Refusal {
    /// It is at fault.
    Client(ApiError),
    /// No Broker has room for it now.
    ComeAgain {
        /// After so many seconds.
        retry_after_secs: u32,
    },
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Client(error)
    }
}

/// Answers a request to [`PATH`].
///
/// # Errors
/// When the deployment is at fault.
pub async fn upgrade(
    deployment: &Deployment,
    request: &web_sys::Request,
    raw: &RawUrl,
    context: &Context,
) -> Result<web_sys::Response> {
    let request_id = random_uuid();
    match forward(deployment, request, raw, context, &request_id).await? {
        Ok(response) => Ok(response),
        Err(Refusal::Client(refusal)) => Ok(error::response(&refusal, &request_id)?.into()),
        Err(Refusal::ComeAgain { retry_after_secs }) => {
            log_line(
                &json!({"level": "warn", "event": "upgrade_refused", "trace_id": request_id, "reason": "no node has room"}),
            );
            let refusal = ApiError::service_unavailable("All nodes are full; try again");
            Ok(error::come_again(&refusal, retry_after_secs, &request_id)?.into())
        }
    }
}

async fn forward(
    deployment: &Deployment,
    request: &web_sys::Request,
    raw: &RawUrl,
    context: &Context,
    trace_id: &str,
) -> Result<core::result::Result<web_sys::Response, Refusal>> {
    let headers = Headers(request.headers());
    let is_upgrade = headers.get("upgrade")?.is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    if !is_upgrade || request.method() != "GET" {
        return Ok(Err(ApiError::new("UpgradeRequiredException", 426, "MQTT is spoken over WebSocket here").into()));
    }
    let offered = headers.get("sec-websocket-protocol")?.unwrap_or_default();
    let is_offered = |name: &&&str| offered.split(',').any(|offered| offered.trim() == **name);
    let Some(subprotocol) = SUBPROTOCOLS.iter().find(is_offered) else {
        return Ok(Err(ApiError::invalid_request("The WebSocket subprotocol must be mqtt").into()));
    };
    let now = http::now();
    let source_ip = headers.get("cf-connecting-ip")?;
    let prover = Prover::new(source_ip.as_deref(), None);
    if prover.is_blocked() {
        let message = "Too many proofs from this address were no good; wait";
        return Ok(Err(ApiError::throttling(Plane::IotData, message).into()));
    }
    // A signature is in the query or in this header, and else no other header matters.
    let mut may_be_signed = !raw.query().is_empty();
    for name in ["authorization", RELAY_CERTIFICATE_HEADER, authorizer::NAME_KEY, authorizer::SIGNATURE_KEY] {
        may_be_signed = may_be_signed || headers.get(name)?.is_some();
    }
    let host = headers.get("host")?.unwrap_or_default();
    let signing = if may_be_signed { http::headers(request) } else { Vec::new() };
    let pairs: Vec<(&str, &str)> = signing.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let signed = HttpRequest { method: "GET", path: raw.path(), query: raw.query(), headers: &pairs, body: b"" };
    let expected = Expected { now, region: Some(&deployment.config.scope.region), services: &[WEBSOCKET_SERVICE] };
    let signed_by = deployment.access_keys.authenticate_signature(&signed, &expected);
    // What is meant for a custom authorizer goes along: it is asked when CONNECT has said the rest.
    let invocation = match Invocation::from_http(pairs.iter().copied(), raw.query()) {
        Ok(invocation) => Some(invocation).filter(Invocation::is_explicit),
        Err(_) if matches!(signed_by, Ok(Some(_))) => None,
        Err(error) => return Ok(Err(ApiError::invalid_request(error.to_string()).into())),
    };
    let header = |wanted: &str| signing.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let bearer = header("authorization").and_then(|value| http::bearer_token(value, invocation.as_ref()));
    let proved = match (signed_by, bearer) {
        (Ok(None), Some(token)) => {
            let proved = http::of_bearer_token(deployment, token, without_port(&host), now).await;
            proved.map(|principal| (Some(principal), None))
        }
        (Ok(None), None) => {
            http::relayed_client(deployment, header(RELAY_CERTIFICATE_HEADER), without_port(&host), now)
                .and_then(|relayed| match relayed {
                    Some(client) => Ok(Some(client)),
                    None => http::tls_client(request, deployment.local_tls_secret.as_deref()),
                })
                .map(|client| client.map_or((None, None), |client| (Some(client.principal), client.certificate)))
        }
        (Ok(Some((principal, _))), _) => Ok((Some(principal), None)),
        (Err(refusal), _) => Err(refusal),
    };
    let (principal, certificate) = match proved {
        // No proof here leaves it to CONNECT; a bad one is never tried as anything else.
        Ok(proved) => proved,
        Err(refusal) => {
            log_line(
                &json!({"level": "warn", "event": "upgrade_refused", "trace_id": trace_id, "reason": refusal.exception_name()}),
            );
            prover.failed(&deployment.env).await;
            return Ok(Err(error::of_auth(&refusal).into()));
        }
    };
    let invocation = invocation.filter(|_| principal.is_none());
    let grant = ConnectionGrant {
        principal,
        source_ip: source_ip.and_then(|ip| ip.parse().ok()),
        trace_id: trace_id.to_owned(),
        host,
        // One that is too large for a header is not needed by who is registered already.
        certificate: certificate.filter(|der| der.len() <= MAXIMUM_CERTIFICATE_BYTES),
        invocation: invocation.and_then(|invocation| serde_json::to_string(&invocation).ok()),
        lease: None,
    };
    let sealed = seal(&deployment.grant_key, &grant, now).map_err(|error| Error::RustError(error.to_string()))?;
    let brokers = Brokers::of(deployment, region_of(deployment, request));
    // Whose client it is, only CONNECT will tell. Any Broker will do; the random id spreads them.
    place(deployment, brokers, context, trace_id, &sealed, subprotocol).await
}

/// Where the client's Broker is to be.
fn region_of(deployment: &Deployment, request: &web_sys::Request) -> BrokerRegion {
    let mut all = deployment.config.regions.all();
    if let (Some(only), None) = (all.next(), all.next()) {
        return only;
    }
    let about = |name| http::cf(request, name);
    let (continent, country, longitude) = (about("continent"), about("country"), about("longitude"));
    deployment.config.regions.region_of(&Origin {
        continent: continent.as_deref(),
        country: country.as_deref(),
        longitude: longitude.and_then(|degrees| degrees.parse().ok()),
    })
}

/// Offers the client to one Broker after the other, as far as that makes sense.
async fn place(
    deployment: &Deployment,
    brokers: Brokers<'_>,
    context: &Context,
    key: &str,
    sealed: &str,
    subprotocol: &str,
) -> Result<core::result::Result<web_sys::Response, Refusal>> {
    let mut has_looked_again = false;
    loop {
        let order = match brokers.choose(key, context).await {
            Choice::Try(order) => order,
            Choice::Refuse { retry_after_secs } => return Ok(Err(Refusal::ComeAgain { retry_after_secs })),
        };
        let mut order = order.into_iter().peekable();
        while let Some(index) = order.next() {
            let broker = Address::Broker(BrokerId { region: brokers.region().as_str().to_owned(), index });
            let refusal = match offer(deployment, &broker, sealed, subprotocol).await {
                Ok(response) => match refusal_in(&response)? {
                    None => return Ok(Ok(response)),
                    Some(refusal) => refusal,
                },
                Err(error) => {
                    log_line(
                        &json!({"level": "warn", "event": "node_unreachable", "node": index, "reason": error.to_string()}),
                    );
                    BrokerRefusal::OVERLOADED
                }
            };
            if !brokers.refused(index, refusal, order.peek().copied()) {
                break;
            }
        }
        if has_looked_again || !brokers.look_again().await {
            return Ok(Err(Refusal::ComeAgain { retry_after_secs: brokers.retry_after_secs(key) }));
        }
        has_looked_again = true;
    }
}

/// Why a Broker has refused, if it has. The answer itself is never passed on.
fn refusal_in(response: &web_sys::Response) -> Result<Option<BrokerRefusal>> {
    if response.status() != 503 {
        return Ok(None);
    }
    let words = Headers(response.headers()).get(REFUSED_HEADER)?;
    Ok(Some(words.as_deref().and_then(BrokerRefusal::parse).unwrap_or(BrokerRefusal::OVERLOADED)))
}

#[wasm_bindgen]
extern "C" {
    /// A stub that is asked by `fetch`. What is asked is plain: the platform reads it faster than it makes a `Request`.
    type BrokerStub;
    #[wasm_bindgen(method, catch)]
    fn fetch(this: &BrokerStub, url: &str, init: &JsValue) -> core::result::Result<js_sys::Promise, JsValue>;
}

/// A new request, so that nothing of the outside one gets in: internal headers end here.
async fn offer(
    deployment: &Deployment,
    broker: &Address,
    sealed: &str,
    subprotocol: &str,
) -> Result<web_sys::Response> {
    let headers = js_sys::Object::new();
    for (name, value) in [("upgrade", "websocket"), ("sec-websocket-protocol", subprotocol), (GRANT_HEADER, sealed)] {
        js_sys::Reflect::set(&headers, &name.into(), &value.into())?;
    }
    let init = js_sys::Object::new();
    js_sys::Reflect::set(&init, &"headers".into(), &headers)?;
    let stub: BrokerStub = open(&deployment.env, broker)?.into_rpc();
    let response = JsFuture::from(stub.fetch("https://broker.internal/mqtt", &init)?).await?;
    Ok(response.dyn_into::<web_sys::Response>()?)
}
