//! Provisioning templates and their versions, as they are stored (AWS IoT developer guide, "Provisioning templates"). What is in
//! a template is the crate `provisioning`'s.

use crate::error::ApiError;
use crate::limits::Limits;
use crate::page::{List, Page};
use crate::resource::Resource;
use iot_types::{Scope, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service_model::Input;

/// A template as it is stored; its name is the resource's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProvisioningTemplate {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether devices can be provisioned with it.
    pub enabled: bool,
    /// The version that is in use.
    pub default_version_id: u32,
    /// The newest one: numbers never come back.
    pub newest_version_id: u32,
    /// AWS's role; kept, and not used here.
    pub provisioning_role_arn: String,
    /// Who is asked before a device is provisioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_provisioning_hook: Option<ProvisioningHook>,
    /// `FLEET_PROVISIONING` or `JITP`.
    #[serde(rename = "type")]
    pub template_type: String,
}

/// Who is asked before a device is provisioned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProvisioningHook {
    /// Of what the hook is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_version: Option<String>,
    /// The function: a URL, or the ARN of a Lambda function, which stands for the service binding of its name.
    pub target_arn: String,
}

/// A version of a template, as it is stored under [`version_name`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateVersion {
    /// 1, 2, 3 …
    pub version_id: u32,
    /// The template.
    pub template_body: String,
}

/// A certificate that goes when its time has come, as it is stored: a claim, or one that waits to be provisioned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpiringCertificate {
    /// Which one.
    pub certificate_id: String,
    /// Whether it goes in any case; otherwise only if it still waits.
    pub is_claim: bool,
}

impl ExpiringCertificate {
    /// The resource, whose name begins with the time: those that are over come first.
    #[must_use]
    pub fn resource(self, expires_at: UnixMillis, now: UnixMillis) -> Resource<Self> {
        Resource::new(format!("{:015}/{}", expires_at.0, self.certificate_id), self, now)
    }

    /// What the name of one that is over is before.
    #[must_use]
    pub fn is_over(name: &str, now: UnixMillis) -> bool {
        *name < *format!("{:015}/", now.0)
    }
}

/// CreateProvisioningTemplate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateTemplateRequest {
    /// The name.
    pub template_name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// The first version.
    pub template_body: String,
    /// Whether devices can be provisioned with it.
    #[serde(default)]
    pub enabled: bool,
    /// AWS's role.
    pub provisioning_role_arn: String,
    /// Who is asked first.
    #[serde(default)]
    pub pre_provisioning_hook: Option<ProvisioningHook>,
    /// What it is for.
    #[serde(default, rename = "type")]
    pub template_type: Option<String>,
}

impl CreateTemplateRequest {
    /// `FLEET_PROVISIONING` unless it says otherwise.
    #[must_use]
    pub fn template_type(&self) -> &str {
        self.template_type.as_deref().unwrap_or("FLEET_PROVISIONING")
    }

    /// What it wants to exist: the template and its first version.
    #[must_use]
    pub fn create(&self, now: UnixMillis) -> (Resource<ProvisioningTemplate>, Resource<TemplateVersion>) {
        let template = ProvisioningTemplate {
            description: self.description.clone(),
            enabled: self.enabled,
            default_version_id: 1,
            newest_version_id: 1,
            provisioning_role_arn: self.provisioning_role_arn.clone(),
            pre_provisioning_hook: self.pre_provisioning_hook.clone(),
            template_type: self.template_type().to_owned(),
        };
        let version = TemplateVersion { version_id: 1, template_body: self.template_body.clone() };
        (
            Resource::new(self.template_name.clone(), template, now),
            Resource::new(version_name(&self.template_name, 1), version, now),
        )
    }
}

/// The name under which a version is stored: a template's versions are together and in order.
#[must_use]
pub fn version_name(template_name: &str, version_id: u32) -> String {
    format!("{}{version_id:010}", versions_prefix(template_name))
}

/// What the names of a template's versions begin with. No template's name has a slash.
#[must_use]
pub fn versions_prefix(template_name: &str) -> String {
    format!("{template_name}/")
}

