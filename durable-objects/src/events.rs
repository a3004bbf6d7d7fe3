//! Registry events: told on MQTT topics after the change, if they are switched on; and told to fleet indexing.

use crate::config::Config;
use crate::host::{call_object, log_line};
use crate::indexing;
use crate::registration::random_uuid;
use crate::site::Site;
use iot_types::Qos;
use messages::Request;
use messages::broker::BrokerRequest;
use messages::codec::Batch;
use messages::publication::Publication;
use registry::indexing::{IndexingConfiguration, Work};
use registry::registry_event::RegistryEvent;
use registry::resource::{Resource, ResourceKind, ResourceRow};
use registry::setting::Setting;
use registry::setting::event_configuration::EventConfigurations;
use registry::{Partition, statements};
use serde::de::DeserializeOwned;
use serde_json::json;

/// Tells of what has happened, in this order. The change stands whether or not anybody hears of it: what could not be
/// told is logged. `key`: events of one key go through one Broker.
pub async fn tell(site: &Site<'_>, config: &Config, key: &str, events: Vec<RegistryEvent>) {
    if events.is_empty() {
        return;
    }
    let names = [Setting::EventConfigurations, Setting::IndexingConfiguration].map(Setting::as_str);
    let statement = statements::select_resources(Partition::FIRST, ResourceKind::Setting, &names);
    let rows: Vec<ResourceRow> = match site.registry().read(statement).await {
        Ok(rows) => rows,
        Err(error) => {
            log_line(&json!({"level": "warn", "event": "settings_unreadable", "reason": error.to_string()}));
            return;
        }
    };
    if let Some(indexed) = setting::<IndexingConfiguration>(&rows, Setting::IndexingConfiguration) {
        indexing::send(site.env, &Work::of_events(&events, |index| indexed.is_on(index)), 0).await;
    }
    let stored = setting::<EventConfigurations>(&rows, Setting::EventConfigurations);
    let Some(configurations) = stored else { return };
    let told: Vec<Request> = events
        .iter()
        .filter(|event| configurations.is_enabled(event.event_type))
        .map(|event| {
            let payload = event.payload(site.scope, &random_uuid(), site.now);
            let publication = Publication::of_platform(event.topic.clone(), payload, Qos::AtLeastOnce, site.now);
            Request::Broker(BrokerRequest::Publish(publication))
        })
        .collect();
    if told.is_empty() {
        return;
    }
    let count = told.len();
    let batch = Batch { sender: None, requests: told };
    if call_object(site.env, &config.publishing_broker(key), &batch).await.is_none() {
        log_line(&json!({"level": "warn", "event": "registry_events_not_told", "key": key, "count": count}));
    }
}

fn setting<T: DeserializeOwned>(rows: &[ResourceRow], setting: Setting) -> Option<T> {
    let row = rows.iter().find(|row| row.name == setting.as_str())?;
    Some(Resource::try_from(row.clone()).ok()?.document)
}
