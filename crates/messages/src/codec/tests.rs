use super::*;
use crate::address::BrokerId;
use crate::broker::{AuthoritySubject, BrokerRequest, ConnectionId, FenceReason};
use crate::jobs::{ExecutionOutcome, JobReply, JobRequest};
use crate::pool::{
    BrokerLoad, BrokerReport, BrokerState, BuildId, Directive, DrainOrder, Instance, PoolReply, PoolRequest, PoolView,
};
use crate::publication::{MessageId, Publication, PublicationProperties};
use crate::router::{Destination, Mark, NodeView, RetainedPage, RouterRequest};
use crate::rules::{CompiledRule, RuleOutput};
use crate::session::{
    Acknowledgement, AcknowledgementKind, Claim, ClientState, ConnectionDetails, DisconnectReason, Ending, Grant,
    Outgoing, SubscriptionOptions, Subscriptions, WillMessage,
};
use crate::sessions::{ClaimReply, MovePart, ReceivedState, SessionsRequest, SharedReply};
use crate::thing::{HttpReply, JobOperation, Plane, ShadowOperation, ThingReply, ThingRequest};
use crate::{Refusal, Reply, Request};
use bytes::Bytes;
use iot_types::{ClientId, JobId, PacketId, Qos, ShadowName, ThingName, UnixMillis, UserProperties};
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
            user_properties: [("k", "v")].into(),
        })),
        client_id: Some("c1".into()),
        accepted_at: UnixMillis(1_000),
        message_id: Some(MessageId { origin: 1, number: 300 }),
    }
}

fn claim() -> Claim {
    Claim {
        clean_start: true,
        session_expiry: 60,
        receive_maximum: 10,
        maximum_packet_size: Some(1_000),
        will: Some(Box::new(WillMessage {
            topic: "w".into(),
            payload: Bytes::from_static(b"x"),
            qos: Qos::AtLeastOnce,
            retain: true,
            delay: 5,
            properties: None,
        })),
        details: Box::new(details()),
    }
}

fn details() -> ConnectionDetails {
    ConnectionDetails {
        principal: "p".into(),
        trace_id: "t".into(),
        source_ip: Some("::1".into()),
        keep_alive: 30,
        is_v5: true,
    }
}

fn options() -> SubscriptionOptions {
    SubscriptionOptions {
        qos: Qos::ExactlyOnce,
        no_local: true,
        retain_as_published: false,
        subscription_identifier: Some(7),
    }
}

fn grant() -> Box<Grant> {
    let subscriptions = Subscriptions::from([("a/#".to_owned(), options())]);
    Box::new(Grant { number: 9, session_present: true, subscriptions })
}

fn small() -> Publication {
    Publication::of_platform("t".into(), "x", Qos::AtMostOnce, UnixMillis(1))
}

fn report() -> BrokerReport {
    let instance = Instance { build: BuildId(3), started: UnixMillis(4) };
    BrokerReport { index: 1, epoch: 2, instance, connections: 5, capacity: 6, refused_full: 7 }
}

