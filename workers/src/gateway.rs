//! The door for MQTT: authenticates what HTTP shows, picks a Broker and forwards the upgrade with a sealed grant.

use crate::api::error;
use crate::deployment::Deployment;
use crate::http::{self, RawUrl, random_uuid};
use device_auth::internal_header::{ConnectionGrant, GRANT_HEADER, seal};
use device_auth::sigv4::{Expected, HttpRequest, WEBSOCKET_SERVICE};
use durable_objects::log_line;
use messages::address::Address;
use registry::ApiError;
use serde_json::json;
use worker::{Error, Headers, Method, Request, RequestInit, Response, Result};

/// Where AWS has it too.
pub const PATH: &str = "/mqtt";

/// WebSocket subprotocols, as clients spell them ([MQTT-6.0.0-3] and the older registration).
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// Brokers to try before the client is told to come again.
const TRIES: usize = 3;

/// Answers a request to [`PATH`].
///
/// # Errors
/// When the deployment is at fault.
pub async fn upgrade(deployment: &Deployment, request: &Request) -> Result<Response> {
    let request_id = random_uuid();
    match forward(deployment, request, &request_id).await? {
        Ok(response) => Ok(response),
        Err(refusal) => error::response(&refusal, &request_id),
    }
}

async fn forward(
    deployment: &Deployment,
    request: &Request,
    trace_id: &str,
) -> Result<core::result::Result<Response, ApiError>> {
    let headers = request.headers();
    let is_upgrade = headers.get("upgrade")?.is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    if !is_upgrade || request.method() != Method::Get {
        return Ok(Err(ApiError::new("UpgradeRequiredException", 426, "MQTT is spoken over WebSocket here")));
    }
    let offered = headers.get("sec-websocket-protocol")?.unwrap_or_default();
    let Some(subprotocol) = offered.split(',').map(str::trim).find(|name| SUBPROTOCOLS.contains(name)) else {
        return Ok(Err(ApiError::invalid_request("The WebSocket subprotocol must be mqtt")));
    };
    let now = http::now();
    let raw = RawUrl::of(request);
    let headers = http::headers(request);
    let pairs: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let signed = HttpRequest { method: "GET", path: raw.path(), query: raw.query(), headers: &pairs, body: b"" };
    let expected = Expected { now, region: Some(&deployment.config.scope.region), services: &[WEBSOCKET_SERVICE] };
    let principal = match deployment.access_keys.authenticate_signature(&signed, &expected) {
        // No proof here leaves it to CONNECT; a bad one is never tried as anything else.
        Ok(proved) => proved.map(|(principal, _)| principal),
        Err(refusal) => {
            log_line(
                &json!({"level": "warn", "event": "upgrade_refused", "trace_id": trace_id, "reason": refusal.exception_name()}),
            );
            return Ok(Err(error::of_auth(&refusal)));
        }
    };
    let header = |name: &str| pairs.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
    let grant = ConnectionGrant {
        principal,
        source_ip: header("cf-connecting-ip").and_then(|ip| ip.parse().ok()),
        trace_id: trace_id.to_owned(),
        host: header("host").unwrap_or_default().to_owned(),
    };
    let sealed = seal(&deployment.grant_key, &grant, now).map_err(|error| Error::RustError(error.to_string()))?;
    // Whose client it is, only CONNECT will tell. Any Broker will do; the random id spreads them.
    for broker in deployment.config.brokers_for(trace_id).into_iter().take(TRIES) {
        let response = offer(deployment, &Address::Broker(broker), &sealed, subprotocol).await?;
        if response.status_code() != 503 {
            return Ok(Ok(response));
        }
    }
    Ok(Err(ApiError::service_unavailable("All nodes are full; try again")))
}

/// A new request, so that nothing of the outside one gets in: internal headers end here.
async fn offer(deployment: &Deployment, broker: &Address, sealed: &str, subprotocol: &str) -> Result<Response> {
    let headers = Headers::new();
    headers.set("upgrade", "websocket")?;
    headers.set("sec-websocket-protocol", subprotocol)?;
    headers.set(GRANT_HEADER, sealed)?;
    let mut init = RequestInit::new();
    init.with_headers(headers);
    let request = Request::new_with_init("https://broker.internal/mqtt", &init)?;
    let namespace = deployment.env.durable_object(broker.class().binding())?;
    namespace.id_from_name(&broker.to_string())?.get_stub()?.fetch_with_request(request).await
}
