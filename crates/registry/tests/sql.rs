//! The migrations, and every statement against them, in the SQLite that D1 is made of.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Database, NOW, P, migration_files, migrations, read, scope};
use iot_types::{JobId, RuleName, ThingName, UnixMillis};
use proptest::prelude::*;
use registry::control::{
    ControlChange, ControlHead, ControlKind, ControlRow, DeploymentRow, ShardKind, VirtualShardRow,
};
use registry::job::{JobRecord, JobRow, JobStatus, ListJobsRequest, TargetSelection};
use registry::statements::{self as sql, CATALOGUE};
use registry::thing::{
    self, CreateThingRequest, DeleteThingRequest, ListThingsRequest, ThingRecord, ThingRow, UpdateThingRequest,
};
use registry::topic_rule::{
    ListTopicRulesRequest, TopicRuleProgramRow, TopicRuleRecord, TopicRuleRow, TopicRuleSummaryRow,
};
use registry::{ApiError, Limits, Partitions};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, params_from_iter};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

/// What only these tests ask.
trait Things {
    fn thing(&self, name: &ThingName) -> Option<ThingRecord>;
}

impl Things for Database {
    fn thing(&self, name: &ThingName) -> Option<ThingRecord> {
        self.rows::<ThingRow>(&sql::select_thing(P, name)).pop().map(|row| row.try_into().unwrap())
    }
}

fn name(text: &str) -> ThingName {
    ThingName::new(text).unwrap()
}

/// CreateThing as the workers do it: one batch, then the settling function.
fn create(database: &Database, thing_name: &str, body: &str, thing_id: &str) -> Result<ThingRecord, ApiError> {
    let request = CreateThingRequest::parse(thing_name, body.as_bytes(), &Limits::STANDARD)?;
    let candidate = thing::create(&request, thing_id.to_owned(), NOW);
    database.run(&sql::insert_thing(P, &candidate));
    let stored = database.thing(&candidate.thing_name).unwrap();
    thing::settle_create(&scope(), &candidate, &stored)?;
    Ok(stored)
}

fn with_attributes(pairs: &[(&str, &str)]) -> String {
    let attributes: BTreeMap<&str, &str> = pairs.iter().copied().collect();
    serde_json::json!({ "attributePayload": { "attributes": attributes } }).to_string()
}

fn list(database: &Database, query: &str) -> Vec<String> {
    let request = ListThingsRequest::parse(query, &Limits::STANDARD).unwrap();
    database.rows::<ThingRow>(&sql::list_things(P, &request)).into_iter().map(|row| row.thing_name).collect()
}

#[test]
fn migrations_are_numbered_without_gaps() {
    for (n, file) in migration_files().iter().enumerate() {
        let file = file.file_name().unwrap().to_str().unwrap();
        assert!(file.starts_with(&format!("{:04}_", n + 1)), "{file} is out of order");
    }
}

#[test]
fn the_sum_of_the_migrations_is_schema_sql() {
    let summed = Connection::open_in_memory().unwrap();
    summed.execute_batch(&read(&migrations().join("schema/schema.sql"))).unwrap();
    let (migrated, summed) = (Database::new().schema(), Database(summed).schema());
    assert!(!migrated.is_empty());
    assert_eq!(migrated, summed);
}

#[test]
fn migrations_can_be_applied_twice_and_keep_the_data() {
    let database = Database::new();
    create(&database, "lamp", "", "id").unwrap();
    let before = database.schema();
    for file in migration_files() {
        database.0.execute_batch(&read(&file)).unwrap();
    }
    assert_eq!(database.schema(), before);
    assert!(database.thing(&name("lamp")).is_some());
}

#[test]
fn every_statement_runs_and_is_served_by_the_index_it_names() {
    let database = Database::new();
    let mut names = BTreeSet::new();
    for entry in CATALOGUE {
        assert!(names.insert(entry.name), "{} is listed twice", entry.name);
        let mut statement = database.0.prepare(entry.text).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        assert_eq!(statement.parameter_count(), entry.parameters.len(), "{}", entry.name);
        // NULL for every parameter violates NOT NULL in an INSERT; everything else must run.
        if !entry.text.starts_with("INSERT") {
            let mut rows =
                statement.query(params_from_iter(vec![SqlValue::Integer(1); entry.parameters.len()])).unwrap();
            while rows.next().unwrap().is_some() {}
        }
        let mut explain = database.0.prepare(&format!("EXPLAIN QUERY PLAN {}", entry.text)).unwrap();
        let nulls = vec![SqlValue::Null; entry.parameters.len()];
        let plan: Vec<String> =
            explain.query_map(params_from_iter(nulls), |row| row.get(3)).unwrap().map(Result::unwrap).collect();
        let plan = plan.join("; ");
        assert_eq!(plan.trim_start_matches("CO-ROUTINE "), entry.plan, "{}", entry.name);
        assert!(!plan.contains("TEMP B-TREE"), "{} sorts: {plan}", entry.name);
    }
}

