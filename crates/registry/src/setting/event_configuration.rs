//! Which registry events are told: DescribeEventConfigurations, UpdateEventConfigurations (AWS IoT developer guide, "Event
//! messages").

use crate::resource::Resource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What events are about, in the order of the service model.
const EVENT_TYPES: [&str; 11] = [
    "THING",
    "THING_GROUP",
    "THING_TYPE",
    "THING_GROUP_MEMBERSHIP",
    "THING_GROUP_HIERARCHY",
    "THING_TYPE_ASSOCIATION",
    "JOB",
    "JOB_EXECUTION",
    "POLICY",
    "CERTIFICATE",
    "CA_CERTIFICATE",
];

/// For each event type whether its events are told. None are, until somebody says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventConfigurations(BTreeMap<String, bool>);

impl EventConfigurations {
    /// Whether events of this type are told.
    #[must_use]
    pub fn is_enabled(&self, event_type: &str) -> bool {
        self.0.get(event_type).copied().unwrap_or(false)
    }

    /// After UpdateEventConfigurations: types that it does not name stay as they are.
    #[must_use]
    pub fn updated(&self, request: &UpdateEventConfigurationsRequest) -> Self {
        let mut all = self.0.clone();
        for (event_type, configuration) in &request.event_configurations {
            all.insert(event_type.clone(), configuration.enabled);
        }
        Self(all)
    }
}

/// UpdateEventConfigurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateEventConfigurationsRequest {
    event_configurations: BTreeMap<String, Configuration>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Configuration {
    #[serde(rename = "Enabled")]
    enabled: bool,
}

/// DescribeEventConfigurationsResponse.
#[must_use]
pub fn describe_response(stored: Option<&Resource<EventConfigurations>>) -> Vec<u8> {
    let none = EventConfigurations::default();
    let configurations = stored.map_or(&none, |stored| &stored.document);
    let all = EVENT_TYPES.iter().map(|name| ((*name).to_owned(), json!({"Enabled": configurations.is_enabled(name)})));
    let mut body = Map::new();
    body.insert("eventConfigurations".to_owned(), Value::Object(all.collect()));
    if let Some(stored) = stored {
        body.insert("creationDate".to_owned(), stored.created_at.as_secs().into());
        body.insert("lastModifiedDate".to_owned(), stored.last_modified_at.as_secs().into());
    }
    Value::Object(body).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_of_the_types_that_were_switched_on() {
        let update = |stored: &EventConfigurations, body: Value| {
            stored.updated(&serde_json::from_value(json!({ "eventConfigurations": body })).unwrap())
        };
        let first =
            update(&EventConfigurations::default(), json!({"THING": {"Enabled": true}, "JOB": {"Enabled": true}}));
        let second = update(&first, json!({"JOB": {}}));
        assert!(second.is_enabled("THING") && !second.is_enabled("JOB") && !second.is_enabled("POLICY"));
        let none: Value = serde_json::from_slice(&describe_response(None)).unwrap();
        assert_eq!(none["eventConfigurations"].as_object().unwrap().len(), EVENT_TYPES.len());
        assert_eq!(none["eventConfigurations"]["THING"], json!({"Enabled": false}));
    }
}
