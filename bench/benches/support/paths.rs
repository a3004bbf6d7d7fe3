//! The ways that a publish takes through a node, each with everything set up and warm.

use super::node::Node;
use broker::{Output, StoredRule};
use bytes::{Bytes, BytesMut};
use iot_types::{PacketId, Qos, RuleName};
use messages::broker::ConnectionId;
use mqtt_codec::{Packet, ProtocolVersion, Publish, PublishProperties, UserProperties, encode};
use rules::{Program, SqlVersion};

const SMALL: usize = 64;
const LARGE: usize = 4_096;
/// More than a node remembers anything about.
const MANY_TOPICS: usize = 10_000;

/// Frames in, and the frames out dropped. It stops when they are not as many as they should be.
pub type Turn = Box<dyn FnMut()>;

/// One of them.
pub struct Path {
    pub name: &'static str,
    /// How many publishes a turn is.
    pub publishes: u32,
    /// Sets it up, which takes a second and much memory for some.
    pub build: fn() -> Turn,
}

/// All of them.
pub const ALL: &[Path] = &[
    path("QoS 0, 64 B, to one", || to_some(V3, &publish(V3, TOPIC, Qos::AtMostOnce, SMALL), 1)),
    path("QoS 0, 4 KiB, to one", || to_some(V3, &publish(V3, TOPIC, Qos::AtMostOnce, LARGE), 1)),
    path("QoS 0, 64 B, MQTT 5 with properties, to one", || to_some(V5, &with_properties(), 1)),
    Path {
        name: "QoS 0, 64 B, 100 in a frame, to one",
        publishes: 100,
        build: || to_some(V3, &publish(V3, TOPIC, Qos::AtMostOnce, SMALL).repeat(100), 1),
    },
    path("QoS 0, 64 B, to nobody", || to_some(V3, &publish(V3, TOPIC, Qos::AtMostOnce, SMALL), 0)),
    path("QoS 0, 64 B, to 100", || to_some(V3, &publish(V3, TOPIC, Qos::AtMostOnce, SMALL), 100)),
    path("QoS 1, 64 B, to one, all acknowledged", || acknowledged(Qos::AtLeastOnce)),
    path("QoS 2, 64 B, to one, all acknowledged", || acknowledged(Qos::ExactlyOnce)),
    path("QoS 0, 64 B, 10 000 topics in turn, to one", topics_in_turn),
    path("QoS 0, 64 B, to one, beside 10 subscriptions", || beside(10)),
    path("QoS 0, 64 B, to one, beside 1 000 subscriptions", || beside(1_000)),
    path("QoS 0, 64 B, to one, beside 100 000 subscriptions", || beside(100_000)),
    path("QoS 0, 64 B, to one and one of 100 rules", to_a_rule),
];

const fn path(name: &'static str, build: fn() -> Turn) -> Path {
    Path { name, publishes: 1, build }
}

const TOPIC: &str = "pairs/7";
const V3: ProtocolVersion = ProtocolVersion::V3_1_1;
const V5: ProtocolVersion = ProtocolVersion::V5;

fn frame(version: ProtocolVersion, packet: &Packet) -> Bytes {
    let mut bytes = BytesMut::new();
    encode(packet, version, &mut bytes);
    bytes.freeze()
}

fn message(topic: &str, qos: Qos, payload: usize) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: topic.into(),
        packet_id: PacketId::new(1).filter(|_| qos > Qos::AtMostOnce),
        properties: PublishProperties::default().into(),
        payload: vec![b'x'; payload].into(),
    }
}

/// As a client sends it.
pub fn publish(version: ProtocolVersion, topic: &str, qos: Qos, payload: usize) -> Vec<u8> {
    frame(version, &Packet::Publish(message(topic, qos, payload))).to_vec()
}