#[test]
fn create_thing_twice_stores_one_thing_and_answers_with_its_ids() {
    let database = Database::new();
    let body = with_attributes(&[("colour", "red")]);
    let first = create(&database, "lamp", &body, "id-1").unwrap();
    let second = create(&database, "lamp", &body, "id-2").unwrap();
    assert_eq!((first.thing_id.as_str(), &first), ("id-1", &second));
    let error = create(&database, "lamp", &with_attributes(&[("colour", "blue")]), "id-3").unwrap_err();
    assert_eq!(error.name(), "ResourceAlreadyExistsException");
    assert_eq!(database.thing(&name("lamp")), Some(first));
}

#[test]
fn of_two_concurrent_updates_one_changes_no_row() {
    let database = Database::new();
    let stored = create(&database, "lamp", "", "id-1").unwrap();
    let update = |body: &str| {
        let request = UpdateThingRequest::parse("lamp", body.as_bytes(), &Limits::STANDARD).unwrap();
        thing::update(&request, Some(&stored), &Limits::STANDARD).unwrap()
    };
    let (red, blue) = (update(&with_attributes(&[("colour", "red")])), update(&with_attributes(&[("colour", "blue")])));
    assert_eq!(database.run(&sql::update_thing(P, &stored, &red)), 1);
    assert_eq!(database.run(&sql::update_thing(P, &stored, &blue)), 0);
    assert_eq!(database.thing(&name("lamp")), Some(red));
}

#[test]
fn an_update_does_not_reach_a_thing_created_again_with_the_same_version() {
    let database = Database::new();
    let stored = create(&database, "lamp", "", "id-1").unwrap();
    database.run(&sql::delete_thing(P, &DeleteThingRequest::parse("lamp", "").unwrap()));
    create(&database, "lamp", "", "id-2").unwrap();
    let mut changed = stored.clone();
    changed.version = 2;
    assert_eq!(database.run(&sql::update_thing(P, &stored, &changed)), 0);
}

#[test]
fn delete_thing_heeds_the_expected_version() {
    let database = Database::new();
    create(&database, "lamp", "", "id-1").unwrap();
    let delete = |query: &str| {
        let request = DeleteThingRequest::parse("lamp", query).unwrap();
        database.run(&sql::delete_thing(P, &request));
        thing::settle_delete(&request, database.thing(&request.thing_name).as_ref())
    };
    assert_eq!(delete("expectedVersion=2").unwrap_err().name(), "VersionConflictException");
    assert!(database.thing(&name("lamp")).is_some());
    assert_eq!(delete("expectedVersion=1"), Ok(()));
    assert_eq!(database.thing(&name("lamp")), None);
    assert_eq!(delete(""), Ok(()));
}

#[test]
fn list_things_filters_by_attribute() {
    let database = Database::new();
    // Names that mean something in a JSON path, and values that mean something to LIKE.
    create(&database, "a", &with_attributes(&[("x.y", "red"), ("#", "1")]), "1").unwrap();
    create(&database, "b", &with_attributes(&[("x.y", "Red"), ("12", "1")]), "2").unwrap();
    create(&database, "c", &with_attributes(&[("x.y", "reddish"), ("@,/:#-_", "1")]), "3").unwrap();
    create(&database, "d", &with_attributes(&[("x.z", "red"), ("u", "a_b")]), "4").unwrap();
    create(&database, "e", "", "5").unwrap();
    let rows: &[(&str, &[&str])] = &[
        ("", &["a", "b", "c", "d", "e"]),
        ("attributeName=x.y&attributeValue=red", &["a"]),
        ("attributeName=x.y&attributeValue=red&usePrefixAttributeValue=false", &["a"]),
        ("attributeName=x.y&attributeValue=red&usePrefixAttributeValue=true", &["a", "c"]),
        ("attributeName=x.y&attributeValue=&usePrefixAttributeValue=true", &["a", "b", "c"]),
        ("attributeName=x&attributeValue=red", &[]),
        ("attributeName=%23&attributeValue=1", &["a"]),
        ("attributeName=12&attributeValue=1", &["b"]),
        ("attributeName=%40%2C%2F%3A%23-_&attributeValue=1", &["c"]),
        ("attributeName=u&attributeValue=a_&usePrefixAttributeValue=true", &["d"]),
        ("attributeName=u&attributeValue=aX&usePrefixAttributeValue=true", &[]),
    ];
    for (query, expected) in rows {
        assert_eq!(&list(&database, query), expected, "{query}");
    }
}

