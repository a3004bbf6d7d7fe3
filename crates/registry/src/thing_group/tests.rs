//! Thing groups without a database.

use super::*;
use crate::input::read;
use iot_types::{AccountId, Region, ThingName};
use serde_json::json;

fn request(value: Value) -> CreateThingGroupRequest {
    serde_json::from_value(value).unwrap()
}

fn group(name: &str, parent: Option<&ThingGroup>) -> ThingGroup {
    let parent_name = parent.map(|parent| parent.thing_group_name.clone());
    let request = request(json!({"thingGroupName": name, "parentGroupName": parent_name}));
    request.create(parent, format!("id-{name}"), &Limits::STANDARD, UnixMillis(1)).unwrap()
}

fn scope() -> Scope {
    Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() }
}

#[test]
fn a_group_is_below_its_parent_down_to_the_seventh_level() {
    let mut parent = group("g1", None);
    for level in 2..=7 {
        parent = group(&format!("g{level}"), Some(&parent));
    }
    assert_eq!(parent.path.as_str(), "/g1/g2/g3/g4/g5/g6/g7/");
    let below = request(json!({"thingGroupName": "g8", "parentGroupName": "g7"}));
    let create = |parent| below.create(parent, "id".to_owned(), &Limits::STANDARD, UnixMillis(1));
    assert_eq!(create(Some(&parent)).unwrap_err().name(), "InvalidRequestException");
    assert_eq!(create(None).unwrap_err().name(), "ResourceNotFoundException");
}

#[test]
fn creating_the_same_group_again_succeeds_and_another_of_the_name_does_not() {
    let (site, stored) = (group("site", None), group("floor", Some(&group("site", None))));
    let settle = |candidate: &ThingGroup, stored: Option<ThingGroup>| {
        settle_create(&scope(), candidate, stored, &Limits::STANDARD).map_err(|error| error.name())
    };
    let mut again = group("floor", Some(&site));
    again.thing_group_id = "another".to_owned();
    assert_eq!(settle(&again, Some(stored.clone())), Ok(stored.clone()));
    assert_eq!(settle(&group("floor", None), Some(stored.clone())), Err("ResourceAlreadyExistsException"));
    again.document.description = Some("x".to_owned());
    assert_eq!(settle(&again, Some(stored)), Err("ResourceAlreadyExistsException"));
    assert_eq!(settle(&again, None), Err("InvalidRequestException"));
}

#[test]
fn an_update_merges_or_replaces_attributes_and_counts_the_version() {
    let mut stored = group("site", None);
    stored.document.attributes = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into();
    let update = |body: Value| {
        let request: UpdateThingGroupRequest = serde_json::from_value(body).unwrap();
        request.update(Some(&stored), false, &Limits::STANDARD).map_err(|error| error.name())
    };
    let attributes = |payload: Value| {
        let body = json!({"thingGroupName": "site", "thingGroupProperties": {"attributePayload": payload}});
        let changed = update(body).unwrap();
        assert_eq!(changed.version, 2);
        changed.document.attributes.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(attributes(json!({"attributes": {"a": "", "c": "3"}, "merge": true})), ["b=2", "c=3"]);
    assert_eq!(attributes(json!({"attributes": {"c": "3"}})), ["c=3"]);
    assert_eq!(attributes(json!({"attributes": {}})), [""; 0]);
    assert_eq!(attributes(json!({"merge": true})), ["a=1", "b=2"]);
    let expecting = |version| json!({"thingGroupName": "site", "thingGroupProperties": {}, "expectedVersion": version});
    assert_eq!(update(expecting(2)), Err("VersionConflictException"));
    assert!(update(expecting(1)).is_ok());
}

#[test]
fn a_group_with_children_stays() {
    let stored = group("site", None);
    assert_eq!(check_delete(&stored, None, 0), Ok(()));
    assert_eq!(check_delete(&stored, Some(1), 1).unwrap_err().name(), "InvalidRequestException");
    assert_eq!(check_delete(&stored, Some(2), 0).unwrap_err().name(), "VersionConflictException");
}

#[test]
fn only_a_dynamic_group_is_changed_by_the_operations_for_dynamic_groups() {
    let mut stored = group("site", None);
    assert_eq!(found("site", Some(&stored), true).unwrap_err().name(), "InvalidRequestException");
    let query = GroupQuery {
        index_name: "AWS_Things".to_owned(),
        query_version: "2017-09-30".to_owned(),
        query_string: "*".to_owned(),
        is_built: true,
    };
    stored.document.query = Some(query);
    assert_eq!(found("site", Some(&stored), false).unwrap_err().name(), "InvalidRequestException");
    assert!(found("site", Some(&stored), true).is_ok());
    assert_eq!(found("site", None, true).unwrap_err().name(), "ResourceNotFoundException");
}

#[test]
fn things_and_groups_are_named_or_given_by_their_arns() {
    let of = |body: Value| -> Result<(String, String), &'static str> {
        let request: MembershipRequest = read(body.as_object().unwrap()).unwrap();
        let names = || Ok((request.thing_group()?, request.thing()?.as_str().to_owned()));
        names().map_err(|error: ApiError| error.name())
    };
    let expected = Ok(("site".to_owned(), "lamp".to_owned()));
    let (group, thing) = ("arn:aws:iot:us-east-1:1:thinggroup/site", "arn:aws:iot:us-east-1:1:thing/lamp");
    assert_eq!(of(json!({"thingGroupName": "site", "thingName": "lamp"})), expected);
    assert_eq!(of(json!({"thingGroupArn": group, "thingArn": thing, "thingName": "lamp"})), expected);
    for bad in [
        json!({"thingGroupName": "site"}),
        json!({"thingName": "lamp"}),
        json!({"thingGroupName": "other", "thingGroupArn": group, "thingName": "lamp"}),
        json!({"thingGroupArn": thing, "thingName": "lamp"}),
    ] {
        assert_eq!(of(bad.clone()), Err("InvalidRequestException"), "{bad}");
    }
}

#[test]
fn a_thing_is_in_a_group_or_is_told_why_not() {
    let (thing, path) = (ThingName::new("lamp").unwrap(), GroupPath::root("site"));
    let state = |thing_id: Option<&str>, is_member, groups| MemberStateRow {
        thing_id: thing_id.map(str::to_owned),
        is_member,
        groups,
    };
    let settle = |state: MemberStateRow, limits: &Limits| {
        settle_add(&thing, &path, Some(&state), limits).map_err(|error| error.name())
    };
    assert_eq!(settle(state(Some("id"), 1, 100), &Limits::STANDARD), Ok(()));
    assert_eq!(settle(state(Some("id"), 0, 100), &Limits::STANDARD), Err("InvalidRequestException"));
    assert_eq!(settle(state(Some("id"), 0, 1), &Limits::AWS), Err("InvalidRequestException"));
    assert_eq!(settle(state(Some("id"), 0, 1), &Limits::STANDARD), Err("ResourceNotFoundException"));
    assert_eq!(settle(state(None, 0, 0), &Limits::STANDARD), Err("ResourceNotFoundException"));
}
