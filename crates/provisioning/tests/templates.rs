//! Templates: AWS's examples, every rule of the grammar, every function and every error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

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

/// "Provisioning templates", "Template example for bulk registration".
#[test]
fn the_guides_example_for_bulk_registration_makes_a_plan() {
    let template = json!({
        "Parameters": {
            "SerialNumber": {"Type": "String"},
            "Location": {"Type": "String", "Default": "WA"},
            "CSR": {"Type": "String"}
        },
        "Resources": {
            "thing": {
                "Type": "AWS::IoT::Thing",
                "Properties": {
                    "AttributePayload": {"version": "v1", "serialNumber": {"Ref": "SerialNumber"}},
                    "ThingTypeName": "lightBulb-versionA",
                    "ThingGroups": ["v1-lightbulbs", {"Ref": "Location"}]
                }
            },
            "certificate": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {"CertificateSigningRequest": {"Ref": "CSR"}, "Status": "ACTIVE"}
            },
            "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": POLICY}}
        }
    });
    let expected = Plan {
        thing: Some(ThingPlan {
            logical_name: "thing".to_owned(),
            name: None,
            attributes: Some(map(&[("serialNumber", "s1"), ("version", "v1")])),
            thing_type: Some("lightBulb-versionA".to_owned()),
            groups: Some(set(&["v1-lightbulbs", "WA"])),
            billing_group: None,
            overrides: ThingOverrides::default(),
        }),
        certificate: Some(CertificatePlan {
            logical_name: "certificate".to_owned(),
            source: CertificateSource::SigningRequest("request".to_owned()),
            status: AttachedStatus::Active,
            status_override: None,
            is_exclusive: false,
        }),
        policies: vec![PolicyPlan {
            logical_name: "policy".to_owned(),
            source: PolicySource::Document { name: policy_name(POLICY), document: POLICY.to_owned() },
        }],
        device_configuration: BTreeMap::new(),
    };
    let registration = TemplateKind::Registration;
    assert_eq!(run(&template, registration, &[("SerialNumber", "s1"), ("CSR", "request")]).unwrap(), expected);
    // AWS's limits take AWS's examples.
    Template::parse(&template.to_string(), registration, &Limits::AWS).unwrap();
    let missing = EvaluationError::MissingParameter { name: "CSR".to_owned() };
    assert_eq!(run(&template, registration, &[("SerialNumber", "s1")]), Err(missing));
}

/// "Just-in-time provisioning".
#[test]
fn the_guides_example_for_just_in_time_provisioning_makes_a_plan() {
    let template = json!({
        "Parameters": {
            "AWS::IoT::Certificate::CommonName": {"Type": "String"},
            "AWS::IoT::Certificate::SerialNumber": {"Type": "String"},
            "AWS::IoT::Certificate::Country": {"Type": "String"},
            "AWS::IoT::Certificate::Id": {"Type": "String"}
        },
        "Resources": {
            "thing": {
                "Type": "AWS::IoT::Thing",
                "Properties": {
                    "ThingName": {"Ref": "AWS::IoT::Certificate::CommonName"},
                    "AttributePayload": {
                        "version": "v1",
                        "serialNumber": {"Ref": "AWS::IoT::Certificate::SerialNumber"}
                    },
                    "ThingTypeName": "lightBulb-versionA",
                    "ThingGroups": ["v1-lightbulbs", {"Ref": "AWS::IoT::Certificate::Country"}]
                },
                "OverrideSettings": {
                    "AttributePayload": "MERGE",
                    "ThingTypeName": "REPLACE",
                    "ThingGroups": "DO_NOTHING"
                }
            },
            "certificate": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "ACTIVE"},
                "OverrideSettings": {"Status": "DO_NOTHING"}
            },
            "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": POLICY}}
        }
    });
    Template::parse(&template.to_string(), TemplateKind::Jitp, &Limits::AWS).unwrap();
    let template = parse(&template, TemplateKind::Jitp);
    let id = CertificateId::new(ID).unwrap();
    let subject = [("CommonName", "lamp"), ("SerialNumber", "7"), ("Country", "DE"), ("CommonName", "second")];
    let plan = evaluate(&template, &provisioning::jitp::parameters(&template, &id, subject).unwrap()).unwrap();
    let thing = plan.thing.unwrap();
    assert_eq!(thing.name, Some(ThingName::new("lamp").unwrap()));
    assert_eq!(thing.attributes, Some(map(&[("version", "v1"), ("serialNumber", "7")])));
    assert_eq!(thing.groups, Some(set(&["DE", "v1-lightbulbs"])));
    let overrides = ThingOverrides {
        attributes: Some(Override::Merge),
        thing_type: Some(Override::Replace),
        groups: Some(Override::DoNothing),
    };
    assert_eq!(thing.overrides, overrides);
    let certificate = plan.certificate.unwrap();
    assert_eq!(certificate.source, CertificateSource::Registered(id.clone()));
    assert_eq!(certificate.status_override, Some(Override::DoNothing));
    let missing = provisioning::jitp::parameters(&template, &id, [("CommonName", "lamp"), ("SerialNumber", "7")]);
    assert_eq!(missing.unwrap_err().name, "AWS::IoT::Certificate::Country");
}