#[test]
fn list_things_filters_by_thing_type() {
    let database = Database::new();
    for (thing_name, colour, thing_type) in [("a", "red", Some("T")), ("b", "blue", Some("T")), ("c", "red", None)] {
        let body = with_attributes(&[("colour", colour)]);
        let request = CreateThingRequest::parse(thing_name, body.as_bytes(), &Limits::STANDARD).unwrap();
        let mut record = thing::create(&request, "id".to_owned(), NOW);
        record.thing_type_name = thing_type.map(str::to_owned);
        database.run(&sql::insert_thing(P, &record));
    }
    assert_eq!(list(&database, "thingTypeName=T"), ["a", "b"]);
    assert_eq!(list(&database, "thingTypeName=U"), [""; 0]);
    assert_eq!(list(&database, "thingTypeName=T&attributeName=colour&attributeValue=red"), ["a"]);
}

/// Reads all pages of a list over several partitions; `between` runs after each page.
fn all_pages(databases: &[Database], page_size: u32, mut between: impl FnMut(usize)) -> Vec<String> {
    let mut query = format!("maxResults={page_size}");
    let mut names = Vec::new();
    for page in 0.. {
        let request = ListThingsRequest::parse(&query, &Limits::STANDARD).unwrap();
        let rows = databases.iter().flat_map(|database| database.rows::<ThingRow>(&sql::list_things(P, &request)));
        let things = rows.map(|row| row.try_into().unwrap()).collect();
        let body: Value = serde_json::from_slice(&thing::list_things_response(&scope(), &request, things)).unwrap();
        let page_names = body["things"].as_array().unwrap().iter().map(|thing| thing["thingName"].as_str().unwrap());
        names.extend(page_names.map(str::to_owned));
        let Some(token) = body["nextToken"].as_str() else { break };
        query = format!("maxResults={page_size}&nextToken={token}");
        between(page);
    }
    names
}

