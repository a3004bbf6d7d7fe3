//! What policies allow, how they come to the node, and what follows when they change.

use super::waking::sleep;
use super::*;
use crate::{AuthorityRequest, PolicySource, StoredAuthority};
use device_auth::internal_header::Lease;
use iot_types::CertificateId;
use messages::broker::AuthoritySubject;
use messages::session::AcknowledgementKind;
use mqtt_codec::Will;
use policy::Facts;

fn certificate(digit: char) -> Principal {
    let certificate_id = CertificateId::new(digit.to_string().repeat(64)).unwrap();
    Principal::Certificate { certificate_id }
}

fn identifier(digit: char) -> AuthoritySubject {
    AuthoritySubject::Principal(digit.to_string().repeat(64))
}

/// A policy with a statement for each (effect, action, what is behind the account in the ARN).
fn policy_named(name: &str, statements: &[(&str, &str, &str)]) -> PolicySource {
    let statements: Vec<String> = statements
        .iter()
        .map(|(effect, action, resource)| {
            format!(
                r#"{{"Effect":"{effect}","Action":"iot:{action}","Resource":"arn:aws:iot:eu-central-1:123456789012:{resource}"}}"#
            )
        })
        .collect();
    let document = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
    PolicySource { name: name.into(), document }
}

fn stored(statements: &[(&str, &str, &str)]) -> Option<StoredAuthority> {
    Some(StoredAuthority { policies: vec![policy_named("p", statements)], facts: Facts::default(), lease: None })
}

const CONNECT: (&str, &str, &str) = ("Allow", "Connect", "client/${iot:ClientId}");
const ALL: [(&str, &str, &str); 2] = [("Allow", "Connect", "client/*"), ("Allow", "*", "topic*")];

impl World {
    /// The registry answers the oldest question, the same for all that it is about.
    fn authorize(&mut self, sequence: u64, stored: &Option<StoredAuthority>) -> Vec<AuthorityRequest> {
        let requests = self.authority_loads.remove(0);
        let found = requests.iter().map(|request| (request.connection, stored.clone())).collect();
        self.input(Input::AuthoritiesLoaded { sequence, found });
        self.settle();
        requests
    }

    /// A client with a certificate, connected.
    fn device(
        &mut self,
        connection: u64,
        digit: char,
        connect: Connect,
        stored: &Option<StoredAuthority>,
    ) -> ConnectionId {
        let connection = self.open_as(connection, Some(certificate(digit)));
        self.send(connection, Packet::Connect(Box::new(connect)));
        self.authorize(1, stored);
        assert!(matches!(&self.take(connection)[..], [Packet::ConnAck(ack)] if ack.reason_code == ReasonCode::Success));
        self.asked.clear();
        connection
    }

    fn granted(&mut self, connection: ConnectionId) -> Vec<ReasonCode> {
        match &self.take(connection)[..] {
            [Packet::SubAck(ack)] => ack.reason_codes.clone(),
            packets => panic!("{packets:?}"),
        }
    }

    fn change(&mut self, sequence: u64, subject: AuthoritySubject) {
        let reply = self.ask(Address::Broker(other_broker(9)), BrokerRequest::AuthoritiesChanged { sequence, subject });
        assert_eq!(reply, Reply::Applied);
    }
}

#[test]
fn a_client_claims_nothing_before_its_policies_allow_it_to_connect() {
    let mut world = World::new();
    for (stored, expected) in [
        (None, Some(ReasonCode::NotAuthorized)),
        (
            Some(StoredAuthority { policies: vec![], facts: Facts::default(), lease: None }),
            Some(ReasonCode::NotAuthorized),
        ),
        (stored(&[("Allow", "Connect", "client/b")]), Some(ReasonCode::NotAuthorized)),
        (stored(&[CONNECT, ("Deny", "Connect", "client/a")]), Some(ReasonCode::NotAuthorized)),
        (stored(&[CONNECT]), None),
    ] {
        let connection = world.open_as(world.next_batch + 1, Some(certificate('a')));
        world.next_batch += 1;
        world.send(connection, Packet::Connect(Box::new(connect("a"))));
        let claims = |world: &mut World| {
            world
                .asked(|_, request| matches!(request, Request::Sessions(SessionsRequest::Claim { .. })).then_some(()))
                .len()
        };
        assert_eq!(claims(&mut world), 0, "{stored:?}");
        let asked = world.authorize(1, &stored);
        let request =
            AuthorityRequest { connection, principal: certificate('a'), client_id: "a".into(), certificate: None };
        assert_eq!(asked, [request]);
        assert_eq!(claims(&mut world), usize::from(expected.is_none()), "{stored:?}");
        assert_eq!(world.ended(connection), expected, "{stored:?}");
    }
}

