//! Every query as SQL, in the SQLite that D1 is made of and with D1's limits, against the evaluator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Database, parse, thing};
use fleet_index::configuration::FieldType;
use fleet_index::{DocumentLimits, ESTIMATE_LIMIT, Estimates, Index, Limits, Query, ThingDocument, matches};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Every way to find the same page.
fn estimates(database: &Database, query: &Query) -> Vec<Estimates> {
    let all = |count| Estimates::new(vec![count; query.terms()]);
    let every_other = (0..query.terms()).map(|n| if n % 2 == 0 { 1 } else { ESTIMATE_LIMIT }).collect();
    vec![database.estimates(query), Estimates::default(), all(ESTIMATE_LIMIT), all(0), Estimates::new(every_other)]
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop_oneof![Just(-5.0), Just(0.0), Just(1.5), Just(70.0), Just(75.0), Just(1e300), Just(0.1)]
            .prop_map(|n| json!(n)),
        (-3_i64..8).prop_map(|n| json!(n)),
        any::<bool>().prop_map(|value| json!(value)),
        prop_oneof![
            Just("red"),
            Just("Red Blue"),
            Just("new york city"),
            Just("new city"),
            Just("75"),
            Just("75.0"),
            Just("-5"),
            Just(""),
            Just("*"),
            Just("a?b"),
            Just("[x]"),
            Just("Ä ö"),
            Just("a\0b"),
            Just("abcd"),
            Just("abcf")
        ]
        .prop_map(|text| json!(text)),
        Just(Value::Null),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map(key(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a"),
        Just("b"),
        Just("a.b"),
        Just("q\"r"),
        Just("s\\t"),
        Just("ä"),
        Just("[0]"),
        Just("$"),
        Just("'"),
        Just("")
    ]
    .prop_map(str::to_owned)
}

fn document() -> impl Strategy<Value = ThingDocument> {
    (
        "[a-cA-C0-1:_-]{1,3}",
        proptest::collection::btree_map(
            "[ab]",
            prop_oneof![Just("red"), Just("Blue"), Just("75"), Just("75.0"), Just("7")],
            0..3,
        ),
        proptest::option::of(json_value()),
        proptest::option::of(any::<bool>()),
        0_u64..3,
    )
        .prop_map(|(name, attributes, reported, connected, version)| {
            let mut members = json!({ "attributes": attributes, "version": version });
            if let Some(reported) = reported {
                members["shadow"] = json!({ "reported": reported, "hasDelta": false, "version": version + 7 });
            }
            if let Some(connected) = connected {
                members["connectivity"] = json!({ "connected": connected, "timestamp": version });
            }
            thing(&name, members)
        })
}

fn term() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        3 => Just("shadow.reported.a:"), 2 => Just("shadow.reported:"), 1 => Just("shadow.reported.a.b:"),
        2 => Just("attributes.a:"), 1 => Just("attributes.b:"), 1 => Just("thingName:"), 1 => Just("connectivity.connected:"),
        1 => Just("shadow.hasDelta:"), 1 => Just("shadow.reported.q\\\"r:"), 1 => Just("shadow.reported.s\\\\t:"),
        1 => Just("shadow.reported.ä:"), 1 => Just("shadow.reported.$:"), 1 => Just("registry.version:"),
        1 => Just("shadow.version:"), 1 => Just("shadow.reported.\\[0\\]:"), 1 => Just("shadow.reported.:"),
    ];
    let value = prop_oneof![
        Just("red"),
        Just("RED"),
        Just("75"),
        Just("75.0"),
        Just("-5"),
        Just("0.1"),
        Just("1e300"),
        Just("true"),
        Just("FALSE"),
        Just("\"new york\""),
        Just("\"York  City\""),
        Just("\"new city\""),
        Just("\"\""),
        Just("blue"),
        Just("\\*"),
        Just("Ä"),
        Just("r*"),
        Just("*d"),
        Just("n*y"),
        Just("?"),
        Just("a?b"),
        Just("a\\?*"),
        Just("7*"),
        Just("\\[*"),
        Just("*e*"),
        Just("*"),
    ];
    let range = prop_oneof![
        Just("[1 TO 5]"),
        Just("{1 TO 75}"),
        Just("[-5 TO 1.5}"),
        Just("[* TO 3]"),
        Just("{5 TO *]"),
        Just("[abcd TO abcf]"),
        Just("[\"a\" TO \"n\"}"),
        Just("[* TO m]"),
        Just("{n TO *]"),
        Just("[\"7\" TO \"75.\"]"),
        Just(">5"),
        Just("<=1.5"),
        Just("<red"),
        Just(">=\"red\""),
        Just("[* TO *]"),
        Just("[0.1 TO 0.1]"),
    ];
    prop_oneof![
        3 => value.clone().prop_filter_map("a hyphen negates", |value| (!value.starts_with('-')).then(|| value.to_owned())),
        6 => (field.clone(), value.clone()).prop_map(|(field, value)| format!("{field}{value}")),
        3 => (field.clone(), range).prop_map(|(field, range)| format!("{field}{range}")),
        1 => (field, value.clone(), value).prop_map(|(field, one, other)| format!("{field}({one} OR NOT {other})")),
    ]
}

