//! Evaluating a template: parameters in, a [`Plan`] out.

use crate::limits::Limits;
use crate::plan::{AttachedStatus, CertificatePlan, CertificateSource, Plan, PolicyPlan, PolicySource, ThingPlan};
use crate::template::{
    Certificate, CertificateProperty, Document, FindInMap, List, MappedValue, Node, Piece, Policy, Template, Text,
    Thing,
};
use iot_types::{CertificateId, PolicyName, ThingName};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What one item of a list costs besides its text, so that many empty ones are no way around the budget.
const ITEM_BYTES: usize = 32;

/// Why a template asks for nothing with these parameters. Fit to be told to whom the parameters come from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// A declared parameter that was not given and has no default.
    #[error("Parameter {name} is missing")]
    MissingParameter {
        /// Its name.
        name: String,
    },
    /// More parameters than [`Limits::parameters`].
    #[error("There are more than {maximum} parameters")]
    TooManyParameters {
        /// How many there may be.
        maximum: usize,
    },
    /// A parameter that is too long.
    #[error("Parameter {name} has more than {maximum} characters")]
    ParameterTooLong {
        /// The beginning of its name.
        name: String,
        /// How many there may be.
        maximum: usize,
    },
    /// `Fn::Select` with an index that is no number.
    #[error("{path}: Fn::Select needs a whole number from 0")]
    Index {
        /// The property.
        path: String,
    },
    /// `Fn::Select` beyond the end of its list.
    #[error("{path}: Fn::Select finds no item {index} in a list of {count}")]
    OutOfBounds {
        /// The property.
        path: String,
        /// The index.
        index: usize,
        /// How many items there are.
        count: usize,
    },
    /// `Fn::FindInMap` with a map or a key that is not there.
    #[error("{path}: Fn::FindInMap does not find what it looks for")]
    NotInMap {
        /// The property.
        path: String,
    },
    /// `Fn::FindInMap` finds a list where text is needed, or text where a list is.
    #[error("{path}: Fn::FindInMap finds {found}")]
    WrongKind {
        /// The property.
        path: String,
        /// What it finds.
        found: &'static str,
    },
    /// A property with a value that it can't have.
    #[error("{path}: {reason}")]
    Invalid {
        /// The property.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// More text than [`Limits::output_bytes`].
    #[error("The template makes more than {maximum} bytes of text")]
    OutputTooLarge {
        /// How much it may make.
        maximum: usize,
    },
}

/// Evaluates a template. Parameters that it does not declare are left out of account; values of built-in parameters
/// (`AWS::IoT::Certificate::…`) are among `parameters`, and it is for the caller to see that they are nobody's invention
/// ([`crate::fleet::parameters`], [`crate::jitp::parameters`]).
///
/// # Errors
/// [`EvaluationError`], the first that is found.
pub fn evaluate(template: &Template, parameters: &BTreeMap<String, String>) -> Result<Plan, EvaluationError> {
    check_parameters(parameters, &template.limits)?;
    if let Some(name) = template.required_parameters().find(|name| !parameters.contains_key(*name)) {
        return Err(EvaluationError::MissingParameter { name: name.to_owned() });
    }
    let mut evaluator = Evaluator { template, parameters, left: template.limits.output_bytes, path: String::new() };
    let thing = template.thing.as_ref().map(|thing| evaluator.thing(thing)).transpose()?;
    let certificate = template.certificate.as_ref().map(|found| evaluator.certificate(found)).transpose()?;
    let policies = template.policies.iter().map(|policy| evaluator.policy(policy)).collect::<Result<_, _>>()?;
    let mut device_configuration = BTreeMap::new();
    for (name, value) in &template.device_configuration {
        evaluator.path = format!("DeviceConfiguration.{name}");
        device_configuration.insert(name.clone(), evaluator.text(value)?.into_owned());
    }
    Ok(Plan { thing, certificate, policies, device_configuration })
}

/// Whether parameters from outside are few and short enough.
///
/// # Errors
/// [`EvaluationError::TooManyParameters`], [`EvaluationError::ParameterTooLong`].
pub(crate) fn check_parameters(parameters: &BTreeMap<String, String>, limits: &Limits) -> Result<(), EvaluationError> {
    if parameters.len() > limits.parameters {
        return Err(EvaluationError::TooManyParameters { maximum: limits.parameters });
    }
    for (name, value) in parameters {
        for (text, maximum) in [(name, limits.parameter_name_length), (value, limits.parameter_value_length)] {
            if text.chars().count() > maximum {
                return Err(EvaluationError::ParameterTooLong { name: name.chars().take(64).collect(), maximum });
            }
        }
    }
    Ok(())
}

struct Evaluator<'a> {
    template: &'a Template,
    parameters: &'a BTreeMap<String, String>,
    /// Bytes that may still be made.
    left: usize,
    /// The property that is being evaluated.
    path: String,
}

