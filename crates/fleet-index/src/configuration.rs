//! What is indexed: AWS's indexing configuration, and what it leaves of a document.

use crate::document::{Shadows, ThingDocument, ThingGroupDocument};
use crate::error::ConfigurationError;
use crate::limits::Limits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What the index `AWS_Things` contains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingIndexingConfiguration {
    /// The registry, and perhaps the classic shadow.
    pub thing_indexing_mode: ThingIndexingMode,
    /// Whether things are connected.
    #[serde(default)]
    pub thing_connectivity_indexing_mode: ConnectivityIndexingMode,
    /// Violations of Device Defender. Stored; no part of a document has them yet.
    #[serde(default)]
    pub device_defender_indexing_mode: DeviceDefenderIndexingMode,
    /// The named shadows that the filter names.
    #[serde(default)]
    pub named_shadow_indexing_mode: NamedShadowIndexingMode,
    /// What can be aggregated without being asked for. Answered only: [`ThingIndexingConfiguration::answer`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managed_fields: Vec<Field>,
    /// What else can be aggregated, and as what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_fields: Vec<Field>,
    /// Which named shadows and locations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<IndexingFilter>,
}

/// What the index `AWS_ThingGroups` contains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingGroupIndexingConfiguration {
    /// All thing groups, or none.
    pub thing_group_indexing_mode: ThingGroupIndexingMode,
    /// What can be aggregated without being asked for. Answered only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managed_fields: Vec<Field>,
    /// What else can be aggregated, and as what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_fields: Vec<Field>,
}

/// `thingIndexingMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ThingIndexingMode {
    /// There is no index.
    #[default]
    Off,
    /// The registry.
    Registry,
    /// The registry and the classic shadow.
    RegistryAndShadow,
}

/// `thingConnectivityIndexingMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectivityIndexingMode {
    /// Not indexed.
    #[default]
    Off,
    /// Indexed.
    Status,
}

/// `deviceDefenderIndexingMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeviceDefenderIndexingMode {
    /// Not indexed.
    #[default]
    Off,
    /// Indexed.
    Violations,
}

/// `namedShadowIndexingMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NamedShadowIndexingMode {
    /// Not indexed.
    #[default]
    Off,
    /// Indexed.
    On,
}

/// `thingGroupIndexingMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ThingGroupIndexingMode {
    /// There is no index.
    #[default]
    Off,
    /// Thing groups are indexed.
    On,
}

/// A field that can be aggregated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The path, with dots.
    pub name: String,
    /// As what it is aggregated.
    #[serde(rename = "type")]
    pub field_type: FieldType,
}

/// As what a field is aggregated. Values of another type are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FieldType {
    /// Numbers, and strings that are.
    Number,
    /// Strings and booleans.
    String,
    /// Booleans, and the strings `true` and `false`.
    Boolean,
}

/// The configuration's `filter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexingFilter {
    /// The named shadows.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub named_shadow_names: BTreeSet<String>,
    /// Where locations are. Stored only: a geoquery is refused as unsupported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub geo_locations: Vec<GeoLocationTarget>,
}

/// A location.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeoLocationTarget {
    /// The field.
    pub name: String,
    /// Which coordinate comes first.
    #[serde(default)]
    pub order: TargetFieldOrder,
}

/// Which coordinate comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetFieldOrder {
    /// Latitude.
    #[default]
    LatLon,
    /// Longitude.
    LonLat,
}

impl ThingIndexingConfiguration {
    /// Reads and checks the member of UpdateIndexingConfiguration. Managed fields in it are ignored: nobody can change
    /// them.
    ///
    /// # Errors
    /// [`ConfigurationError`]
    pub fn parse(json: &str, limits: &Limits) -> Result<Self, ConfigurationError> {
        let mut configuration: Self =
            serde_json::from_str(json).map_err(|error| ConfigurationError::Malformed(error.to_string()))?;
        configuration.managed_fields.clear();
        configuration.check(limits)?;
        Ok(configuration)
    }

