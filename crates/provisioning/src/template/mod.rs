//! Provisioning templates, read and checked when they are created (AWS IoT developer guide, "Provisioning templates").
//!
//! What can be wrong with a template without knowing its parameters is refused here, with the place: names that nothing
//! declares, functions of another shape, properties that the kind of template does not have. What depends on parameters
//! is [`crate::EvaluationError`].

mod expression;
mod resource;

pub(crate) use expression::{FindInMap, List, MappedValue, Node, Piece, Text};
pub(crate) use resource::{Certificate, CertificateProperty, Document, Policy, Thing};

use crate::limits::Limits;
use expression::Reader;
use json_doc::{Bounds, ParseError};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Most arrays and objects inside one another in a template. Everything here that recurses does so over a template, so
/// this bounds it. AWS does not say what its bound is; its own examples need seven.
pub(crate) const MAXIMUM_DEPTH: usize = 32;

/// What a template is for, which decides what it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateKind {
    /// `FLEET_PROVISIONING`: a device that has a claim asks for it.
    FleetProvisioning,
    /// `JITP`, and the template in `registrationConfig` of a CA certificate: a device that has a certificate connects.
    Jitp,
    /// The template in RegisterThing and StartThingRegistrationTask, which has no name.
    Registration,
}

impl TemplateKind {
    /// `type` of CreateProvisioningTemplate; `None` for what is no `TemplateType`.
    #[must_use]
    pub fn from_template_type(text: &str) -> Option<Self> {
        [Self::FleetProvisioning, Self::Jitp].into_iter().find(|kind| kind.template_type() == Some(text))
    }

    /// AWS's `TemplateType`; `None` for templates that are not stored under a name.
    #[must_use]
    pub const fn template_type(self) -> Option<&'static str> {
        match self {
            Self::FleetProvisioning => Some("FLEET_PROVISIONING"),
            Self::Jitp => Some("JITP"),
            Self::Registration => None,
        }
    }

    /// Parameters that nobody has to declare.
    pub(crate) const fn built_in(self) -> &'static [&'static str] {
        match self {
            Self::FleetProvisioning => &[CERTIFICATE_ID],
            Self::Jitp => crate::jitp::PARAMETERS,
            Self::Registration => &[],
        }
    }
}

/// The parameter that names the certificate that is being provisioned.
pub(crate) const CERTIFICATE_ID: &str = "AWS::IoT::Certificate::Id";

/// A template that can be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pub(crate) kind: TemplateKind,
    pub(crate) limits: Limits,
    /// Declared parameters with their defaults.
    pub(crate) parameters: BTreeMap<String, Option<String>>,
    /// Map, first key, second key.
    pub(crate) mappings: Mappings,
    pub(crate) thing: Option<Thing>,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) policies: Vec<Policy>,
    pub(crate) device_configuration: Vec<(String, Text)>,
}

/// `Mappings`: map, first key, second key.
pub(crate) type Mappings = BTreeMap<String, BTreeMap<String, BTreeMap<String, MappedValue>>>;

/// Why a text is not a template. Always the fault of whom it comes from, and fit to be told:
/// `InvalidRequestException`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Not JSON, too long or too deep.
    #[error("The provisioning template can't be read: {0}")]
    Json(#[from] ParseError),
    /// JSON that is no template.
    #[error("Invalid provisioning template: {path}: {reason}")]
    Invalid {
        /// Where, as member names joined by dots.
        path: String,
        /// What is wrong there.
        reason: String,
    },
}