fn thing_names() -> impl Strategy<Value = BTreeSet<String>> {
    proptest::collection::btree_set("[a-cA-C0-1:_-]{1,4}", 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Things that exist from the first page to the last are listed exactly once and in order, whatever is created
    /// and deleted between pages.
    #[test]
    fn pages_are_stable_while_things_come_and_go(
        initial in thing_names(),
        created in thing_names(),
        deleted in thing_names(),
        page_size in 1_u32..7,
        count in 1_u16..4,
    ) {
        let partitions = Partitions::new(NonZeroU16::new(count).unwrap());
        let databases: Vec<Database> = partitions.all().map(|_| Database::new()).collect();
        let home = |thing_name: &str| &databases[usize::from(partitions.of(&name(thing_name)).index())];
        for thing_name in &initial {
            create(home(thing_name), thing_name, "", "id").unwrap();
        }
        let (mut coming, mut going) = (created.iter(), deleted.iter());
        let listed = all_pages(&databases, page_size, |_| {
            for thing_name in coming.by_ref().take(3) {
                create(home(thing_name), thing_name, "", "id").unwrap();
            }
            if let Some(thing_name) = going.next() {
                let request = DeleteThingRequest::parse(thing_name, "").unwrap();
                home(thing_name).run(&sql::delete_thing(P, &request));
            }
        });
        prop_assert!(listed.windows(2).all(|pair| pair[0] < pair[1]), "{listed:?}");
        for thing_name in initial.difference(&deleted) {
            prop_assert!(listed.contains(thing_name), "{thing_name} is missing in {listed:?}");
        }
        for thing_name in &listed {
            prop_assert!(initial.contains(thing_name) || created.contains(thing_name));
        }
    }
}

fn rule(rule_name: &str, topic_pattern: &str, rule_disabled: bool) -> TopicRuleRecord {
    TopicRuleRecord {
        rule_name: RuleName::new(rule_name).unwrap(),
        topic_pattern: topic_pattern.to_owned(),
        payload: r#"{"sql":"SELECT *"}"#.to_owned(),
        program: vec![0, 255, 1],
        rule_disabled,
        created_at: NOW,
    }
}

#[test]
fn topic_rules_are_stored_listed_loaded_and_deleted() {
    let database = Database::new();
    for rule in [rule("a", "x/#", false), rule("b", "x/#", true), rule("c", "y", false)] {
        assert_eq!(database.run(&sql::insert_topic_rule(P, &rule)), 1);
    }
    assert_eq!(database.run(&sql::insert_topic_rule(P, &rule("a", "z", true))), 0);
    let list = |query: &str| {
        let request = ListTopicRulesRequest::parse(query, &Limits::STANDARD).unwrap();
        let rows = database.rows::<TopicRuleSummaryRow>(&sql::list_topic_rules(P, &request));
        let body = registry::topic_rule::list_topic_rules_response(&scope(), &request, rows).unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    let names = |body: &Value| -> Vec<String> {
        body["rules"].as_array().unwrap().iter().map(|r| r["ruleName"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&list("")), ["a", "b", "c"]);
    assert_eq!(names(&list("topic=x%2F%23")), ["a", "b"]);
    assert_eq!(names(&list("ruleDisabled=true")), ["b"]);
    let page = list("ruleDisabled=false&maxResults=1");
    assert_eq!(names(&page), ["a"]);
    let next = list(&format!("ruleDisabled=false&nextToken={}", page["nextToken"].as_str().unwrap()));
    assert_eq!((names(&next), &next["nextToken"]), (vec!["c".to_owned()], &Value::Null));
    let loaded: Vec<TopicRuleProgramRow> = database.rows(&sql::list_enabled_topic_rules(P, "", 10));
    assert_eq!(loaded.iter().map(|row| row.rule_name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(loaded[0].program, [0, 255, 1]);
    assert_eq!(database.rows::<TopicRuleProgramRow>(&sql::list_enabled_topic_rules(P, "a", 10)).len(), 1);
    let a = RuleName::new("a").unwrap();
    assert_eq!(database.rows::<TopicRuleRow>(&sql::select_topic_rule(P, &a))[0].rule_disabled, 0);
    assert_eq!(database.run(&sql::delete_topic_rule(P, &a)), 1);
    assert_eq!(database.run(&sql::delete_topic_rule(P, &a)), 0);
    assert!(database.rows::<TopicRuleRow>(&sql::select_topic_rule(P, &a)).is_empty());
}

#[test]
fn jobs_are_listed_newest_first_page_by_page() {
    let database = Database::new();
    for (id, created_at, status) in [
        ("a", 1_000, JobStatus::InProgress),
        ("b", 2_000, JobStatus::Scheduled),
        ("c", 2_000, JobStatus::InProgress),
        ("d", 3_000, JobStatus::Completed),
    ] {
        let job = JobRecord {
            job_id: JobId::new(id).unwrap(),
            status,
            target_selection: if id == "a" { TargetSelection::Continuous } else { TargetSelection::Snapshot },
            created_at: UnixMillis(created_at),
            last_updated_at: UnixMillis(created_at),
            completed_at: None,
        };
        assert_eq!(database.run(&sql::insert_job(P, &job)), 1);
        assert_eq!(database.run(&sql::insert_job(P, &job)), 0);
    }
    let ids = |query: &str| {
        let (mut ids, mut query) = (String::new(), query.to_owned());
        loop {
            let request = ListJobsRequest::parse(&query, &Limits::STANDARD).unwrap();
            let rows = database.rows::<JobRow>(&sql::list_jobs(P, &request));
            let jobs = rows.into_iter().map(|row| row.try_into().unwrap()).collect();
            let body: Value =
                serde_json::from_slice(&registry::job::list_jobs_response(&scope(), &request, jobs)).unwrap();
            for job in body["jobs"].as_array().unwrap() {
                ids.push_str(job["jobId"].as_str().unwrap());
            }
            let Some(token) = body["nextToken"].as_str() else { return ids };
            let filters = query.split("&nextToken").next().unwrap();
            query = format!("{filters}&nextToken={token}");
            ids.push('|');
        }
    };
    for (query, expected) in [
        ("maxResults=10", "dcba"),
        ("maxResults=1", "d|c|b|a"),
        ("maxResults=3", "dcb|a"),
        ("maxResults=1&status=IN_PROGRESS", "c|a"),
        ("maxResults=1&status=CANCELED", ""),
        ("maxResults=10&targetSelection=SNAPSHOT", "dcb"),
        ("maxResults=10&targetSelection=CONTINUOUS&status=IN_PROGRESS", "a"),
    ] {
        assert_eq!(ids(query), expected, "{query}");
    }
}

#[test]
fn a_job_status_that_arrives_late_is_not_stored() {
    let database = Database::new();
    let job_id = JobId::new("a").unwrap();
    let job = JobRecord {
        job_id: job_id.clone(),
        status: JobStatus::InProgress,
        target_selection: TargetSelection::Snapshot,
        created_at: UnixMillis(1_000),
        last_updated_at: UnixMillis(1_000),
        completed_at: None,
    };
    database.run(&sql::insert_job(P, &job));
    let update =
        |status, at, completed| database.run(&sql::update_job_status(P, &job_id, status, UnixMillis(at), completed));
    assert_eq!(update(JobStatus::Completed, 3_000, Some(UnixMillis(3_000))), 1);
    assert_eq!(update(JobStatus::InProgress, 2_000, None), 0);
    let stored = JobRecord::try_from(database.rows::<JobRow>(&sql::select_job(P, &job_id)).remove(0)).unwrap();
    assert_eq!((stored.status, stored.completed_at), (JobStatus::Completed, Some(UnixMillis(3_000))));
}

#[test]
fn the_control_log_numbers_the_changes_of_each_partition() {
    let database = Database::new();
    let second = Partitions::new(NonZeroU16::new(2).unwrap()).all().nth(1).unwrap();
    let append = |partition, subject: &str| {
        let change = ControlChange { kind: ControlKind::TopicRule, subject: subject.to_owned(), at: NOW };
        assert_eq!(database.run(&sql::append_control_log(partition, &change)), 1);
    };
    let head = |partition| database.rows::<ControlHead>(&sql::control_head(partition)).remove(0).sequence;
    assert_eq!(head(P), 0);
    append(P, "a");
    append(second, "x");
    append(P, "b");
    append(P, "c");
    assert_eq!((head(P), head(second)), (3, 1));
    let after = |sequence, limit| -> Vec<(u64, String)> {
        let rows = database.rows::<ControlRow>(&sql::control_log_after(P, sequence, limit));
        rows.into_iter().map(|row| (row.sequence, row.subject)).collect()
    };
    assert_eq!(after(0, 2), [(1, "a".to_owned()), (2, "b".to_owned())]);
    assert_eq!(after(2, 2), [(3, "c".to_owned())]);
    assert_eq!(after(3, 2), []);
}

#[test]
fn a_fact_about_the_deployment_is_what_was_last_written() {
    let database = Database::new();
    assert_eq!(database.run(&sql::put_deployment_value(P, "router_shards_spread", "4")), 1);
    assert_eq!(database.run(&sql::put_deployment_value(P, "router_shards_spread", "8")), 1);
    let values: Vec<DeploymentRow> = database.rows(&sql::select_deployment(P));
    assert_eq!(values, [DeploymentRow { key: "router_shards_spread".to_owned(), value: "8".to_owned() }]);
}

#[test]
fn a_virtual_shard_is_where_it_was_last_noted() {
    let database = Database::new();
    for (kind, shard, object) in [
        (ShardKind::Router, 7, 4),
        (ShardKind::Sessions, 7, 5),
        (ShardKind::Router, 7, 6),
        (ShardKind::Router, 1023, 9),
    ] {
        assert_eq!(database.run(&sql::put_virtual_shard(P, kind, shard, object)), 1);
    }
    let rows: Vec<VirtualShardRow> = database.rows(&sql::select_virtual_shards(P));
    assert_eq!(VirtualShardRow::of_kind(&rows, ShardKind::Router).collect::<Vec<_>>(), [(7, 6), (1023, 9)]);
    assert_eq!(VirtualShardRow::of_kind(&rows, ShardKind::Sessions).collect::<Vec<_>>(), [(7, 5)]);
}