fn fleet_example() -> Value {
    json!({
        "Parameters": {"SerialNumber": {"Type": "String"}, "DeviceLocation": {"Type": "String"}},
        "Mappings": {"LocationTable": {"Seattle": {"LocationUrl": "https://example.aws"}}},
        "Resources": {
            "thing": {
                "Type": "AWS::IoT::Thing",
                "Properties": {
                    "AttributePayload": {"version": "v1", "serialNumber": "serialNumber"},
                    "ThingName": {"Ref": "SerialNumber"},
                    "ThingTypeName": {"Fn::Join": ["", ["ThingPrefix_", {"Ref": "SerialNumber"}]]},
                    "ThingGroups": ["v1-lightbulbs", "WA"],
                    "BillingGroup": "LightBulbBillingGroup"
                },
                "OverrideSettings": {
                    "AttributePayload": "MERGE",
                    "ThingTypeName": "REPLACE",
                    "ThingGroups": "DO_NOTHING"
                }
            },
            "certificate": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "Active"}
            },
            "policy": {
                "Type": "AWS::IoT::Policy",
                "Properties": {"PolicyDocument": {"Version": "2012-10-17", "Statement": [{
                    "Effect": "Allow", "Action": ["iot:Publish"],
                    "Resource": ["arn:aws:iot:us-east-1:123456789012:topic/foo/bar"]
                }]}}
            }
        },
        "DeviceConfiguration": {
            "FallbackUrl": "https://www.example.com/test-site",
            "LocationUrl": {"Fn::FindInMap": ["LocationTable", {"Ref": "DeviceLocation"}, "LocationUrl"]}
        }
    })
}

/// "Provisioning templates", "Fleet provisioning template example".
#[test]
fn the_guides_example_for_fleet_provisioning_makes_a_plan() {
    let parameters =
        [("SerialNumber", "s1"), ("DeviceLocation", "Seattle"), ("AWS::IoT::Certificate::Id", ID), ("other", "x")];
    let plan = run(&fleet_example(), FLEET, &parameters).unwrap();
    let thing = plan.thing.unwrap();
    assert_eq!(thing.thing_type.as_deref(), Some("ThingPrefix_s1"));
    assert_eq!(thing.billing_group.as_deref(), Some("LightBulbBillingGroup"));
    assert_eq!(plan.certificate.unwrap().status, AttachedStatus::Active);
    let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iot:Publish"],"Resource":["arn:aws:iot:us-east-1:123456789012:topic/foo/bar"]}]}"#;
    assert_eq!(
        plan.policies[0].source,
        PolicySource::Document { name: policy_name(document), document: document.to_owned() }
    );
    let configuration =
        map(&[("FallbackUrl", "https://www.example.com/test-site"), ("LocationUrl", "https://example.aws")]);
    assert_eq!(plan.device_configuration, configuration);
    let elsewhere = [("SerialNumber", "s1"), ("DeviceLocation", "Bern"), ("AWS::IoT::Certificate::Id", ID)];
    let path = "DeviceConfiguration.LocationUrl".to_owned();
    assert_eq!(run(&fleet_example(), FLEET, &elsewhere), Err(EvaluationError::NotInMap { path }));
}

/// A template whose device configuration is one expression.
fn with_expression(expression: &Value) -> Value {
    json!({
        "Parameters": {
            "A": {"Type": "String"}, "B": {"Type": "String", "Default": "b"}, "N": {"Type": "String", "Default": "1"}
        },
        "Mappings": {"M": {"k": {"text": "found", "list": ["x", "y"], "b": "by parameter"}}},
        "Resources": {"certificate": {
            "Type": "AWS::IoT::Certificate",
            "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}}
        }},
        "DeviceConfiguration": {"value": expression}
    })
}

