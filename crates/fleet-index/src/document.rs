//! What is indexed of a thing or a thing group: assembled from its parts, stored as one JSON text, answered to
//! SearchIndex.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A document: something with a name and with values at fields.
pub trait Document {
    /// The key in the index.
    fn name(&self) -> &str;

    /// Calls back with every part that is searchable, the most important first: what exceeds the bounds of a document
    /// is left out from the end.
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(&str, Part<'a>));
}

/// A part of a document, at a field.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// A text.
    Text(&'a str),
    /// A number.
    Number(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// JSON, whose members are fields below this one.
    Json(&'a Value),
    /// The same, indexed if [`DocumentLimits::metadata`](crate::DocumentLimits::metadata) says so.
    Metadata(&'a Value),
    /// A version: aggregations know it, queries don't, as in AWS. So it costs no row of its own.
    Version(u64),
}

/// A thing, in the index `AWS_Things`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingDocument {
    /// The thing.
    pub thing_name: String,
    /// What tells it from an earlier thing of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_id: Option<String>,
    /// Its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_type_name: Option<String>,
    /// Its thing groups and its billing group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thing_group_names: Vec<String>,
    /// Its attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Its version in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Its shadows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadows>,
    /// Whether it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connectivity: Option<Connectivity>,
}

/// The shadows of a thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shadows {
    /// The classic shadow.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub classic: Option<Shadow>,
    /// The named shadows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub name: BTreeMap<String, Shadow>,
}

/// A shadow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shadow {
    /// What is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Value>,
    /// What is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Value>,
    /// How they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<Value>,
    /// When each member changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// Whether there is a delta.
    pub has_delta: bool,
    /// Its version.
    pub version: u64,
}

/// Whether a thing is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connectivity {
    /// Whether it is.
    pub connected: bool,
    /// Since when, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect_reason: Option<String>,
    /// Counts connections and disconnections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// A thing group, in the index `AWS_ThingGroups`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingGroupDocument {
    /// The group.
    pub thing_group_name: String,
    /// What tells it from an earlier group of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_group_id: Option<String>,
    /// Its description. Queries call it `description`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_group_description: Option<String>,
    /// Its attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// All groups above it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_group_names: Vec<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl Document for ThingDocument {
    fn name(&self) -> &str {
        &self.thing_name
    }

    fn visit<'a>(&'a self, visit: &mut dyn FnMut(&str, Part<'a>)) {
        visit("thingName", Part::Text(&self.thing_name));
        optional_text("thingId", self.thing_id.as_deref(), visit);
        optional_text("thingTypeName", self.thing_type_name.as_deref(), visit);
        if let Some(version) = self.version {
            // The one version with a row: without a field, GetStatistics asks for it, of all things.
            visit(REGISTRY_VERSION, Part::Number(approximate(version)));
        }
        for name in &self.thing_group_names {
            visit("thingGroupNames", Part::Text(name));
        }
        if let Some(connectivity) = &self.connectivity {
            visit("connectivity.connected", Part::Boolean(connectivity.connected));
            if let Some(timestamp) = connectivity.timestamp {
                visit("connectivity.timestamp", Part::Number(approximate(timestamp)));
            }
            optional_text("connectivity.disconnectReason", connectivity.disconnect_reason.as_deref(), visit);
            if let Some(version) = connectivity.version {
                visit("connectivity.version", Part::Version(version));
            }
        }
        for (name, value) in &self.attributes {
            visit(&format!("attributes.{name}"), Part::Text(value));
        }
        let Some(shadows) = &self.shadow else { return };
        if let Some(shadow) = &shadows.classic {
            shadow.visit("shadow", visit);
        }
        for (name, shadow) in &shadows.name {
            shadow.visit(&format!("shadow.name.{name}"), visit);
        }
    }
}

