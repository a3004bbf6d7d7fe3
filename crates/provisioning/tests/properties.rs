//! Nothing from outside makes it panic, and nothing small makes it large.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use provisioning::bulk::{Checkpoint, Line, LineSplitter, parse_line};
use provisioning::fleet::{
    CreateFromCsrRequest, FleetTopic, Format, OwnershipToken, ProvisionRequest, Rejection, check_create_request,
};
use provisioning::{CertificateSource, Limits, Plan, PolicySource, Template, TemplateKind, evaluate, hook};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const KINDS: [TemplateKind; 3] = [TemplateKind::FleetProvisioning, TemplateKind::Jitp, TemplateKind::Registration];

/// Text that functions make something of.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z,/]{0,4}",
        Just("${P}".to_owned()),
        Just("${P}${Q}${!x}".to_owned()),
        Just("${x}${x}".to_owned()),
        Just("${AWS::IoT::Certificate::Id}".to_owned()),
        "\\PC{0,6}",
    ]
}

/// Expressions, some of them wrong.
fn expression() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => text().prop_map(Value::from),
        2 => Just(json!({"Ref": "P"})),
        1 => Just(json!({"Ref": "Q"})),
        1 => Just(json!({"Fn::FindInMap": ["M", "k", {"Ref": "Q"}]})),
    ];
    leaf.prop_recursive(6, 40, 4, |inner| {
        let list = prop_oneof![
            4 => vec(inner.clone(), 1..4).prop_map(Value::from),
            2 => (prop_oneof![Just(","), Just("a")], inner.clone())
                .prop_map(|(delimiter, text)| json!({"Fn::Split": [delimiter, text]})),
            1 => Just(json!({"Fn::FindInMap": ["M", "k", "list"]})),
        ];
        prop_oneof![
            (text(), list.clone()).prop_map(|(delimiter, list)| json!({"Fn::Join": [delimiter, list]})),
            (0..2_u8, list).prop_map(|(index, list)| json!({"Fn::Select": [index, list]})),
            (text(), inner.clone()).prop_map(|(text, x)| json!({"Fn::Sub": [text, {"x": x}]})),
            (text(), inner).prop_map(|(text, x)| json!({"Fn::Sub": [format!("{text}${{x}}${{x}}"), {"x": x}]})),
        ]
    })
}

fn template(expressions: &[Value]) -> String {
    let [attribute, policy, part] = expressions else { panic!("three") };
    json!({
        "Parameters": {"P": {"Type": "String"}, "Q": {"Type": "String", "Default": "list"}},
        "Mappings": {"M": {"k": {"text": "t", "list": ["a", "b,c"]}}},
        "Resources": {
            "c": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}}
            },
            "t": {"Type": "AWS::IoT::Thing", "Properties": {
                "AttributePayload": {"a": attribute}, "ThingGroups": {"Fn::Split": [",", "g,h"]}
            }},
            "p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": {"s": [policy, 1]}}}
        },
        "DeviceConfiguration": {"d": part}
    })
    .to_string()
}

/// Bytes of all text in a plan.
fn size(plan: &Plan) -> usize {
    let pairs =
        |map: &BTreeMap<String, String>| map.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let thing = plan.thing.as_ref().map_or(0, |thing| {
        let texts = [&thing.thing_type, &thing.billing_group];
        thing.attributes.as_ref().map_or(0, pairs)
            + thing.groups.iter().flatten().map(String::len).sum::<usize>()
            + texts.into_iter().flatten().map(String::len).sum::<usize>()
    });
    let certificate = plan.certificate.as_ref().map_or(0, |certificate| match &certificate.source {
        CertificateSource::SigningRequest(pem) => pem.len(),
        CertificateSource::Registered(id) => id.as_str().len(),
        CertificateSource::Pem { certificate, ca_certificate } => {
            certificate.len() + ca_certificate.as_ref().map_or(0, String::len)
        }
    });
    let policies = plan.policies.iter().map(|policy| match &policy.source {
        PolicySource::Existing(name) => name.as_str().len(),
        PolicySource::Document { document, .. } => document.len(),
    });
    thing + certificate + policies.sum::<usize>() + pairs(&plan.device_configuration)
}

fn lines(chunks: &[&[u8]]) -> Vec<Line> {
    let mut splitter = LineSplitter::default();
    let mut lines: Vec<Line> = chunks.iter().flat_map(|chunk| splitter.push(chunk)).collect();
    lines.extend(splitter.finish());
    lines
}