#[test]
fn a_will_needs_the_permission_to_publish_and_to_retain_it() {
    let publish = ("Allow", "Publish", "topic/will");
    let retain = ("Allow", "RetainPublish", "topic/will");
    for (statements, is_retained, is_allowed) in [
        (vec![CONNECT], false, false),
        (vec![CONNECT, publish], false, true),
        (vec![CONNECT, publish], true, false),
        (vec![CONNECT, retain], true, false),
        (vec![CONNECT, publish, retain], true, true),
    ] {
        let mut world = World::new();
        let connection = world.open_as(1, Some(certificate('a')));
        let will = Will {
            topic: "will".into(),
            payload: "x".into(),
            qos: Qos::AtMostOnce,
            retain: is_retained,
            properties: Default::default(),
        };
        world.send(connection, Packet::Connect(Box::new(Connect { will: Some(will), ..connect("a") })));
        world.authorize(1, &stored(&statements));
        assert_eq!(world.ended(connection).is_none(), is_allowed, "{statements:?} {is_retained}");
    }
}

#[test]
fn publishing_what_is_not_allowed_is_answered_or_ends_the_connection() {
    let mut world = World::new();
    let statements = [
        CONNECT,
        ("Allow", "Publish", "topic/a/*"),
        ("Deny", "Publish", "topic/a/secret"),
        ("Allow", "RetainPublish", "topic/a/kept"),
    ];
    let connection = world.device(1, '1', connect("a"), &stored(&statements));
    for (topic, is_retained, expected) in [
        ("a/b", false, ReasonCode::Success),
        ("b", false, ReasonCode::NotAuthorized),
        ("a/secret", false, ReasonCode::NotAuthorized),
        ("a/b", true, ReasonCode::NotAuthorized),
        ("a/kept", true, ReasonCode::Success),
        ("a/b", false, ReasonCode::Success),
    ] {
        let packet = if is_retained {
            retained(topic, "x", Qos::AtLeastOnce, 7)
        } else {
            publish(topic, "x", Qos::AtLeastOnce, 7)
        };
        world.send(connection, packet);
        let code = world.acknowledged(connection).first().map(|(_, code)| *code);
        let is_refused = code == Some(ReasonCode::NotAuthorized);
        assert_eq!(is_refused, expected == ReasonCode::NotAuthorized, "{topic} {is_retained} {code:?}");
    }
    world.send(connection, publish("b", "x", Qos::AtMostOnce, 0));
    assert_eq!(world.ended(connection), Some(ReasonCode::NotAuthorized));
    assert!(world.count_logs("publish_refused") >= 4);
}

#[test]
fn filters_are_compared_as_they_are_written() {
    let mut world = World::new();
    let statements = [CONNECT, ("Allow", "Subscribe", "topicfilter/a/+"), ("Allow", "Subscribe", "topicfilter/b/*")];
    let connection = world.device(1, '1', connect("a"), &stored(&statements));
    let filters = ["a/+", "a/b", "b/#", "#"].map(|filter| (filter, Qos::AtMostOnce));
    world.send(connection, subscribe(1, &filters));
    let refused = ReasonCode::NotAuthorized;
    assert_eq!(world.granted(connection), [ReasonCode::Success, refused, ReasonCode::Success, refused]);
}