/// A request as MQTT 5 clients make them.
pub fn with_properties() -> Vec<u8> {
    let properties = PublishProperties {
        payload_format_indicator: Some(true),
        response_topic: Some("answers/17".into()),
        correlation_data: Some(Bytes::from_static(b"0123456789abcdef")),
        user_properties: UserProperties::from_iter([("trace", "00-4bf92f3577b34da6a3ce929d0e0e4736"), ("unit", "K")]),
        content_type: Some("application/json".into()),
        ..PublishProperties::default()
    };
    let publish = Publish { properties: properties.into(), ..message(TOPIC, Qos::AtMostOnce, SMALL) };
    frame(V5, &Packet::Publish(publish)).to_vec()
}

/// How many frames went to clients. Nothing else may leave.
fn count_sent(outputs: &[Output]) -> usize {
    let is_sent = |output: &&Output| matches!(output, Output::Send { .. });
    let sent = outputs.iter().filter(is_sent).count();
    let is_other = |output: &&Output| !matches!(output, Output::Send { .. } | Output::SaveAttachment { .. });
    assert_eq!(outputs.iter().find(is_other), None, "it is not the path that it is meant to be");
    sent
}

/// A publisher, `subscribers` subscribers, and nothing else.
fn to_some(version: ProtocolVersion, bytes: &[u8], subscribers: usize) -> Turn {
    let mut node = Node::new(Vec::new());
    let publisher = node.client(version);
    for _ in 0..subscribers {
        let subscriber = node.client(version);
        node.subscribe(subscriber, version, &[TOPIC.to_owned()], Qos::AtMostOnce);
    }
    let bytes = Bytes::copy_from_slice(bytes);
    node.rest();
    node.warm_up(publisher, bytes.clone());
    Box::new(move || assert_eq!(count_sent(&node.frame(publisher, bytes.clone())), subscribers))
}

fn topics_in_turn() -> Turn {
    let mut node = Node::new(Vec::new());
    let (publisher, subscriber) = (node.client(V3), node.client(V3));
    node.subscribe(subscriber, V3, &["fleet/#".to_owned()], Qos::AtMostOnce);
    let frames: Vec<Bytes> = (0..MANY_TOPICS)
        .map(|number| publish(V3, &format!("fleet/{number}/state"), Qos::AtMostOnce, SMALL).into())
        .collect();
    node.rest();
    for frame in &frames {
        node.warm_up(publisher, frame.clone());
    }
    let mut next = frames.into_iter().cycle();
    Box::new(move || {
        if let Some(frame) = next.next() {
            assert_eq!(count_sent(&node.frame(publisher, frame)), 1);
        }
    })
}

/// The subscriptions are of others, to other topics of the same kind.
fn beside(subscriptions: usize) -> Turn {
    const OF_A_CLIENT: usize = 1_000;
    let mut node = Node::new(Vec::new());
    let (publisher, subscriber) = (node.client(V3), node.client(V3));
    node.subscribe(subscriber, V3, &["fleet/mine/state".to_owned()], Qos::AtMostOnce);
    let filters: Vec<String> = (0..subscriptions).map(|number| format!("fleet/{number}/state")).collect();
    for filters in filters.chunks(OF_A_CLIENT) {
        let other = node.client(V3);
        node.subscribe(other, V3, filters, Qos::AtMostOnce);
    }
    let bytes = Bytes::from(publish(V3, "fleet/mine/state", Qos::AtMostOnce, SMALL));
    node.rest();
    node.warm_up(publisher, bytes.clone());
    Box::new(move || assert_eq!(count_sent(&node.frame(publisher, bytes.clone())), 1))
}