/// What UpdateProvisioningTemplate makes of a template. `has_version`: whether the version is there that it names.
///
/// # Errors
/// `ResourceNotFoundException` for a version that is not there; `InvalidRequestException` for a hook that is given and
/// removed.
pub fn update(
    input: &Input,
    stored: &ProvisioningTemplate,
    has_version: bool,
) -> Result<ProvisioningTemplate, ApiError> {
    let text = |name: &str| input.get(name).and_then(Value::as_str).map(str::to_owned);
    let flag = |name: &str| input.get(name).and_then(Value::as_bool);
    let mut changed = stored.clone();
    if let Some(description) = text("description") {
        changed.description = Some(description);
    }
    if let Some(enabled) = flag("enabled") {
        changed.enabled = enabled;
    }
    if let Some(role) = text("provisioningRoleArn") {
        changed.provisioning_role_arn = role;
    }
    if let Some(id) = wanted_default(input) {
        if !has_version {
            return Err(ApiError::resource_not_found(format!("Version {id} of the template does not exist")));
        }
        changed.default_version_id = id;
    }
    let hook: Option<ProvisioningHook> =
        input.get("preProvisioningHook").and_then(|hook| serde_json::from_value(hook.clone()).ok());
    match (hook, flag("removePreProvisioningHook").unwrap_or(false)) {
        (Some(_), true) => {
            let message = "preProvisioningHook and removePreProvisioningHook must not be given together";
            return Err(ApiError::invalid_request(message));
        }
        (Some(hook), false) => changed.pre_provisioning_hook = Some(hook),
        (None, true) => changed.pre_provisioning_hook = None,
        (None, false) => {}
    }
    Ok(changed)
}

/// The version that UpdateProvisioningTemplate names.
#[must_use]
pub fn wanted_default(input: &Input) -> Option<u32> {
    input.get("defaultVersionId").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok())
}

/// The version that a path names.
///
/// # Errors
/// `InvalidRequestException`.
pub fn version_id(input: &Input) -> Result<u32, ApiError> {
    let id = input.get("versionId").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| ApiError::invalid_request("versionId is not a version"))
}

/// There is no such template.
#[must_use]
pub fn not_found(name: &str) -> ApiError {
    ApiError::resource_not_found(format!("Provisioning template {name} does not exist"))
}

/// A template of this name is there already.
#[must_use]
pub fn exists(scope: &Scope, name: &str) -> ApiError {
    ApiError::resource_already_exists(format!("Provisioning template {name} already exists"), name, &arn(scope, name))
}

/// `arn:aws:iot:{region}:{account}:provisioningtemplate/{name}`.
#[must_use]
pub fn arn(scope: &Scope, name: &str) -> String {
    scope.resource_arn("provisioningtemplate", name).to_string()
}

/// CreateProvisioningTemplateResponse.
#[must_use]
pub fn create_response(scope: &Scope, name: &str) -> Vec<u8> {
    json!({"templateArn": arn(scope, name), "templateName": name, "defaultVersionId": 1}).to_string().into_bytes()
}

/// DescribeProvisioningTemplateResponse.
#[must_use]
pub fn describe_response(scope: &Scope, stored: &Resource<ProvisioningTemplate>, body: &str) -> Vec<u8> {
    let mut members = summary(scope, stored);
    let document = &stored.document;
    members.insert("defaultVersionId".to_owned(), document.default_version_id.into());
    members.insert("templateBody".to_owned(), body.into());
    members.insert("provisioningRoleArn".to_owned(), document.provisioning_role_arn.as_str().into());
    if let Some(hook) = &document.pre_provisioning_hook {
        members.insert("preProvisioningHook".to_owned(), json!(hook));
    }
    Value::Object(members).to_string().into_bytes()
}

fn summary(scope: &Scope, stored: &Resource<ProvisioningTemplate>) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("templateArn".to_owned(), arn(scope, &stored.name).into());
    members.insert("templateName".to_owned(), stored.name.as_str().into());
    if let Some(description) = &stored.document.description {
        members.insert("description".to_owned(), description.as_str().into());
    }
    members.insert("creationDate".to_owned(), stored.created_at.as_secs().into());
    members.insert("lastModifiedDate".to_owned(), stored.last_modified_at.as_secs().into());
    members.insert("enabled".to_owned(), stored.document.enabled.into());
    members.insert("type".to_owned(), stored.document.template_type.as_str().into());
    members
}

/// Parses the page of ListProvisioningTemplates.
///
/// # Errors
/// `InvalidRequestException` for a token that is none.
pub fn list_page(input: &Input, limits: &Limits) -> Result<Page, ApiError> {
    Page::of(List::ProvisioningTemplates, input, limits)
}

/// ListProvisioningTemplatesResponse.
#[must_use]
pub fn list_response(scope: &Scope, page: &Page, stored: Vec<Resource<ProvisioningTemplate>>) -> Vec<u8> {
    page.response("templates", stored, |one| one.name.clone(), |one| summary(scope, one).into())
}

/// CreateProvisioningTemplateVersionResponse.
#[must_use]
pub fn create_version_response(scope: &Scope, name: &str, version_id: u32, is_default: bool) -> Vec<u8> {
    json!({
        "templateArn": arn(scope, name), "templateName": name, "versionId": version_id, "isDefaultVersion": is_default,
    })
    .to_string()
    .into_bytes()
}

