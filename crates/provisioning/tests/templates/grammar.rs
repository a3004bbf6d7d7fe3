//! Sections, resources and properties.

use crate::*;

#[test]
fn a_section_that_is_malformed_is_refused_with_its_place() {
    let string = json!({"Type": "String"});
    for (sections, reason) in [
        (json!({"Version": "1"}), "template.Version: unknown; known are Parameters, Mappings"),
        (json!({"Parameters": []}), "Parameters: must be an object"),
        (json!({"Parameters": {"": string}}), "Parameters: a name must have 1 to 2048 characters"),
        (json!({"Parameters": {"n".repeat(2_049): string}}), "Parameters: a name must have 1 to 2048 characters"),
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

#[test]
fn what_is_just_short_enough_is_taken() {
    let default = json!({"Type": "String", "Default": "x".repeat(4_096)});
    parse(&with(&json!({"Parameters": {"P": default}}), &json!({})), FLEET);
    parse(&with(&json!({"Parameters": {"n".repeat(2_048): {"Type": "String"}}}), &json!({})), FLEET);
    let policy = json!({"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "x"}});
    let ten: serde_json::Map<String, Value> = (0..10).map(|n| (n.to_string(), policy.clone())).collect();
    parse(&with(&json!({}), &Value::Object(ten)), FLEET);
    let template = with(&json!({}), &json!({})).to_string();
    let padded = format!("{template}{}", " ".repeat(10_240 - template.len()));
    Template::parse(&padded, FLEET, &Limits::STANDARD).unwrap();
}

/// Whoever may choose a parameter could name a certificate that is not its own.
#[test]
fn a_device_does_not_choose_the_certificate_that_is_provisioned() {
    let certificate = |id: Value| {
        json!({
            "Parameters": {"P": {"Type": "String", "Default": "x"}},
            "Resources": {"c": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": id}}}
        })
    };
    for id in [
        json!({"Ref": "P"}),
        json!({"Fn::Sub": "${P}"}),
        json!({"Fn::Join": ["", [{"Ref": "AWS::IoT::Certificate::Id"}]]}),
        json!("AWS::IoT::Certificate::Id"),
    ] {
        for kind in [FLEET, TemplateKind::Jitp] {
            let message = refused(&certificate(id.clone()), kind);
            assert!(message.contains("Resources.c.Properties: CertificateId must be"), "{message}");
        }
    }
}

#[test]
fn a_certificate_may_be_for_one_thing_only() {
    for (kind, expected) in [(None, false), (Some("NON_EXCLUSIVE_THING"), false), (Some("EXCLUSIVE_THING"), true)] {
        let mut properties = json!({"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}});
        if let Some(kind) = kind {
            properties["ThingPrincipalType"] = kind.into();
        }
        let template = json!({"Resources": {"c": {"Type": "AWS::IoT::Certificate", "Properties": properties}}});
        let plan = run(&template, FLEET, &[("AWS::IoT::Certificate::Id", ID)]).unwrap();
        assert_eq!(plan.certificate.unwrap().is_exclusive, expected);
    }
}
