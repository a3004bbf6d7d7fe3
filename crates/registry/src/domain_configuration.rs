//! Domain configurations: which host names there are and how clients prove who they are under each (AWS IoT developer guide,
//! "Domain configurations"). A custom domain is routed to the Worker in Cloudflare; here is what holds for it.

use crate::error::ApiError;
use crate::limits::Limits;
use crate::page::{List, Page};
use crate::resource::Resource;
use iot_types::{Scope, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service_model::Input;

/// A domain configuration as it is stored; its name is the resource's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DomainConfiguration {
    /// What its ARN ends with.
    pub suffix: String,
    /// The host name; none for one that AWS manages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_name: Option<String>,
    /// ARNs of its server certificates; kept, and not used here: Cloudflare has the certificates.
    #[serde(default)]
    pub server_certificate_arns: Vec<String>,
    /// What it is for.
    pub service_type: String,
    /// Whether it is in use.
    pub is_enabled: bool,
    /// When that last changed.
    pub status_changed_at: UnixMillis,
    /// Which custom authorizer is asked, and whether a client may name another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorizer_config: Option<AuthorizerConfig>,
    /// What is kept as it came: `tlsConfig`, `authenticationType` and the like.
    #[serde(default)]
    pub other: Map<String, Value>,
}

/// Custom authorizers of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizerConfig {
    /// The one that is asked when a client names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_authorizer_name: Option<String>,
    /// Whether a client may name another.
    pub allow_authorizer_override: Option<bool>,
}

/// Members that are kept as they came.
const OTHER: [&str; 5] =
    ["tlsConfig", "serverCertificateConfig", "authenticationType", "applicationProtocol", "clientCertificateConfig"];

fn other(input: &Input) -> Map<String, Value> {
    OTHER.iter().filter_map(|name| Some(((*name).to_owned(), input.get(*name)?.clone()))).collect()
}

fn text<'a>(input: &'a Input, name: &str) -> Option<&'a str> {
    input.get(name)?.as_str()
}

fn authorizer_config(input: &Input) -> Option<AuthorizerConfig> {
    serde_json::from_value(input.get("authorizerConfig")?.clone()).ok()
}

/// The resource that CreateDomainConfiguration wants to exist. `suffix` ends its ARN.
///
/// # Errors
/// `InvalidRequestException` for a service other than the data plane.
pub fn create(input: &Input, suffix: &str, now: UnixMillis) -> Result<Resource<DomainConfiguration>, ApiError> {
    let service_type = text(input, "serviceType").unwrap_or("DATA");
    if service_type != "DATA" {
        let message = format!("The serviceType {service_type} cannot be configured: AWS IoT Core supports only DATA");
        return Err(ApiError::invalid_request(message));
    }
    let arns = input.get("serverCertificateArns").and_then(Value::as_array).cloned().unwrap_or_default();
    let document = DomainConfiguration {
        suffix: suffix.to_owned(),
        domain_name: text(input, "domainName").map(str::to_ascii_lowercase),
        server_certificate_arns: arns.iter().filter_map(|arn| arn.as_str().map(str::to_owned)).collect(),
        service_type: service_type.to_owned(),
        is_enabled: true,
        status_changed_at: now,
        authorizer_config: authorizer_config(input),
        other: other(input),
    };
    Ok(Resource::new(text(input, "domainConfigurationName").unwrap_or_default(), document, now))
}

/// What UpdateDomainConfiguration makes of it.
///
/// # Errors
/// `InvalidRequestException` for an authorizer configuration that is given and removed.
pub fn update(input: &Input, stored: &DomainConfiguration, now: UnixMillis) -> Result<DomainConfiguration, ApiError> {
    let mut changed = stored.clone();
    if let Some(status) = text(input, "domainConfigurationStatus") {
        let is_enabled = status == "ENABLED";
        if is_enabled != stored.is_enabled {
            (changed.is_enabled, changed.status_changed_at) = (is_enabled, now);
        }
    }
    let removes = input.get("removeAuthorizerConfig").and_then(Value::as_bool).unwrap_or(false);
    match (authorizer_config(input), removes) {
        (Some(_), true) => {
            return Err(ApiError::invalid_request(
                "authorizerConfig and removeAuthorizerConfig must not be given together",
            ));
        }
        (None, true) => changed.authorizer_config = None,
        (Some(config), false) => changed.authorizer_config = Some(config),
        (None, false) => {}
    }
    changed.other.extend(other(input));
    Ok(changed)
}

/// Whether CreateDomainConfiguration stored it.
///
/// # Errors
/// `ResourceAlreadyExistsException`.
pub fn settle_create(
    scope: &Scope,
    candidate: &Resource<DomainConfiguration>,
    stored: &Resource<DomainConfiguration>,
) -> Result<(), ApiError> {
    if stored.document.suffix == candidate.document.suffix {
        return Ok(());
    }
    let (name, arn) = (&stored.name, arn(scope, stored));
    let message = format!("The domain configuration {name} already exists");
    Err(ApiError::resource_already_exists(message, name, &arn))
}

/// There is no such configuration.
#[must_use]
pub fn missing(name: &str) -> String {
    format!("The domain configuration {name} does not exist")
}

