//! What is small and read by its name: one table for many kinds of resources, each a JSON document with a version.
//!
//! A kind that wants a query of its own (things, certificates, thing groups) has a table of its own.

use crate::error::{ApiError, CorruptRow};
use iot_types::UnixMillis;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What a resource is. The names are stored: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// By its name.
    BillingGroup,
    /// By its name.
    DomainConfiguration,
    /// A certificate that goes when its time has come, by that time and its identifier.
    ExpiringCertificate,
    /// By its name.
    FleetMetric,
    /// A log level for a target, by type and name of the target.
    LoggingLevel,
    /// By its name.
    ProvisioningTemplate,
    /// By the template's name and the number, so that a template's are together and in order.
    ProvisioningTemplateVersion,
    /// By its identifier.
    RegistrationTask,
    /// Of the account, of which there is one: event configurations, logging options and the like.
    Setting,
    /// By its name.
    ThingType,
}

impl ResourceKind {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BillingGroup => "billing_group",
            Self::DomainConfiguration => "domain_configuration",
            Self::ExpiringCertificate => "expiring_certificate",
            Self::FleetMetric => "fleet_metric",
            Self::LoggingLevel => "logging_level",
            Self::ProvisioningTemplate => "provisioning_template",
            Self::ProvisioningTemplateVersion => "provisioning_template_version",
            Self::RegistrationTask => "registration_task",
            Self::Setting => "setting",
            Self::ThingType => "thing_type",
        }
    }
}

/// A resource as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource<T> {
    /// Its name among those of its kind.
    pub name: String,
    /// 1 at creation, one more with every change.
    pub version: u64,
    /// What it is.
    pub document: T,
    /// When it was created.
    pub created_at: UnixMillis,
    /// When it was last changed.
    pub last_modified_at: UnixMillis,
}

impl<T> Resource<T> {
    /// A new one.
    pub fn new(name: impl Into<String>, document: T, now: UnixMillis) -> Self {
        Self { name: name.into(), version: 1, document, created_at: now, last_modified_at: now }
    }

    /// The same with another document, as its next version.
    #[must_use]
    pub fn changed(&self, document: T, now: UnixMillis) -> Self {
        let version = self.version.saturating_add(1);
        Self { name: self.name.clone(), version, document, created_at: self.created_at, last_modified_at: now }
    }
}

/// A row of the table `resources`, as D1 gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct ResourceRow {
    pub name: String,
    pub version: u64,
    pub document: String,
    pub created_at: u64,
    pub last_modified_at: u64,
}

impl<T: DeserializeOwned> TryFrom<ResourceRow> for Resource<T> {
    type Error = CorruptRow;

    fn try_from(row: ResourceRow) -> Result<Self, CorruptRow> {
        let corrupt = |_| CorruptRow { table: "resources", column: "document" };
        Ok(Self {
            name: row.name,
            version: row.version,
            document: serde_json::from_str(&row.document).map_err(corrupt)?,
            created_at: UnixMillis(row.created_at),
            last_modified_at: UnixMillis(row.last_modified_at),
        })
    }
}

/// The document as it is stored.
pub(crate) fn to_text(document: &impl Serialize) -> String {
    // Documents are made of strings, numbers and maps with string keys, which always have a JSON form.
    serde_json::to_string(document).unwrap_or_else(|_| "null".to_owned())
}

/// What a change does to a resource that must exist, and may have to have a version.
///
/// # Errors
/// `ResourceNotFoundException`, in the words of `missing`; `VersionConflictException`.
pub fn expect<T>(
    stored: Option<Resource<T>>,
    expected_version: Option<i64>,
    missing: impl FnOnce() -> String,
) -> Result<Resource<T>, ApiError> {
    let stored = stored.ok_or_else(|| ApiError::resource_not_found(missing()))?;
    if expected_version.is_some_and(|expected| u64::try_from(expected) != Ok(stored.version)) {
        let message = format!("The version of {} does not match the expected version.", stored.name);
        return Err(ApiError::version_conflict(message));
    }
    Ok(stored)
}
