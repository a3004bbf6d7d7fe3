//! Templates: AWS's examples, every rule of the grammar, every function and every error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod examples;
mod functions;
mod grammar;

use iot_types::{CertificateId, PolicyName, ThingName};
use provisioning::{
    AttachedStatus, CertificatePlan, CertificateSource, EvaluationError, Limits, Override, Plan, PolicyPlan,
    PolicySource, Template, TemplateKind, ThingOverrides, ThingPlan, evaluate,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const FLEET: TemplateKind = TemplateKind::FleetProvisioning;
const ID: &str = "2e1eb273792174ec2b9bf4e9b37e6c6c692345499506002a35159767055278e8";
const POLICY: &str = r#"{ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action":["iot:Publish"], "Resource": ["arn:aws:iot:us-east-1:123456789012:topic/foo/bar"] }] }"#;

fn parse(template: &Value, kind: TemplateKind) -> Template {
    Template::parse(&template.to_string(), kind, &Limits::STANDARD)
        .unwrap_or_else(|error| panic!("{error}: {template}"))
}

fn refused(template: &Value, kind: TemplateKind) -> String {
    refused_within(template, kind, &Limits::STANDARD)
}

fn refused_within(template: &Value, kind: TemplateKind, limits: &Limits) -> String {
    match Template::parse(&template.to_string(), kind, limits) {
        Ok(_) => panic!("not refused: {template}"),
        Err(error) => error.to_string(),
    }
}

fn policy_name(document: &str) -> PolicyName {
    use sha2::Digest;
    PolicyName::new(hex::encode(sha2::Sha256::digest(document))).unwrap()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn run(template: &Value, kind: TemplateKind, parameters: &[(&str, &str)]) -> Result<Plan, EvaluationError> {
    evaluate(&parse(template, kind), &map(parameters))
}

/// A template with the certificate that every kind takes, and these other members.
fn with(sections: &Value, resources: &Value) -> Value {
    let mut template = json!({"Resources": {"certificate": {
        "Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}}
    }}});
    template.as_object_mut().unwrap().extend(sections.as_object().unwrap().clone());
    template["Resources"].as_object_mut().unwrap().extend(resources.as_object().unwrap().clone());
    template
}