fn requests() -> Vec<(Request, &'static str)> {
    let client_id = ClientId::new("c1").unwrap();
    let (connection, number, packet_id) = (ConnectionId(5), 9, PacketId::new(2).unwrap());
    let shared_filter = String::from("$share/g/a");
    let message_id = MessageId { origin: 1, number: 2 };
    let broker = [
        BrokerRequest::Deliver(publication()),
        BrokerRequest::Publish(small()),
        BrokerRequest::Fence { connection, client_id: client_id.clone(), reason: FenceReason::TakenOver },
        BrokerRequest::Fence {
            connection,
            client_id: client_id.clone(),
            reason: FenceReason::Administrative { prevents_will: true },
        },
        BrokerRequest::ClaimDecided { connection, grant: Some(grant()) },
        BrokerRequest::ClaimDecided { connection, grant: None },
        BrokerRequest::RulesChanged { sequence: 300 },
        BrokerRequest::DeliverShared { shared_filter: shared_filter.clone(), publication: small() },
        BrokerRequest::Send {
            connection,
            number,
            packets: vec![
                Outgoing::Publish {
                    packet_id: Some(packet_id),
                    dup: true,
                    qos: Qos::AtLeastOnce,
                    retain: false,
                    subscription_identifiers: vec![1],
                    publication: small(),
                },
                Outgoing::PubRel { packet_id, is_unknown: true },
            ],
        },
        BrokerRequest::Subscribed { connection, number, packet_id, are_stored: vec![true, false] },
        BrokerRequest::Settled { tickets: vec![(1, true)] },
        BrokerRequest::Revoke { nodes: Some(vec!["a".into()]) },
        BrokerRequest::Revoke { nodes: None },
        BrokerRequest::Registered { registration: 3 },
        BrokerRequest::Subscriptions { connection },
        BrokerRequest::Pool(Directive::Serve),
        BrokerRequest::Pool(Directive::Drain(DrainOrder {
            from: UnixMillis(1),
            until: UnixMillis(2),
            unless_build: Some(BuildId(3)),
        })),
        BrokerRequest::Announce { publication: small(), ticket: 8 },
        BrokerRequest::DeliverPackets { packets: Bytes::from_static(b"0\x04\0\x01t\0") },
        BrokerRequest::AuthoritiesChanged { sequence: 300, subject: AuthoritySubject::Nobody },
        BrokerRequest::AuthoritiesChanged { sequence: 3, subject: AuthoritySubject::Policy("p".into()) },
        BrokerRequest::AuthoritiesChanged { sequence: 4, subject: AuthoritySubject::Principal("0a".into()) },
        BrokerRequest::AuthoritiesChanged { sequence: 5, subject: AuthoritySubject::Thing("lamp".into()) },
        BrokerRequest::AuthoritiesChanged { sequence: 6, subject: AuthoritySubject::ThingGroup("site".into()) },
    ];
    let router = [
        RouterRequest::Subscribe { filter: "a/#".into(), registration: 3 },
        RouterRequest::Unsubscribe { filter: "a/#".into() },
        RouterRequest::Mark { node: "a".into(), mark: Mark::Retained, registration: 3 },
        RouterRequest::EpochStarted,
        RouterRequest::Lease { nodes: vec!["a".into()] },
        RouterRequest::Route { node: "a".into(), topic: "a/b".into() },
        RouterRequest::Retain(small()),
        RouterRequest::Retained { filter: "#".into(), after: Some("a".into()), limit: 3 },
        RouterRequest::QueueShared { shared_filter: shared_filter.clone(), publication: small() },
        RouterRequest::DrainShared { shared_filter: shared_filter.clone(), after: 4 },
        RouterRequest::HandOver { shard: 3, to: 4 },
        RouterRequest::TakeOver { shard: 3, version: 4, rows: Bytes::from_static(b"r"), last: Some(5) },
        RouterRequest::GoOn { shard: 3 },
        RouterRequest::LeasesReturned,
    ];
    let ending = Ending { reason: DisconnectReason::KeepAliveTimeout, publishes_will: true, session_expiry: Some(6) };
    let sessions = [
        SessionsRequest::Claim { client_id: client_id.clone(), connection, claim: Box::new(claim()) },
        SessionsRequest::Release { client_id: client_id.clone(), number, ending },
        SessionsRequest::Subscribe {
            client_id: client_id.clone(),
            number,
            packet_id,
            filters: vec![("a".into(), options(), true)],
        },
        SessionsRequest::Unsubscribe { client_id: client_id.clone(), number, filters: vec!["a".into()] },
        SessionsRequest::Acknowledge {
            client_id: client_id.clone(),
            number,
            acknowledgements: vec![Acknowledgement { packet_id, kind: AcknowledgementKind::PubComp }],
        },
        SessionsRequest::Receive { client_id: client_id.clone(), number, packet_id, message_id },
        SessionsRequest::ReceiveSettled { client_id: client_id.clone(), number, packet_id, is_safe: true },
        SessionsRequest::PubRel { client_id: client_id.clone(), number, packet_id },
        SessionsRequest::Deliver { publication: small(), ticket: Some(8) },
        SessionsRequest::DeliverShared { shared_filter, publication: small(), ticket: None },
        SessionsRequest::Direct { client_id: client_id.clone(), publication: small(), ticket: Some(8) },
        SessionsRequest::EpochStarted,
        SessionsRequest::Describe { client_id: client_id.clone() },
        SessionsRequest::Disconnect { client_id, clean_session: true, prevents_will: false },
        SessionsRequest::Registered { registration: 3 },
        SessionsRequest::HandOver { shard: 3, to: 4 },
        SessionsRequest::TakeOver {
            shard: 3,
            version: 4,
            part: MovePart::Subscriptions,
            page: Bytes::from_static(b"r"),
        },
        SessionsRequest::TakeOver { shard: 3, version: 4, part: MovePart::Confirm, page: Bytes::new() },
        SessionsRequest::TakeOver { shard: 3, version: 4, part: MovePart::Clients, page: Bytes::from_static(b"r") },
        SessionsRequest::TakeOver { shard: 3, version: 4, part: MovePart::Messages, page: Bytes::from_static(b"r") },
        SessionsRequest::TakeOver { shard: 300, version: 300, part: MovePart::Open, page: Bytes::new() },
        SessionsRequest::Announced { tickets: vec![(8, true), (9, false)] },
    ];
    let thing = [
        ThingRequest::Shadow {
            shadow_name: Some(ShadowName::new("n").unwrap()),
            operation: ShadowOperation::Update,
            payload: Bytes::from_static(b"{}"),
            plane: Plane::Http,
        },
        ThingRequest::Job {
            operation: JobOperation::Update { job_id: "j".into() },
            payload: Bytes::new(),
            qos: Qos::AtLeastOnce,
        },
        ThingRequest::QueueExecution { job_id: JobId::new("j").unwrap(), document: "{}".into(), execution_number: 1 },
    ];
    let job = [
        JobRequest::Create { body: Bytes::from_static(b"{}") },
        JobRequest::Describe,
        JobRequest::Dispatch,
        JobRequest::Outcome(ExecutionOutcome {
            thing_name: ThingName::new("t").unwrap(),
            execution_number: 1,
            version_number: 2,
            status: "FAILED".into(),
        }),
    ];
    let pool = [PoolRequest::Report(report()), PoolRequest::View(report().instance)];
    let requests = broker
        .into_iter()
        .map(Request::Broker)
        .chain(router.into_iter().map(Request::Router))
        .chain(sessions.into_iter().map(Request::Sessions))
        .chain(thing.into_iter().map(Request::Thing))
        .chain(job.into_iter().map(Request::Job))
        .chain(pool.into_iter().map(Request::Pool));
    assert_eq!(requests.clone().count(), REQUESTS.len(), "one pin for each request");
    requests.zip(REQUESTS.iter().copied()).collect()
}