#[test]
fn nothing_is_delivered_that_the_client_may_not_receive() {
    let mut world = World::new();
    let root = world.client(1, connect("root"));
    let statements = [
        CONNECT,
        ("Allow", "Subscribe", "topicfilter/*"),
        ("Allow", "Receive", "topic/a"),
        ("Allow", "Receive", "topic/kept/a"),
    ];
    let device = world.device(2, '1', connect("d"), &stored(&statements));
    world.send(device, subscribe(1, &[("#", Qos::AtLeastOnce), ("$share/g/shared/#", Qos::AtMostOnce)]));
    world.take(device);
    for (topic, is_received) in [("a", true), ("b", false), ("a", true), ("shared/x", false)] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            world.send(root, publish(topic, "x", qos, 5));
            world.send(root, Packet::PubRel(PubRel::new(id(5))));
            assert_eq!(world.messages(device).len(), usize::from(is_received), "{topic} {qos:?}");
            let publication = Publication::of_platform(topic.into(), "x", qos, START);
            world.ask(Address::Broker(other_broker(1)), BrokerRequest::Deliver(publication));
            assert_eq!(world.messages(device).len(), usize::from(is_received), "{topic} {qos:?} from elsewhere");
        }
    }
    world.send(root, retained("a", "x", Qos::AtMostOnce, 0));
    world.send(root, retained("b", "x", Qos::AtMostOnce, 0));
    assert_eq!(world.messages(device).len(), 1, "what is retained");
}

#[test]
fn a_durable_session_is_rid_of_what_its_client_may_not_receive() {
    let mut world = World::new();
    let statements = [CONNECT, ("Allow", "Subscribe", "topicfilter/*"), ("Allow", "Receive", "topic/a")];
    let device = world.device(1, '1', durable("d"), &stored(&statements));
    let (number, from) = (world.next_number, world.sessions("d"));
    let outgoing = |topic: &str, packet_id, qos| Outgoing::Publish {
        packet_id: Some(id(packet_id)),
        dup: false,
        qos,
        retain: false,
        subscription_identifiers: Vec::new(),
        publication: Publication::of_platform(topic.into(), "x", qos, START),
    };
    let packets = vec![
        outgoing("a", 1, Qos::AtLeastOnce),
        outgoing("b", 2, Qos::AtLeastOnce),
        outgoing("b", 3, Qos::ExactlyOnce),
    ];
    world.ask(from, BrokerRequest::Send { connection: device, number, packets });
    world.settle();
    assert_eq!(world.messages(device).len(), 1);
    let told = world.asked(|_, request| match request {
        Request::Sessions(SessionsRequest::Acknowledge { acknowledgements, .. }) => Some(acknowledgements.clone()),
        _ => None,
    });
    let told: Vec<_> = told.concat().iter().map(|told| (told.packet_id.get(), told.kind)).collect();
    assert_eq!(told, [(2, AcknowledgementKind::PubAck), (3, AcknowledgementKind::PubRecFailed)]);
}

#[test]
fn a_changed_policy_narrows_or_ends_the_connections_that_have_it() {
    let mut world = World::new();
    let root = world.client(1, connect("root"));
    let device = world.device(2, '1', connect("d"), &stored(&ALL));
    let other =
        Some(StoredAuthority { policies: vec![policy_named("other", &ALL)], facts: Facts::default(), lease: None });
    world.device(3, '2', connect("e"), &other);
    world.send(device, subscribe(1, &[("t", Qos::AtMostOnce)]));
    world.take(device);
    world.send(root, publish("t", "x", Qos::AtMostOnce, 0));
    assert_eq!(world.messages(device).len(), 1);

    world.change(2, AuthoritySubject::Policy("p".into()));
    let narrower = stored(&[CONNECT, ("Allow", "Receive", "topic/else")]);
    let asked = world.authorize(2, &narrower);
    assert_eq!(asked.iter().map(|request| request.connection).collect::<Vec<_>>(), [device]);
    world.send(root, publish("t", "x", Qos::AtMostOnce, 0));
    assert!(world.messages(device).is_empty());
    assert_eq!(world.ended(device), None);

    world.change(3, identifier('1'));
    world.authorize(3, &stored(&[]).map(|stored| StoredAuthority { policies: vec![], ..stored }));
    assert_eq!(world.ended(device), Some(ReasonCode::NotAuthorized));
    assert!(world.authority_loads.is_empty());
}

