use super::*;
use crate::address::BrokerId;
use crate::broker::{BrokerRequest, ConnectionId};
use crate::jobs::{ExecutionOutcome, JobReply, JobRequest};
use crate::publication::{Publication, PublicationProperties};
use crate::router::{Destinations, RouterRequest};
use crate::rules::{CompiledRule, RuleOutput};
use crate::sessions::{ClaimReply, SessionsRequest};
use crate::thing::{HttpReply, JobOperation, Plane, ShadowOperation, ThingReply, ThingRequest};
use crate::{Refusal, Reply, Request};
use bytes::Bytes;
use iot_types::{ClientId, JobId, Qos, ShadowName, ThingName, UnixMillis};
use proptest::prelude::*;

fn publication() -> Publication {
    Publication {
        topic: "a/b".into(),
        payload: Bytes::from_static(b"hi"),
        qos: Qos::AtLeastOnce,
        retain: true,
        properties: Some(Box::new(PublicationProperties {
            payload_format_indicator: Some(true),
            message_expiry_interval: Some(300),
            content_type: Some("t".into()),
            response_topic: Some("r".into()),
            correlation_data: Some(Bytes::from_static(b"c")),
            user_properties: vec![("k".into(), "v".into())],
        })),
        client_id: Some("c1".into()),
        accepted_at: UnixMillis(1_000),
    }
}

fn requests() -> Vec<(Request, &'static str)> {
    let client_id = ClientId::new("c1").unwrap();
    let connection = ConnectionId(5);
    let filter = String::from("a/#");
    vec![
        (
            Request::Broker(BrokerRequest::Deliver(publication())),
            "000003612f62026869010101010101ac02010174010172010163010 16b01760102633 1e807",
        ),
        (
            Request::Broker(BrokerRequest::Publish(Publication::of_platform(
                "t".into(),
                "x",
                Qos::AtMostOnce,
                UnixMillis(1),
            ))),
            "000101740178000000 0001",
        ),
        (Request::Broker(BrokerRequest::Fence { connection, client_id: client_id.clone() }), "000205026331"),
        (Request::Broker(BrokerRequest::ClaimDecided { connection, number: Some(9) }), "0003050109"),
        (Request::Broker(BrokerRequest::RulesChanged { sequence: 300 }), "0004ac02"),
        (Request::Router(RouterRequest::Route { topic: "a".into() }), "01000161"),
        (Request::Router(RouterRequest::Subscribe { filter: filter.clone() }), "010103612f23"),
        (Request::Router(RouterRequest::Unsubscribe { filter }), "010203612f23"),
        (Request::Router(RouterRequest::EpochStarted), "0103"),
        (Request::Sessions(SessionsRequest::Claim { client_id: client_id.clone(), connection }), "020002633105"),
        (Request::Sessions(SessionsRequest::Release { client_id, number: 9 }), "020102633109"),
        (
            Request::Thing(ThingRequest::Shadow {
                shadow_name: Some(ShadowName::new("n").unwrap()),
                operation: ShadowOperation::Update,
                payload: Bytes::from_static(b"{}"),
                plane: Plane::Http,
            }),
            "030001016e01027b7d01",
        ),
        (
            Request::Thing(ThingRequest::Job {
                operation: JobOperation::Update { job_id: "j".into() },
                payload: Bytes::new(),
                qos: Qos::AtLeastOnce,
            }),
            "0301030 16a0001",
        ),
        (
            Request::Thing(ThingRequest::QueueExecution {
                job_id: JobId::new("j").unwrap(),
                document: "{}".into(),
                execution_number: 1,
            }),
            "0302016a027b7d01",
        ),
        (Request::Job(JobRequest::Create { body: Bytes::from_static(b"{}") }), "0400027b7d"),
        (Request::Job(JobRequest::Describe), "0401"),
        (Request::Job(JobRequest::Dispatch), "0402"),
        (
            Request::Job(JobRequest::Outcome(ExecutionOutcome {
                thing_name: ThingName::new("t").unwrap(),
                execution_number: 1,
                version_number: 2,
                status: "FAILED".into(),
            })),
            "0403017401020646 41494c4544",
        ),
    ]
}