/// The frames of the whole exchange, on both sides.
fn acknowledged(qos: Qos) -> Turn {
    let mut node = Node::new(Vec::new());
    let (publisher, subscriber) = (node.client(V3), node.client(V3));
    node.subscribe(subscriber, V3, &[TOPIC.to_owned()], qos);
    node.rest();
    node.warm_up(publisher, publish(V3, TOPIC, Qos::AtMostOnce, SMALL).into());
    let bytes = Bytes::from(publish(V3, TOPIC, qos, SMALL));
    let (publishers_id, all) = (1, Acknowledgements::new());
    Box::new(move || {
        let outputs = node.frame(publisher, bytes.clone());
        assert_eq!(count_sent(&outputs), 2, "the publisher's answer, and the message");
        let id = packet_id_of_publish(&outputs, subscriber).expect("a message with a packet identifier");
        if qos == Qos::AtLeastOnce {
            assert_eq!(count_sent(&node.frame(subscriber, all.of(PUBACK, id))), 0);
        } else {
            assert_eq!(count_sent(&node.frame(publisher, all.of(PUBREL, publishers_id))), 1);
            assert_eq!(count_sent(&node.frame(subscriber, all.of(PUBREC, id))), 1);
            assert_eq!(count_sent(&node.frame(subscriber, all.of(PUBCOMP, id))), 0);
        }
    })
}

/// The first bytes.
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;

/// All that there can be, made beforehand: the benchmark itself shall not allocate.
struct Acknowledgements {
    by_first_byte: Vec<(u8, Bytes)>,
}

impl Acknowledgements {
    const LENGTH: usize = 4;

    fn new() -> Self {
        let of = |first: u8| {
            let all = (0..=u16::MAX).flat_map(|id| [first, 2, id.to_be_bytes()[0], id.to_be_bytes()[1]]);
            (first, all.collect::<Vec<_>>().into())
        };
        Self { by_first_byte: [PUBACK, PUBREC, PUBREL, PUBCOMP].map(of).into() }
    }

    fn of(&self, first: u8, id: u16) -> Bytes {
        let at = usize::from(id) * Self::LENGTH;
        let all = self.by_first_byte.iter().find(|(byte, _)| *byte == first);
        all.map(|(_, bytes)| bytes.slice(at..at + Self::LENGTH)).unwrap_or_default()
    }
}

/// Of a PUBLISH in MQTT 3.1.1 of less than 128 bytes that this client is sent.
fn packet_id_of_publish(outputs: &[Output], to: ConnectionId) -> Option<u16> {
    let bytes = outputs.iter().find_map(|output| match output {
        Output::Send { connection, bytes } if *connection == to => Some(bytes),
        _ => None,
    })?;
    let [high, low] = *bytes.get(2..4)? else { return None };
    let at = 4 + usize::from(u16::from_be_bytes([high, low]));
    let [high, low] = *bytes.get(at..at + 2)? else { return None };
    Some(u16::from_be_bytes([high, low]))
}

/// Its output goes to the queue, and the message to a client, too.
fn to_a_rule() -> Turn {
    const RULES: usize = 100;
    let rules = (0..RULES).map(|number| StoredRule {
        rule_name: RuleName::new(format!("rule_{number}")).expect("a name"),
        program: program(&format!("SELECT * FROM 'rules/{number}/#'")).encode(),
        actions: vec![r#"{"http":{"url":"https://example.com"}}"#.to_owned()],
    });
    let mut node = Node::new(rules.collect());
    let (publisher, subscriber) = (node.client(V3), node.client(V3));
    node.subscribe(subscriber, V3, &["rules/7/state".to_owned()], Qos::AtMostOnce);
    let bytes = Bytes::from(publish(V3, "rules/7/state", Qos::AtMostOnce, SMALL));
    node.rest();
    node.warm_up(publisher, bytes.clone());
    Box::new(move || {
        let outputs = node.frame(publisher, bytes.clone());
        let count = |is: fn(&Output) -> bool| outputs.iter().filter(|output| is(output)).count();
        assert_eq!(count(|output| matches!(output, Output::Send { .. })), 1);
        assert_eq!(count(|output| matches!(output, Output::Enqueue { .. })), 1);
        assert_eq!(count_sent(&node.enqueued()), 0);
    })
}

/// # Panics
/// When it is no statement.
pub fn program(sql: &str) -> Program {
    Program::compile(sql, SqlVersion::V2016).expect("a statement")
}