    fn check(&self, limits: &Limits) -> Result<(), ConfigurationError> {
        if self.thing_indexing_mode == ThingIndexingMode::Off {
            for (is_off, member) in [
                (
                    self.thing_connectivity_indexing_mode == ConnectivityIndexingMode::Off,
                    "thingConnectivityIndexingMode",
                ),
                (self.device_defender_indexing_mode == DeviceDefenderIndexingMode::Off, "deviceDefenderIndexingMode"),
                (self.named_shadow_indexing_mode == NamedShadowIndexingMode::Off, "namedShadowIndexingMode"),
                (self.custom_fields.is_empty(), "customFields"),
            ] {
                if !is_off {
                    return Err(ConfigurationError::NeedsIndexing(member));
                }
            }
        }
        let filter = self.filter.clone().unwrap_or_default();
        let has_names = !filter.named_shadow_names.is_empty();
        if has_names != (self.named_shadow_indexing_mode == NamedShadowIndexingMode::On) {
            return Err(ConfigurationError::NamedShadows);
        }
        for name in &filter.named_shadow_names {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'$' | b':' | b'_' | b'-');
            if !(1..=64).contains(&name.len()) || !name.bytes().all(is_allowed) {
                return Err(ConfigurationError::ShadowName(name.clone()));
            }
        }
        for (list, length, limit) in [
            ("namedShadowNames", filter.named_shadow_names.len(), limits.named_shadows),
            ("geoLocations", filter.geo_locations.len(), limits.geo_locations),
            ("customFields", self.custom_fields.len(), limits.custom_fields),
        ] {
            if length > limit {
                return Err(ConfigurationError::TooMany { list, limit });
            }
        }
        let locations = filter.geo_locations.iter().map(|location| &location.name);
        for name in self.custom_fields.iter().map(|field| &field.name).chain(locations) {
            if !self.is_indexed(name) {
                return Err(ConfigurationError::FieldNotIndexed(name.clone()));
            }
        }
        check_custom(&self.custom_fields, &self.managed())
    }

    /// Whether documents have fields of this name in these modes.
    fn is_indexed(&self, name: &str) -> bool {
        let named = |rest: &str| {
            let shadow = rest.split('.').next().unwrap_or_default();
            self.filter.as_ref().is_some_and(|filter| filter.named_shadow_names.contains(shadow))
        };
        if let Some(rest) = name.strip_prefix("shadow.name.") {
            named(rest)
        } else if name.starts_with("shadow.") {
            self.thing_indexing_mode == ThingIndexingMode::RegistryAndShadow
        } else if name.starts_with("connectivity.") {
            self.thing_connectivity_indexing_mode == ConnectivityIndexingMode::Status
        } else if name.starts_with("deviceDefender.") {
            self.device_defender_indexing_mode == DeviceDefenderIndexingMode::Violations
        } else {
            self.thing_indexing_mode != ThingIndexingMode::Off
        }
    }

    fn managed(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        let mut add = |is_on: bool, names: &[(&str, FieldType)]| {
            if is_on {
                fields.extend(
                    names.iter().map(|(name, field_type)| Field { name: (*name).to_owned(), field_type: *field_type }),
                );
            }
        };
        add(
            self.thing_indexing_mode != ThingIndexingMode::Off,
            &[
                ("thingName", FieldType::String),
                ("thingId", FieldType::String),
                ("registry.version", FieldType::Number),
                ("registry.thingTypeName", FieldType::String),
                ("registry.thingGroupNames", FieldType::String),
            ],
        );
        add(
            self.thing_indexing_mode == ThingIndexingMode::RegistryAndShadow,
            &[("shadow.version", FieldType::Number), ("shadow.hasDelta", FieldType::Boolean)],
        );
        add(
            self.named_shadow_indexing_mode == NamedShadowIndexingMode::On,
            &[("shadow.name.*.version", FieldType::Number), ("shadow.name.*.hasDelta", FieldType::Boolean)],
        );
        add(
            self.thing_connectivity_indexing_mode == ConnectivityIndexingMode::Status,
            &[
                ("connectivity.connected", FieldType::Boolean),
                ("connectivity.timestamp", FieldType::Number),
                ("connectivity.disconnectReason", FieldType::String),
                ("connectivity.version", FieldType::Number),
            ],
        );
        add(
            self.device_defender_indexing_mode == DeviceDefenderIndexingMode::Violations,
            &[("deviceDefender.violationCount", FieldType::Number)],
        );
        fields
    }

    /// What GetIndexingConfiguration answers: with the managed fields.
    #[must_use]
    pub fn answer(&self) -> Self {
        Self { managed_fields: self.managed(), ..self.clone() }
    }

    /// What DescribeIndex answers as `schema`.
    #[must_use]
    pub fn schema(&self) -> &'static str {
        let has_status = self.thing_connectivity_indexing_mode == ConnectivityIndexingMode::Status;
        let has_more = self.named_shadow_indexing_mode == NamedShadowIndexingMode::On
            || self.device_defender_indexing_mode == DeviceDefenderIndexingMode::Violations;
        match (self.thing_indexing_mode, has_status) {
            (ThingIndexingMode::Off, _) => "OFF",
            _ if has_more => "MULTI_INDEXING_MODE",
            (ThingIndexingMode::Registry, false) => "REGISTRY",
            (ThingIndexingMode::Registry, true) => "REGISTRY_AND_CONNECTIVITY_STATUS",
            (ThingIndexingMode::RegistryAndShadow, false) => "REGISTRY_AND_SHADOW",
            (ThingIndexingMode::RegistryAndShadow, true) => "REGISTRY_AND_SHADOW_AND_CONNECTIVITY_STATUS",
        }
    }

    /// What can be aggregated as what; `None` for other fields.
    #[must_use]
    pub fn field_type(&self, name: &str) -> Option<FieldType> {
        field_type(&self.managed(), &self.custom_fields, name)
    }

    /// What of a document is indexed; `None` when there is no index.
    #[must_use]
    pub fn keep(&self, document: ThingDocument) -> Option<ThingDocument> {
        if self.thing_indexing_mode == ThingIndexingMode::Off {
            return None;
        }
        let has_status = self.thing_connectivity_indexing_mode == ConnectivityIndexingMode::Status;
        let shadow = document.shadow.and_then(|shadows| {
            let classic = shadows.classic.filter(|_| self.thing_indexing_mode == ThingIndexingMode::RegistryAndShadow);
            let is_kept = |name: &String| {
                self.named_shadow_indexing_mode == NamedShadowIndexingMode::On
                    && self.filter.as_ref().is_some_and(|filter| filter.named_shadow_names.contains(name))
            };
            let name: std::collections::BTreeMap<_, _> =
                shadows.name.into_iter().filter(|(name, _)| is_kept(name)).collect();
            (classic.is_some() || !name.is_empty()).then_some(Shadows { classic, name })
        });
        Some(ThingDocument { shadow, connectivity: document.connectivity.filter(|_| has_status), ..document })
    }
}