fn query() -> impl Strategy<Value = String> {
    term().prop_recursive(3, 7, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} NOT {b})")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 192 } else { 2_000 }))]

    #[test]
    fn sql_finds_what_the_evaluator_finds(
        documents in proptest::collection::vec(document(), 0..20),
        queries in proptest::collection::vec(query(), 1..12),
        page in 1_u32..6,
    ) {
        let database = Database::new();
        // Documents of the same name replace one another, so the rows have been changed, too.
        let mut last = BTreeMap::new();
        for document in documents {
            database.put(&document);
            last.insert(document.thing_name.clone(), document);
        }
        for text in &queries {
            let Ok(query) = Query::parse(text, &Limits::STANDARD) else {
                prop_assert!(false, "{text} was refused");
                return Ok(());
            };
            let is_found = |document: &&ThingDocument| matches(&query, *document, &DocumentLimits::STANDARD);
            let expected: Vec<&str> = last.values().filter(is_found).map(|document| document.thing_name.as_str()).collect();
            for estimates in estimates(&database, &query) {
                prop_assert_eq!(&database.search(&query, &estimates, page), &expected, "{} {:?}", text, estimates);
                let count = database.rows(&fleet_index::count(Index::Things, &query, &estimates));
                prop_assert_eq!(count[0]["count"].as_u64().unwrap(), expected.len() as u64, "{} {:?}", text, estimates);
            }
        }
    }

    #[test]
    fn removing_all_documents_leaves_no_row(documents in proptest::collection::vec(document(), 0..20)) {
        let database = Database::new();
        documents.iter().for_each(|document| database.put(document));
        let names: std::collections::BTreeSet<_> = documents.iter().map(|document| &document.thing_name).collect();
        names.into_iter().for_each(|name| database.remove(name));
        let left: i64 = database.0.query_row("SELECT count(*) FROM thing_index_terms", [], |row| row.get(0)).unwrap();
        prop_assert_eq!(left, 0);
    }
}