/// DescribeProvisioningTemplateVersionResponse.
#[must_use]
pub fn describe_version_response(stored: &Resource<TemplateVersion>, default_version_id: u32) -> Vec<u8> {
    let mut members = version_summary(stored, default_version_id);
    members.insert("templateBody".to_owned(), stored.document.template_body.as_str().into());
    Value::Object(members).to_string().into_bytes()
}

fn version_summary(stored: &Resource<TemplateVersion>, default_version_id: u32) -> Map<String, Value> {
    let id = stored.document.version_id;
    let mut members = Map::new();
    members.insert("versionId".to_owned(), id.into());
    members.insert("creationDate".to_owned(), stored.created_at.as_secs().into());
    members.insert("isDefaultVersion".to_owned(), (id == default_version_id).into());
    members
}

/// Parses the page of ListProvisioningTemplateVersions.
///
/// # Errors
/// `InvalidRequestException` for a token that is none.
pub fn versions_page(input: &Input, limits: &Limits) -> Result<Page, ApiError> {
    Page::of(List::ProvisioningTemplateVersions, input, limits)
}

/// ListProvisioningTemplateVersionsResponse.
#[must_use]
pub fn list_versions_response(page: &Page, stored: Vec<Resource<TemplateVersion>>, default_version_id: u32) -> Vec<u8> {
    page.response("versions", stored, |one| one.name.clone(), |one| version_summary(one, default_version_id).into())
}

/// CreateProvisioningClaimResponse.
#[must_use]
pub fn claim_response(
    certificate_id: &str,
    certificate_pem: &str,
    (public_key, private_key): (&str, &str),
    expires_at: UnixMillis,
) -> Vec<u8> {
    json!({
        "certificateId": certificate_id,
        "certificatePem": certificate_pem,
        "keyPair": {"PublicKey": public_key, "PrivateKey": private_key},
        "expiration": expires_at.as_secs(),
    })
    .to_string()
    .into_bytes()
}

/// RegisterThingResponse.
#[must_use]
pub fn register_thing_response(
    certificate_pem: Option<&str>,
    resource_arns: &std::collections::BTreeMap<String, String>,
) -> Vec<u8> {
    let mut body = Map::new();
    if let Some(pem) = certificate_pem {
        body.insert("certificatePem".to_owned(), pem.into());
    }
    body.insert("resourceArns".to_owned(), json!(resource_arns));
    Value::Object(body).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_template_are_stored_in_their_order() {
        assert!(version_name("t", 2) < version_name("t", 10));
        assert!(version_name("t", 10).starts_with(&versions_prefix("t")));
        assert!(!version_name("t2", 1).starts_with(&versions_prefix("t")));
    }

    #[test]
    fn certificates_that_are_over_come_first() {
        let of = |at| {
            let one = ExpiringCertificate { certificate_id: "0a".to_owned(), is_claim: true };
            one.resource(UnixMillis(at), UnixMillis(0)).name
        };
        assert!(of(999) < of(1_000) && of(1_000) < of(20_000));
        let is_over = |at, now| ExpiringCertificate::is_over(&of(at), UnixMillis(now));
        assert!(is_over(999, 1_000) && !is_over(1_000, 1_000) && !is_over(20_000, 1_000));
    }

    #[test]
    fn an_update_changes_what_it_names() {
        let request: CreateTemplateRequest = serde_json::from_value(json!({
            "templateName": "t", "templateBody": "{}", "provisioningRoleArn": "r",
            "preProvisioningHook": {"targetArn": "https://example.com"},
        }))
        .unwrap();
        let (stored, version) = request.create(UnixMillis(1));
        assert_eq!((stored.document.template_type.as_str(), stored.document.enabled), ("FLEET_PROVISIONING", false));
        assert_eq!(version.name, "t/0000000001");
        let change = |body: Value, has_version| update(body.as_object().unwrap(), &stored.document, has_version);
        let changed = change(json!({"enabled": true, "removePreProvisioningHook": true}), false).unwrap();
        assert!(changed.enabled && changed.pre_provisioning_hook.is_none());
        let missing = change(json!({"defaultVersionId": 2}), false);
        assert_eq!(missing.unwrap_err().name(), "ResourceNotFoundException");
        assert_eq!(change(json!({"defaultVersionId": 2}), true).unwrap().default_version_id, 2);
        let both = json!({"preProvisioningHook": {"targetArn": "x"}, "removePreProvisioningHook": true});
        assert_eq!(change(both, false).unwrap_err().name(), "InvalidRequestException");
    }
}