impl<'a> Evaluator<'a> {
    fn thing(&mut self, thing: &'a Thing) -> Result<ThingPlan, EvaluationError> {
        let properties = format!("Resources.{}.Properties", thing.logical_name);
        let mut named = |property: &str, text: Option<&'a Text>| {
            let Some(text) = text else { return Ok(None) };
            self.path = format!("{properties}.{property}");
            let text = self.text(text)?;
            self.resource_name(text).map(Some)
        };
        let name = named("ThingName", thing.name.as_ref())?;
        let thing_type = named("ThingTypeName", thing.thing_type.as_ref())?;
        let billing_group = named("BillingGroup", thing.billing_group.as_ref())?;
        let mut attributes = thing.attributes.as_ref().map(|_| BTreeMap::new());
        for (name, value) in thing.attributes.iter().flatten() {
            self.path = format!("{properties}.AttributePayload.{name}");
            let value = self.text(value)?.into_owned();
            attributes.get_or_insert_default().insert(name.clone(), value);
        }
        let mut groups = None;
        if let Some(list) = &thing.groups {
            self.path = format!("{properties}.ThingGroups");
            let items = self.list(list)?.into_iter();
            groups = Some(items.map(|item| self.resource_name(item)).collect::<Result<BTreeSet<_>, _>>()?);
        }
        Ok(ThingPlan {
            logical_name: thing.logical_name.clone(),
            name: name.map(ThingName::new).transpose().map_err(|error| self.invalid(error.to_string()))?,
            attributes,
            thing_type,
            groups,
            billing_group,
            overrides: thing.overrides,
        })
    }

    fn certificate(&mut self, certificate: &'a Certificate) -> Result<CertificatePlan, EvaluationError> {
        let properties = format!("Resources.{}.Properties", certificate.logical_name);
        let status = match &certificate.status {
            None => AttachedStatus::default(),
            Some(text) => {
                self.path = format!("{properties}.Status");
                let status = AttachedStatus::parse(&self.text(text)?);
                status.ok_or_else(|| self.invalid("must be ACTIVE or INACTIVE".to_owned()))?
            }
        };
        let mut filled = |property: &str, text: &'a Text| {
            self.path = format!("{properties}.{property}");
            let text = self.text(text)?;
            if text.is_empty() { Err(self.invalid("must not be empty".to_owned())) } else { Ok(text.into_owned()) }
        };
        let source = match &certificate.source {
            CertificateProperty::SigningRequest(text) => {
                CertificateSource::SigningRequest(filled("CertificateSigningRequest", text)?)
            }
            CertificateProperty::Id(text) => {
                let id = CertificateId::new(filled("CertificateId", text)?);
                CertificateSource::Registered(id.map_err(|error| self.invalid(error.to_string()))?)
            }
            CertificateProperty::Pem { certificate, ca_certificate } => CertificateSource::Pem {
                certificate: filled("CertificatePem", certificate)?,
                ca_certificate: ca_certificate.as_ref().map(|text| filled("CACertificatePem", text)).transpose()?,
            },
        };
        Ok(CertificatePlan {
            logical_name: certificate.logical_name.clone(),
            source,
            status,
            status_override: certificate.status_override,
            is_exclusive: certificate.is_exclusive,
        })
    }

    fn policy(&mut self, policy: &'a Policy) -> Result<PolicyPlan, EvaluationError> {
        let properties = format!("Resources.{}.Properties", policy.logical_name);
        let source = match &policy.source {
            Document::Named(name) => {
                self.path = format!("{properties}.PolicyName");
                let name = PolicyName::new(self.text(name)?);
                PolicySource::Existing(name.map_err(|error| self.invalid(error.to_string()))?)
            }
            document => {
                self.path = format!("{properties}.PolicyDocument");
                let document = match document {
                    Document::Json(node) => self.node(node)?.to_string(),
                    Document::Text(text) | Document::Named(text) => self.text(text)?.into_owned(),
                };
                PolicySource::document(document).map_err(|error| self.invalid(error.to_string()))?
            }
        };
        Ok(PolicyPlan { logical_name: policy.logical_name.clone(), source })
    }

    fn text(&mut self, text: &'a Text) -> Result<Cow<'a, str>, EvaluationError> {
        let made = match text {
            Text::Literal(text) => Cow::Borrowed(text.as_str()),
            Text::Parameter(name) => Cow::Borrowed(self.parameter(name)?),
            Text::Join { delimiter, list } => {
                let mut joined = String::new();
                for (index, item) in self.list(list)?.iter().enumerate() {
                    if index > 0 {
                        self.spend(delimiter.len())?;
                        joined.push_str(delimiter);
                    }
                    joined.push_str(item);
                }
                Cow::Owned(joined)
            }
            Text::Select { index, list } => {
                let index = self.text(index)?.parse();
                let index: usize = index.map_err(|_| EvaluationError::Index { path: self.path.clone() })?;
                let mut items = self.list(list)?;
                if index >= items.len() {
                    let (path, count) = (self.path.clone(), items.len());
                    return Err(EvaluationError::OutOfBounds { path, index, count });
                }
                items.swap_remove(index)
            }
            Text::Mapped(find) => match self.find(find)? {
                MappedValue::Text(text) => Cow::Borrowed(text.as_str()),
                MappedValue::List(_) => return Err(self.wrong_kind("a list")),
            },
            Text::Sub { pieces, variables } => self.sub(pieces, variables)?,
        };
        self.spend(made.len())?;
        Ok(made)
    }

    fn list(&mut self, list: &'a List) -> Result<Vec<Cow<'a, str>>, EvaluationError> {
        match list {
            List::Items(items) => {
                self.spend(items.len().saturating_mul(ITEM_BYTES))?;
                items.iter().map(|item| self.text(item)).collect()
            }
            List::Split { delimiter, text } => {
                let text = self.text(text)?;
                let count = text.matches(delimiter.as_str()).count().saturating_add(1);
                self.spend(count.saturating_mul(ITEM_BYTES).saturating_add(text.len()))?;
                Ok(match text {
                    Cow::Borrowed(text) => text.split(delimiter.as_str()).map(Cow::Borrowed).collect(),
                    Cow::Owned(text) => {
                        text.split(delimiter.as_str()).map(|item| Cow::Owned(item.to_owned())).collect()
                    }
                })
            }
            List::Mapped(find) => match self.find(find)? {
                MappedValue::List(items) => {
                    let bytes = items.iter().map(|item| item.len() + ITEM_BYTES).sum();
                    self.spend(bytes)?;
                    Ok(items.iter().map(|item| Cow::Borrowed(item.as_str())).collect())
                }
                MappedValue::Text(_) => Err(self.wrong_kind("text, and a list is needed")),
            },
        }
    }

    /// Values are substituted once: what they contain is not looked at again.
    fn sub(
        &mut self,
        pieces: &'a [Piece],
        variables: &'a BTreeMap<String, Text>,
    ) -> Result<Cow<'a, str>, EvaluationError> {
        // Evaluated once, however often the text names it.
        let mut values = BTreeMap::new();
        for (name, text) in variables {
            values.insert(name.as_str(), self.text(text)?);
        }
        let mut made = String::new();
        for piece in pieces {
            let text = match piece {
                Piece::Literal(text) => text.as_str(),
                Piece::Name(name) => match values.get(name.as_str()) {
                    Some(value) => value.as_ref(),
                    None => self.parameter(name)?,
                },
            };
            self.spend(text.len())?;
            made.push_str(text);
        }
        Ok(Cow::Owned(made))
    }

    fn find(&mut self, find: &'a FindInMap) -> Result<&'a MappedValue, EvaluationError> {
        let (map, first, second) = (self.text(&find.map)?, self.text(&find.first)?, self.text(&find.second)?);
        let keys = self.template.mappings.get(map.as_ref()).and_then(|keys| keys.get(first.as_ref()));
        let value = keys.and_then(|values| values.get(second.as_ref()));
        value.ok_or_else(|| EvaluationError::NotInMap { path: self.path.clone() })
    }

    fn node(&mut self, node: &'a Node) -> Result<Value, EvaluationError> {
        self.spend(ITEM_BYTES)?;
        Ok(match node {
            Node::Scalar(value) => value.clone(),
            Node::Text(text) => Value::String(self.text(text)?.into_owned()),
            Node::Array(items) => Value::Array(items.iter().map(|item| self.node(item)).collect::<Result<_, _>>()?),
            Node::Object(members) => {
                let mut made = Map::new();
                for (name, value) in members {
                    made.insert(name.clone(), self.node(value)?);
                }
                Value::Object(made)
            }
        })
    }

    fn parameter(&self, name: &str) -> Result<&'a str, EvaluationError> {
        let default = || self.template.parameters.get(name).and_then(Option::as_ref);
        let value = self.parameters.get(name).or_else(default);
        value.map(String::as_str).ok_or_else(|| EvaluationError::MissingParameter { name: name.to_owned() })
    }

    /// Takes bytes from the budget, before they are made where that may be many.
    fn spend(&mut self, bytes: usize) -> Result<(), EvaluationError> {
        let maximum = self.template.limits.output_bytes;
        self.left = self.left.checked_sub(bytes).ok_or(EvaluationError::OutputTooLarge { maximum })?;
        Ok(())
    }

    /// The service model gives thing types, thing groups and billing groups the pattern of things.
    fn resource_name(&self, text: Cow<'_, str>) -> Result<String, EvaluationError> {
        match ThingName::new(text) {
            Ok(name) => Ok(name.into()),
            Err(_) => Err(self.invalid("must have 1 to 128 of the characters a-z A-Z 0-9 : _ -".to_owned())),
        }
    }

    fn invalid(&self, reason: String) -> EvaluationError {
        EvaluationError::Invalid { path: self.path.clone(), reason }
    }

    fn wrong_kind(&self, found: &'static str) -> EvaluationError {
        EvaluationError::WrongKind { path: self.path.clone(), found }
    }
}