#[test]
fn every_function_makes_what_it_is_documented_to() {
    for (expression, expected) in [
        (json!("literal ${A}"), "literal ${A}"),
        (json!({"Ref": "A"}), "a"),
        (json!({"Ref": "B"}), "b"),
        (json!({"Ref": "AWS::IoT::Certificate::Id"}), ID),
        (json!({"Fn::Join": ["-", ["x", {"Ref": "A"}, "z"]]}), "x-a-z"),
        (json!({"Fn::Join": ["", ["x", "y"]]}), "xy"),
        (json!({"Fn::Join": ["-", []]}), ""),
        (json!({"Fn::Join": ["-", [{"Fn::Join": ["+", ["1", "2"]]}, "3"]]}), "1+2-3"),
        (json!({"Fn::Join": ["+", {"Fn::Split": [",", "1,2,3"]}]}), "1+2+3"),
        (json!({"Fn::Join": ["+", {"Fn::FindInMap": ["M", "k", "list"]}]}), "x+y"),
        (json!({"Fn::Select": ["1", ["x", "y"]]}), "y"),
        (json!({"Fn::Select": [0, ["x", "y"]]}), "x"),
        (json!({"Fn::Select": [{"Ref": "N"}, {"Fn::Split": ["/", "x/y/z"]}]}), "y"),
        (json!({"Fn::Select": [2, {"Fn::Split": [",", {"Fn::Sub": "1,2,${A}"}]}]}), "a"),
        (json!({"Fn::Select": [1, {"Fn::Split": ["--", ",--"]}]}), ""),
        (json!({"Fn::FindInMap": ["M", "k", "text"]}), "found"),
        (json!({"Fn::FindInMap": ["M", "k", {"Ref": "B"}]}), "by parameter"),
        (json!({"Fn::Select": [1, {"Fn::FindInMap": ["M", "k", "list"]}]}), "y"),
        (json!({"Fn::Sub": "${A}/${B}/${!C}/$"}), "a/b/${C}/$"),
        (json!({"Fn::Sub": ["${A}${x}${x}", {"x": {"Fn::Join": ["", ["${", "B", "}"]]}}]}), "a${B}${B}"),
        (json!({"Fn::Sub": ["${A}", {"A": "hides the parameter"}]}), "hides the parameter"),
        (json!({"Fn::Sub": "cert ${AWS::IoT::Certificate::Id}"}), &format!("cert {ID}")),
    ] {
        let plan = run(&with_expression(&expression), FLEET, &[("A", "a"), ("AWS::IoT::Certificate::Id", ID)]);
        assert_eq!(plan.unwrap().device_configuration["value"], expected, "{expression}");
    }
}

#[test]
fn an_expression_that_can_never_be_right_is_refused_with_its_place() {
    for (expression, reason) in [
        (json!(1), "value: must be a string or a function that makes one"),
        (json!(null), "value: must be a string or a function"),
        (json!(["a"]), "value: must be a string or a function"),
        (json!({}), "value: must be a string or a function"),
        (json!({"nested": "x"}), "value.nested: no function; known are Ref, Fn::Join"),
        (json!({"Fn::GetAtt": ["a", "b"]}), "value.Fn::GetAtt: no function"),
        (json!({"Ref": "A", "Fn::Sub": "x"}), "value: must be a string or a function"),
        (json!({"Ref": 1}), "value.Ref: must be a parameter's name"),
        (json!({"Ref": "C"}), "value.Ref: refers to C, which Parameters does not declare"),
        (json!({"Ref": "AWS::IoT::Certificate::Country"}), "does not declare"),
        (json!({"Fn::Join": "x"}), "value.Fn::Join: must be a list of 2: a delimiter and a list"),
        (json!({"Fn::Join": ["x"]}), "must be a list of 2"),
        (json!({"Fn::Join": ["", [], 1]}), "must be a list of 2"),
        (json!({"Fn::Join": [1, []]}), "value.Fn::Join.0: the delimiter must be a string"),
        (json!({"Fn::Join": ["", "x"]}), "value.Fn::Join.1: must be a list or a function"),
        (json!({"Fn::Join": ["", [["x"]]]}), "value.Fn::Join.1.0: must be a string"),
        (json!({"Fn::Join": ["", {"Ref": "A"}]}), "value.Fn::Join.1.Ref: makes text, and here has to be a list"),
        (json!({"Fn::Join": ["", {"Fn::Unknown": []}]}), "no function"),
        (json!({"Fn::Join": ["", ["x", {"Fn::Split": [",", "x"]}]]}), "makes a list, and here has to be text"),
        (json!({"Fn::Split": [",", "x"]}), "value.Fn::Split: makes a list"),
        (json!({"Fn::Select": [0, {"Fn::Split": ["", "x"]}]}), "the delimiter must be a string, and not empty"),
        (json!({"Fn::Select": [0, {"Fn::Split": [",", ["x"]]}]}), "Fn::Split.1: must be a string"),
        (json!({"Fn::Select": [0]}), "must be a list of 2: an index and a list"),
        (json!({"Fn::Select": ["x", ["a"]]}), "value.Fn::Select.0: must be a whole number from 0"),
        (json!({"Fn::Select": [-1, ["a"]]}), "value.Fn::Select.0: must be a string"),
        (json!({"Fn::Select": [1.5, ["a"]]}), "value.Fn::Select.0: must be a string"),
        (json!({"Fn::Select": [1, ["a"]]}), "value.Fn::Select.0: there is no item 1 in a list of 1"),
        (json!({"Fn::FindInMap": ["M", "k"]}), "must be a list of 3: a map and two keys"),
        (json!({"Fn::FindInMap": ["m", "k", "text"]}), "value.Fn::FindInMap: Mappings has no map m"),
        (json!({"Fn::FindInMap": ["M", "K", "text"]}), "Mappings.M has no key K"),
        (json!({"Fn::FindInMap": ["M", "k", "t"]}), "Mappings.M.k has no key t"),
        (json!({"Fn::Sub": 1}), "value.Fn::Sub: must be a string, or a list of text and variables"),
        (json!({"Fn::Sub": ["x"]}), "must be a list of 2: text and variables"),
        (json!({"Fn::Sub": [1, {}]}), "value.Fn::Sub.0: must be a string"),
        (json!({"Fn::Sub": ["x", []]}), "value.Fn::Sub.1: must be an object"),
        (json!({"Fn::Sub": ["x", {"v": 1}]}), "value.Fn::Sub.1.v: must be a string"),
        (json!({"Fn::Sub": "${C}"}), "value.Fn::Sub: refers to C"),
        (json!({"Fn::Sub": "${iot:Connection.Thing.ThingName}"}), "refers to iot:Connection.Thing.ThingName"),
        (json!({"Fn::Sub": "${A"}), "a ${ is not closed"),
        (json!({"Fn::Sub": "${A B}"}), "a name in ${} has letters"),
    ] {
        let message = refused(&with_expression(&expression), FLEET);
        assert!(message.starts_with("Invalid provisioning template: DeviceConfiguration.value"), "{message}");
        assert!(message.contains(reason), "{expression}: {message}");
    }
}

