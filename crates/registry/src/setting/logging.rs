//! What is logged: SetV2LoggingOptions, GetV2LoggingOptions, SetV2LoggingLevel, DeleteV2LoggingLevel, ListV2LoggingLevels and
//! the older SetLoggingOptions, GetLoggingOptions (AWS IoT developer guide, "Configure AWS IoT logging").

use crate::error::ApiError;
use crate::limits::Limits;
use crate::page::{List, Page};
use crate::resource::Resource;
use iot_types::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service_model::Input;

/// How much is logged; each level has what is above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum LogLevel {
    Disabled,
    #[default]
    Error,
    Warn,
    Info,
    Debug,
}

/// The options as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct V2LoggingOptions {
    /// AWS's role to write to CloudWatch with; kept, and not used here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// For targets that have no level of their own.
    pub default_log_level: Option<LogLevel>,
    /// Whether nothing is logged.
    pub disable_all_logs: bool,
    /// Levels of single event types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_configurations: Option<Value>,
}

impl V2LoggingOptions {
    /// After SetV2LoggingOptions: what the request does not name stays as it is.
    #[must_use]
    pub fn updated(&self, request: &Input) -> Self {
        let given: Self = crate::input::read(request).unwrap_or_default();
        Self {
            role_arn: given.role_arn.or_else(|| self.role_arn.clone()),
            default_log_level: given.default_log_level.or(self.default_log_level),
            disable_all_logs: if request.contains_key("disableAllLogs") {
                given.disable_all_logs
            } else {
                self.disable_all_logs
            },
            event_configurations: given.event_configurations.or_else(|| self.event_configurations.clone()),
        }
    }
}

/// GetV2LoggingOptionsResponse.
///
/// # Errors
/// `NotConfiguredException` before the first SetV2LoggingOptions.
pub fn v2_options_response(stored: Option<&Resource<V2LoggingOptions>>) -> Result<Vec<u8>, ApiError> {
    let stored = stored.ok_or_else(not_configured)?;
    let mut body = json!(stored.document);
    if let Some(body) = body.as_object_mut() {
        body.retain(|_, value| !value.is_null());
    }
    Ok(body.to_string().into_bytes())
}

fn not_configured() -> ApiError {
    ApiError::new("NotConfiguredException", 404, "Logging is not configured: call SetV2LoggingOptions first")
}

/// The older options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggingOptions {
    /// AWS's role to write to CloudWatch with; kept, and not used here.
    pub role_arn: String,
    /// How much is logged.
    #[serde(default)]
    pub log_level: Option<LogLevel>,
}

/// SetLoggingOptions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetLoggingOptionsRequest {
    /// The body.
    pub logging_options_payload: LoggingOptions,
}

/// GetLoggingOptionsResponse: empty before the first SetLoggingOptions.
#[must_use]
pub fn options_response(stored: Option<&Resource<LoggingOptions>>) -> Vec<u8> {
    stored.map_or_else(|| b"{}".to_vec(), |stored| json!(stored.document).to_string().into_bytes())
}

/// What a level is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogTarget {
    /// Such as `THING_GROUP`.
    pub target_type: String,
    /// Which one; none for `DEFAULT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
}

/// The level of a target, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogTargetConfiguration {
    /// What it is for.
    pub log_target: LogTarget,
    /// How much is logged.
    pub log_level: LogLevel,
}

impl LogTarget {
    /// The name of its resource: the types are told apart by what no name begins with.
    #[must_use]
    pub fn resource_name(&self) -> String {
        format!("{}/{}", self.target_type, self.target_name.as_deref().unwrap_or_default())
    }

    /// What the service model does not say.
    ///
    /// # Errors
    /// `InvalidRequestException` for a target without a name, or the default with one.
    pub fn check(&self) -> Result<(), ApiError> {
        let has_name = self.target_name.as_deref().is_some_and(|name| !name.is_empty());
        if has_name == (self.target_type == "DEFAULT") {
            return Err(ApiError::invalid_request("Every target but DEFAULT has a targetName"));
        }
        Ok(())
    }
}

impl LogTargetConfiguration {
    /// The resource.
    #[must_use]
    pub fn resource(self, now: UnixMillis) -> Resource<Self> {
        Resource::new(self.log_target.resource_name(), self, now)
    }
}

/// What the names of a type's targets begin with.
#[must_use]
pub fn prefix_of_type(target_type: Option<&str>) -> String {
    target_type.map(|target_type| format!("{target_type}/")).unwrap_or_default()
}

/// Parses the page of ListV2LoggingLevels.
///
/// # Errors
/// `InvalidRequestException` for a token that is none.
pub fn levels_page(input: &Input, limits: &Limits) -> Result<Page, ApiError> {
    Page::of(List::LoggingLevels, input, limits)
}

/// ListV2LoggingLevelsResponse.
#[must_use]
pub fn levels_response(page: &Page, stored: Vec<Resource<LogTargetConfiguration>>) -> Vec<u8> {
    page.response("logTargetConfigurations", stored, |one| one.name.clone(), |one| json!(one.document))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_are_not_named_stay_as_they_are() {
        let set = |stored: &V2LoggingOptions, body: Value| stored.updated(body.as_object().unwrap());
        let first = set(&V2LoggingOptions::default(), json!({"roleArn": "r", "defaultLogLevel": "WARN"}));
        let second = set(&first, json!({"disableAllLogs": true}));
        assert_eq!(second.default_log_level, Some(LogLevel::Warn));
        assert_eq!((second.role_arn.as_deref(), second.disable_all_logs), (Some("r"), true));
        assert!(set(&second, json!({"defaultLogLevel": "INFO"})).disable_all_logs);
        assert_eq!(v2_options_response(None).unwrap_err().name(), "NotConfiguredException");
    }

    #[test]
    fn every_target_but_the_default_has_a_name() {
        let check = |target_type: &str, name: Option<&str>| {
            LogTarget { target_type: target_type.to_owned(), target_name: name.map(str::to_owned) }.check().is_ok()
        };
        assert!(check("DEFAULT", None) && check("CLIENT_ID", Some("a")));
        assert!(!check("DEFAULT", Some("a")) && !check("CLIENT_ID", None) && !check("THING_GROUP", Some("")));
    }

    #[test]
    fn levels_are_ordered() {
        assert!(
            LogLevel::Disabled < LogLevel::Error && LogLevel::Warn < LogLevel::Info && LogLevel::Info < LogLevel::Debug
        );
    }
}
