//! The data plane's requests and answers, as tables: what comes in as HTTP, what objects are asked, what goes back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD};
use bytes::Bytes;
use iot_types::{ClientId, Qos, UnixMillis};
use messages::address::{Address, BrokerId, ShardMap};
use messages::api::{ApiFailure, BrokerApiReply, BrokerApiRequest};
use messages::broker::ConnectionId;
use messages::publication::{Publication, PublicationProperties};
use messages::router::{RetainedPage, RouterRequest};
use messages::session::{
    ClientState, ConnectionDetails, DisconnectReason, NEVER_EXPIRES, SubscriptionOptions, Subscriptions,
};
use messages::sessions::SessionsRequest;
use proptest::prelude::*;
use registry::ApiError;
use registry::data::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const STANDARD: DataLimits = DataLimits::STANDARD;
const AWS: DataLimits = DataLimits::AWS;
const NOW: UnixMillis = UnixMillis(1_000_000_000);

type Headers = Vec<(String, String)>;

fn headers(headers: &[(&str, &str)]) -> Headers {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn publish(
    topic: &str,
    query: &str,
    headers: &Headers,
    body: &[u8],
    limits: &DataLimits,
) -> Result<Publication, ApiError> {
    let http = HttpParts { query, headers, body };
    PublishRequest::parse(topic, &http, limits, NOW).map(|request| request.publication)
}

fn body(bytes: Vec<u8>) -> Value {
    serde_json::from_slice(&bytes).unwrap()
}

/// `400 InvalidRequestException`, or `ok`.
fn verdict<T>(result: &Result<T, ApiError>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{} {}", error.status(), error.name()),
    }
}

// --- Publish ----------------------------------------------------------------------------------------------------

