//! Fleet indexing as the API and the index's upkeep see it: what is configured, requests, answers, and the work that a
//! queue carries (AWS IoT developer guide, "Fleet indexing"). Queries, documents and their SQL are the crate
//! `fleet-index`'s.

mod document;
mod search;
mod work;

pub use document::{NameRow, StoredRow, Wanted, connectivity, settle, shadow, thing_document, thing_group_document};
pub use search::{
    AggregationRequest, DocumentRow, SearchRequest, buckets_response, cardinality_response, percentiles_response,
    statistics_response,
};
pub use work::{Stage, Walk, Work};

use crate::error::ApiError;
use crate::limits::Limits;
use crate::page::{List, Page};
use fleet_index::configuration::{
    ConnectivityIndexingMode, FieldType, IndexingFilter, NamedShadowIndexingMode, ThingGroupIndexingConfiguration,
    ThingGroupIndexingMode, ThingIndexingConfiguration, ThingIndexingMode,
};
use fleet_index::{ConfigurationError, Index};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service_model::Input;

/// How long an instance may go on believing what it has read of the configuration, in milliseconds. Shadows and
/// connections change too often to ask D1 each time.
pub const BELIEVED_MILLIS: u64 = 5_000;

/// How long a walk through all things waits, in seconds, so that by then nobody believes an older configuration: what
/// changes behind the walk is told.
pub const WALK_DELAY_SECS: u32 = 7;

/// The setting of this name, and how far the indexes have followed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexingConfiguration {
    things: ThingIndexingConfiguration,
    thing_groups: ThingGroupIndexingConfiguration,
    /// The walk that makes the index of things what is configured, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    things_walk: Option<String>,
    /// The same of thing groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thing_groups_walk: Option<String>,
}

impl IndexingConfiguration {
    /// After UpdateIndexingConfiguration: what it does not name stays as it is. `walk` is a fresh UUID. The walks have to
    /// be begun once this is stored.
    ///
    /// # Errors
    /// `InvalidRequestException`.
    pub fn updated(
        &self,
        input: &Input,
        walk: &str,
        limits: &fleet_index::Limits,
    ) -> Result<(Self, Vec<Walk>), ApiError> {
        let invalid = |error: ConfigurationError| ApiError::invalid_request(error.to_string());
        let (mut changed, mut walks) = (self.clone(), Vec::new());
        if let Some(member) = input.get("thingIndexingConfiguration") {
            changed.things = ThingIndexingConfiguration::parse(&member.to_string(), limits).map_err(invalid)?;
            // One that is under way is begun again: perhaps the client asks because it does not come to an end.
            if kept(&self.things) != kept(&changed.things) || self.things_walk.is_some() {
                changed.things_walk = Some(walk.to_owned());
                walks.push(Walk::new(Index::Things, walk, changed.is_on(Index::Things)));
            }
        }
        if let Some(member) = input.get("thingGroupIndexingConfiguration") {
            let groups = ThingGroupIndexingConfiguration::parse(&member.to_string(), limits).map_err(invalid)?;
            let is_other = groups.thing_group_indexing_mode != self.thing_groups.thing_group_indexing_mode;
            changed.thing_groups = groups;
            if is_other || self.thing_groups_walk.is_some() {
                changed.thing_groups_walk = Some(walk.to_owned());
                walks.push(Walk::new(Index::ThingGroups, walk, changed.is_on(Index::ThingGroups)));
            }
        }
        Ok((changed, walks))
    }

    /// After a walk has come to its end; `None` when it is not the one that is waited for.
    #[must_use]
    pub fn walked(&self, walk: &Walk) -> Option<Self> {
        if !self.awaits(walk) {
            return None;
        }
        let mut changed = self.clone();
        match walk.index {
            Index::Things => changed.things_walk = None,
            Index::ThingGroups => changed.thing_groups_walk = None,
        }
        Some(changed)
    }

    /// Whether a walk is the one that is waited for: another configuration begins another.
    #[must_use]
    pub fn awaits(&self, walk: &Walk) -> bool {
        self.walk(walk.index) == Some(&walk.walk)
    }

    const fn walk(&self, index: Index) -> Option<&String> {
        match index {
            Index::Things => self.things_walk.as_ref(),
            Index::ThingGroups => self.thing_groups_walk.as_ref(),
        }
    }

    /// What of things is indexed.
    #[must_use]
    pub const fn things(&self) -> &ThingIndexingConfiguration {
        &self.things
    }

    /// What of thing groups is indexed.
    #[must_use]
    pub const fn thing_groups(&self) -> &ThingGroupIndexingConfiguration {
        &self.thing_groups
    }