proptest! {
    #[test]
    fn no_text_makes_a_template_panic(text in "\\PC{0,200}") {
        for kind in KINDS {
            let _ = Template::parse(&text, kind, &Limits::STANDARD);
        }
    }

    #[test]
    fn what_a_template_makes_is_bounded(
        expressions in vec(expression(), 3),
        parameter in prop_oneof!["[a-z,]{0,8}", Just("a,".repeat(2_000))],
    ) {
        let text = template(&expressions);
        for kind in KINDS {
            for limits in [Limits::STANDARD, Limits { output_bytes: 1_000, ..Limits::AWS }] {
                let Ok(template) = Template::parse(&text, kind, &limits) else { continue };
                let id = "a".repeat(64);
                let parameters = BTreeMap::from([
                    ("P".to_owned(), parameter.clone()),
                    ("AWS::IoT::Certificate::Id".to_owned(), id),
                ]);
                let outcome = evaluate(&template, &parameters);
                prop_assert_eq!(&outcome, &evaluate(&template, &parameters));
                if let Ok(plan) = outcome {
                    // JSON escapes make a character of a document up to six.
                    prop_assert!(size(&plan) <= 6 * limits.output_bytes + text.len());
                }
            }
        }
    }

    #[test]
    fn no_payload_makes_a_request_panic(payload in vec(any::<u8>(), 0..300)) {
        for format in Format::ALL {
            let _ = check_create_request(format, &payload);
            let _ = CreateFromCsrRequest::decode(format, &payload);
            let _ = ProvisionRequest::decode(format, &payload, &Limits::STANDARD);
            let _ = Rejection::decode(format, &payload);
        }
        let _ = hook::parse_answer(&payload, &Limits::STANDARD);
    }

    #[test]
    fn a_request_that_is_damaged_does_not_panic(position in 0..60_usize, byte in any::<u8>()) {
        let parameters = BTreeMap::from([("SerialNumber".to_owned(), "1".to_owned())]);
        let certificate_ownership_token = OwnershipToken::new("token").unwrap();
        let request = ProvisionRequest { certificate_ownership_token, parameters };
        for format in Format::ALL {
            let mut payload = request.encode(format);
            if let Some(found) = payload.get_mut(position) {
                *found = byte;
            }
            let _ = ProvisionRequest::decode(format, &payload, &Limits::STANDARD);
        }
    }

    #[test]
    fn a_request_comes_back_from_both_formats(
        token in "[!-~]{1,40}",
        parameters in btree_map("\\PC{0,8}", "\\PC{0,20}", 0..6),
    ) {
        let certificate_ownership_token = OwnershipToken::new(token).unwrap();
        let request = ProvisionRequest { certificate_ownership_token, parameters };
        for format in Format::ALL {
            let read = ProvisionRequest::decode(format, &request.encode(format), &Limits::STANDARD);
            prop_assert_eq!(read.as_ref(), Ok(&request));
        }
    }

    #[test]
    fn a_topic_that_is_read_is_written_alike(
        topic in "(\\$aws/)?(certificates/create(-from-csr)?|provisioning-templates/[a-z/]{0,3}/provision)(/(json|cbor|xml))?(/(accepted|rejected))?"
    ) {
        if let Some(read) = FleetTopic::parse(&topic) {
            prop_assert_eq!(read.to_string(), topic);
        }
    }

    #[test]
    fn lines_do_not_depend_on_where_chunks_are_cut(
        file in "([a-z{}\":]|\r|\n| |\u{feff}){0,40}",
        cuts in vec(0..120_usize, 0..5),
    ) {
        let bytes = file.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let whole = lines(&[bytes]);
        prop_assert_eq!(&lines(&chunks), &whole);
        for line in whole {
            let _ = parse_line(&line, &Limits::STANDARD);
            let at = usize::try_from(line.start.offset).unwrap();
            let end = usize::try_from(line.next.offset).unwrap();
            let ends_well = end == bytes.len() || bytes[end - 1] == b'\n';
            prop_assert!(at < end && ends_well);
        }
    }

    #[test]
    fn no_text_makes_a_checkpoint_panic(text in "\\PC{0,80}") {
        let _ = Checkpoint::from_json(&text);
    }
}