impl TemplateError {
    pub(crate) fn at(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { path: path.into(), reason: reason.into() }
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`], the first that is found.
    pub fn parse(text: &str, kind: TemplateKind, limits: &Limits) -> Result<Self, TemplateError> {
        // Two bytes of text are the shortest value, so the bound on values refuses nothing that is short enough.
        let bounds = Bounds {
            maximum_bytes: limits.template_bytes,
            maximum_depth: MAXIMUM_DEPTH,
            maximum_values: limits.template_bytes,
        };
        let value = json_doc::parse(text.as_bytes(), &bounds)?;
        let members = object(&value, "template")?;
        let known = ["Parameters", "Mappings", "Resources", "DeviceConfiguration"];
        only(members, &known, "template")?;
        let parameters = parameters(members.get("Parameters"), kind, limits)?;
        let mappings = mappings(members.get("Mappings"))?;
        let has_functions = kind == TemplateKind::FleetProvisioning || limits.functions_everywhere;
        if !has_functions && members.contains_key("Mappings") {
            return Err(TemplateError::at("Mappings", "only fleet provisioning templates have this section"));
        }
        let reader = Reader { kind, parameters: &parameters, mappings: &mappings, has_functions };
        let resources = resource::resources(&reader, members.get("Resources"), limits)?;
        let device_configuration = device_configuration(&reader, members.get("DeviceConfiguration"))?;
        let resource::Resources { thing, certificate, policies } = resources;
        Ok(Self { kind, limits: *limits, parameters, mappings, thing, certificate, policies, device_configuration })
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> TemplateKind {
        self.kind
    }

    /// The parameters that must be given: declared, and without a default.
    pub fn required_parameters(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().filter(|(_, default)| default.is_none()).map(|(name, _)| name.as_str())
    }

    /// All declared parameters.
    pub fn declared_parameters(&self) -> impl Iterator<Item = &str> {
        self.parameters.keys().map(String::as_str)
    }
}

fn parameters(
    value: Option<&Value>,
    kind: TemplateKind,
    limits: &Limits,
) -> Result<BTreeMap<String, Option<String>>, TemplateError> {
    let mut parameters = BTreeMap::new();
    let Some(value) = value else { return Ok(parameters) };
    for (name, declaration) in object(value, "Parameters")? {
        let path = format!("Parameters.{name}");
        if name.is_empty() || name.chars().count() > limits.parameter_name_length {
            let maximum = limits.parameter_name_length;
            return Err(TemplateError::at("Parameters", format!("a name must have 1 to {maximum} characters")));
        }
        if name.starts_with("AWS::") && !kind.built_in().contains(&name.as_str()) {
            return Err(TemplateError::at(path, "there is no such parameter in this type of template"));
        }
        let declaration = object(declaration, &path)?;
        only(declaration, &["Type", "Default", "Description"], &path)?;
        if text(declaration.get("Type"), &format!("{path}.Type"))? != "String" {
            return Err(TemplateError::at(format!("{path}.Type"), "must be String"));
        }
        let default = match declaration.get("Default") {
            None => None,
            value => Some(text(value, &format!("{path}.Default"))?.to_owned()),
        };
        if default.as_ref().is_some_and(|default| default.chars().count() > limits.parameter_value_length) {
            let maximum = limits.parameter_value_length;
            let reason = format!("must have at most {maximum} characters");
            return Err(TemplateError::at(format!("{path}.Default"), reason));
        }
        // Nobody could give it a value, so every device would fail.
        if kind == TemplateKind::Jitp && default.is_none() && !kind.built_in().contains(&name.as_str()) {
            let reason = "a certificate gives just-in-time provisioning no such parameter, and it has no Default";
            return Err(TemplateError::at(path, reason));
        }
        parameters.insert(name.clone(), default);
    }
    Ok(parameters)
}

fn mappings(value: Option<&Value>) -> Result<Mappings, TemplateError> {
    let mut mappings = Mappings::new();
    let Some(value) = value else { return Ok(mappings) };
    for (map, keys) in object(value, "Mappings")? {
        let path = format!("Mappings.{map}");
        let mut read = BTreeMap::new();
        for (key, values) in object(keys, &path)? {
            let path = format!("{path}.{key}");
            let values = object(values, &path)?.iter();
            let values = values.map(|(name, value)| Ok((name.clone(), mapped(value, &format!("{path}.{name}"))?)));
            read.insert(key.clone(), values.collect::<Result<_, TemplateError>>()?);
        }
        mappings.insert(map.clone(), read);
    }
    Ok(mappings)
}

/// "You cannot include parameters, pseudo parameters, or call intrinsic functions in the `Mappings` section".
fn mapped(value: &Value, path: &str) -> Result<MappedValue, TemplateError> {
    let wrong = || TemplateError::at(path, "must be a string or a list of strings");
    match value {
        Value::String(text) => Ok(MappedValue::Text(text.clone())),
        Value::Array(items) => {
            let items = items.iter().map(|item| item.as_str().map(str::to_owned));
            items.collect::<Option<_>>().map(MappedValue::List).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

fn device_configuration(reader: &Reader<'_>, value: Option<&Value>) -> Result<Vec<(String, Text)>, TemplateError> {
    const PATH: &str = "DeviceConfiguration";
    let Some(value) = value else { return Ok(Vec::new()) };
    if reader.kind != TemplateKind::FleetProvisioning {
        return Err(TemplateError::at(PATH, "only fleet provisioning templates have this section"));
    }
    let members = object(value, PATH)?.iter();
    members.map(|(name, value)| Ok((name.clone(), reader.text(value, &format!("{PATH}.{name}"))?))).collect()
}

pub(crate) fn object<'a>(value: &'a Value, path: &str) -> Result<&'a Map<String, Value>, TemplateError> {
    value.as_object().ok_or_else(|| TemplateError::at(path, "must be an object"))
}

fn text<'a>(value: Option<&'a Value>, path: &str) -> Result<&'a str, TemplateError> {
    value.and_then(Value::as_str).ok_or_else(|| TemplateError::at(path, "must be a string"))
}

/// A member that is none of these is most likely misspelled, and would be without effect.
pub(crate) fn only(members: &Map<String, Value>, known: &[&str], path: &str) -> Result<(), TemplateError> {
    let known_names: BTreeSet<&str> = known.iter().copied().collect();
    match members.keys().find(|name| !known_names.contains(name.as_str())) {
        Some(name) => {
            Err(TemplateError::at(format!("{path}.{name}"), format!("unknown; known are {}", known.join(", "))))
        }
        None => Ok(()),
    }
}
