//! Shadows over HTTPS: GetThingShadow, UpdateThingShadow, DeleteThingShadow.

use super::Call;
use super::error::{self, Failure};
use bytes::Bytes;
use durable_objects::{call_object, log_line};
use iot_types::{ShadowName, ThingName};
use messages::address::Address;
use messages::broker::BrokerRequest;
use messages::codec::Batch;
use messages::thing::{Plane, ShadowOperation, ThingReply, ThingRequest};
use messages::{Reply, Request};
use registry::{ApiError, Operation};
use serde_json::json;

pub async fn answer(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let invalid = |error: iot_types::NameError| ApiError::invalid_request(error.to_string());
    let thing_name = ThingName::new(call.route.parameter("thingName")).map_err(invalid)?;
    let shadow_name = form_urlencoded::parse(call.query.as_bytes())
        .find(|(name, _)| name == "name")
        .map(|(_, value)| ShadowName::new(value.into_owned()))
        .transpose()
        .map_err(invalid)?;
    let (operation, payload) = match call.route.operation {
        Operation::UpdateThingShadow => (ShadowOperation::Update, Bytes::copy_from_slice(&call.body)),
        Operation::DeleteThingShadow => (ShadowOperation::Delete, Bytes::new()),
        _ => (ShadowOperation::Get, Bytes::new()),
    };
    let request = ThingRequest::Shadow { shadow_name, operation, payload, plane: Plane::Http };
    let batch = Batch { sender: None, requests: vec![Request::Thing(request)] };
    let reply = call_object(&call.deployment.env, &Address::Thing(thing_name.clone()), &batch).await;
    let Some(Reply::Thing(ThingReply { publications, http: Some(http), .. })) =
        reply.and_then(|reply| reply.replies.into_iter().next())
    else {
        return Err(error::unreachable("the Thing"));
    };
    if !publications.is_empty() {
        let requests = publications.into_iter().map(|p| Request::Broker(BrokerRequest::Publish(p))).collect();
        let broker = call.deployment.config.publishing_broker(thing_name.as_str());
        let batch = Batch { sender: None, requests };
        if call_object(&call.deployment.env, &broker, &batch).await.is_none() {
            // The change is stored and the client is told so; devices find it when they next ask.
            log_line(&json!({"level": "warn", "event": "shadow_not_announced", "thing_name": thing_name.as_str()}));
        }
    }
    if http.status == 200 { Ok(http.body.to_vec()) } else { Err(Failure::Data(http)) }
}