impl Shadow {
    fn visit<'a>(&'a self, field: &str, visit: &mut dyn FnMut(&str, Part<'a>)) {
        visit(&format!("{field}.hasDelta"), Part::Boolean(self.has_delta));
        visit(&format!("{field}.version"), Part::Version(self.version));
        for (section, value) in [("desired", &self.desired), ("reported", &self.reported), ("delta", &self.delta)] {
            if let Some(value) = value {
                visit(&format!("{field}.{section}"), Part::Json(value));
            }
        }
        if let Some(metadata) = &self.metadata {
            visit(&format!("{field}.metadata"), Part::Metadata(metadata));
        }
    }
}

impl Document for ThingGroupDocument {
    fn name(&self) -> &str {
        &self.thing_group_name
    }

    fn visit<'a>(&'a self, visit: &mut dyn FnMut(&str, Part<'a>)) {
        visit("thingGroupName", Part::Text(&self.thing_group_name));
        optional_text("thingGroupId", self.thing_group_id.as_deref(), visit);
        if let Some(version) = self.version {
            visit("version", Part::Number(approximate(version)));
        }
        for name in &self.parent_group_names {
            visit("parentGroupNames", Part::Text(name));
        }
        optional_text("description", self.thing_group_description.as_deref(), visit);
        for (name, value) in &self.attributes {
            visit(&format!("attributes.{name}"), Part::Text(value));
        }
    }
}

/// What GetStatistics aggregates without an `aggregationField`.
pub(crate) const REGISTRY_VERSION: &str = "registry.version";

/// Whether a term without a field looks at this field: AWS names the registry, shadows and Device Defender, and says
/// that versions are not searchable.
pub(crate) fn is_searched_without_field(field: &str) -> bool {
    !field.starts_with("connectivity.") && field != REGISTRY_VERSION && field != "version"
}

impl ThingDocument {
    /// The text that D1 stores.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// A stored text. `None` when it is not one, or is nested deeper than `serde_json` reads (127 levels).
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The member of SearchIndex's `things`. AWS puts the shadows into a string.
    #[must_use]
    pub fn answer(&self) -> Value {
        let mut answer = Map::new();
        answer.insert("thingName".to_owned(), json!(self.thing_name));
        for (name, value) in [("thingId", &self.thing_id), ("thingTypeName", &self.thing_type_name)] {
            if let Some(value) = value {
                answer.insert(name.to_owned(), json!(value));
            }
        }
        if !self.thing_group_names.is_empty() {
            answer.insert("thingGroupNames".to_owned(), json!(self.thing_group_names));
        }
        if !self.attributes.is_empty() {
            answer.insert("attributes".to_owned(), json!(self.attributes));
        }
        if let Some(shadow) = &self.shadow {
            answer.insert("shadow".to_owned(), Value::String(to_json(shadow)));
        }
        if let Some(Connectivity { connected, timestamp, disconnect_reason, .. }) = &self.connectivity {
            let mut connectivity = json!({ "connected": connected });
            if let Some(members) = connectivity.as_object_mut() {
                members.extend(timestamp.map(|timestamp| ("timestamp".to_owned(), json!(timestamp))));
                members.extend(disconnect_reason.as_ref().map(|why| ("disconnectReason".to_owned(), json!(why))));
            }
            answer.insert("connectivity".to_owned(), connectivity);
        }
        Value::Object(answer)
    }
}

impl ThingGroupDocument {
    /// The text that D1 stores.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// A stored text. `None` when it is not one, or is nested deeper than `serde_json` reads (127 levels).
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The member of SearchIndex's `thingGroups`.
    #[must_use]
    pub fn answer(&self) -> Value {
        let mut answer = serde_json::to_value(self).unwrap_or_default();
        if let Some(members) = answer.as_object_mut() {
            members.remove("version");
        }
        answer
    }
}

fn optional_text<'a>(field: &str, text: Option<&'a str>, visit: &mut dyn FnMut(&str, Part<'a>)) {
    if let Some(text) = text {
        visit(field, Part::Text(text));
    }
}

/// Versions and times are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "versions and times are far below 2^53")]
pub(crate) fn approximate(integer: u64) -> f64 {
    integer as f64
}

/// A value that serialises; these have string keys and finite numbers only.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