#[test]
fn publish_takes_everything_from_its_place() {
    let user_properties = BASE64.encode(r#"[{"deviceName":"alpha"},{"deviceCnt":"45"},{"deviceName":"beta","x":""}]"#);
    let given = headers(&[
        ("X-Amz-Mqtt5-User-Properties", &user_properties),
        ("x-amz-mqtt5-payload-format-indicator", "UTF8_DATA"),
        ("x-amz-mqtt5-correlation-data", "AAH/"),
        ("content-type", "application/octet-stream"),
    ]);
    let query = "qos=1&retain=true&contentType=text%2Fplain&responseTopic=a%2Fb&messageExpiry=60";
    let publication = publish("sensors/1", query, &given, b"\x00payload", &AWS).unwrap();
    let pairs = [("deviceName", "alpha"), ("deviceCnt", "45"), ("deviceName", "beta"), ("x", "")];
    let expected = Publication {
        topic: "sensors/1".into(),
        payload: Bytes::from_static(b"\x00payload"),
        qos: Qos::AtLeastOnce,
        retain: true,
        properties: Some(Box::new(PublicationProperties {
            payload_format_indicator: Some(true),
            message_expiry_interval: Some(60),
            content_type: Some("text/plain".into()),
            response_topic: Some("a/b".into()),
            correlation_data: Some(Bytes::from_static(&[0, 1, 255])),
            user_properties: pairs.into(),
        })),
        client_id: None,
        accepted_at: NOW,
        message_id: None,
    };
    assert_eq!(publication, expected);
}

#[test]
fn publish_without_anything_is_qos_0_and_empty() {
    let expected = Publication::of_platform("t".into(), "", Qos::AtMostOnce, NOW);
    assert_eq!(publish("t", "", &vec![], b"", &STANDARD), Ok(expected.clone()));
    // what SDKs send for members that are absent or have their default
    let empty = headers(&[("x-amz-mqtt5-user-properties", ""), ("x-amz-mqtt5-correlation-data", " ")]);
    assert_eq!(publish("t", "qos=0&retain=false", &empty, b"", &STANDARD), Ok(expected));
}

#[test]
fn topics_of_publish_are_those_that_clients_may_publish_to() {
    let long = "x".repeat(257);
    let deep = "a/b/c/d/e/f/g/h/i";
    let rows: &[(&str, &str, &str, &str)] = &[
        // topic, query, standard, AWS
        ("a", "", "ok", "ok"),
        ("/", "", "ok", "ok"),
        ("a b/ä", "", "ok", "ok"),
        (&long, "", "ok", "400 InvalidRequestException"),
        (deep, "", "ok", "400 InvalidRequestException"),
        ("$aws/rules/r/a/b/c/d/e/f/g/h", "", "ok", "ok"),
        ("$aws/rules/r", "", "ok", "ok"),
        ("$aws/things/t/shadow/update", "", "ok", "ok"),
        ("$aws/things/t/shadow/name/n/get", "", "ok", "ok"),
        ("$aws/things/t/jobs/start-next", "", "ok", "ok"),
        ("$aws/things/t/shadow/update", "retain=true", "400 InvalidRequestException", "400 InvalidRequestException"),
        ("$aws/rules/r/a", "retain=true", "400 InvalidRequestException", "400 InvalidRequestException"),
        ("$aws/things/t/shadow/update/accepted", "", "403 ForbiddenException", "403 ForbiddenException"),
        ("$aws/events/presence/connected/c", "", "403 ForbiddenException", "403 ForbiddenException"),
        ("$aws/events/presence/connected/c", "retain=true", "403 ForbiddenException", "403 ForbiddenException"),
        ("$aws", "", "403 ForbiddenException", "403 ForbiddenException"),
        ("$SYS/x", "", "403 ForbiddenException", "403 ForbiddenException"),
        ("$umbra/x", "", "403 ForbiddenException", "403 ForbiddenException"),
        ("$share/g/a", "", "403 ForbiddenException", "403 ForbiddenException"),
        ("$mine", "", "403 ForbiddenException", "403 ForbiddenException"),
        ("", "", "400 InvalidRequestException", "400 InvalidRequestException"),
        ("a/+", "", "400 InvalidRequestException", "400 InvalidRequestException"),
        ("a/#", "", "400 InvalidRequestException", "400 InvalidRequestException"),
        ("a\0b", "", "400 InvalidRequestException", "400 InvalidRequestException"),
        (&"x".repeat(65_536), "", "400 InvalidRequestException", "400 InvalidRequestException"),
    ];
    for (topic, query, standard, aws) in rows {
        for (limits, expected) in [(STANDARD, standard), (AWS, aws)] {
            assert_eq!(verdict(&publish(topic, query, &vec![], b"", &limits)), **expected, "{topic:.40} {query}");
        }
    }
}

#[test]
fn a_query_of_publish_is_held_to_the_service_model() {
    let rows = [
        ("qos=2", "400 InvalidRequestException"),
        ("qos=-1", "400 InvalidRequestException"),
        ("qos=one", "400 SerializationException"),
        ("retain=yes", "400 SerializationException"),
        ("retain=TRUE", "400 SerializationException"),
        ("messageExpiry=-1", "400 InvalidRequestException"),
        ("messageExpiry=soon", "400 SerializationException"),
        ("responseTopic=a%2F%23", "400 InvalidRequestException"),
        ("responseTopic=", "400 InvalidRequestException"),
        ("responseTopic=%24aws%2Fthings%2Ft%2Fshadow%2Fupdate", "ok"),
        ("contentType=a%00b", "400 InvalidRequestException"),
        ("contentType=", "ok"),
        ("unknown=1", "ok"),
        ("qos=0&qos=7", "ok"),
    ];
    for (query, expected) in rows {
        assert_eq!(verdict(&publish("t", query, &vec![], b"", &STANDARD)), expected, "{query}");
    }
    let error = publish("t", "qos=9&messageExpiry=-5", &vec![], b"", &STANDARD).unwrap_err();
    assert_eq!(
        error.message(),
        "2 validation errors detected: Value '9' at 'qos' failed to satisfy constraint: Member must have value less than \
         or equal to 1; Value '-5' at 'messageExpiry' failed to satisfy constraint: Member must have value greater than \
         or equal to 0"
    );
}

#[test]
fn a_message_expires_within_the_bounds() {
    for (given, standard, aws) in [
        ("0", 1, 1),
        ("1", 1, 1),
        ("604800", 604_800, 604_800),
        ("604801", 604_801, 604_800),
        ("9999999999", u32::MAX, 604_800),
    ] {
        for (limits, expected) in [(STANDARD, standard), (AWS, aws)] {
            let publication = publish("t", &format!("messageExpiry={given}"), &vec![], b"", &limits).unwrap();
            assert_eq!(publication.properties.unwrap().message_expiry_interval, Some(expected), "{given}");
        }
    }
}

#[test]
fn headers_of_publish_are_base64_where_the_service_model_says_so() {
    const USER: &str = "x-amz-mqtt5-user-properties";
    const FORMAT: &str = "x-amz-mqtt5-payload-format-indicator";
    const CORRELATION: &str = "x-amz-mqtt5-correlation-data";
    let json = |text: &str| BASE64.encode(text);
    let big = |n: usize| json(&json!([{"k": "v".repeat(n)}]).to_string());
    let rows = [
        (FORMAT, "UNSPECIFIED_BYTES".to_owned(), "ok", "ok"),
        (FORMAT, "utf8_data".to_owned(), "400 InvalidRequestException", "400 InvalidRequestException"),
        (FORMAT, "1".to_owned(), "400 InvalidRequestException", "400 InvalidRequestException"),
        (CORRELATION, "AA==".to_owned(), "ok", "ok"),
        (CORRELATION, "AA".to_owned(), "ok", "ok"),
        (CORRELATION, "A".to_owned(), "400 InvalidRequestException", "400 InvalidRequestException"),
        (CORRELATION, "not base64!".to_owned(), "400 InvalidRequestException", "400 InvalidRequestException"),
        (CORRELATION, BASE64.encode(vec![0; 8_192]), "ok", "ok"),
        (CORRELATION, BASE64.encode(vec![0; 8_193]), "ok", "400 InvalidRequestException"),
        (CORRELATION, BASE64.encode(vec![0; 65_536]), "400 InvalidRequestException", "400 InvalidRequestException"),
        (USER, json("[]"), "ok", "ok"),
        (USER, STANDARD_NO_PAD.encode(r#"[{"a":"b"}]"#), "ok", "ok"),
        (USER, big(8_191), "ok", "ok"),
        (USER, big(8_192), "ok", "400 InvalidRequestException"),
        (USER, big(65_535), "400 InvalidRequestException", "400 InvalidRequestException"),
        (USER, r#"[{"a":"b"}]"#.to_owned(), "400 InvalidRequestException", "400 InvalidRequestException"),
        (USER, json(r#"{"a":"b"}"#), "400 InvalidRequestException", "400 InvalidRequestException"),
        (USER, json(r#"[{"a":1}]"#), "400 InvalidRequestException", "400 InvalidRequestException"),
        (USER, json(r#"["a"]"#), "400 InvalidRequestException", "400 InvalidRequestException"),
        (USER, json("[{\"a\":\"\\u0000\"}]"), "400 InvalidRequestException", "400 InvalidRequestException"),
        (USER, json("[{"), "400 InvalidRequestException", "400 InvalidRequestException"),
        (USER, json(&"[".repeat(100_000)), "400 InvalidRequestException", "400 InvalidRequestException"),
    ];
    for (name, value, standard, aws) in rows {
        for (limits, expected) in [(STANDARD, standard), (AWS, aws)] {
            let given = headers(&[(name, &value)]);
            assert_eq!(verdict(&publish("t", "", &given, b"", &limits)), expected, "{name}: {value:.40}");
        }
    }
    for (query, standard, aws) in [(256, "ok", "ok"), (257, "ok", "400 InvalidRequestException")] {
        let query = format!("contentType={}", "x".repeat(query));
        assert_eq!(verdict(&publish("t", &query, &vec![], b"", &STANDARD)), standard);
        assert_eq!(verdict(&publish("t", &query, &vec![], b"", &AWS)), aws);
    }
    let as_bytes = publish("t", "", &headers(&[(FORMAT, "UNSPECIFIED_BYTES")]), b"", &AWS).unwrap();
    assert_eq!(as_bytes.properties.unwrap().payload_format_indicator, Some(false));
}

#[test]
fn a_payload_may_be_as_large_as_the_limit() {
    for (limits, size) in [(STANDARD, 1024 * 1024), (AWS, 128 * 1024)] {
        let mut payload = vec![7; size];
        assert_eq!(publish("t", "", &vec![], &payload, &limits).unwrap().payload.len(), size);
        payload.push(7);
        assert_eq!(verdict(&publish("t", "", &vec![], &payload, &limits)), "413 RequestEntityTooLargeException");
    }
}

#[test]
fn what_became_of_a_message_is_told_in_awss_words() {
    use ApiFailure::*;
    let rows = [
        (BrokerApiReply::Done, "ok", "ok"),
        (BrokerApiReply::TimedOut, "500 InternalFailureException", "504 GatewayTimeoutException"),
        (BrokerApiReply::Failed(NotConnected), "500 InternalFailureException", "404 ResourceNotFoundException"),
        (BrokerApiReply::Failed(Overloaded), "429 ThrottlingException", "429 ThrottlingException"),
        (BrokerApiReply::Failed(NotSafe), "500 InternalFailureException", "500 InternalFailureException"),
        (BrokerApiReply::Failed(NotAuthorized), "403 ForbiddenException", "403 ForbiddenException"),
        (BrokerApiReply::Failed(TooLarge), "413 RequestEntityTooLargeException", "413 RequestEntityTooLargeException"),
    ];
    for (reply, published, direct) in rows {
        assert_eq!(verdict(&settle_publish(reply)), published, "{reply:?}");
        assert_eq!(verdict(&settle_direct_message("c", reply)), direct, "{reply:?}");
    }
    assert_eq!(body(message_response("trace")), json!({"message": "OK", "traceId": "trace"}));
}

// --- retained messages ------------------------------------------------------------------------------------------

fn retained(topic: &str, expiry: Option<u32>) -> Publication {
    let properties = expiry.map(|seconds| {
        Box::new(PublicationProperties { message_expiry_interval: Some(seconds), ..PublicationProperties::default() })
    });
    Publication { retain: true, properties, ..Publication::of_platform(topic.into(), "hi", Qos::AtLeastOnce, NOW) }
}

#[test]
fn a_retained_message_is_asked_of_the_router_of_its_topics_node() {
    let shards = ShardMap::new(16);
    for (topic, node) in [("a", "a"), ("a/b/c/d/e/f", "a/b/c/d"), ("/a", "/a")] {
        let (address, question) = GetRetainedMessageRequest::parse(topic, &AWS).unwrap().addressed(&shards);
        assert_eq!(address, Address::router_of_node(node, &shards), "{topic}");
        assert_eq!(question, RouterRequest::Retained { filter: topic.into(), after: None, limit: 1 });
    }
    for topic in ["", "a/+", "#", &"x".repeat(257)] {
        assert_eq!(verdict(&GetRetainedMessageRequest::parse(topic, &AWS)), "400 InvalidRequestException", "{topic}");
    }
}

#[test]
fn a_retained_message_is_answered_in_base64_with_its_time_in_milliseconds() {
    let request = GetRetainedMessageRequest::parse("a/b", &STANDARD).unwrap();
    let page = |messages| RetainedPage { messages, ..RetainedPage::default() };
    let answer = |page: &RetainedPage, now| get_retained_message_response(&request, page, now).map(body);
    let mut message = retained("a/b", None);
    message.payload = Bytes::from_static(&[0, 255]);
    let plain = json!({
        "topic": "a/b", "payload": "AP8=", "qos": 1, "lastModifiedTime": NOW.0, "userProperties": null
    });
    assert_eq!(answer(&page(vec![message.clone()]), NOW), Ok(plain));
    message.properties = Some(Box::new(PublicationProperties {
        user_properties: [("a", "1"), ("a", "\"ä\"")].into(),
        ..PublicationProperties::default()
    }));
    let encoded = answer(&page(vec![message]), NOW).unwrap()["userProperties"].as_str().unwrap().to_owned();
    assert_eq!(BASE64.decode(encoded).unwrap(), r#"[{"a":"1"},{"a":"\"ä\""}]"#.as_bytes());

    let expired = page(vec![retained("a/b", Some(10))]);
    assert_eq!(verdict(&answer(&expired, UnixMillis(NOW.0 + 9_999))), "ok");
    for (page, now) in [(expired, NOW.0 + 10_000), (page(vec![]), NOW.0), (page(vec![retained("a/c", None)]), NOW.0)] {
        assert_eq!(verdict(&answer(&page, UnixMillis(now))), "404 ResourceNotFoundException");
    }
}

#[test]
fn user_properties_that_were_published_come_back_as_they_were() {
    let text = BASE64.encode(r#"[{"b":"1"},{"a":"2"},{"b":"3"}]"#);
    let mut message = publish("t", "", &headers(&[("x-amz-mqtt5-user-properties", &text)]), b"x", &AWS).unwrap();
    message.retain = true;
    let request = GetRetainedMessageRequest::parse("t", &AWS).unwrap();
    let page = RetainedPage { messages: vec![message], ..RetainedPage::default() };
    let answer = body(get_retained_message_response(&request, &page, NOW).unwrap());
    assert_eq!(answer["userProperties"], text);
}

/// Routers that hold some topics each, and give at most `page` of them at once.
struct Routers {
    topics: Vec<BTreeSet<String>>,
    page: usize,
}

impl Routers {
    fn ask(&self, router: usize, question: &RouterRequest) -> RetainedPage {
        let RouterRequest::Retained { filter, after, limit } = question else { panic!("{question:?}") };
        assert_eq!(filter, "#");
        let limit = self.page.min(*limit as usize);
        let mut left = self.topics[router].iter().filter(|topic| after.as_ref().is_none_or(|after| *topic > after));
        let messages: Vec<Publication> = left.by_ref().take(limit).map(|topic| retained(topic, None)).collect();
        let next = left.next().and_then(|_| messages.last().map(|message| message.topic.clone()));
        RetainedPage { messages, next, has_retained_below: false, given_away: vec![] }
    }

    /// One page of the API, with the topics on it and its token.
    fn list(&self, query: &str, rounds: usize) -> (Vec<String>, Option<String>) {
        let request = ListRetainedMessagesRequest::parse(query).unwrap();
        let mut listing = RetainedListing::new(&request);
        for _ in 0..rounds {
            let Some(question) = listing.question() else { break };
            let answers = (0..self.topics.len()).map(|router| RetainedSummaries::of(self.ask(router, &question), NOW));
            assert!(listing.add(answers.collect()));
        }
        let answer = body(listing.response());
        let topics = answer["retainedTopics"].as_array().unwrap();
        let topics = topics.iter().map(|topic| topic["topic"].as_str().unwrap().to_owned()).collect();
        (topics, answer.get("nextToken").map(|token| token.as_str().unwrap().to_owned()))
    }

    /// All pages, one after the other.
    fn list_all(&self, max_results: usize, rounds: usize) -> Vec<String> {
        let mut all = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..10_000 {
            let continued = token.map(|token| format!("&nextToken={token}")).unwrap_or_default();
            let (topics, next) = self.list(&format!("maxResults={max_results}{continued}"), rounds);
            assert!(topics.len() <= max_results);
            all.extend(topics);
            token = next;
            if token.is_none() {
                return all;
            }
        }
        panic!("the list has no end");
    }
}

#[test]
fn a_list_of_retained_messages_says_what_they_are_without_their_payloads() {
    let request = ListRetainedMessagesRequest::parse("").unwrap();
    assert_eq!((request.after.clone(), request.max_results), (None, 200));
    let mut listing = RetainedListing::new(&request);
    let question = RouterRequest::Retained { filter: "#".into(), after: None, limit: 201 };
    assert_eq!(listing.question(), Some(question));
    let page = RetainedPage {
        messages: vec![retained("a", None), retained("b", Some(10))],
        next: None,
        has_retained_below: false,
        given_away: vec![],
    };
    let now = UnixMillis(NOW.0 + 60_000);
    assert!(listing.add(vec![RetainedSummaries::of(page, now), RetainedSummaries::default()]));
    assert_eq!(listing.question(), None);
    let summary = json!({"topic": "a", "payloadSize": 2, "qos": 1, "lastModifiedTime": NOW.0});
    assert_eq!(body(listing.response()), json!({"retainedTopics": [summary]}));
}

#[test]
fn requests_for_lists_are_held_to_the_service_model() {
    let list = |query: &str| verdict(&ListRetainedMessagesRequest::parse(query));
    let subscriptions = |query: &str| verdict(&ListSubscriptionsRequest::parse("c", query, &AWS));
    let rows = [
        ("maxResults=1", "ok"),
        ("maxResults=200", "ok"),
        ("maxResults=0", "400 InvalidRequestException"),
        ("maxResults=201", "400 InvalidRequestException"),
        ("maxResults=x", "400 SerializationException"),
        ("nextToken=", "400 InvalidRequestException"),
        ("nextToken=AXRsYW1w", "400 InvalidRequestException"),
    ];
    for (query, expected) in rows {
        assert_eq!(list(query), expected, "{query}");
        assert_eq!(subscriptions(query), expected, "{query}");
    }
    assert_eq!(ListSubscriptionsRequest::parse("c", "", &AWS).unwrap().max_results, 20);
}

#[test]
fn a_page_begins_after_its_token_whatever_routers_answer() {
    let routers = Routers { topics: vec![BTreeSet::from(["a".to_owned(), "b".to_owned()])], page: 9 };
    let (_, token) = routers.list("maxResults=1", 9);
    let request = ListRetainedMessagesRequest::parse(&format!("nextToken={}", token.unwrap())).unwrap();
    let mut listing = RetainedListing::new(&request);
    let messages = vec![retained("a", None), retained("b", None)];
    let page = RetainedPage { messages, ..RetainedPage::default() };
    assert!(listing.add(vec![RetainedSummaries::of(page, NOW)]));
    let answer = body(listing.response());
    assert_eq!(answer["retainedTopics"].as_array().unwrap().len(), 1);
    assert_eq!(answer["retainedTopics"][0]["topic"], "b");
}

#[test]
fn routers_that_make_no_progress_end_the_list() {
    let mut listing = RetainedListing::new(&ListRetainedMessagesRequest::parse("").unwrap());
    let page =
        || RetainedPage { messages: vec![], next: Some("a".into()), has_retained_below: false, given_away: vec![] };
    assert!(listing.add(vec![RetainedSummaries::of(page(), NOW)]));
    assert!(!listing.add(vec![RetainedSummaries::of(page(), NOW)]));
}

proptest! {
    #[test]
    fn a_list_of_retained_messages_has_each_topic_once_and_in_order(
        topics in proptest::collection::vec(proptest::collection::btree_set("[a-c]{1,3}", 0..12), 1..5),
        max_results in 1_usize..8,
        page in 1_usize..5,
        rounds in 1_usize..4,
    ) {
        let expected: BTreeSet<String> = topics.iter().flatten().cloned().collect();
        let routers = Routers { topics, page };
        prop_assert_eq!(routers.list_all(max_results, rounds), expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn no_request_breaks_a_parser(text in "\\PC{0,40}", query in "[a-zA-Z0-9=&%+]{0,60}", header in "\\PC{0,40}") {
        for limits in [STANDARD, AWS] {
            let names = ["user-properties", "payload-format-indicator", "correlation-data"];
            let given: Headers = names.map(|name| (format!("x-amz-mqtt5-{name}"), header.clone())).to_vec();
            let http = HttpParts { query: &query, headers: &given, body: b"" };
            let _ = PublishRequest::parse(&text, &http, &limits, NOW);
            let _ = SendDirectMessageRequest::parse(&text, &http, &limits, NOW);
            let _ = GetConnectionRequest::parse(&text, &query, &limits);
            let _ = ListSubscriptionsRequest::parse(&text, &format!("nextToken={query}"), &limits);
        }
    }
}

// --- connections ------------------------------------------------------------------------------------------------

fn holder() -> Holder {
    (BrokerId { region: "home".into(), index: 2 }, ConnectionId(7))
}

fn filters(filters: &[(&str, Qos)]) -> Subscriptions {
    let options = |qos| SubscriptionOptions { qos, ..SubscriptionOptions::default() };
    filters.iter().map(|(filter, qos)| ((*filter).to_owned(), options(*qos))).collect()
}

/// Connected a minute ago with a session that ends with the connection.
fn connected() -> ClientState {
    ClientState {
        queued: 0,
        dropped: 0,
        holder: Some(holder()),
        details: ConnectionDetails {
            principal: "AKIA".into(),
            trace_id: "trace".into(),
            source_ip: Some("192.0.2.1".into()),
            keep_alive: 60,
            is_v5: true,
        },
        is_clean: true,
        session_expiry: 0,
        connected_at: UnixMillis(NOW.0 - 60_000),
        disconnected: None,
        subscriptions: Subscriptions::new(),
    }
}

fn disconnected(session_expiry: u32, seconds_ago: u64) -> ClientState {
    ClientState {
        holder: None,
        is_clean: session_expiry == 0,
        session_expiry,
        disconnected: Some((UnixMillis(NOW.0 - seconds_ago * 1_000), DisconnectReason::KeepAliveTimeout)),
        subscriptions: if session_expiry == 0 { Subscriptions::new() } else { filters(&[("a", Qos::AtLeastOnce)]) },
        ..connected()
    }
}

#[test]
fn client_identifiers_are_held_to_the_limits() {
    let long = "x".repeat(129);
    for (client, standard, aws) in [
        ("c", "ok", "ok"),
        ("a/b ä", "ok", "ok"),
        (&long, "ok", "400 InvalidRequestException"),
        ("$c", "ok", "400 InvalidRequestException"),
        ("", "400 InvalidRequestException", "400 InvalidRequestException"),
        ("a\0", "400 InvalidRequestException", "400 InvalidRequestException"),
        (&"x".repeat(1_025), "400 InvalidRequestException", "400 InvalidRequestException"),
    ] {
        for (limits, expected) in [(STANDARD, standard), (AWS, aws)] {
            let http = HttpParts { query: "topic=t", headers: &[], body: b"" };
            assert_eq!(verdict(&GetConnectionRequest::parse(client, "", &limits)), expected, "{client:?}");
            assert_eq!(verdict(&DeleteConnectionRequest::parse(client, "", &limits)), expected, "{client:?}");
            assert_eq!(verdict(&ListSubscriptionsRequest::parse(client, "", &limits)), expected, "{client:?}");
            assert_eq!(verdict(&SendDirectMessageRequest::parse(client, &http, &limits, NOW)), expected, "{client:?}");
        }
    }
}

#[test]
fn a_connection_is_described_with_what_is_known_of_it() {
    let get = |query: &str, state: &ClientState, limits: &DataLimits| {
        let request = GetConnectionRequest::parse("c", query, limits).unwrap();
        body(get_connection_response(&request, Some(state), limits, NOW).unwrap())
    };
    let expected = json!({
        "clientId": "c", "connected": true, "cleanSession": true, "keepAliveDuration": 60, "sessionExpiry": 0,
        "connectedSince": NOW.0 - 60_000
    });
    assert_eq!(get("", &connected(), &AWS), expected);
    let mut with_address = expected;
    with_address["sourceIp"] = "192.0.2.1".into();
    assert_eq!(get("includeSocketInformation=true", &connected(), &AWS), with_address);
    let away = json!({
        "clientId": "c", "connected": false, "cleanSession": false, "keepAliveDuration": 60, "sessionExpiry": 7_200,
        "disconnectedSince": NOW.0 - 1_800_000, "disconnectReason": "MQTT_KEEP_ALIVE_TIMEOUT"
    });
    assert_eq!(get("", &disconnected(7_200, 1_800), &AWS), away);
    assert_eq!(get("", &disconnected(7_200, 1_800), &STANDARD), away);
    // a session may be older than what is told of how its connection ended
    let long_ago = get("", &disconnected(7_200, 1_801), &AWS);
    assert_eq!((&long_ago["connected"], long_ago.get("disconnectedSince")), (&json!(false), None));
    assert!(get("", &disconnected(7_200, 1_801), &STANDARD).get("disconnectReason").is_some());
    assert_eq!(
        verdict(&GetConnectionRequest::parse("c", "includeSocketInformation=1", &AWS)),
        "400 SerializationException"
    );
}

#[test]
fn what_is_not_there_is_not_found() {
    // what the shard knows; GetConnection, its AWS column; DeleteConnection; ListSubscriptions; SendDirectMessage
    let rows = [
        (None, [404, 404, 404, 404, 404]),
        (Some(connected()), [200, 200, 200, 200, 200]),
        (Some(ClientState { is_clean: false, session_expiry: 60, ..connected() }), [200, 200, 200, 200, 200]),
        // its session ended with the connection, of which something is known for a while
        (Some(disconnected(0, 60)), [200, 200, 404, 404, 404]),
        (Some(disconnected(0, 1_801)), [200, 404, 404, 404, 404]),
        // its session lasts
        (Some(disconnected(600, 599)), [200, 200, 200, 200, 404]),
        (Some(disconnected(NEVER_EXPIRES, 900_000)), [200, 200, 200, 200, 404]),
        (Some(ClientState { disconnected: None, ..disconnected(600, 1) }), [200, 200, 200, 200, 404]),
        // and has ended, though the shard has not cleared it away
        (Some(disconnected(600, 600)), [200, 200, 404, 404, 404]),
        (Some(disconnected(600, 1_801)), [200, 404, 404, 404, 404]),
    ];
    fn status<T>(result: Result<T, ApiError>) -> u16 {
        result.map_or_else(|error| error.status(), |_| 200)
    }
    for (state, expected) in rows {
        let get = |limits: &DataLimits| {
            let request = GetConnectionRequest::parse("c", "", limits).unwrap();
            status(get_connection_response(&request, state.as_ref(), limits, NOW))
        };
        let delete = DeleteConnectionRequest::parse("c", "", &AWS).unwrap();
        let list = ListSubscriptionsRequest::parse("c", "", &AWS).unwrap();
        let http = HttpParts { query: "topic=t", headers: &[], body: b"" };
        let send = SendDirectMessageRequest::parse("c", &http, &AWS, NOW).unwrap();
        let given = [
            get(&STANDARD),
            get(&AWS),
            status(settle_delete_connection(&delete, state.as_ref(), NOW)),
            status(subscription_source(&list, state.clone(), NOW)),
            status(send.addressed(state.as_ref())),
        ];
        assert_eq!(given, expected, "{state:?}");
    }
}

#[test]
fn a_session_that_never_expires_outlives_every_interval() {
    let after_centuries = UnixMillis(NOW.0 + u64::from(u32::MAX) * 1_000);
    let request = DeleteConnectionRequest::parse("c", "", &AWS).unwrap();
    for (expiry, expected) in [(NEVER_EXPIRES, "ok"), (NEVER_EXPIRES - 1, "404 ResourceNotFoundException")] {
        let state = disconnected(expiry, 0);
        assert_eq!(verdict(&settle_delete_connection(&request, Some(&state), after_centuries)), expected);
    }
}

#[test]
fn a_connection_is_ended_as_asked() {
    for (query, clean_session, prevents_will) in [
        ("", false, false),
        ("cleanSession=true", true, false),
        ("cleanSession=false&preventWillMessage=true", false, true),
    ] {
        let client_id = ClientId::new("c").unwrap();
        let expected = SessionsRequest::Disconnect { client_id, clean_session, prevents_will };
        assert_eq!(DeleteConnectionRequest::parse("c", query, &AWS).unwrap().question(), expected, "{query}");
    }
    assert_eq!(verdict(&DeleteConnectionRequest::parse("c", "cleanSession=no", &AWS)), "400 SerializationException");
}

#[test]
fn subscriptions_are_known_to_the_shard_or_to_the_broker() {
    let request = ListSubscriptionsRequest::parse("c", "", &AWS).unwrap();
    let find = |state| subscription_source(&request, Some(state), NOW);
    assert_eq!(find(connected()), Ok(SubscriptionSource::Broker(holder())));
    let durable = disconnected(600, 1);
    assert_eq!(find(durable.clone()), Ok(SubscriptionSource::Known(filters(&[("a", Qos::AtLeastOnce)]))));
    let online = ClientState { holder: Some(holder()), disconnected: None, ..durable };
    assert_eq!(find(online), Ok(SubscriptionSource::Known(filters(&[("a", Qos::AtLeastOnce)]))));
}

#[test]
fn subscriptions_are_listed_page_by_page() {
    let subscriptions = filters(&[("b/#", Qos::AtMostOnce), ("$share/g/a", Qos::AtLeastOnce), ("a", Qos::ExactlyOnce)]);
    let page = |query: &str| {
        let request = ListSubscriptionsRequest::parse("c", query, &AWS).unwrap();
        body(list_subscriptions_response(&request, Some(&subscriptions)).unwrap())
    };
    let rows = json!([
        {"topicFilter": "$share/g/a", "qos": 1}, {"topicFilter": "a", "qos": 2}, {"topicFilter": "b/#", "qos": 0}
    ]);
    assert_eq!(page(""), json!({"subscriptions": rows}));
    assert_eq!(page("maxResults=3"), json!({"subscriptions": rows}));
    let first = page("maxResults=2");
    assert_eq!(first["subscriptions"], json!([rows[0], rows[1]]));
    let token = first["nextToken"].as_str().unwrap();
    assert_eq!(page(&format!("maxResults=2&nextToken={token}")), json!({"subscriptions": [rows[2]]}));

    let request = ListSubscriptionsRequest::parse("c", "", &AWS).unwrap();
    assert_eq!(
        body(list_subscriptions_response(&request, Some(&Subscriptions::new())).unwrap()),
        json!({"subscriptions": []})
    );
    assert_eq!(verdict(&list_subscriptions_response(&request, None)), "404 ResourceNotFoundException");
}

// --- SendDirectMessage ------------------------------------------------------------------------------------------

fn send(query: &str, body: &[u8]) -> Result<SendDirectMessageRequest, ApiError> {
    let given = headers(&[("x-amz-mqtt5-correlation-data", "AAH/")]);
    SendDirectMessageRequest::parse("c", &HttpParts { query, headers: &given, body }, &AWS, NOW)
}

#[test]
fn a_direct_message_goes_to_the_connection_that_the_client_has() {
    let sent =
        send("topic=a%2Fb&confirmation=true&timeout=15&contentType=t&responseTopic=r&messageExpiry=5", b"hi").unwrap();
    let (to, question) = sent.addressed(Some(&connected())).unwrap();
    let properties = PublicationProperties {
        content_type: Some("t".into()),
        response_topic: Some("r".into()),
        correlation_data: Some(Bytes::from_static(&[0, 1, 255])),
        ..PublicationProperties::default()
    };
    let mut publication = Publication::of_platform("a/b".into(), "hi", Qos::AtLeastOnce, NOW);
    publication.properties = Some(Box::new(properties));
    let expected = BrokerApiRequest::Direct {
        connection: ConnectionId(7),
        client_id: ClientId::new("c").unwrap(),
        publication,
        confirmation: true,
        timeout_millis: 15_000,
    };
    assert_eq!((to, question), (holder(), expected));
}

#[test]
fn a_direct_message_is_confirmed_within_its_timeout_or_not_at_all() {
    for (query, qos, confirmation, timeout_millis) in [
        ("topic=t", Qos::AtMostOnce, false, 5_000),
        ("topic=t&confirmation=false&timeout=99", Qos::AtMostOnce, false, 5_000),
        ("topic=t&confirmation=true", Qos::AtLeastOnce, true, 5_000),
        ("topic=t&confirmation=true&timeout=1", Qos::AtLeastOnce, true, 1_000),
    ] {
        let sent = send(query, b"").unwrap();
        let given = (sent.publication.qos, sent.confirmation, sent.timeout_millis);
        assert_eq!(given, (qos, confirmation, timeout_millis), "{query}");
    }
    let rows = [
        ("", "400 InvalidRequestException"),
        ("topic=", "400 InvalidRequestException"),
        ("topic=a%2F%2B", "400 InvalidRequestException"),
        ("topic=%24aws%2Fthings%2Ft%2Fshadow%2Fupdate%2Fdelta", "403 ForbiddenException"),
        ("topic=%24aws%2Frules%2Fr", "403 ForbiddenException"),
        ("topic=t&confirmation=true&timeout=0", "400 InvalidRequestException"),
        ("topic=t&confirmation=true&timeout=16", "400 InvalidRequestException"),
        ("topic=t&confirmation=true&timeout=x", "400 SerializationException"),
        ("topic=t&confirmation=1", "400 SerializationException"),
        ("topic=t&responseTopic=%23", "400 InvalidRequestException"),
    ];
    for (query, expected) in rows {
        assert_eq!(verdict(&send(query, b"")), expected, "{query}");
    }
    assert_eq!(verdict(&send("topic=t", &vec![0; 128 * 1024])), "ok");
    assert_eq!(verdict(&send("topic=t", &vec![0; 128 * 1024 + 1])), "413 RequestEntityTooLargeException");
}
