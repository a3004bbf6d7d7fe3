use super::*;
use crate::partition::Partitions;
use serde_json::Value;
use std::collections::BTreeSet;

const LIMITS: fleet_index::Limits = fleet_index::Limits::STANDARD;

fn input(value: Value) -> Input {
    value.as_object().cloned().unwrap()
}

fn updated(configuration: &IndexingConfiguration, value: Value, walk: &str) -> (IndexingConfiguration, Vec<Walk>) {
    configuration.updated(&input(value), walk, &LIMITS).unwrap()
}

/// With all walks at their end.
fn settled((mut configuration, walks): (IndexingConfiguration, Vec<Walk>)) -> IndexingConfiguration {
    for walk in walks {
        configuration = configuration.walked(&walk).unwrap();
    }
    configuration
}

fn things(mode: &str) -> Value {
    json!({ "thingIndexingConfiguration": { "thingIndexingMode": mode } })
}

#[test]
fn an_index_is_not_there_then_not_ready_then_ready() {
    let off = IndexingConfiguration::default();
    let name = |configuration: &IndexingConfiguration| {
        configuration.ready(&input(json!({}))).map_err(|error| (error.name(), error.status()))
    };
    assert_eq!(name(&off), Err(("ResourceNotFoundException", 404)));
    let (on, walks) = updated(&off, things("REGISTRY"), "a");
    assert_eq!(name(&on), Err(("IndexNotReadyException", 400)));
    let ready = on.walked(&walks[0]).unwrap();
    assert_eq!(name(&ready), Ok(Index::Things));
    assert_eq!(ready.ready(&input(json!({"indexName": "AWS_ThingGroups"}))).unwrap_err().status(), 404);
    let described: Value = serde_json::from_slice(&ready.describe_response("AWS_Things").unwrap()).unwrap();
    assert_eq!(described, json!({"indexName": "AWS_Things", "indexStatus": "ACTIVE", "schema": "REGISTRY"}));
}

#[test]
fn only_the_last_walk_that_was_begun_ends_the_building() {
    let (first, walks) = updated(&IndexingConfiguration::default(), things("REGISTRY"), "a");
    let (second, again) = updated(&first, things("REGISTRY_AND_SHADOW"), "b");
    assert_eq!(second.walked(&walks[0]), None);
    assert!(second.walked(&again[0]).is_some());
}

#[test]
fn what_changes_no_document_walks_through_nothing() {
    let ready = settled(updated(&IndexingConfiguration::default(), things("REGISTRY"), "a"));
    let fields = json!({ "thingIndexingConfiguration": {
        "thingIndexingMode": "REGISTRY", "customFields": [{"name": "attributes.floor", "type": "Number"}],
    } });
    let (changed, walks) = updated(&ready, fields, "b");
    assert_eq!(walks, Vec::new());
    assert_eq!(changed.field_type(Index::Things, "attributes.floor"), Some(FieldType::Number));
    assert_eq!(updated(&ready, things("OFF"), "b").1.len(), 1);
}

#[test]
fn one_index_is_changed_without_the_other() {
    let groups = json!({ "thingGroupIndexingConfiguration": { "thingGroupIndexingMode": "ON" } });
    let both =
        settled(updated(&settled(updated(&IndexingConfiguration::default(), things("REGISTRY"), "a")), groups, "b"));
    let listed = |query: Value| -> Value {
        serde_json::from_slice(&both.list_response(&input(query), &Limits::STANDARD).unwrap()).unwrap()
    };
    assert_eq!(listed(json!({})), json!({"indexNames": ["AWS_ThingGroups", "AWS_Things"]}));
    let first = listed(json!({"maxResults": 1}));
    assert_eq!(first["indexNames"], json!(["AWS_ThingGroups"]));
    assert_eq!(listed(json!({"nextToken": first["nextToken"]})), json!({"indexNames": ["AWS_Things"]}));
}