#[test]
fn an_expression_that_is_wrong_with_these_parameters_fails_with_its_place() {
    let path = || "DeviceConfiguration.value".to_owned();
    for (expression, a, expected) in [
        (json!({"Fn::Select": [{"Ref": "A"}, ["x"]]}), "one", EvaluationError::Index { path: path() }),
        (
            json!({"Fn::Select": [{"Ref": "A"}, ["x"]]}),
            "1",
            EvaluationError::OutOfBounds { path: path(), index: 1, count: 1 },
        ),
        (
            json!({"Fn::Select": [3, {"Fn::Split": [",", {"Ref": "A"}]}]}),
            "x,y",
            EvaluationError::OutOfBounds { path: path(), index: 3, count: 2 },
        ),
        (json!({"Fn::FindInMap": [{"Ref": "A"}, "k", "text"]}), "m", EvaluationError::NotInMap { path: path() }),
        (json!({"Fn::FindInMap": ["M", {"Ref": "A"}, "text"]}), "K", EvaluationError::NotInMap { path: path() }),
        (json!({"Fn::FindInMap": ["M", "k", {"Ref": "A"}]}), "t", EvaluationError::NotInMap { path: path() }),
        (
            json!({"Fn::FindInMap": ["M", "k", {"Ref": "A"}]}),
            "list",
            EvaluationError::WrongKind { path: path(), found: "a list" },
        ),
        (
            json!({"Fn::Join": ["", {"Fn::FindInMap": ["M", "k", {"Ref": "A"}]}]}),
            "text",
            EvaluationError::WrongKind { path: path(), found: "text, and a list is needed" },
        ),
        (
            json!({"Fn::Sub": "${A}".repeat(100)}),
            &"x".repeat(4_096),
            EvaluationError::OutputTooLarge { maximum: 65_536 },
        ),
    ] {
        let outcome = run(&with_expression(&expression), FLEET, &[("A", a), ("AWS::IoT::Certificate::Id", ID)]);
        assert_eq!(outcome, Err(expected), "{expression}");
    }
}

#[test]
fn a_small_template_does_not_make_large_text() {
    // Each level is twice as long as the one inside.
    let mut expression = json!({"Ref": "A"});
    for _ in 0..9 {
        expression = json!({"Fn::Sub": ["${x}${x}", {"x": expression}]});
    }
    let parameters = [("A", &*"x".repeat(4_096)), ("AWS::IoT::Certificate::Id", ID)];
    let outcome = run(&with_expression(&expression), FLEET, &parameters);
    assert_eq!(outcome, Err(EvaluationError::OutputTooLarge { maximum: 65_536 }));
    let split = json!({"Fn::Select": [0, {"Fn::Split": [",", {"Ref": "A"}]}]});
    let parameters = [("A", &*",".repeat(4_096)), ("AWS::IoT::Certificate::Id", ID)];
    let outcome = run(&with_expression(&split), FLEET, &parameters);
    assert_eq!(outcome, Err(EvaluationError::OutputTooLarge { maximum: 65_536 }));
}