    /// Whether there is this index.
    #[must_use]
    pub fn is_on(&self, index: Index) -> bool {
        match index {
            Index::Things => self.things.thing_indexing_mode != ThingIndexingMode::Off,
            Index::ThingGroups => self.thing_groups.thing_group_indexing_mode != ThingGroupIndexingMode::Off,
        }
    }

    /// Whether things are indexed with whether they are connected.
    #[must_use]
    pub fn has_connectivity(&self) -> bool {
        self.is_on(Index::Things) && self.things.thing_connectivity_indexing_mode == ConnectivityIndexingMode::Status
    }

    /// Whether things are indexed with the shadow of this name; the classic one has none.
    #[must_use]
    pub fn has_shadow(&self, name: Option<&str>) -> bool {
        self.shadows().contains(&name)
    }

    /// The shadows that things are indexed with; the classic one has no name.
    #[must_use]
    pub fn shadows(&self) -> Vec<Option<&str>> {
        let mut shadows = Vec::new();
        if self.things.thing_indexing_mode == ThingIndexingMode::RegistryAndShadow {
            shadows.push(None);
        }
        if self.is_on(Index::Things) && self.things.named_shadow_indexing_mode == NamedShadowIndexingMode::On {
            let names = self.things.filter.iter().flat_map(|filter| &filter.named_shadow_names);
            shadows.extend(names.map(|name| Some(name.as_str())));
        }
        shadows
    }

    /// The index that a request asks; `AWS_Things` if it names none.
    ///
    /// # Errors
    /// `ResourceNotFoundException` when there is no such index, `IndexNotReadyException` while it is being built.
    pub fn ready(&self, input: &Input) -> Result<Index, ApiError> {
        let name = input.get("indexName").and_then(serde_json::Value::as_str).unwrap_or(Index::Things.name());
        let index = self.found(name)?;
        if self.walk(index).is_some() {
            let message = format!("Index {name} is being built; try again when it is ACTIVE");
            return Err(ApiError::new("IndexNotReadyException", 400, message));
        }
        Ok(index)
    }

    fn found(&self, name: &str) -> Result<Index, ApiError> {
        let index = Index::from_name(name).filter(|index| self.is_on(*index));
        index.ok_or_else(|| ApiError::resource_not_found(format!("Index {name} does not exist")))
    }

    /// As what a field of an index can be aggregated; `None` for other fields.
    #[must_use]
    pub fn field_type(&self, index: Index, name: &str) -> Option<FieldType> {
        match index {
            Index::Things => self.things.field_type(name),
            Index::ThingGroups => self.thing_groups.field_type(name),
        }
    }

    /// GetIndexingConfigurationResponse.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        let body = json!({
            "thingIndexingConfiguration": self.things.answer(),
            "thingGroupIndexingConfiguration": self.thing_groups.answer(),
        });
        body.to_string().into_bytes()
    }

    /// DescribeIndexResponse.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub fn describe_response(&self, name: &str) -> Result<Vec<u8>, ApiError> {
        let index = self.found(name)?;
        let schema = match index {
            Index::Things => self.things.schema(),
            Index::ThingGroups => "THING_GROUPS",
        };
        let status = if self.walk(index).is_some() { "BUILDING" } else { "ACTIVE" };
        Ok(json!({"indexName": name, "indexStatus": status, "schema": schema}).to_string().into_bytes())
    }

    /// ListIndicesResponse.
    ///
    /// # Errors
    /// `InvalidRequestException` for a token that is not ours.
    pub fn list_response(&self, input: &Input, limits: &Limits) -> Result<Vec<u8>, ApiError> {
        let page = Page::of(List::Indices, input, limits)?;
        let mut names: Vec<&str> = [Index::ThingGroups, Index::Things]
            .into_iter()
            .filter(|index| self.is_on(*index))
            .map(Index::name)
            .collect();
        names.retain(|name| *name > page.after.as_str());
        Ok(page.response("indexNames", names, |name| (*name).to_owned(), |name| json!(name)))
    }
}

/// What decides what [`ThingIndexingConfiguration::keep`] leaves of a document. Fields that can be aggregated and
/// locations change nothing in it.
fn kept(
    configuration: &ThingIndexingConfiguration,
) -> (ThingIndexingMode, ConnectivityIndexingMode, NamedShadowIndexingMode, IndexingFilter) {
    let filter = configuration.filter.clone().unwrap_or_default();
    (
        configuration.thing_indexing_mode,
        configuration.thing_connectivity_indexing_mode,
        configuration.named_shadow_indexing_mode,
        IndexingFilter { geo_locations: Vec::new(), ..filter },
    )
}

#[cfg(test)]
mod tests;
