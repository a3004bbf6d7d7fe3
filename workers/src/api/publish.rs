//! Publish.

use super::Call;
use super::error::{self, Failure};
use durable_objects::call_broker_api;
use messages::api::BrokerApiRequest;
use registry::data::{PublishRequest, message_response, settle_publish};

pub async fn answer(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let limits = call.deployment.limits().data;
    let request = PublishRequest::parse(call.route.parameter("topic"), &call.parts(), &limits, call.now)?;
    // One Broker for each caller, so that what it publishes one after the other stays in order.
    let broker = call.deployment.config.publishing_broker(call.principal.identifier());
    let request = BrokerApiRequest::Publish(request.publication);
    let reply = call_broker_api(&call.deployment.env, &broker, &request).await;
    settle_publish(reply.ok_or_else(|| error::unreachable(&broker.to_string()))?)?;
    Ok(message_response(call.request_id))
}