#[test]
fn examples_find_what_aws_documents() {
    let database = Database::new();
    for (name, members) in [
        ("myThingName", json!({ "attributes": { "myAttribute": "75", "model": "legacy" }, "thingTypeName": "aa" })),
        (
            "aba",
            json!({ "attributes": { "myAttribute": "80", "serialNumber": "abce", "attr1": "abc", "attr2": "3", "attr3": "4" },
            "thingGroupNames": ["a", "ab"] }),
        ),
        (
            "tv-1",
            json!({ "attributes": { "myAttribute": "iot", "attr1": "abc", "attr2": "3", "attr3": "11" },
            "connectivity": { "connected": true, "timestamp": 1_557_700_000_000_u64 } }),
        ),
        (
            "tv-2",
            json!({ "shadow": { "desired": { "stats": { "battery": 1 } }, "hasDelta": true, "version": 3,
            "reported": { "stats": { "battery": 80 }, "myvalues": [1, 2, 3], "location": "New York", "fw": "v2" } },
            "connectivity": { "connected": false, "timestamp": 1_557_700_000_000_u64 } }),
        ),
        (
            "tv-3",
            json!({ "shadow": { "hasDelta": false, "version": 1, "name": { "cfg": { "hasDelta": true, "version": 2,
            "reported": { "x": "abc" } } }, "reported": { "location": { "lat": 1.5 }, "stats": { "battery": 100 } } } }),
        ),
    ] {
        database.put(&thing(name, members));
    }
    for (query, expected) in [
        ("*", &["aba", "myThingName", "tv-1", "tv-2", "tv-3"][..]),
        ("abc", &["aba", "tv-1", "tv-3"]),
        ("thingName:myThingName", &["myThingName"]),
        ("thingName:mythingname", &["myThingName"]),
        ("thingname:myThingName", &[]),
        ("thingName:my*", &["myThingName"]),
        ("thingName:*ame", &["myThingName"]),
        ("thingName:*thing*", &["myThingName"]),
        ("thingName:ab?", &["aba"]),
        ("thingTypeName:aa", &["myThingName"]),
        ("registry.thingTypeName:aa", &["myThingName"]),
        ("thingGroupNames:a", &["aba"]),
        ("attributes.myAttribute:75", &["myThingName"]),
        ("attributes.myAttribute:[75 TO 80]", &["aba", "myThingName"]),
        ("attributes.myAttribute:{75 TO 80]", &["aba"]),
        ("attributes.myAttribute:[75 TO 80}", &["myThingName"]),
        ("attributes.serialNumber:[\"abcd\" TO \"abcf\"]", &["aba"]),
        ("attributes.myAttribute:i*t", &["tv-1"]),
        ("attributes.attr1:abc AND attributes.attr2<5 NOT attributes.attr3>10", &["aba"]),
        ("shadow.hasDelta:true", &["tv-2"]),
        ("shadow.name.cfg.hasDelta:true", &["tv-3"]),
        ("NOT attributes.model:legacy", &["aba", "tv-1", "tv-2", "tv-3"]),
        ("shadow.reported.stats.battery:{70 TO 100} (v2 OR v3) NOT attributes.model:legacy", &["tv-2"]),
        ("shadow.reported.myvalues:2", &["tv-2"]),
        ("shadow.reported.location:* NOT shadow.desired.stats.battery:*", &["tv-3"]),
        ("shadow.reported.location:\"new york\"", &["tv-2"]),
        ("shadow.reported.location:york", &["tv-2"]),
        ("connectivity.connected:true", &["tv-1"]),
        ("connectivity.connected:true AND connectivity.timestamp : [1557651600000 TO 1557867600000]", &["tv-1"]),
        ("connectivity.connected:false AND connectivity.timestamp > 1557651600000", &["tv-2"]),
        ("connectivity.connected:*", &["tv-1", "tv-2"]),
        ("thingName:(tv* AND -\"tv-1\")", &["tv-2", "tv-3"]),
        ("true", &["tv-2", "tv-3"]),
        ("1557700000000", &[]),
    ] {
        let query = parse(query);
        for estimates in estimates(&database, &query) {
            assert_eq!(database.search(&query, &estimates, 2), expected, "{query:?} {estimates:?}");
        }
    }
}

#[test]
fn no_plan_reads_a_whole_table() {
    let database = Database::new();
    for text in [
        "attributes.a:x",
        "attributes.a:75",
        "attributes.a:x attributes.b:y NOT attributes.c:z",
        "attributes.a:x*",
        "attributes.a:*x",
        "attributes.a>5",
        "attributes.a:[b TO c]",
        "attributes.a:*",
        "\"new york\"",
        "attributes.a:\"new york\"",
        "abc",
        "ab*",
        "NOT attributes.a:x",
        "*",
        "attributes.a:x OR attributes.b:y",
        "attributes.a>5 OR NOT attributes.b:y",
        "75",
        "(a:1 OR b:2 OR c:3 OR d:4 OR e:5 OR f:6 OR g:7)",
        "attributes.a:x AND (b OR attributes.c<1)",
    ] {
        let query = parse(text);
        for estimates in estimates(&database, &query) {
            let mut statements = vec![fleet_index::search(Index::Things, &query, &estimates, "", 10)];
            statements.extend(fleet_index::estimate(Index::Things, &query));
            for statement in statements {
                let plan = database.plan(&statement);
                for step in plan.split("; ").filter(|step| step.starts_with("SCAN")) {
                    // subqueries that are read once, in their order, and the values of one document
                    let is_bounded = ["c", "f", "v", "fields", "CONSTANT"].iter().any(|name| {
                        step.strip_prefix("SCAN ").is_some_and(|rest| rest.split(' ').next() == Some(*name))
                    });
                    let is_subquery = step.contains("(subquery") || step.contains("VIRTUAL TABLE");
                    assert!(is_bounded || is_subquery, "{text}: {step} in {plan}\n{}", statement.sql);
                    assert!(!step.contains("thing_index"), "{text}: {plan}");
                }
            }
        }
    }
}

