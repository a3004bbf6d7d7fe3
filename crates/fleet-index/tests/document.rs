//! What of a document is searchable, what changes between two, and what a configuration leaves of one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{parse, thing};
use fleet_index::configuration::{FieldType, ThingGroupIndexingConfiguration, ThingIndexingConfiguration};
use fleet_index::{
    ConfigurationError, DocumentLimits, Kind, Limits, Row, TermValue, Terms, ThingDocument, ThingGroupDocument, matches,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const LIMITS: &DocumentLimits = &DocumentLimits::STANDARD;

fn show(rows: &[Row]) -> Vec<String> {
    let row = |row: &Row| {
        let value = match &row.value {
            TermValue::Number(number) => number.to_string(),
            TermValue::Text(text) => format!("\"{text}\""),
        };
        let kind = match row.kind {
            Kind::Text | Kind::Number => "",
            Kind::NumberOfText => " number of text",
            Kind::Word => " word",
        };
        format!("{} {value}{kind}", row.field)
    };
    rows.iter().map(row).collect()
}

fn lamp() -> ThingDocument {
    thing(
        "Lamp",
        json!({
            "thingId": "I-1", "thingTypeName": "T", "thingGroupNames": ["g"], "version": 3,
            "attributes": { "size": "075", "a.b": "New York" },
            "shadow": {
                "desired": { "on": true }, "reported": { "list": [1, "1", [2.5, null], { "x": "y" }], "empty": {}, "q\"": 1 },
                "metadata": { "desired": { "on": { "timestamp": 1 } } }, "hasDelta": false, "version": 9,
                "name": { "n": { "reported": { "v": -1e300 }, "hasDelta": true, "version": 2 } },
            },
            "connectivity": { "connected": false, "timestamp": 5, "disconnectReason": "CLIENT_INITIATED", "version": 4 },
        }),
    )
}

#[test]
fn a_document_is_taken_apart_into_rows() {
    let terms = Terms::of(&lamp(), LIMITS);
    assert_eq!(
        show(&terms.rows()),
        [
            "attributes.a.b \"new\" word",
            "attributes.a.b \"new york\"",
            "attributes.a.b \"york\" word",
            "attributes.size 75 number of text",
            "attributes.size \"075\"",
            "connectivity.connected \"false\"",
            "connectivity.disconnectReason \"client_initiated\"",
            "connectivity.timestamp 5",
            "registry.version 3",
            "shadow.desired.on \"true\"",
            "shadow.hasDelta \"false\"",
            "shadow.name.n.hasDelta \"true\"",
            &format!("shadow.name.n.reported.v {}", -1e300),
            "shadow.reported.list 1",
            "shadow.reported.list 2.5",
            "shadow.reported.list \"1\"",
            "shadow.reported.list.x \"y\"",
            "thingGroupNames \"g\"",
            "thingId \"i-1\"",
            "thingName \"lamp\"",
            "thingTypeName \"t\"",
        ]
    );
    let with_metadata = Terms::of(&lamp(), &DocumentLimits { metadata: true, ..*LIMITS });
    let more = terms.difference(&with_metadata);
    assert_eq!(show(&more.insert), ["shadow.metadata.desired.on.timestamp 1"]);
}

#[test]
fn only_what_changed_is_written() {
    let old = Terms::of(&lamp(), LIMITS);
    let mut lamp = lamp();
    lamp.attributes.insert("size".to_owned(), "76".to_owned());
    lamp.shadow.as_mut().unwrap().classic.as_mut().unwrap().version += 1;
    lamp.connectivity = None;
    let new = Terms::of(&lamp, LIMITS);
    let difference = old.difference(&new);
    assert_eq!(
        show(&difference.delete),
        [
            "attributes.size 75 number of text",
            "attributes.size \"075\"",
            "connectivity.connected \"false\"",
            "connectivity.disconnectReason \"client_initiated\"",
            "connectivity.timestamp 5",
        ]
    );
    assert_eq!(show(&difference.insert), ["attributes.size 76 number of text", "attributes.size \"76\""]);
    assert_eq!(new.difference(&new), fleet_index::Difference::default());
}

#[test]
fn a_value_that_changes_its_kind_is_written_again() {
    let reported = |value: Value| {
        Terms::of(
            &thing("t", json!({ "shadow": { "reported": { "a": value }, "hasDelta": false, "version": 1 } })),
            LIMITS,
        )
    };
    let difference = reported(json!(75)).difference(&reported(json!("75")));
    assert_eq!(show(&difference.insert), ["shadow.reported.a 75 number of text", "shadow.reported.a \"75\""]);
    assert!(difference.delete.is_empty());
    assert_eq!(
        show(&reported(json!("x y")).difference(&reported(json!(["x y", "x"]))).insert),
        ["shadow.reported.a \"x\""]
    );
}

#[test]
fn bounds_cut_whole_values_from_the_end() {
    let limits = DocumentLimits { terms: 9, ..*LIMITS };
    let terms = Terms::of(&lamp(), &limits);
    assert_eq!(terms.rows().len(), 8);
    assert!(show(&terms.rows()).iter().any(|row| row.starts_with("thingName ")));
    assert_eq!(terms, Terms::of(&lamp(), &limits));
    let long = thing("t", json!({ "attributes": { "a": "x".repeat(800) } }));
    let cut = Terms::of(&long, &DocumentLimits { text_length: 10, ..*LIMITS });
    assert!(show(&cut.rows()).contains(&"attributes.a \"xxxxxxxxxx\"".to_owned()));
}

#[test]
fn a_document_is_stored_as_it_was() {
    let lamp = lamp();
    assert_eq!(ThingDocument::from_json(&lamp.to_json()), Some(lamp.clone()));
    let terms = Terms::of(&lamp, LIMITS);
    assert_eq!(Terms::from_json(&terms.to_json()), Some(terms));
    assert_eq!(thing("t", json!({})).to_json(), r#"{"thingName":"t"}"#);
    assert_eq!(ThingDocument::from_json("{"), None);
    assert_eq!(Terms::from_json("1"), None);
}

#[test]
fn answers_have_the_shape_of_search_index() {
    let answer = lamp().answer();
    let members: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["thingName", "thingId", "thingTypeName", "thingGroupNames", "attributes", "shadow", "connectivity"]
    );
    let shadow: Value = serde_json::from_str(answer["shadow"].as_str().unwrap()).unwrap();
    assert_eq!(shadow["version"], 9);
    assert_eq!(shadow["name"]["n"]["hasDelta"], true);
    assert_eq!(
        answer["connectivity"],
        json!({ "connected": false, "timestamp": 5, "disconnectReason": "CLIENT_INITIATED" })
    );
    let group =
        ThingGroupDocument { thing_group_name: "g".to_owned(), version: Some(1), ..ThingGroupDocument::default() };
    assert_eq!(group.answer(), json!({ "thingGroupName": "g" }));
}

#[test]
fn thing_groups_are_found_by_their_fields() {
    let group = ThingGroupDocument {
        thing_group_name: "Hall".to_owned(),
        thing_group_description: Some("All lamps".to_owned()),
        parent_group_names: vec!["house".to_owned()],
        attributes: [("floor".to_owned(), "2".to_owned())].into(),
        version: Some(4),
        ..ThingGroupDocument::default()
    };
    for (query, expected) in [
        ("thingGroupName:hall", true),
        ("description:lamps", true),
        ("parentGroupNames:house", true),
        ("attributes.floor>1", true),
        ("lamps", true),
        ("4", false),
    ] {
        assert_eq!(matches(&parse(query), &group, LIMITS), expected, "{query}");
    }
    assert_eq!(ThingGroupDocument::from_json(&group.to_json()), Some(group));
}

fn configuration(json: Value) -> Result<ThingIndexingConfiguration, ConfigurationError> {
    ThingIndexingConfiguration::parse(&json.to_string(), &Limits::AWS)
}

#[test]
fn a_configuration_keeps_what_it_indexes() {
    let kept = |json: Value| configuration(json).unwrap().keep(lamp());
    assert_eq!(kept(json!({ "thingIndexingMode": "OFF" })), None);
    let registry = kept(json!({ "thingIndexingMode": "REGISTRY" })).unwrap();
    assert_eq!((registry.shadow, registry.connectivity), (None, None));
    assert_eq!(registry.attributes, lamp().attributes);
    let both =
        kept(json!({ "thingIndexingMode": "REGISTRY_AND_SHADOW", "thingConnectivityIndexingMode": "STATUS" })).unwrap();
    assert!(both.connectivity.is_some());
    let shadows = both.shadow.unwrap();
    assert!(shadows.classic.is_some() && shadows.name.is_empty());
    let named = json!({ "thingIndexingMode": "REGISTRY", "namedShadowIndexingMode": "ON", "filter": { "namedShadowNames": ["n"] } });
    let shadows = kept(named).unwrap().shadow.unwrap();
    assert!(shadows.classic.is_none() && shadows.name.contains_key("n"));
    let other = json!({ "thingIndexingMode": "REGISTRY", "namedShadowIndexingMode": "ON", "filter": { "namedShadowNames": ["m"] } });
    assert_eq!(kept(other).unwrap().shadow, None);
}

#[test]
fn a_configuration_is_answered_with_its_managed_fields() {
    let configuration = configuration(json!({
        "thingIndexingMode": "REGISTRY_AND_SHADOW", "namedShadowIndexingMode": "ON", "filter": {
            "namedShadowNames": ["n"], "geoLocations": [{ "name": "shadow.reported.l", "order": "LonLat" }] },
        "managedFields": [{ "name": "nonsense", "type": "String" }],
        "customFields": [{ "name": "shadow.name.n.reported.x", "type": "Boolean" }],
    }))
    .unwrap();
    let answer = serde_json::to_value(configuration.answer()).unwrap();
    let managed: Vec<&str> =
        answer["managedFields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(
        managed,
        [
            "thingName",
            "thingId",
            "registry.version",
            "registry.thingTypeName",
            "registry.thingGroupNames",
            "shadow.version",
            "shadow.hasDelta",
            "shadow.name.*.version",
            "shadow.name.*.hasDelta"
        ]
    );
    assert_eq!(answer["filter"]["geoLocations"][0]["order"], "LonLat");
    assert_eq!(answer["thingConnectivityIndexingMode"], "OFF");
    assert_eq!(configuration.schema(), "MULTI_INDEXING_MODE");
    for (field, expected) in [
        ("shadow.name.n.version", Some(FieldType::Number)),
        ("shadow.name.n.reported.x", Some(FieldType::Boolean)),
        ("shadow.name.n.reported.version", None),
        ("connectivity.connected", None),
        ("attributes.a", None),
    ] {
        assert_eq!(configuration.field_type(field), expected, "{field}");
    }
    let groups = ThingGroupIndexingConfiguration::parse(r#"{"thingGroupIndexingMode":"ON"}"#, &Limits::AWS).unwrap();
    assert_eq!(groups.field_type("version"), Some(FieldType::Number));
    assert_eq!(groups.answer().managed_fields.len(), 5);
    assert!(groups.keep(ThingGroupDocument::default()).is_some());
}

#[test]
fn a_configuration_that_contradicts_itself_is_refused() {
    let custom =
        |names: &[&str]| names.iter().map(|name| json!({ "name": name, "type": "Number" })).collect::<Vec<_>>();
    for (json, message) in [
        (json!({}), "The indexing configuration is not valid: missing field `thingIndexingMode` at line 1 column 2"),
        (
            json!({ "thingIndexingMode": "OFF", "thingConnectivityIndexingMode": "STATUS" }),
            "thingConnectivityIndexingMode needs a thingIndexingMode that is not OFF",
        ),
        (
            json!({ "thingIndexingMode": "REGISTRY", "namedShadowIndexingMode": "ON" }),
            "namedShadowIndexingMode ON and the filter's namedShadowNames need each other",
        ),
        (
            json!({ "thingIndexingMode": "REGISTRY", "customFields": custom(&["shadow.reported.x"]) }),
            "Custom field \"shadow.reported.x\" is not indexed in this mode",
        ),
        (
            json!({ "thingIndexingMode": "REGISTRY", "customFields": custom(&["thingName"]) }),
            "Custom field \"thingName\" is a managed field, or is named twice",
        ),
        (
            json!({ "thingIndexingMode": "REGISTRY", "customFields": custom(&["attributes.a", "attributes.a"]) }),
            "Custom field \"attributes.a\" is a managed field, or is named twice",
        ),
        (
            json!({ "thingIndexingMode": "REGISTRY", "customFields": custom(&["a", "b", "c", "d", "e", "f"]) }),
            "customFields has more than 5 entries",
        ),
        (
            json!({ "thingIndexingMode": "REGISTRY", "namedShadowIndexingMode": "ON", "filter": { "namedShadowNames": ["a.b"] } }),
            "\"a.b\" is not the name of a shadow",
        ),
    ] {
        assert_eq!(configuration(json.clone()).unwrap_err().to_string(), message, "{json}");
    }
}

proptest! {
    #[test]
    fn a_difference_leads_from_one_document_to_the_other(
        one in proptest::collection::btree_map("[a-c]", "[0-2a-c ]{0,4}", 0..4),
        other in proptest::collection::btree_map("[a-c]", "[0-2a-c ]{0,4}", 0..4),
    ) {
        let terms = |attributes| Terms::of(&thing("t", json!({ "attributes": attributes })), LIMITS);
        let (old, new) = (terms(one), terms(other));
        let difference = old.difference(&new);
        let same = |one: &Row, other: &Row| one.field == other.field && one.value == other.value;
        let mut rows = old.rows();
        rows.retain(|row| !difference.delete.iter().chain(&difference.insert).any(|gone| same(gone, row)));
        rows.extend(difference.insert);
        prop_assert_eq!(rows.len(), new.rows().len());
        prop_assert!(new.rows().iter().all(|row| rows.contains(row)));
    }
}

#[test]
fn a_deep_or_wide_document_is_bounded() {
    let mut deep = json!(1);
    for _ in 0..10_000 {
        deep = Value::Object([("a".to_owned(), Value::Array(vec![deep]))].into_iter().collect());
    }
    let mut document = thing("t", json!({ "shadow": { "hasDelta": false, "version": 1, "reported": {} } }));
    document.shadow.as_mut().unwrap().classic.as_mut().unwrap().reported = Some(deep);
    assert!(show(&Terms::of(&document, LIMITS).rows()).iter().all(|row| !row.contains("reported")));
    // dropping it would recurse
    core::mem::forget(document);
    let wide: Vec<u32> = (0..100_000).collect();
    let wide = thing("t", json!({ "shadow": { "hasDelta": false, "version": 1, "reported": { "a": wide } } }));
    assert_eq!(Terms::of(&wide, LIMITS).rows().len(), LIMITS.terms);
}