#[test]
fn parameters_are_few_and_short() {
    let template = parse(&with_expression(&json!({"Ref": "A"})), FLEET);
    let mut parameters = map(&[("A", &"ä".repeat(4_096)), ("AWS::IoT::Certificate::Id", ID)]);
    assert!(evaluate(&template, &parameters).is_ok());
    parameters.insert("A".to_owned(), "ä".repeat(4_097));
    let too_long = EvaluationError::ParameterTooLong { name: "A".to_owned(), maximum: 4_096 };
    assert_eq!(evaluate(&template, &parameters), Err(too_long));
    parameters.insert("A".to_owned(), "a".to_owned());
    parameters.insert("n".repeat(2_049), String::new());
    let too_long = EvaluationError::ParameterTooLong { name: "n".repeat(64), maximum: 2_048 };
    assert_eq!(evaluate(&template, &parameters), Err(too_long));
    let many = (0..257).map(|n| (n.to_string(), String::new())).collect();
    assert_eq!(evaluate(&template, &many), Err(EvaluationError::TooManyParameters { maximum: 256 }));
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

#[test]
fn a_section_that_is_malformed_is_refused_with_its_place() {
    let string = json!({"Type": "String"});
    for (sections, reason) in [
        (json!({"Version": "1"}), "template.Version: unknown; known are Parameters, Mappings"),
        (json!({"Parameters": []}), "Parameters: must be an object"),
        (json!({"Parameters": {"": string}}), "Parameters: a name must have 1 to 2048 characters"),
        (json!({"Parameters": {"P": "String"}}), "Parameters.P: must be an object"),
        (json!({"Parameters": {"P": {}}}), "Parameters.P.Type: must be a string"),
        (json!({"Parameters": {"P": {"Type": "Number"}}}), "Parameters.P.Type: must be String"),
        (json!({"Parameters": {"P": {"Type": "String", "Default": 1}}}), "Parameters.P.Default: must be a string"),
        (json!({"Parameters": {"P": {"Type": "String", "default": ""}}}), "Parameters.P.default: unknown"),
        (
            json!({"Parameters": {"P": {"Type": "String", "Default": "x".repeat(4_097)}}}),
            "Parameters.P.Default: must have at most 4096 characters",
        ),
        (json!({"Parameters": {"AWS::Region": string}}), "Parameters.AWS::Region: there is no such parameter"),
        (
            json!({"Parameters": {"AWS::IoT::Certificate::Country": string}}),
            "Parameters.AWS::IoT::Certificate::Country: there is no such parameter",
        ),
        (json!({"Mappings": 1}), "Mappings: must be an object"),
        (json!({"Mappings": {"M": 1}}), "Mappings.M: must be an object"),
        (json!({"Mappings": {"M": {"k": "x"}}}), "Mappings.M.k: must be an object"),
        (
            json!({"Mappings": {"M": {"k": {"v": {"Ref": "P"}}}}}),
            "Mappings.M.k.v: must be a string or a list of strings",
        ),
        (json!({"Mappings": {"M": {"k": {"v": [1]}}}}), "Mappings.M.k.v: must be a string or a list of strings"),
        (json!({"DeviceConfiguration": []}), "DeviceConfiguration: must be an object"),
        (json!({"DeviceConfiguration": {"a": {"b": "c"}}}), "DeviceConfiguration.a.b: no function; known are"),
        (json!({"DeviceConfiguration": {"a": true}}), "DeviceConfiguration.a: must be a string"),
    ] {
        let message = refused(&with(&sections, &json!({})), FLEET);
        assert_eq!(message.find(reason), Some("Invalid provisioning template: ".len()), "{message}");
    }
    assert!(refused(&json!([]), FLEET).contains("template: must be an object"));
    assert!(refused(&json!({}), FLEET).contains("Resources: is missing"));
    assert!(refused(&json!({"Resources": []}), FLEET).contains("Resources: must be an object"));
    for kind in [FLEET, TemplateKind::Jitp] {
        assert!(refused(&json!({"Resources": {}}), kind).contains("Resources: must have an AWS::IoT::Certificate"));
    }
    assert!(Template::parse(r#"{"Resources":{}}"#, TemplateKind::Registration, &Limits::AWS).is_ok());
}

#[test]
fn text_that_is_no_json_within_bounds_is_refused() {
    let parse = |text: &str| Template::parse(text, FLEET, &Limits::STANDARD).unwrap_err().to_string();
    for (text, reason) in [
        ("", "Invalid JSON"),
        ("{", "Invalid JSON"),
        (&format!("{{}}{}", " ".repeat(10_239)), "too large; maximum is 10240"),
        (&"[".repeat(33), "too many levels of nesting; maximum is 32"),
    ] {
        let message = parse(text);
        assert!(message.starts_with("The provisioning template can't be read: "), "{message}");
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn a_resource_that_is_malformed_is_refused_with_its_place() {
    let thing = |properties: Value| json!({"t": {"Type": "AWS::IoT::Thing", "Properties": properties}});
    let settings = |settings: Value| json!({"t": {"Type": "AWS::IoT::Thing", "OverrideSettings": settings}});
    let policy = |properties: Value| json!({"p": {"Type": "AWS::IoT::Policy", "Properties": properties}});
    let certificate =
        |properties: Value| json!({"certificate": {"Type": "AWS::IoT::Certificate", "Properties": properties}});
    let own = json!({"Ref": "AWS::IoT::Certificate::Id"});
    for (resources, reason) in [
        (json!({"t": 1}), "Resources.t: must be an object"),
        (json!({"t": {}}), "Resources.t.Type: must be AWS::IoT::Thing"),
        (json!({"t": {"Type": "AWS::IoT::TopicRule"}}), "Resources.t.Type: must be AWS::IoT::Thing"),
        (json!({"t": {"Type": "AWS::IoT::Thing", "DependsOn": "x"}}), "Resources.t.DependsOn: unknown"),
        (json!({"t": {"Type": "AWS::IoT::Thing", "Properties": 1}}), "Resources.t.Properties: must be an object"),
        (json!({"t": {"Type": "AWS::IoT::Thing"}, "u": {"Type": "AWS::IoT::Thing"}}), "Resources.u: is the second"),
        (json!({"c": {"Type": "AWS::IoT::Certificate"}}), "Resources.c: is the second"),
        (thing(json!({"Name": "x"})), "Resources.t.Properties.Name: unknown"),
        (thing(json!({"ThingName": 1})), "Resources.t.Properties.ThingName: must be a string"),
        (thing(json!({"AttributePayload": []})), "Resources.t.Properties.AttributePayload: must be an object"),
        (thing(json!({"AttributePayload": {"a": 1}})), "Resources.t.Properties.AttributePayload.a: must be a string"),
        (thing(json!({"ThingGroups": "g"})), "Resources.t.Properties.ThingGroups: must be a list"),
        (thing(json!({"ThingGroups": [1]})), "Resources.t.Properties.ThingGroups.0: must be a string"),
        (settings(json!(1)), "Resources.t.OverrideSettings: must be an object"),
        (settings(json!({"Status": "FAIL"})), "Resources.t.OverrideSettings.Status: unknown"),
        (settings(json!({"ThingTypeName": "MERGE"})), "ThingTypeName: must be one of DO_NOTHING, REPLACE, FAIL"),
        (settings(json!({"ThingGroups": "merge"})), "must be one of DO_NOTHING, REPLACE, FAIL, MERGE"),
        (settings(json!({"THING_GROUPS": 1})), "Resources.t.OverrideSettings.THING_GROUPS: must be one of"),
        (policy(json!({})), "Resources.p.Properties: must have PolicyName or PolicyDocument, and not both"),
        (policy(json!({"PolicyName": "x", "PolicyDocument": "{}"})), "and not both"),
        (policy(json!({"PolicyDocument": []})), "Resources.p.Properties.PolicyDocument: must be a string or an object"),
        (policy(json!({"PolicyDocument": 1})), "must be a string or an object"),
        (
            policy(json!({"PolicyDocument": {"Statement": [{"Ref": "x"}]}})),
            "PolicyDocument.Statement.0.Ref: refers to x",
        ),
        (policy(json!({"PolicyArn": "x"})), "Resources.p.Properties.PolicyArn: unknown"),
        (
            json!({"p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "x"}, "OverrideSettings": {}}}),
            "Resources.p.OverrideSettings: policies have none",
        ),
        (certificate(json!({})), "Resources.certificate.Properties: must have one of"),
        (certificate(json!({"CertificateSigningRequest": "x"})), "CertificateId must be {\"Ref\""),
        (certificate(json!({"CertificatePem": "x"})), "CertificateId must be {\"Ref\""),
        (certificate(json!({"CertificateId": ID})), "CertificateId must be {\"Ref\""),
        (certificate(json!({"CertificateId": own, "CertificatePem": "x"})), "must have one of"),
        (certificate(json!({"CertificateId": own, "CACertificatePem": "x"})), "must have one of"),
        (certificate(json!({"CertificateId": own, "CertificateID": own})), "is there in another spelling"),
        (certificate(json!({"CertificateId": own, "Status": "REVOKED"})), "Status: must be ACTIVE or INACTIVE"),
        (certificate(json!({"CertificateId": own, "ThingPrincipalType": "x"})), "must be EXCLUSIVE_THING or"),
        (certificate(json!({"CertificateId": own, "Extra": "x"})), "Resources.certificate.Properties.Extra: unknown"),
    ] {
        for kind in [FLEET, TemplateKind::Jitp] {
            let message = refused(&with(&json!({}), &resources), kind);
            assert!(message.starts_with("Invalid provisioning template: Resources."), "{message}");
            assert!(message.contains(reason), "{resources}: {message}");
        }
    }
    let many: serde_json::Map<String, Value> = (0..11)
        .map(|n| (n.to_string(), json!({"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "x"}})))
        .collect();
    assert!(refused(&with(&json!({}), &Value::Object(many)), FLEET).contains("Resources: has more than 10 policies"));
}

#[test]
fn each_kind_of_template_has_rules_of_its_own() {
    let configuration = json!({"DeviceConfiguration": {}});
    let parameter = json!({"Parameters": {"P": {"Type": "String"}}});
    let with_default = json!({"Parameters": {"P": {"Type": "String", "Default": "x"}}});
    let none = json!({});
    assert!(refused(&with(&configuration, &none), TemplateKind::Jitp).contains("only fleet provisioning templates"));
    assert!(refused(&with(&parameter, &none), TemplateKind::Jitp).contains("Parameters.P: a certificate gives"));
    parse(&with(&with_default, &none), TemplateKind::Jitp);
    parse(&with(&configuration, &none), FLEET);
    // RegisterThing and bulk registration know no certificate but those that are named.
    assert!(refused(&with(&none, &none), TemplateKind::Registration).contains("refers to AWS::IoT::Certificate::Id"));
    let registration = |properties: Value| {
        json!({
            "Parameters": {"X": {"Type": "String"}},
            "Resources": {"c": {"Type": "AWS::IoT::Certificate", "Properties": properties}}
        })
    };
    let x = json!({"Ref": "X"});
    let source = |properties: Value| {
        let plan = run(&registration(properties), TemplateKind::Registration, &[("X", ID)]).unwrap();
        plan.certificate.unwrap().source
    };
    let id = CertificateId::new(ID).unwrap();
    assert_eq!(source(json!({"CertificateId": x})), CertificateSource::Registered(id.clone()));
    assert_eq!(source(json!({"CertificateID": x})), CertificateSource::Registered(id));
    let pem =
        |ca: Option<&str>| CertificateSource::Pem { certificate: ID.to_owned(), ca_certificate: ca.map(str::to_owned) };
    assert_eq!(source(json!({"CertificatePem": x})), pem(None));
    assert_eq!(source(json!({"CertificatePem": x, "CACertificatePem": "ca"})), pem(Some("ca")));
}

#[test]
fn aws_keeps_functions_and_mappings_to_fleet_provisioning() {
    let joins = json!({"t": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Fn::Join": ["", ["x"]]}}}});
    let maps = json!({"Mappings": {}});
    for kind in [TemplateKind::Jitp, FLEET] {
        for template in [with(&json!({}), &joins), with(&maps, &json!({}))] {
            parse(&template, kind);
            if kind == FLEET {
                Template::parse(&template.to_string(), kind, &Limits::AWS).unwrap();
            } else {
                let message = refused_within(&template, kind, &Limits::AWS);
                assert!(message.contains("only fleet provisioning templates have"), "{message}");
            }
        }
    }
}

#[test]
fn a_property_that_its_parameters_make_invalid_fails_with_its_place() {
    let parameters = json!({"Parameters": {"X": {"Type": "String"}, "AWS::IoT::Certificate::Id": {"Type": "String"}}});
    let x = json!({"Ref": "X"});
    let thing =
        |property: &str, value: Value| json!({"t": {"Type": "AWS::IoT::Thing", "Properties": {property: value}}});
    let policy = json!({"p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": x}}});
    let status = json!({"certificate": {"Type": "AWS::IoT::Certificate", "Properties": {
        "CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": x
    }}});
    for (resources, expected) in [
        (thing("ThingName", x.clone()), "Resources.t.Properties.ThingName: must have 1 to 128"),
        (thing("ThingTypeName", x.clone()), "Resources.t.Properties.ThingTypeName: must have 1 to 128"),
        (thing("ThingGroups", json!(["g", x])), "Resources.t.Properties.ThingGroups: must have 1 to 128"),
        (thing("BillingGroup", x.clone()), "Resources.t.Properties.BillingGroup: must have 1 to 128"),
        (policy, "Resources.p.Properties.PolicyName: policyName must match"),
        (status, "Resources.certificate.Properties.Status: must be ACTIVE or INACTIVE"),
    ] {
        let template = with(&parameters, &resources);
        let error = run(&template, FLEET, &[("X", "no name"), ("AWS::IoT::Certificate::Id", ID)]).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    let registration = |property: &str| {
        json!({
            "Parameters": {"X": {"Type": "String"}},
            "Resources": {"c": {"Type": "AWS::IoT::Certificate", "Properties": {property: x}}}
        })
    };
    for (property, value, expected) in [
        ("CertificateId", "abc", "Resources.c.Properties.CertificateId: certificateId must have length between 64"),
        ("CertificateSigningRequest", "", "Resources.c.Properties.CertificateSigningRequest: must not be empty"),
        ("CertificatePem", "", "Resources.c.Properties.CertificatePem: must not be empty"),
    ] {
        let error = run(&registration(property), TemplateKind::Registration, &[("X", value)]).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn what_a_template_leaves_out_is_not_asked_for() {
    let plan =
        run(&with(&json!({}), &json!({"t": {"Type": "AWS::IoT::Thing"}})), FLEET, &[("AWS::IoT::Certificate::Id", ID)]);
    let plan = plan.unwrap();
    assert_eq!(plan.thing, Some(ThingPlan { logical_name: "t".to_owned(), ..ThingPlan::default() }));
    assert_eq!(plan.policies, []);
    let empty = json!({
        "t": {"Type": "AWS::IoT::Thing", "Properties": {"AttributePayload": {}, "ThingGroups": []}},
        "p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "existing"}}
    });
    let plan = run(&with(&json!({}), &empty), FLEET, &[("AWS::IoT::Certificate::Id", ID)]).unwrap();
    let thing = plan.thing.unwrap();
    assert_eq!((thing.attributes, thing.groups), (Some(BTreeMap::new()), Some(BTreeSet::new())));
    assert_eq!(plan.policies[0].source, PolicySource::Existing(PolicyName::new("existing").unwrap()));
}

#[test]
fn a_policy_document_may_be_text_json_or_made_by_a_function() {
    let document = |document: Value| {
        let resources = json!({"p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": document}}});
        let template = with(&json!({"Parameters": {"X": {"Type": "String"}}}), &resources);
        let plan = run(&template, FLEET, &[("X", "a\"b"), ("AWS::IoT::Certificate::Id", ID)]).unwrap();
        match &plan.policies[0].source {
            PolicySource::Document { document, .. } => document.clone(),
            source @ PolicySource::Existing(_) => panic!("{source:?}"),
        }
    };
    assert_eq!(document(json!("{ \"a\": 1 }")), "{ \"a\": 1 }");
    assert_eq!(document(json!({"Fn::Sub": "[${X}${!v}]"})), "[a\"b${v}]");
    // What a parameter holds can't become more than a string of the document.
    let nested = json!({"z": [{"Ref": "X"}, 1, null, true], "a": {"Fn::Join": ["", ["${iot:ClientId}"]]}, "e": {}});
    assert_eq!(document(nested), r#"{"z":["a\"b",1,null,true],"a":"${iot:ClientId}","e":{}}"#);
}

#[test]
fn kinds_are_named_as_in_the_service_model() {
    for (text, expected) in
        [("FLEET_PROVISIONING", Some(FLEET)), ("JITP", Some(TemplateKind::Jitp)), ("jitp", None), ("", None)]
    {
        assert_eq!(TemplateKind::from_template_type(text), expected);
        assert_eq!(expected.and_then(TemplateKind::template_type), expected.map(|_| text));
    }
    assert_eq!(TemplateKind::Registration.template_type(), None);
}

/// "Just-in-time provisioning": the parameters are what can be taken from the subject, and the certificate's identifier.
#[test]
fn a_certificate_gives_a_template_the_documented_parameters() {
    let id = CertificateId::new(ID).unwrap();
    let subject = [
        ("Country", "c"),
        ("Organization", "o"),
        ("OrganizationalUnit", "ou"),
        ("DistinguishedNameQualifier", "q"),
        ("StateName", "st"),
        ("CommonName", "cn"),
        ("SerialNumber", "s"),
        ("Locality", "not among them"),
        ("Id", "not to be chosen"),
        ("CommonName", "the first counts"),
    ];
    let declared: serde_json::Map<String, Value> =
        provisioning::jitp::PARAMETERS.iter().map(|name| ((*name).to_owned(), json!({"Type": "String"}))).collect();
    let template = parse(&with(&json!({"Parameters": declared}), &json!({})), TemplateKind::Jitp);
    let parameters = provisioning::jitp::parameters(&template, &id, subject).unwrap();
    let expected = ["c", "o", "ou", "q", "st", "cn", "s", ID];
    assert_eq!(parameters.len(), expected.len());
    for (name, value) in provisioning::jitp::PARAMETERS.iter().zip(expected) {
        assert_eq!(parameters[*name], value, "{name}");
    }
    for missing in 0..7 {
        let others = subject.iter().take(7).enumerate().filter(|(index, _)| *index != missing);
        let error = provisioning::jitp::parameters(&template, &id, others.map(|(_, pair)| *pair)).unwrap_err();
        assert_eq!(error.name, provisioning::jitp::PARAMETERS[missing]);
    }
    // What it refers to without a declaration has to be there as well.
    let refers = json!({"t": {"Type": "AWS::IoT::Thing", "Properties": {
        "ThingName": {"Ref": "AWS::IoT::Certificate::CommonName"}
    }}});
    let template = parse(&with(&json!({}), &refers), TemplateKind::Jitp);
    let parameters = provisioning::jitp::parameters(&template, &id, []).unwrap();
    let name = "AWS::IoT::Certificate::CommonName".to_owned();
    assert_eq!(evaluate(&template, &parameters), Err(EvaluationError::MissingParameter { name }));
}