#[test]
fn counts_and_aggregations_read_a_whole_table_only_without_a_term_that_helps() {
    let database = Database::new();
    let aggregation =
        fleet_index::aggregate::Aggregation::new(Some("attributes.z"), |_| Some(FieldType::Number)).unwrap();
    for (text, may_scan) in [
        ("*", false),
        ("attributes.a:x attributes.b>5", false),
        ("attributes.a>5 NOT attributes.b:y", false),
        ("attributes.a:x OR attributes.b:\"y z\"", false),
        ("abc", false),
        ("NOT attributes.a:x", true),
        ("NOT attributes.a:x*", true),
    ] {
        let query = parse(text);
        for estimates in estimates(&database, &query) {
            for statement in [
                fleet_index::count(Index::Things, &query, &estimates),
                fleet_index::aggregate::statistics(Index::Things, &query, &estimates, &aggregation),
                fleet_index::aggregate::cardinality(Index::Things, &query, &estimates, &aggregation),
                fleet_index::aggregate::percentiles(Index::Things, &query, &estimates, &aggregation).unwrap(),
                fleet_index::aggregate::buckets(Index::Things, &query, &estimates, &aggregation, 10, true).unwrap(),
            ] {
                let plan = database.plan(&statement);
                let scans = plan.split("; ").any(|step| step == "SCAN d" || step == "SCAN t");
                assert!(may_scan || !scans, "{text}: {plan}\n{}", statement.sql);
            }
        }
    }
}

#[test]
fn writes_are_served_by_the_keys() {
    let database = Database::new();
    let terms = |value: &str| {
        fleet_index::Terms::of(&thing("lamp", json!({ "attributes": { "colour": value } })), &DocumentLimits::STANDARD)
    };
    let stored = fleet_index::Stored { revision: Some(1), terms: terms("red") };
    for statement in fleet_index::schema::write(Index::Things, "lamp", "{}", &stored, &terms("blue")) {
        let plan = database.plan(&statement);
        assert!(!plan.contains("SCAN thing_index"), "{plan}");
        if statement.sql.starts_with("DELETE") {
            let key = "SEARCH thing_index_terms USING PRIMARY KEY (field=? AND value=? AND name=?)";
            assert!(plan.contains(key), "{plan}");
        }
    }
}

#[test]
fn what_is_near_a_match_is_not_one() {
    let database = Database::new();
    for (name, reported) in [
        ("a", json!({ "x": [75, "75"], "place": "new york city" })),
        ("b", json!({ "x": "75.0", "place": ["new", "city"] })),
        ("c", json!({ "x/y": 1, "x-y": 1, "place": "New City" })),
        ("d", json!({ "x": { "y": 1 }, "place": "newcity" })),
    ] {
        database.put(&thing(name, json!({ "shadow": { "reported": reported, "hasDelta": false, "version": 1 } })));
    }
    for (query, expected) in [
        ("shadow.reported.x:75", &["a"][..]),
        ("shadow.reported.x:[75 TO 75]", &["a", "b"]),
        ("shadow.reported.x:*", &["a", "b", "d"]),
        ("NOT shadow.reported.x:*", &["c"]),
        ("shadow.reported.place:\"new city\"", &["c"]),
        ("\"new city\"", &["c"]),
        ("shadow.reported.place:(new city)", &["a", "b", "c"]),
        ("shadow.reported.place:new*city", &["a", "c", "d"]),
        ("shadow.reported.place:\"city york\"", &[]),
    ] {
        let query = parse(query);
        for estimates in estimates(&database, &query) {
            for page in [1, 10] {
                assert_eq!(database.search(&query, &estimates, page), expected, "{query:?} {estimates:?}");
            }
        }
    }
}