fn replies() -> Vec<(Reply, &'static str)> {
    let destination = Destination::Broker(BrokerId { region: "home".into(), index: 2 });
    let message_id = MessageId { origin: 1, number: 2 };
    let replies = vec![
        Reply::Applied,
        Reply::Pending,
        Reply::Route(vec![("a".into(), vec![destination.clone()])]),
        Reply::Leases(vec![NodeView {
            node: "a".into(),
            filters: vec![("a/#".into(), vec![destination, Destination::Sessions(3)])],
            has_filters_below: true,
            is_large: false,
        }]),
        Reply::Retained(RetainedPage {
            messages: vec![small()],
            next: Some("t".into()),
            has_retained_below: true,
            given_away: vec![(3, 4)],
        }),
        Reply::SharedQueue(vec![(1, small())]),
        Reply::Claim(ClaimReply::Granted(grant())),
        Reply::Claim(ClaimReply::Pending),
        Reply::Received(ReceivedState { message_id, is_settled: true }),
        Reply::Shared(SharedReply::NoMember),
        Reply::Client(Some(Box::new(ClientState {
            holder: Some((BrokerId { region: "home".into(), index: 2 }, ConnectionId(5))),
            details: details(),
            is_clean: false,
            session_expiry: 60,
            connected_at: UnixMillis(1),
            disconnected: Some((UnixMillis(2), DisconnectReason::ApiInitiated)),
            subscriptions: Subscriptions::new(),
            queued: 3,
            dropped: 4,
        }))),
        Reply::Subscriptions(Some(Subscriptions::from([("a".to_owned(), options())]))),
        Reply::Thing(ThingReply {
            direct: None,
            publications: vec![],
            http: Some(HttpReply { status: 200, error_name: None, body: Bytes::from_static(b"{}") }),
        }),
        Reply::Job(JobReply::Body(Bytes::from_static(b"{}"))),
        Reply::Job(JobReply::AlreadyExists),
        Reply::Job(JobReply::NotFound),
        Reply::Job(JobReply::Dispatched { status: "X".into(), left: 3 }),
        Reply::Pool(PoolReply::Directive(Directive::Serve)),
        Reply::Pool(PoolReply::View(PoolView {
            version: 1,
            brokers: vec![BrokerLoad { index: 2, state: BrokerState::Retired, percent: 3 }],
        })),
        Reply::BrokerReport(report()),
        Reply::Refused(Refusal::WrongClass),
        Reply::Refused(Refusal::Unavailable),
        Reply::Refused(Refusal::Superseded),
        Reply::Refused(Refusal::Full),
        Reply::Refused(Refusal::Moved { shard: 3, to: 4 }),
    ];
    assert_eq!(replies.len(), REPLIES.len(), "one pin for each reply");
    replies.into_iter().zip(REPLIES.iter().copied()).collect()
}