#[test]
fn a_certificate_that_is_not_active_any_more_ends_its_connections() {
    let mut world = World::new();
    let device = world.device(1, '1', connect("d"), &stored(&ALL));
    world.change(2, identifier('1'));
    world.authorize(2, &None);
    assert_eq!(world.ended(device), Some(ReasonCode::NotAuthorized));
}

#[test]
fn a_node_that_has_missed_a_change_reads_everybodys_again() {
    let mut world = World::new();
    world.client(1, connect("root"));
    let device = world.device(2, '1', connect("d"), &stored(&ALL));
    for (sequence, subject, is_read) in [
        (2, identifier('9'), false),
        (2, identifier('1'), false),
        (3, AuthoritySubject::Nobody, false),
        (5, AuthoritySubject::Nobody, true),
        (4, identifier('1'), false),
        (9, identifier('9'), true),
    ] {
        world.change(sequence, subject.clone());
        let asked =
            if world.authority_loads.is_empty() { Vec::new() } else { world.authorize(sequence, &stored(&ALL)) };
        let connections: Vec<_> = asked.iter().map(|request| request.connection).collect();
        assert_eq!(connections, if is_read { vec![device] } else { vec![] }, "{sequence} {subject:?}");
    }
}

#[test]
fn what_changes_while_it_is_read_is_read_again() {
    let mut world = World::new();
    world.device(1, '1', connect("d"), &stored(&ALL));
    let connection = world.open_as(2, Some(certificate('2')));
    world.send(connection, Packet::Connect(Box::new(connect("e"))));
    world.change(2, identifier('2'));
    world.authorize(1, &stored(&ALL));
    assert_eq!(world.take(connection), [], "it was read too early");
    world.authorize(2, &None);
    assert_eq!(world.ended(connection), Some(ReasonCode::NotAuthorized));
}

#[test]
fn a_registry_that_was_set_back_is_believed_after_three_answers() {
    let mut world = World::new();
    let device = world.device(1, '1', connect("d"), &stored(&ALL));
    world.change(500, AuthoritySubject::Nobody);
    for _ in 0..2 {
        world.authorize(7, &stored(&ALL));
        assert_eq!(world.authority_loads.len(), 1, "it is asked again");
    }
    world.authorize(7, &stored(&ALL));
    assert!(world.authority_loads.is_empty());
    let connection = world.open_as(2, Some(certificate('2')));
    world.send(connection, Packet::Connect(Box::new(connect("e"))));
    world.authorize(7, &stored(&ALL));
    assert!(matches!(&world.take(connection)[..], [Packet::ConnAck(ack)] if ack.reason_code == ReasonCode::Success));
    world.change(8, identifier('1'));
    world.authorize(8, &None);
    assert_eq!(world.ended(device), Some(ReasonCode::NotAuthorized), "its numbers count from there");
}

#[test]
fn who_is_connected_stays_when_the_registry_cannot_be_read() {
    let mut world = World::new();
    let device = world.device(1, '1', connect("d"), &stored(&ALL));
    let connection = world.open_as(2, Some(certificate('2')));
    world.send(connection, Packet::Connect(Box::new(connect("e"))));
    let requests = world.authority_loads.remove(0);
    world.input(Input::AuthoritiesUnavailable { requests });
    assert_eq!(world.ended(connection), Some(ReasonCode::ServerUnavailable));
    world.wait(2_000);

    world.change(2, identifier('1'));
    let requests = world.authority_loads.remove(0);
    world.input(Input::AuthoritiesUnavailable { requests });
    assert!(world.authority_loads.is_empty(), "not at once");
    world.wait(1_000);
    world.authorize(2, &stored(&ALL));
    assert_eq!(world.ended(device), None);
}

