//! AWS's own examples, and what their pages say of them.

use crate::*;

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