#[test]
fn thing_groups_have_tables_of_their_own() {
    let database = Database::new();
    database.put(&thing("hall", json!({ "attributes": { "floor": "1" } })));
    for (name, floor) in [("hall", "2"), ("attic", "3")] {
        let group = fleet_index::ThingGroupDocument {
            thing_group_name: name.to_owned(),
            attributes: [("floor".to_owned(), floor.to_owned())].into(),
            ..fleet_index::ThingGroupDocument::default()
        };
        let terms = fleet_index::Terms::of(&group, &DocumentLimits::STANDARD);
        let stored = database.stored(Index::ThingGroups, name);
        let statements = fleet_index::schema::write(Index::ThingGroups, name, &group.to_json(), &stored, &terms);
        assert_eq!(database.batch(&statements), 1);
    }
    for (text, expected) in
        [("*", &["attic", "hall"][..]), ("attributes.floor>2", &["attic"]), ("attributes.floor:1", &[])]
    {
        let query = parse(text);
        let rows = database.rows(&fleet_index::search(Index::ThingGroups, &query, &Estimates::default(), "", 10));
        assert_eq!(rows.iter().map(|row| row["name"].as_str().unwrap()).collect::<Vec<_>>(), expected, "{text}");
        let count = database.rows(&fleet_index::count(Index::ThingGroups, &query, &Estimates::default()));
        assert_eq!(count[0]["count"], expected.len(), "{text}");
    }
    for index in [Index::Things, Index::ThingGroups] {
        assert_eq!(Index::from_name(index.name()), Some(index));
    }
}

#[test]
fn a_stream_is_not_sorted() {
    let database = Database::new();
    for (text, sorts) in
        [("attributes.a:x attributes.b>5", false), ("attributes.a:75 NOT attributes.b:y", false), ("NOT a:x", false)]
    {
        let query = parse(text);
        let many = Estimates::new(vec![ESTIMATE_LIMIT; query.terms()]);
        let plan = database.plan(&fleet_index::search(Index::Things, &query, &many, "m", 10));
        assert_eq!(plan.contains("TEMP B-TREE"), sorts, "{text}: {plan}");
        assert!(plan.contains("SEARCH d USING INDEX sqlite_autoindex_thing_index_documents_1 (name"), "{plan}");
    }
}

#[test]
fn the_greatest_query_fits_into_d1() {
    let database = Database::new();
    let limits = Limits { query_length: 100_000, ..Limits::STANDARD };
    for term in
        ["f{n}:a{n}*b?c", "f{n}:\"a{n} b\"", "f{n}:[{n} TO 1{n}]", "f{n}:{n}", "a{n}*c", "\"a{n} b\"", "{n}", "f{n}:*"]
    {
        for (separator, open, close) in
            [(" OR ", "", ""), (" AND ", "", ""), (" OR NOT (", "", ")"), (" AND NOT (", "(", "))")]
        {
            let mut text = String::new();
            for n in 0..limits.query_terms {
                let separator = if n == 0 { "" } else { separator };
                text += &format!("{separator}{open}{}", term.replace("{n}", &n.to_string()));
            }
            let depth = if close.is_empty() { 0 } else { limits.query_terms - 1 };
            text += &close.repeat(depth);
            text += &")".repeat(if open.is_empty() { 0 } else { 1 });
            let query = match Query::parse(&text, &limits) {
                Ok(query) => query,
                Err(error) => {
                    assert!(matches!(error.problem, fleet_index::Problem::TooDeep(_)), "{text}: {error}");
                    continue;
                }
            };
            for estimates in estimates(&database, &query) {
                database.search(&query, &estimates, 10);
                database.rows(&fleet_index::count(Index::Things, &query, &estimates));
            }
        }
    }
}

#[test]
fn a_write_that_lost_a_race_changes_nothing() {
    let database = Database::new();
    let first = thing("lamp", json!({ "attributes": { "colour": "red" } }));
    database.put(&first);
    let stale = database.stored(Index::Things, "lamp");
    database.put(&thing("lamp", json!({ "attributes": { "colour": "blue" } })));
    let terms = fleet_index::Terms::of(
        &thing("lamp", json!({ "attributes": { "colour": "green" } })),
        &DocumentLimits::STANDARD,
    );
    for stored in [stale, fleet_index::Stored::default()] {
        let statements = fleet_index::schema::write(Index::Things, "lamp", "{}", &stored, &terms);
        assert_eq!(database.batch(&statements), 0);
        assert_eq!(database.batch(&fleet_index::schema::remove(Index::Things, "lamp", &stored)), 0);
    }
    let found = |text: &str| database.search(&parse(text), &Estimates::default(), 10);
    assert_eq!(found("attributes.colour:blue"), ["lamp"]);
    assert_eq!(found("attributes.colour:(red OR green)"), [""; 0]);
}
