use super::*;
use iot_types::{AccountId, Region};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn scope() -> Scope {
    Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() }
}

fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn stored(pairs: &[(&str, &str)]) -> ThingRecord {
    ThingRecord {
        thing_name: ThingName::new("lamp").unwrap(),
        thing_id: "id-1".to_owned(),
        version: 4,
        attributes: attributes(pairs),
        thing_type_name: None,
        billing_group_name: None,
        created_at: NOW,
    }
}

/// The error as `status name: message`, or `ok`.
fn verdict<T>(result: Result<T, ApiError>) -> String {
    result.map_or_else(|error| format!("{} {}: {}", error.status(), error.name(), error.message()), |_| "ok".to_owned())
}

fn create_verdict(name: &str, body: &str, limits: &Limits) -> String {
    verdict(CreateThingRequest::parse(name, body.as_bytes(), limits).map(|r| create(&r, "id".to_owned(), NOW)))
}

#[test]
fn create_thing_requests_are_judged_as_aws_does() {
    let long_name = "x".repeat(129);
    let echo = format!("{}…", "x".repeat(256));
    let long_value = format!(r#"{{"attributePayload":{{"attributes":{{"{}":"b"}}}}}}"#, "x".repeat(300));
    let rows: &[(&str, &str, String)] = &[
        ("lamp", "", "ok".into()),
        ("a:b_c-D9", "{}", "ok".into()),
        ("lamp", r#"{"unknown":[1,{"x":null}],"attributePayload":null,"thingTypeName":null}"#, "ok".into()),
        ("lamp", r#"{"attributePayload":{}}"#, "ok".into()),
        ("lamp", r#"{"attributePayload":{"merge":true}}"#, "ok".into()),
        ("lamp", r#"{"attributePayload":{"attributes":{"a.b,@/:#-_":"=[]","empty":"","null":null},"merge":false}}"#, "ok".into()),
        ("a b", "{}", "400 InvalidRequestException: 1 validation error detected: Value 'a b' at 'thingName' failed to \
            satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9:_-]+".into()),
        ("", "{}", "400 InvalidRequestException: 2 validation errors detected: Value '' at 'thingName' failed to satisfy \
            constraint: Member must have length greater than or equal to 1; Value '' at 'thingName' failed to satisfy \
            constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9:_-]+".into()),
        (&long_name, "{}", format!("400 InvalidRequestException: 1 validation error detected: Value '{long_name}' at \
            'thingName' failed to satisfy constraint: Member must have length less than or equal to 128")),
        ("ä", r#"{"thingTypeName":"a/b"}"#, "400 InvalidRequestException: 2 validation errors detected: Value 'a/b' at \
            'thingTypeName' failed to satisfy constraint: Member must satisfy regular expression pattern: \
            [a-zA-Z0-9:_-]+; Value 'ä' at 'thingName' failed to satisfy constraint: Member must satisfy regular \
            expression pattern: [a-zA-Z0-9:_-]+".into()),
        ("lamp", r#"{"attributePayload":{"attributes":{"a b":"c d"}}}"#, "400 InvalidRequestException: 2 validation \
            errors detected: Value '{a b=c d}' at 'attributePayload.attributes' failed to satisfy constraint: Map keys \
            must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater \
            than or equal to 0, Member must satisfy regular expression pattern: [a-zA-Z0-9_.,@/:#-]+]; Value '{a b=c d}' \
            at 'attributePayload.attributes' failed to satisfy constraint: Map value must satisfy constraint: [Member \
            must have length less than or equal to 800, Member must have length greater than or equal to 0, Member must \
            satisfy regular expression pattern: [a-zA-Z0-9_.,@/:#=\\[\\]-]*]".into()),
        ("lamp", &long_value, format!("400 InvalidRequestException: 1 validation error detected: Value '{{{}…' at \
            'attributePayload.attributes' failed to satisfy constraint: Map keys must satisfy constraint: [Member must \
            have length less than or equal to 128, Member must have length greater than or equal to 0, Member must \
            satisfy regular expression pattern: [a-zA-Z0-9_.,@/:#-]+]", &echo[1..256])),
        ("lamp", r#"{"thingTypeName":"Bulb"}"#, "ok".into()),
        ("lamp", r#"{"billingGroupName":"B"}"#, "ok".into()),
        ("lamp", r#"{"thingTypeName":7}"#,
            "400 SerializationException: NUMBER_VALUE can not be converted to a String".into()),
        ("lamp", r#"{"attributePayload":"x"}"#, "400 SerializationException: Expected a structure or map".into()),
        ("lamp", r#"{"attributePayload":{"attributes":{"a":true}}}"#,
            "400 SerializationException: TRUE_VALUE can not be converted to a String".into()),
        ("lamp", r#"{"attributePayload":{"attributes":{"a":[]}}}"#,
            "400 SerializationException: Start of list found where not expected".into()),
        ("lamp", r#"{"attributePayload":{"merge":"yes"}}"#,
            "400 SerializationException: STRING_VALUE can not be converted to a Boolean".into()),
        ("lamp", "[]", "400 SerializationException: The request body is not a JSON object".into()),
        ("lamp", "{", "400 SerializationException: The request body is not valid JSON: EOF while parsing an object at \
            line 1 column 1".into()),
        ("lamp", "hello", "400 SerializationException: The request body is not valid JSON: expected value at line 1 \
            column 1".into()),
    ];
    for (name, body, expected) in rows {
        assert_eq!(&create_verdict(name, body, &Limits::STANDARD), expected, "{name} {body}");
    }
}

#[test]
fn the_number_of_attributes_is_limited_by_the_column_in_force() {
    let body = |count: usize| {
        let attributes: BTreeMap<String, String> = (0..count).map(|n| (format!("a{n}"), "v".to_owned())).collect();
        serde_json::json!({ "attributePayload": { "attributes": attributes } }).to_string()
    };
    let refused = |count: usize, limit: usize| {
        format!(
            "400 InvalidRequestException: The number of attributes, {count}, exceeds the limit of {limit} for a thing \
             without a thing type"
        )
    };
    assert_eq!(create_verdict("lamp", &body(50), &Limits::STANDARD), "ok");
    assert_eq!(create_verdict("lamp", &body(51), &Limits::STANDARD), refused(51, 50));
    assert_eq!(create_verdict("lamp", &body(3), &Limits::AWS), "ok");
    assert_eq!(create_verdict("lamp", &body(4), &Limits::AWS), refused(4, 3));
    // Merging counts what there is afterwards.
    let update_one = UpdateThingRequest::parse(
        "lamp",
        br#"{"attributePayload":{"attributes":{"d":"1","a":""},"merge":true}}"#,
        &Limits::AWS,
    )
    .unwrap();
    let three = stored(&[("a", "1"), ("b", "1"), ("c", "1")]);
    assert_eq!(verdict(update(&update_one, Some(&three), &Limits::AWS)), "ok");
    let others = stored(&[("x", "1"), ("b", "1"), ("c", "1")]);
    assert_eq!(verdict(update(&update_one, Some(&others), &Limits::AWS)), refused(4, 3));
}

#[test]
fn create_thing_is_idempotent_for_the_same_configuration_only() {
    let body = br#"{"attributePayload":{"attributes":{"a":"1","gone":""}}}"#;
    let request = CreateThingRequest::parse("lamp", body, &Limits::STANDARD).unwrap();
    let candidate = create(&request, "id-2".to_owned(), NOW);
    assert_eq!(candidate.version, 1);
    assert_eq!(settle_create(&scope(), &candidate, &candidate), Ok(()));
    assert_eq!(settle_create(&scope(), &candidate, &stored(&[("a", "1")])), Ok(()));
    let error = settle_create(&scope(), &candidate, &stored(&[("a", "2")])).unwrap_err();
    assert_eq!(error.status(), 409);
    assert_eq!(
        String::from_utf8(error.body()).unwrap(),
        r#"{"message":"Thing lamp already exists in account with different attributes","resourceId":"lamp","resourceArn":"arn:aws:iot:us-east-1:123456789012:thing/lamp"}"#
    );
}

#[test]
fn update_thing_changes_what_it_names() {
    let before: &[_] = &[("a", "1"), ("b", "2")];
    let type_twice = "400 InvalidRequestException: thingTypeName and removeThingType must not be given together";
    type Row = (&'static str, Result<&'static [(&'static str, &'static str)], &'static str>);
    let rows: &[Row] = &[
        ("{}", Ok(before)),
        (r#"{"attributePayload":{}}"#, Ok(before)),
        (r#"{"attributePayload":{"merge":false}}"#, Ok(before)),
        (r#"{"attributePayload":{"attributes":{}}}"#, Ok(&[])),
        (r#"{"attributePayload":{"attributes":{"c":"3"}}}"#, Ok(&[("c", "3")])),
        (r#"{"attributePayload":{"attributes":{"c":"3","d":""}}}"#, Ok(&[("c", "3")])),
        (r#"{"attributePayload":{"attributes":{"a":"9"},"merge":true}}"#, Ok(&[("a", "9"), ("b", "2")])),
        (r#"{"attributePayload":{"attributes":{"a":""},"merge":true}}"#, Ok(&[("b", "2")])),
        (r#"{"expectedVersion":4}"#, Ok(before)),
        (r#"{"removeThingType":true}"#, Ok(before)),
        (
            r#"{"expectedVersion":3}"#,
            Err("409 VersionConflictException: The version for thing lamp does not match the expected version."),
        ),
        (
            r#"{"expectedVersion":-1}"#,
            Err("409 VersionConflictException: The version for thing lamp does not match the expected version."),
        ),
        (r#"{"expectedVersion":"4"}"#, Err("400 SerializationException: STRING_VALUE can not be converted to a Long")),
        (r#"{"expectedVersion":4.5}"#, Err("400 SerializationException: DECIMAL_VALUE can not be converted to a Long")),
        (r#"{"thingTypeName":"Bulb"}"#, Err("ok")),
        (r#"{"thingTypeName":"Bulb","removeThingType":true}"#, Err(type_twice)),
    ];
    for (body, expected) in rows {
        let result = UpdateThingRequest::parse("lamp", body.as_bytes(), &Limits::STANDARD)
            .and_then(|request| update(&request, Some(&stored(before)), &Limits::STANDARD));
        match expected {
            Ok(pairs) => {
                let record = result.unwrap();
                assert_eq!((record.version, &record.attributes), (5, &attributes(pairs)), "{body}");
                assert_eq!(record.thing_id, "id-1");
            }
            Err(error) => assert_eq!(verdict(result), *error, "{body}"),
        }
    }
    let request = UpdateThingRequest::parse("lamp", b"{}", &Limits::STANDARD).unwrap();
    let missing = update(&request, None, &Limits::STANDARD);
    assert_eq!(verdict(missing), "404 ResourceNotFoundException: Thing lamp not found");
}

#[test]
fn a_lost_race_is_a_conflict_only_for_a_client_that_expected_a_version() {
    let parse = |body: &[u8]| UpdateThingRequest::parse("lamp", body, &Limits::STANDARD).unwrap();
    assert_eq!(settle_update(&parse(b"{}"), 1), Ok(Update::Done));
    assert_eq!(settle_update(&parse(b"{}"), 0), Ok(Update::Retry));
    assert_eq!(settle_update(&parse(br#"{"expectedVersion":4}"#), 0).unwrap_err().name(), "VersionConflictException");
}

#[test]
fn delete_thing_requests_are_judged_as_aws_does() {
    let request = DeleteThingRequest::parse("lamp", "expectedVersion=3").unwrap();
    assert_eq!(request.expected_version, Some(3));
    assert_eq!(settle_delete(&request, None), Ok(()));
    assert_eq!(settle_delete(&request, Some(&stored(&[]))).unwrap_err().name(), "VersionConflictException");
    assert_eq!(DeleteThingRequest::parse("lamp", "").unwrap().expected_version, None);
    assert_eq!(
        verdict(DeleteThingRequest::parse("lamp", "expectedVersion=three")),
        "400 SerializationException: The query parameter expectedVersion is not a Long"
    );
    assert_eq!(DeleteThingRequest::parse("a b", "").unwrap_err().name(), "InvalidRequestException");
}

#[test]
fn list_things_requests_are_judged_as_aws_does() {
    let attribute = |name: &str, value: &str, prefix| {
        Some(AttributeFilter { name: name.to_owned(), value: value.to_owned(), prefix })
    };
    let standard = |query: &str| ListThingsRequest::parse(query, &Limits::STANDARD);
    let first = ListThingsRequest { after: String::new(), max_results: 25, attribute: None, thing_type_name: None };
    let accepted = [
        ("", first.clone()),
        ("maxResults=250&unknown=1&maxResults=999", ListThingsRequest { max_results: 250, ..first.clone() }),
        ("nextToken=AXRsYW1w", ListThingsRequest { after: "lamp".to_owned(), ..first.clone() }),
        (
            "attributeName=a&attributeValue=b%3D",
            ListThingsRequest { attribute: attribute("a", "b=", false), ..first.clone() },
        ),
        (
            "attributeName=a&attributeValue=&usePrefixAttributeValue=true&thingTypeName=T",
            ListThingsRequest {
                attribute: attribute("a", "", true),
                thing_type_name: Some("T".to_owned()),
                ..first.clone()
            },
        ),
    ];
    for (query, expected) in accepted {
        assert_eq!(standard(query), Ok(expected), "{query}");
    }
    let refused = [
        (
            "maxResults=0",
            "400 InvalidRequestException: 1 validation error detected: Value '0' at 'maxResults' failed to \
            satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            "maxResults=251",
            "400 InvalidRequestException: 1 validation error detected: Value '251' at 'maxResults' failed \
            to satisfy constraint: Member must have value less than or equal to 250",
        ),
        ("maxResults=ten", "400 SerializationException: The query parameter maxResults is not a Long"),
        (
            "usePrefixAttributeValue=1",
            "400 SerializationException: The query parameter usePrefixAttributeValue is not a \
            Boolean",
        ),
        ("nextToken=x", "400 InvalidRequestException: The nextToken is not valid"),
        ("attributeName=a", "400 InvalidRequestException: attributeName and attributeValue must be given together"),
        ("attributeValue=a", "400 InvalidRequestException: attributeName and attributeValue must be given together"),
        (
            "thingTypeName=a+b",
            "400 InvalidRequestException: 1 validation error detected: Value 'a b' at 'thingTypeName' \
            failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9:_-]+",
        ),
        (
            "attributeName=a%22&attributeValue=b",
            "400 InvalidRequestException: 1 validation error detected: Value 'a\"' at \
            'attributeName' failed to satisfy constraint: Member must have length less than or equal to 128, Member must \
            have length greater than or equal to 0, Member must satisfy regular expression pattern: \
            [a-zA-Z0-9_.,@/:#-]+",
        ),
    ];
    for (query, expected) in refused {
        assert_eq!(verdict(standard(query)), expected, "{query}");
    }
    let both = "attributeName=a&attributeValue=b&thingTypeName=T";
    assert_eq!(
        verdict(ListThingsRequest::parse(both, &Limits::AWS)),
        "400 InvalidRequestException: Listing things by the combination of attribute and thing type is not supported"
    );
}

#[test]
fn answers_have_the_members_of_the_service_model() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let mut thing = stored(&[("b", "2"), ("a", "1")]);
    assert_eq!(
        text(create_thing_response(&scope(), &thing)),
        r#"{"thingName":"lamp","thingArn":"arn:aws:iot:us-east-1:123456789012:thing/lamp","thingId":"id-1"}"#
    );
    assert_eq!(
        text(describe_thing_response(&scope(), &thing)),
        r#"{"defaultClientId":"lamp","thingName":"lamp","thingId":"id-1","thingArn":"arn:aws:iot:us-east-1:123456789012:thing/lamp","attributes":{"a":"1","b":"2"},"version":4}"#
    );
    let request = ListThingsRequest { after: String::new(), max_results: 1, attribute: None, thing_type_name: None };
    assert_eq!(text(list_things_response(&scope(), &request, vec![])), r#"{"things":[]}"#);
    assert_eq!(
        text(list_things_response(&scope(), &request, vec![thing.clone()])),
        r#"{"things":[{"thingName":"lamp","thingArn":"arn:aws:iot:us-east-1:123456789012:thing/lamp","attributes":{"a":"1","b":"2"},"version":4}]}"#
    );
    thing.thing_type_name = Some("Bulb".to_owned());
    thing.billing_group_name = Some("B".to_owned());
    let described: serde_json::Value = serde_json::from_slice(&describe_thing_response(&scope(), &thing)).unwrap();
    assert_eq!((&described["thingTypeName"], &described["billingGroupName"]), (&"Bulb".into(), &"B".into()));
    assert_eq!(text(update_thing_response()), "{}");
    assert_eq!(text(delete_thing_response()), "{}");
}

#[test]
fn a_list_over_partitions_is_merged_by_name() {
    let named = |name: &str| ThingRecord { thing_name: ThingName::new(name).unwrap(), ..stored(&[]) };
    let request = ListThingsRequest { after: String::new(), max_results: 2, attribute: None, thing_type_name: None };
    let rows = vec![named("b"), named("d"), named("a"), named("c")];
    let body: serde_json::Value = serde_json::from_slice(&list_things_response(&scope(), &request, rows)).unwrap();
    assert_eq!((&body["things"][0]["thingName"], &body["things"][1]["thingName"]), (&"a".into(), &"b".into()));
    assert_eq!(page_after(&body), "b");
}

fn page_after(body: &serde_json::Value) -> String {
    let query = format!("nextToken={}", body["nextToken"].as_str().unwrap());
    ListThingsRequest::parse(&query, &Limits::STANDARD).unwrap().after
}

#[test]
fn a_row_that_cannot_be_read_is_our_fault() {
    let row = |attributes: &str| ThingRow {
        thing_name: "lamp".to_owned(),
        thing_id: "id".to_owned(),
        version: 1,
        attributes: attributes.to_owned(),
        thing_type_name: None,
        billing_group_name: None,
        created_at: 0,
    };
    assert!(ThingRecord::try_from(row("{}")).is_ok());
    let error = ThingRecord::try_from(row("[]")).unwrap_err();
    assert_eq!(ApiError::from(error), ApiError::internal_failure());
}

proptest::proptest! {
    #[test]
    fn no_request_breaks_a_parser(name in "\\PC{0,140}", body in proptest::collection::vec(proptest::num::u8::ANY, 0..200), query in "\\PC{0,80}") {
        let _ = CreateThingRequest::parse(&name, &body, &Limits::STANDARD);
        let _ = UpdateThingRequest::parse(&name, &body, &Limits::STANDARD);
        let _ = DeleteThingRequest::parse(&name, &query);
        let _ = ListThingsRequest::parse(&query, &Limits::STANDARD);
    }
}