const REQUESTS: &[&str] = &[
    "000003612f62026869010101010101ac0201017401017201016301016b017601026331e8070101ac02",
    "000101740178000000000100",
    "00020502633100",
    "0002050263310101",
    "0003050109010103612f230201000107",
    "00030500",
    "0004ac02",
    "00050a2473686172652f672f6101740178000000000100",
    "0006050902000102010100010101740178000000000100010201",
    "0007050902020100",
    "0008010101",
    "000901010161",
    "000900",
    "000a03",
    "000b05",
    "000c00",
    "000c0101020103",
    "000d0174017800000000010008",
    "000e06300400017400",
    "000fac0200",
    "000f03010170",
    "000f0402023061",
    "000f0503046c616d70",
    "000f06040473697465",
    "010003612f2303",
    "010103612f23",
    "010201610103",
    "0103",
    "0104010161",
    "0105016103612f62",
    "010601740178000000000100",
    "0107012301016103",
    "01080a2473686172652f672f6101740178000000000100",
    "01090a2473686172652f672f6104",
    "010a0304",
    "010b030401720105",
    "010c03",
    "010d",
    "020002633105013c0a01e8070101770178010105000170017401033a3a311e01",
    "02010263310903010106",
    "02020263310902010161020100010701",
    "020302633109010161",
    "020402633109010203",
    "020502633109020102",
    "0206026331090201",
    "02070263310902",
    "0208017401780000000001000108",
    "02090a2473686172652f672f610174017800000000010000",
    "020a026331017401780000000001000108",
    "020b",
    "020c026331",
    "020d0263310100",
    "020e03",
    "020f0304",
    "02100304000172",
    "021003040100",
    "02100304020172",
    "02100304030172",
    "0210ac02ac020400",
    "02110208010900",
    "030001016e01027b7d01",
    "030103016a0001",
    "0302016a027b7d01",
    "0400027b7d",
    "0401",
    "0402",
    "040301740102064641494c4544",
    "050001020304050607",
    "05010304",
];

const REPLIES: &[&str] = &[
    "00",
    "01",
    "02010161010004686f6d6502",
    "030101610103612f23020004686f6d650201030100",
    "04010174017800000000010001017401010304",
    "05010101740178000000000100",
    "060009010103612f230201000107",
    "0601",
    "07010201",
    "0803",
    "09010104686f6d6502050170017401033a3a311e01003c0101020a000304",
    "0a010101610201000107",
    "0b000001c80100027b7d",
    "0c00027b7d",
    "0c01",
    "0c02",
    "0c03015803",
    "0e0000",
    "0e010101020303",
    "0f01020304050607",
    "0d00",
    "0d01",
    "0d02",
    "0d03",
    "0d040304",
];

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
    assert_eq!(hex::encode(batch.encode().unwrap()), "02010004686f6d6501020304010401");
    let reply = BatchReply { epoch: 2, replies: vec![Reply::Applied] };
    assert_eq!(hex::encode(reply.encode().unwrap()), "02020100");
    let output = RuleOutput {
        rule_name: "r".into(),
        action: "{}".into(),
        payload: Bytes::from_static(b"p"),
        topic: "t".into(),
        attempt: 1,
    };
    let outputs = RuleOutputs { outputs: vec![output] };
    assert_eq!(hex::encode(outputs.encode().unwrap()), "02010172027b7d0170017401");
    let rule = CompiledRule { program: Bytes::from_static(b"p"), actions: vec!["{}".into()] };
    assert_eq!(hex::encode(rule.encode().unwrap()), "02017001027b7d");
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
fn bytes_after_a_message_are_refused() {
    let rule = CompiledRule { program: Bytes::from_static(b"p"), actions: vec![] };
    let outputs = RuleOutputs { outputs: vec![] };
    let batch = Batch { sender: None, requests: requests().into_iter().map(|(request, _)| request).collect() };
    let reply = BatchReply { epoch: 0, replies: replies().into_iter().map(|(reply, _)| reply).collect() };
    for after in [&[0][..], &[VERSION], &[0; 64]] {
        let longer = |bytes: Result<Vec<u8>, CodecError>| [&bytes.unwrap(), after].concat();
        assert_eq!(Batch::decode(&longer(batch.encode())), Err(CodecError::Malformed));
        assert_eq!(BatchReply::decode(&longer(reply.encode())), Err(CodecError::Malformed));
        assert_eq!(RuleOutputs::decode(&longer(outputs.encode())), Err(CodecError::Malformed));
        assert_eq!(CompiledRule::decode(&longer(rule.encode())), Err(CodecError::Malformed));
    }
}

#[test]
fn user_properties_are_a_sequence_of_pairs_of_texts() {
    for pairs in [&[][..], &[("", "")], &[("k", "v"), ("k", "ä"), ("", &"x".repeat(300))], &[("k", "v"); 200]] {
        let properties: UserProperties = pairs.iter().copied().collect();
        let bytes = encode(&properties).unwrap();
        assert_eq!(bytes, encode(&pairs).unwrap());
        assert_eq!(decode(&bytes), Ok(properties));
    }
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