#[test]
fn the_shadows_that_are_indexed_are_those_that_the_configuration_names() {
    let with = |value: Value| updated(&IndexingConfiguration::default(), value, "a").0;
    assert_eq!(with(things("REGISTRY")).shadows(), Vec::<Option<&str>>::new());
    let both = with(json!({ "thingIndexingConfiguration": {
        "thingIndexingMode": "REGISTRY_AND_SHADOW", "thingConnectivityIndexingMode": "STATUS",
        "namedShadowIndexingMode": "ON", "filter": {"namedShadowNames": ["night"]},
    } }));
    assert_eq!(both.shadows(), [None, Some("night")]);
    assert!(both.has_connectivity() && both.has_shadow(None) && both.has_shadow(Some("night")));
    assert!(!both.has_shadow(Some("day")));
}

#[test]
fn a_walk_goes_through_every_partition_and_then_through_the_index() {
    let two = Partitions::new(core::num::NonZeroU16::new(2).unwrap());
    let mut walk = Walk::new(Index::Things, "a", true);
    let mut seen = Vec::new();
    let mut pages = [Some("m".to_owned()), None, None, None, None].into_iter();
    loop {
        seen.push((walk.stage, walk.partition, walk.after.clone()));
        let Some(next) = walk.next(pages.next().unwrap(), two) else { break };
        walk = next;
    }
    let at = |stage, partition, after: &str| (stage, partition, after.to_owned());
    assert_eq!(
        seen,
        [
            at(Stage::Registered, 0, ""),
            at(Stage::Registered, 0, "m"),
            at(Stage::Registered, 1, ""),
            at(Stage::Indexed, 0, ""),
            at(Stage::Indexed, 1, ""),
        ]
    );
    assert_eq!(Walk::new(Index::Things, "a", false).stage, Stage::Indexed);
    let groups = Walk::new(Index::ThingGroups, "a", true).next(None, two).unwrap();
    assert_eq!((groups.stage, groups.partition), (Stage::Indexed, 0));
}

