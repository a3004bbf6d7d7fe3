//! What is indexed of a thing or a thing group, from what is stored of it, and what has to be written for it.

use super::IndexingConfiguration;
use crate::partition::Partition;
use crate::statements::Statement;
use crate::thing::ThingRecord;
use crate::thing_group::{GroupOfThingRow, GroupPath, ThingGroup};
use fleet_index::{
    Connectivity, DocumentLimits, Index, Shadow, Shadows, Stored, Terms, ThingDocument, ThingGroupDocument, schema,
};
use messages::session::ClientState;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A row of D1 has at most 2 MB; this leaves room for the terms beside the document. A larger document, which only large
/// shadows can make, is indexed without its shadows.
const MAXIMUM_BYTES: usize = 1_500_000;

/// A name, as D1 gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NameRow {
    /// Of a thing or a thing group.
    pub name: String,
    /// 1 for what is in the index and not in the registry.
    pub is_left: u8,
}

/// What is stored of a document, as D1 gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct StoredRow {
    pub revision: u64,
    pub document: String,
    pub terms: String,
}

/// What is indexed of a thing, as far as the configuration says so. `groups` are those that it is in itself.
#[must_use]
pub fn thing_document(
    configuration: &IndexingConfiguration,
    thing: &ThingRecord,
    groups: &[GroupOfThingRow],
    shadows: Shadows,
    connectivity: Option<Connectivity>,
) -> Option<ThingDocument> {
    let paths = groups.iter().filter_map(|row| GroupPath::parse(&row.path));
    let mut thing_group_names: Vec<String> = paths.map(|path| path.name().to_owned()).collect();
    thing_group_names.extend(thing.billing_group_name.clone());
    configuration.things().keep(ThingDocument {
        thing_name: thing.thing_name.as_str().to_owned(),
        thing_id: Some(thing.thing_id.clone()),
        thing_type_name: thing.thing_type_name.clone(),
        thing_group_names,
        attributes: thing.attributes.clone(),
        version: Some(thing.version),
        shadow: Some(shadows),
        connectivity,
    })
}

/// What is indexed of a thing group, if the configuration says so.
#[must_use]
pub fn thing_group_document(configuration: &IndexingConfiguration, group: &ThingGroup) -> Option<ThingGroupDocument> {
    configuration.thing_groups().keep(ThingGroupDocument {
        thing_group_name: group.thing_group_name.clone(),
        thing_group_id: Some(group.thing_group_id.clone()),
        thing_group_description: group.document.description.clone(),
        attributes: group.document.attributes.clone(),
        parent_group_names: group.path.ancestors().into_iter().map(str::to_owned).collect(),
        version: Some(group.version),
    })
}

/// A shadow, from the payload of `/get/accepted`.
#[must_use]
pub fn shadow(payload: &[u8]) -> Option<Shadow> {
    #[derive(Deserialize)]
    struct Accepted {
        #[serde(default)]
        state: BTreeMap<String, Value>,
        metadata: Option<Value>,
        version: u64,
    }
    let Accepted { mut state, metadata, version } = serde_json::from_slice(payload).ok()?;
    let delta = state.remove("delta");
    Some(Shadow {
        desired: state.remove("desired"),
        reported: state.remove("reported"),
        has_delta: delta.is_some(),
        delta,
        metadata,
        version,
    })
}

/// Whether a thing is connected, from what is known of the client with its name.
#[must_use]
pub fn connectivity(state: Option<&ClientState>) -> Connectivity {
    let Some(state) = state else { return Connectivity::default() };
    let ended = state.disconnected.filter(|_| state.holder.is_none());
    Connectivity {
        connected: state.holder.is_some(),
        timestamp: Some(ended.map_or(state.connected_at, |(at, _)| at).0),
        disconnect_reason: ended.map(|(_, reason)| reason.as_str().to_owned()),
        version: None,
    }
}

/// A document as it is to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    text: String,
    terms: Terms,
}

impl Wanted {
    /// Of a thing.
    #[must_use]
    pub fn thing(document: ThingDocument, limits: &DocumentLimits) -> Self {
        let whole = Self { text: document.to_json(), terms: Terms::of(&document, limits) };
        if whole.text.len() + whole.terms.to_json().len() <= MAXIMUM_BYTES {
            return whole;
        }
        let document = ThingDocument { shadow: None, ..document };
        Self { text: document.to_json(), terms: Terms::of(&document, limits) }
    }

    /// Of a thing group.
    #[must_use]
    pub fn thing_group(document: &ThingGroupDocument, limits: &DocumentLimits) -> Self {
        Self { text: document.to_json(), terms: Terms::of(document, limits) }
    }
}

/// The statements that take the index from what is stored of a document to what shall be (`None`: it is to be gone), for
/// one transaction; none when it is so already. If the last of them changes nothing, somebody else was faster: look again.
#[must_use]
pub fn settle(
    partition: Partition,
    index: Index,
    name: &str,
    wanted: Option<&Wanted>,
    stored: Option<StoredRow>,
) -> Vec<Statement> {
    let is_same = match (wanted, &stored) {
        (None, None) => true,
        // The terms are compared, too: another release may take documents apart in another way.
        (Some(wanted), Some(stored)) => wanted.text == stored.document && wanted.terms.to_json() == stored.terms,
        _ => false,
    };
    if is_same {
        return Vec::new();
    }
    let stored = stored.map_or_else(Stored::default, |row| Stored {
        revision: Some(row.revision),
        terms: Terms::from_json(&row.terms).unwrap_or_default(),
    });
    let statements = match wanted {
        Some(wanted) => schema::write(index, name, &wanted.text, &stored, &wanted.terms),
        None => schema::remove(index, name, &stored),
    };
    statements.into_iter().map(|statement| Statement::of_index(partition, statement)).collect()
}