/// `arn:aws:iot:{region}:{account}:domainconfiguration/{name}/{suffix}`.
#[must_use]
pub fn arn(scope: &Scope, stored: &Resource<DomainConfiguration>) -> String {
    scope.resource_arn("domainconfiguration", &format!("{}/{}", stored.name, stored.document.suffix)).to_string()
}

/// CreateDomainConfigurationResponse and UpdateDomainConfigurationResponse.
#[must_use]
pub fn named_response(scope: &Scope, stored: &Resource<DomainConfiguration>) -> Vec<u8> {
    json!({"domainConfigurationName": stored.name, "domainConfigurationArn": arn(scope, stored)})
        .to_string()
        .into_bytes()
}

/// DescribeDomainConfigurationResponse. `own_host` is the deployment's.
#[must_use]
pub fn describe_response(scope: &Scope, stored: &Resource<DomainConfiguration>, own_host: &str) -> Vec<u8> {
    let document = &stored.document;
    let is_customers = document.domain_name.is_some();
    let certificates = document
        .server_certificate_arns
        .iter()
        .map(|arn| json!({"serverCertificateArn": arn, "serverCertificateStatus": "VALID"}));
    let mut body = Map::new();
    body.insert("domainConfigurationName".to_owned(), stored.name.as_str().into());
    body.insert("domainConfigurationArn".to_owned(), arn(scope, stored).into());
    body.insert("domainName".to_owned(), document.domain_name.as_deref().unwrap_or(own_host).into());
    body.insert("serverCertificates".to_owned(), certificates.collect());
    if let Some(config) = &document.authorizer_config {
        body.insert("authorizerConfig".to_owned(), json!(config));
    }
    let status = if document.is_enabled { "ENABLED" } else { "DISABLED" };
    body.insert("domainConfigurationStatus".to_owned(), status.into());
    body.insert("serviceType".to_owned(), document.service_type.as_str().into());
    let kind = if is_customers { "CUSTOMER_MANAGED" } else { "AWS_MANAGED" };
    body.insert("domainType".to_owned(), kind.into());
    body.insert("lastStatusChangeDate".to_owned(), document.status_changed_at.as_secs().into());
    body.extend(document.other.clone());
    Value::Object(body).to_string().into_bytes()
}

/// Parses the page of ListDomainConfigurations.
///
/// # Errors
/// `InvalidRequestException` for a token that is none.
pub fn list_page(input: &Input, limits: &Limits) -> Result<Page, ApiError> {
    Page::of(List::DomainConfigurations, input, limits)
}

/// ListDomainConfigurationsResponse.
#[must_use]
pub fn list_response(scope: &Scope, page: &Page, stored: Vec<Resource<DomainConfiguration>>) -> Vec<u8> {
    let value = |one: &Resource<DomainConfiguration>| -> Value {
        json!({
            "domainConfigurationName": one.name,
            "domainConfigurationArn": arn(scope, one),
            "serviceType": one.document.service_type,
        })
    };
    page.response("domainConfigurations", stored, |one| one.name.clone(), value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::{AccountId, Region};

    fn input(value: &Value) -> &Input {
        value.as_object().unwrap()
    }

    #[test]
    fn a_configuration_is_changed_in_parts() {
        let now = UnixMillis(1_000);
        let body = json!({
            "domainConfigurationName": "d", "domainName": "IoT.example.com",
            "authorizerConfig": {"defaultAuthorizerName": "a", "allowAuthorizerOverride": true},
            "tlsConfig": {"securityPolicy": "x"},
        });
        let stored = create(input(&body), "abcde", now).unwrap();
        assert_eq!(stored.document.domain_name.as_deref(), Some("iot.example.com"));
        let later = UnixMillis(2_000);
        let change = |body: Value| update(input(&body), &stored.document, later);
        let disabled = change(json!({"domainConfigurationStatus": "DISABLED"})).unwrap();
        assert!(!disabled.is_enabled && disabled.status_changed_at == later && disabled.authorizer_config.is_some());
        assert_eq!(change(json!({"removeAuthorizerConfig": true})).unwrap().authorizer_config, None);
        assert!(change(json!({"removeAuthorizerConfig": true, "authorizerConfig": {}})).is_err());
        let other = change(json!({"authenticationType": "CUSTOM_AUTH"})).unwrap().other;
        assert_eq!(
            Value::Object(other),
            json!({"tlsConfig": {"securityPolicy": "x"}, "authenticationType": "CUSTOM_AUTH"})
        );
        assert!(create(input(&json!({"serviceType": "JOBS"})), "abcde", now).is_err());
    }

    #[test]
    fn one_without_a_domain_name_is_for_the_deployments_own_host() {
        let scope =
            Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() };
        let stored = create(input(&json!({"domainConfigurationName": "d"})), "abcde", UnixMillis(0)).unwrap();
        let body: Value = serde_json::from_slice(&describe_response(&scope, &stored, "umbra.example")).unwrap();
        assert_eq!(body["domainName"], "umbra.example");
        assert_eq!(body["domainConfigurationArn"], "arn:aws:iot:us-east-1:123456789012:domainconfiguration/d/abcde");
        assert_eq!(body["domainType"], "AWS_MANAGED");
    }
}