#[test]
fn the_layout_of_a_message_stays_as_it_is() {
    for (work, text) in [
        (Work::thing("lamp"), r#"{"Changed":{"things":["lamp"],"thing_groups":[]}}"#),
        (Work::left("hall"), r#"{"Left":{"group":"hall","partition":0,"after":""}}"#),
        (
            Work::Walk(Walk::new(Index::ThingGroups, "a", true)),
            r#"{"Walk":{"index":"AWS_ThingGroups","walk":"a","stage":"Registered","partition":0,"after":""}}"#,
        ),
    ] {
        assert_eq!(String::from_utf8(work.encode()).unwrap(), text);
        assert_eq!(Work::decode(text.as_bytes()), Some(work));
    }
    assert_eq!(Work::decode(br#"{"Other":1}"#), None);
}

#[test]
fn events_tell_which_documents_may_have_changed() {
    use crate::registry_event::{About, RegistryEvent};
    let event = RegistryEvent::of;
    let events = [
        event(About::Thing("lamp".to_owned())),
        event(About::Thing("lamp".to_owned())),
        event(About::ThingGroup { name: "hall".to_owned(), is_deleted: true }),
        event(About::Nothing),
    ];
    let things = || BTreeSet::from(["lamp".to_owned()]);
    let groups = || BTreeSet::from(["hall".to_owned()]);
    let both = Work::Changed { things: things(), thing_groups: groups() };
    assert_eq!(Work::of_events(&events, |_| true), [Work::left("hall"), both]);
    let only_groups = Work::Changed { things: BTreeSet::new(), thing_groups: groups() };
    assert_eq!(Work::of_events(&events, |index| index == Index::ThingGroups), [only_groups]);
    assert_eq!(Work::of_events(&events, |_| false), []);
}

#[test]
fn a_shadow_is_read_from_what_a_get_answers() {
    let payload = json!({
        "state": {"desired": {"on": true}, "reported": {"on": false}, "delta": {"on": true}},
        "metadata": {}, "version": 7, "timestamp": 1,
    });
    let read = shadow(payload.to_string().as_bytes()).unwrap();
    assert_eq!((read.has_delta, read.version, read.desired), (true, 7, Some(json!({"on": true}))));
    assert_eq!(shadow(b"{}"), None);
}

#[test]
fn a_document_that_is_there_already_is_not_written() {
    let document =
        fleet_index::ThingDocument { thing_name: "lamp".to_owned(), ..fleet_index::ThingDocument::default() };
    let terms = fleet_index::Terms::of(&document, &LIMITS.document).to_json();
    let text = document.to_json();
    let wanted = Wanted::thing(document, &LIMITS.document);
    let stored = || Some(StoredRow { revision: 3, document: text.clone(), terms: terms.clone() });
    let settle = |wanted, stored| settle(crate::Partition::FIRST, Index::Things, "lamp", wanted, stored).len();
    assert_eq!(settle(Some(&wanted), stored()), 0);
    assert_eq!(settle(None, None), 0);
    assert!(settle(Some(&wanted), None) > 0);
    assert!(settle(None, stored()) > 0);
}

#[test]
fn a_thing_with_huge_shadows_is_indexed_without_them() {
    let shadow = fleet_index::Shadow { desired: Some(json!("x".repeat(2_000_000))), ..fleet_index::Shadow::default() };
    let shadows = fleet_index::Shadows { classic: Some(shadow), ..fleet_index::Shadows::default() };
    let document = fleet_index::ThingDocument {
        thing_name: "lamp".to_owned(),
        shadow: Some(shadows),
        ..fleet_index::ThingDocument::default()
    };
    let small = fleet_index::ThingDocument { shadow: None, ..document.clone() };
    assert_eq!(Wanted::thing(document, &LIMITS.document), Wanted::thing(small, &LIMITS.document));
}

#[test]
fn bad_queries_and_aggregations_have_awss_exceptions() {
    let ready = settled(updated(&IndexingConfiguration::default(), things("REGISTRY"), "a"));
    let search = |value: Value| SearchRequest::of(&ready, &input(value), &LIMITS).map_err(|error| error.name());
    let aggregate = |value: Value| AggregationRequest::of(&ready, &input(value), &LIMITS).map_err(|error| error.name());
    assert_eq!(search(json!({"queryString": "a:["})), Err("InvalidQueryException"));
    assert_eq!(search(json!({"queryString": "*", "queryVersion": "x"})), Err("InvalidQueryException"));
    assert_eq!(search(json!({"queryString": "*", "nextToken": "x"})), Err("InvalidRequestException"));
    assert_eq!(search(json!({"queryString": "*", "indexName": "x"})), Err("ResourceNotFoundException"));
    assert_eq!(
        aggregate(json!({"queryString": "*", "aggregationField": "attributes.x"})),
        Err("InvalidAggregationException")
    );
    assert_eq!(aggregate(json!({"queryString": "*"})).unwrap().percents, fleet_index::aggregate::DEFAULT_PERCENTS);
    assert_eq!(search(json!({"queryString": "*", "maxResults": 9_000})).unwrap().limit(), 501);
}

#[test]
fn pages_are_merged_by_name() {
    let ready = settled(updated(&IndexingConfiguration::default(), things("REGISTRY"), "a"));
    let request = SearchRequest::of(&ready, &input(json!({"queryString": "*", "maxResults": 2})), &LIMITS).unwrap();
    let row = |name: &str| DocumentRow { name: name.to_owned(), document: json!({"thingName": name}).to_string() };
    let body: Value = serde_json::from_slice(&request.response(vec![row("c"), row("a"), row("b")])).unwrap();
    assert_eq!(body["things"], json!([{"thingName": "a"}, {"thingName": "b"}]));
    let next = json!({"queryString": "*", "nextToken": body["nextToken"]});
    assert_eq!(SearchRequest::of(&ready, &input(next), &LIMITS).unwrap().after, "b");
}
