//! Registry events: told on MQTT topics after the change, if they are switched on.

use super::Call;
use super::resources;
use crate::http::random_uuid;
use durable_objects::{call_object, log_line};
use iot_types::Qos;
use messages::Request;
use messages::broker::BrokerRequest;
use messages::codec::Batch;
use messages::publication::Publication;
use registry::registry_event::RegistryEvent;
use registry::resource::{Resource, ResourceKind};
use registry::setting::Setting;
use registry::setting::event_configuration::EventConfigurations;
use serde_json::json;

/// Tells of what has happened, in this order. The change stands whether or not anybody hears of it: what could not be told
/// is logged.
pub async fn tell(call: &Call<'_>, events: Vec<RegistryEvent>) {
    if events.is_empty() {
        return;
    }
    let name = Setting::EventConfigurations.as_str();
    let stored: Option<Resource<EventConfigurations>> =
        resources::read(call, ResourceKind::Setting, name).await.ok().flatten();
    let Some(configurations) = stored.map(|stored| stored.document) else { return };
    let config = &call.deployment.config;
    let told: Vec<Request> = events
        .iter()
        .filter(|event| configurations.is_enabled(event.event_type))
        .map(|event| {
            let payload = event.payload(&config.scope, &random_uuid(), call.now);
            let publication = Publication::of_platform(event.topic.clone(), payload, Qos::AtLeastOnce, call.now);
            Request::Broker(BrokerRequest::Publish(publication))
        })
        .collect();
    if told.is_empty() {
        return;
    }
    let broker = config.publishing_broker(call.route.operation.name());
    let count = told.len();
    if call_object(&call.deployment.env, &broker, &Batch { sender: None, requests: told }).await.is_none() {
        let request_id = call.request_id;
        log_line(
            &json!({"level": "warn", "event": "registry_events_not_told", "request_id": request_id, "count": count}),
        );
    }
}