#[test]
fn questions_are_packed_and_asked_one_after_the_other() {
    let mut world = World::new();
    for number in 0..250 {
        let connection = ConnectionId(number + 1);
        world.open_as(connection.0, Some(certificate('1')));
        world.frame(connection, &[Packet::Connect(Box::new(connect(&format!("d{number}"))))]);
    }
    let mut counts = Vec::new();
    while !world.authority_loads.is_empty() {
        assert_eq!(world.authority_loads.len(), 1);
        counts.push(world.authorize(1, &stored(&ALL)).len());
    }
    assert_eq!(counts, [1, 100, 100, 49]);
    assert_eq!(world.policies.len(), 1, "all have the same");
}

#[test]
fn a_node_that_wakes_up_knows_what_its_clients_may_do() {
    let mut world = World::new();
    let statements = [
        CONNECT,
        ("Allow", "Publish", "topic/${iot:ClientId}"),
        ("Allow", "Subscribe", "topicfilter/*"),
        ("Allow", "Receive", "topic/d"),
    ];
    let device = world.device(1, '1', connect("d"), &stored(&statements));
    world.send(device, subscribe(1, &[("#", Qos::AtMostOnce)]));
    world.take(device);
    world.wait(2_000);
    sleep(&mut world);
    world.settle();
    assert!(world.authority_loads.is_empty());
    world.send(device, publish("d", "x", Qos::AtMostOnce, 0));
    assert_eq!(world.messages(device).len(), 1);
    world.send(device, publish("e", "x", Qos::AtMostOnce, 0));
    assert_eq!(world.ended(device), Some(ReasonCode::NotAuthorized));
}

#[test]
fn a_connection_whose_policies_are_lost_is_closed() {
    let mut world = World::new();
    let device = world.device(1, '1', connect("d"), &stored(&ALL));
    world.wait(2_000);
    world.policies.clear();
    sleep(&mut world);
    assert_eq!(world.closed.get(&device), Some(&1012));
}

#[test]
fn policies_that_nobody_has_are_forgotten_but_for_some() {
    let mut world = World::new();
    let device = world.device(1, '1', connect("d"), &stored(&ALL));
    for sequence in 2..102 {
        world.change(sequence, identifier('1'));
        let one_more = format!("topic/{sequence}");
        world.authorize(sequence, &stored(&[CONNECT, ("Allow", "Publish", &one_more)]));
    }
    assert_eq!(world.policies.len(), 65);
    world.wait(2_000);
    sleep(&mut world);
    world.send(device, publish("101", "x", Qos::AtLeastOnce, 1));
    assert_eq!(world.acknowledged(device).len(), 1);
    assert_eq!(world.ended(device), None);
}

/// What an authorizer says, good for so many milliseconds from the beginning.
fn leased(refresh_at: u64, ends_at: u64) -> Option<StoredAuthority> {
    let lease = Lease { refresh_at: START.plus_millis(refresh_at), ends_at: START.plus_millis(ends_at) };
    stored(&ALL).map(|stored| StoredAuthority { lease: Some(lease), ..stored })
}

#[test]
fn an_authorizers_answer_is_asked_for_again_when_its_time_has_come() {
    let mut world = World::new();
    let device = world.device(1, 'a', connect("a"), &leased(60_000, 600_000));
    assert!(world.node.next_timeout().is_some_and(|at| at <= START.plus_millis(60_000)));
    world.wait(59_999);
    assert_eq!(world.authority_loads.len(), 0);
    world.wait(1);
    assert_eq!(world.authorize(1, &leased(80_000, 600_000)).len(), 1);
    assert_eq!(world.ended(device), None);
    world.wait(20_000);
    world.authorize(1, &None);
    assert_eq!(world.ended(device), Some(ReasonCode::NotAuthorized));
}

#[test]
fn an_authorizers_client_has_to_come_again_in_the_end() {
    let mut world = World::new();
    let device = world.device(1, 'a', Connect { keep_alive: 0, ..connect("a") }, &leased(600_000, 300_000));
    world.wait(299_999);
    assert_eq!(world.ended(device), None);
    world.wait(1);
    assert_eq!(world.ended(device), Some(ReasonCode::MaximumConnectTime));
}