fn replies() -> Vec<(Reply, &'static str)> {
    vec![
        (Reply::Applied, "00"),
        (
            Reply::Route(Destinations { brokers: vec![BrokerId { region: "home".into(), index: 2 }] }),
            "010104686f6d6502",
        ),
        (Reply::Claim(ClaimReply::Granted { number: 7 }), "020007"),
        (Reply::Claim(ClaimReply::Pending), "0201"),
        (
            Reply::Thing(ThingReply {
                direct: None,
                publications: vec![],
                http: Some(HttpReply { status: 200, error_name: None, body: Bytes::from_static(b"{}") }),
            }),
            "03000001c80100027b7d",
        ),
        (Reply::Job(JobReply::Body(Bytes::from_static(b"{}"))), "0400027b7d"),
        (Reply::Job(JobReply::AlreadyExists), "0401"),
        (Reply::Job(JobReply::NotFound), "0402"),
        (Reply::Job(JobReply::Dispatched { status: "X".into(), left: 3 }), "0403015803"),
        (Reply::Refused(Refusal::WrongClass), "0500"),
        (Reply::Refused(Refusal::Unavailable), "0501"),
    ]
}

fn unspaced(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

#[test]
fn the_bytes_of_every_request_are_pinned() {
    for (request, expected) in requests() {
        let bytes = postcard::to_allocvec(&request).unwrap();
        assert_eq!(hex::encode(&bytes), unspaced(expected), "{request:?}");
        assert_eq!(postcard::from_bytes::<Request>(&bytes).unwrap(), request);
    }
}

#[test]
fn the_bytes_of_every_reply_are_pinned() {
    for (reply, expected) in replies() {
        let bytes = postcard::to_allocvec(&reply).unwrap();
        assert_eq!(hex::encode(&bytes), unspaced(expected), "{reply:?}");
        assert_eq!(postcard::from_bytes::<Reply>(&bytes).unwrap(), reply);
    }
}

#[test]
fn the_envelopes_and_the_queue_body_are_pinned() {
    let sender = Sender {
        address: Address::Broker(BrokerId { region: "home".into(), index: 1 }),
        epoch: 2,
        instance: 3,
        number: 4,
    };
    let batch = Batch { sender: Some(sender), requests: vec![Request::Job(JobRequest::Describe)] };
    assert_eq!(hex::encode(batch.encode().unwrap()), "01010004686f6d6501020304010401");
    let reply = BatchReply { epoch: 2, replies: vec![Reply::Applied] };
    assert_eq!(hex::encode(reply.encode().unwrap()), "01020100");
    let output = RuleOutput {
        rule_name: "r".into(),
        action: "{}".into(),
        payload: Bytes::from_static(b"p"),
        topic: "t".into(),
        attempt: 1,
    };
    let outputs = RuleOutputs { outputs: vec![output] };
    assert_eq!(hex::encode(outputs.encode().unwrap()), "01010172027b7d0170017401");
    let rule = CompiledRule { program: Bytes::from_static(b"p"), actions: vec!["{}".into()] };
    assert_eq!(hex::encode(rule.encode().unwrap()), "01017001027b7d");
    assert_eq!(CompiledRule::decode(&rule.encode().unwrap()), Ok(rule));
}

#[test]
fn batches_of_all_requests_round_trip() {
    let batch = Batch { sender: None, requests: requests().into_iter().map(|(request, _)| request).collect() };
    assert_eq!(Batch::decode(&batch.encode().unwrap()).unwrap(), batch);
    let reply = BatchReply { epoch: 1, replies: replies().into_iter().map(|(reply, _)| reply).collect() };
    assert_eq!(BatchReply::decode(&reply.encode().unwrap()).unwrap(), reply);
}

#[test]
fn another_version_is_told_apart_from_damage() {
    assert_eq!(Batch::decode(&[]), Err(CodecError::Malformed));
    assert_eq!(Batch::decode(&[9, 0, 0]), Err(CodecError::Version(9)));
    assert_eq!(Batch::decode(&[VERSION, 7]), Err(CodecError::Malformed));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = Batch::decode(&bytes);
        let _ = BatchReply::decode(&bytes);
        let _ = RuleOutputs::decode(&bytes);
    }

    #[test]
    fn a_batch_cut_short_is_malformed(cut in 1_usize..60) {
        let batch = Batch { sender: None, requests: requests().into_iter().take(3).map(|(request, _)| request).collect() };
        let bytes = batch.encode().unwrap();
        prop_assert!(Batch::decode(&bytes[..bytes.len() - cut.min(bytes.len() - 1)]).is_err());
    }
}