impl ThingGroupIndexingConfiguration {
    /// Reads and checks the member of UpdateIndexingConfiguration.
    ///
    /// # Errors
    /// [`ConfigurationError`]
    pub fn parse(json: &str, limits: &Limits) -> Result<Self, ConfigurationError> {
        let mut configuration: Self =
            serde_json::from_str(json).map_err(|error| ConfigurationError::Malformed(error.to_string()))?;
        configuration.managed_fields.clear();
        if configuration.custom_fields.len() > limits.custom_fields {
            return Err(ConfigurationError::TooMany { list: "customFields", limit: limits.custom_fields });
        }
        if configuration.thing_group_indexing_mode == ThingGroupIndexingMode::Off
            && let Some(field) = configuration.custom_fields.first()
        {
            return Err(ConfigurationError::FieldNotIndexed(field.name.clone()));
        }
        check_custom(&configuration.custom_fields, &configuration.managed())?;
        Ok(configuration)
    }

    fn managed(&self) -> Vec<Field> {
        if self.thing_group_indexing_mode == ThingGroupIndexingMode::Off {
            return Vec::new();
        }
        let field = |name: &str, field_type| Field { name: name.to_owned(), field_type };
        vec![
            field("description", FieldType::String),
            field("parentGroupNames", FieldType::String),
            field("thingGroupId", FieldType::String),
            field("thingGroupName", FieldType::String),
            field("version", FieldType::Number),
        ]
    }

    /// What GetIndexingConfiguration answers: with the managed fields.
    #[must_use]
    pub fn answer(&self) -> Self {
        Self { managed_fields: self.managed(), ..self.clone() }
    }

    /// What can be aggregated as what; `None` for other fields.
    #[must_use]
    pub fn field_type(&self, name: &str) -> Option<FieldType> {
        field_type(&self.managed(), &self.custom_fields, name)
    }

    /// What of a document is indexed; `None` when there is no index.
    #[must_use]
    pub fn keep(&self, document: ThingGroupDocument) -> Option<ThingGroupDocument> {
        (self.thing_group_indexing_mode == ThingGroupIndexingMode::On).then_some(document)
    }
}

fn check_custom(custom: &[Field], managed: &[Field]) -> Result<(), ConfigurationError> {
    let mut seen = BTreeSet::new();
    for Field { name, .. } in custom {
        if !seen.insert(name) || managed.iter().any(|field| is_named(&field.name, name)) {
            return Err(ConfigurationError::DuplicateField(name.clone()));
        }
    }
    Ok(())
}

fn field_type(managed: &[Field], custom: &[Field], name: &str) -> Option<FieldType> {
    let fields = managed.iter().filter(|field| is_named(&field.name, name));
    fields.chain(custom.iter().filter(|field| field.name == name)).next().map(|field| field.field_type)
}

/// A `*` in a managed field stands for the name of a shadow, which has no dots.
fn is_named(managed: &str, name: &str) -> bool {
    let (mut managed, mut name) = (managed.split('.'), name.split('.'));
    loop {
        match (managed.next(), name.next()) {
            (None, None) => return true,
            (Some(wanted), Some(segment)) if wanted == segment || wanted == "*" && !segment.is_empty() => {}
            _ => return false,
        }
    }
}
