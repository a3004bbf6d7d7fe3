//! Sessions that outlive their connection: packets and acknowledgements pass through to their Sessions shard.

use super::*;
use messages::session::{Acknowledgement, AcknowledgementKind, Outgoing};

fn outgoing(packet_id: Option<u16>, qos: Qos, dup: bool) -> Outgoing {
    Outgoing::Publish {
        packet_id: packet_id.map(id),
        dup,
        qos,
        retain: true,
        subscription_identifiers: vec![4],
        publication: Publication::of_platform("t".into(), "p", qos, START),
    }
}

fn acknowledged(packet_id: u16, kind: AcknowledgementKind) -> Output {
    Output::Acknowledged(Acknowledgement { packet_id: id(packet_id), kind })
}

#[test]
fn packets_of_the_shard_are_sent_as_they_are() {
    for version in VERSIONS {
        let mut connection = Connection::durable(version);
        assert!(connection.session.is_durable());
        for (qos, packet_id) in [(Qos::AtMostOnce, None), (Qos::AtLeastOnce, Some(9)), (Qos::ExactlyOnce, Some(9))] {
            for dup in [false, true] {
                let out = connection.input(Input::Relay(outgoing(packet_id, qos, dup)));
                let mut expected = Publish { dup, qos, retain: true, packet_id: packet_id.map(id), ..publish(None) };
                if version == V5 {
                    expected.properties.subscription_identifiers = vec![4];
                }
                assert_eq!(out, [Output::Send(Packet::Publish(expected))], "[MQTT-3.3.1-1]");
            }
        }
        for (is_unknown, code) in [(false, ReasonCode::Success), (true, ReasonCode::PacketIdentifierNotFound)] {
            let out = connection.input(Input::Relay(Outgoing::PubRel { packet_id: id(9), is_unknown }));
            assert_eq!(out, [pubrel(9, version, code)]);
        }
        assert!(connection.session.is_at_rest(), "the shard has it all");
    }
}

#[test]
fn acknowledgements_are_the_shards() {
    for version in VERSIONS {
        let mut connection = Connection::durable(version);
        assert_eq!(connection.acknowledge(1), [acknowledged(1, AcknowledgementKind::PubAck)]);
        assert_eq!(connection.pubrec(2, ReasonCode::Success), [acknowledged(2, AcknowledgementKind::PubRec)]);
        assert_eq!(connection.pubcomp(2), [acknowledged(2, AcknowledgementKind::PubComp)]);
        assert_eq!(
            connection.pubrec(3, ReasonCode::UnspecifiedError),
            [acknowledged(3, AcknowledgementKind::PubRecFailed)]
        );
        assert!(connection.session.is_at_rest());
    }
}

#[test]
fn a_packet_too_large_for_the_client_counts_as_delivered() {
    let mut connect = connect_durably(V5);
    connect.properties.maximum_packet_size = Some(80);
    let mut connection = Connection::durable_with(STANDARD, connect);
    for (qos, packet_id, kind) in [
        (Qos::AtMostOnce, None, None),
        (Qos::AtLeastOnce, Some(9), Some(AcknowledgementKind::PubAck)),
        (Qos::ExactlyOnce, Some(9), Some(AcknowledgementKind::PubRecFailed)),
    ] {
        let mut large = outgoing(packet_id, qos, false);
        let Outgoing::Publish { publication, .. } = &mut large else { panic!() };
        publication.payload = vec![0; 80].into();
        let out = connection.input(Input::Relay(large));
        assert_eq!(out, Vec::from_iter(kind.map(|kind| acknowledged(9, kind))), "[MQTT-3.1.2-25]");
    }
}

#[test]
fn a_message_beside_the_shards_is_sent_with_qos_0() {
    for version in VERSIONS {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let out = Connection::durable(version).deliver(delivery("t", qos));
            assert_eq!(out, [Output::Send(Packet::Publish(publish(None)))], "packet identifiers are the shard's");
        }
    }
}

#[test]
fn what_the_shard_sends_to_a_clean_session_is_ignored() {
    let mut connection = Connection::connected(V5);
    assert_eq!(connection.input(Input::Relay(outgoing(Some(1), Qos::AtLeastOnce, false))), []);
    assert_eq!(connection.input(Input::Released { packet_id: id(1) }), []);
    assert_eq!(connection.input(Input::Unsubscribed { packet_id: id(1), reason_codes: vec![] }), []);
}

#[test]
fn a_publish_of_qos_2_that_comes_again_is_the_shards_to_judge() {
    for version in VERSIONS {
        let mut connection = Connection::durable(version);
        let again = Publish { dup: true, ..publish_2(7) };
        connection.packet(Packet::Publish(publish_2(7)));
        assert_eq!(connection.packet(Packet::Publish(again.clone())), [], "it is being worked on");
        assert_eq!(connection.settle(7, ReasonCode::Success), [pubrec(7, ReasonCode::Success)]);
        assert!(connection.session.is_at_rest(), "the shard knows the identifier");
        let out = connection.packet(Packet::Publish(again.clone()));
        assert_eq!(out, [Output::Publish(Box::new(again.clone()))], "the shard knows whether it was published");
        assert!(!connection.session.is_at_rest());
        assert_eq!(connection.settle(7, ReasonCode::Success), [pubrec(7, ReasonCode::Success)]);
    }
}

#[test]
fn pubcomp_waits_until_the_shard_has_forgotten_the_identifier() {
    for version in VERSIONS {
        let mut connection = Connection::durable(version);
        // The PUBLISH came over an earlier connection.
        assert_eq!(connection.pubrel(7), [Output::Release { packet_id: id(7) }]);
        assert_eq!(connection.pubrel(7), [], "one answer for both");
        assert!(!connection.session.is_at_rest());
        let out = connection.input(Input::Released { packet_id: id(7) });
        assert_eq!(out, [pubcomp(7, version, ReasonCode::Success)], "[MQTT-4.3.3-11]");
        assert!(connection.session.is_at_rest());
        assert_eq!(connection.input(Input::Released { packet_id: id(7) }), []);
    }
}

#[test]
fn receive_maximum_holds_for_durable_sessions_too() {
    let settings = SessionSettings { receive_maximum: 1, ..STANDARD };
    let mut connection = Connection::durable_with(settings, connect_durably(V5));
    connection.packet(Packet::Publish(publish_2(1)));
    connection.settle(1, ReasonCode::Success);
    let again = Publish { dup: true, ..publish_2(1) };
    assert_eq!(connection.packet(Packet::Publish(again)).len(), 1, "it counts once");
    connection.settle(1, ReasonCode::Success);
    connection.pubrel(1);
    connection.input(Input::Released { packet_id: id(1) });
    assert_eq!(connection.packet(Packet::Publish(publish_2(2))).len(), 1);
    connection.settle(2, ReasonCode::Success);
    let out = connection.packet(Packet::Publish(publish(Some(3))));
    check_ended(&out, V5, ReasonCode::ReceiveMaximumExceeded, "[MQTT-3.3.4-7]");
}

#[test]
fn unsuback_waits_for_the_shard() {
    for version in VERSIONS {
        let mut connection = Connection::connecting(STANDARD, connect_durably(version));
        let subscriptions = [("a".to_owned(), options(Qos::AtLeastOnce))].into();
        connection.input(accepted(AcceptedSession { subscriptions, ..durable_session() }));
        assert_eq!(connection.session.subscription("a"), Some(options(Qos::AtLeastOnce)), "[MQTT-3.1.2-5]");
        let asked = unsubscribe(4, &["a", "x"]);
        assert_eq!(connection.packet(Packet::Unsubscribe(asked.clone())), [Output::Unsubscribe(asked)]);
        assert!(!connection.session.is_at_rest());
        let reason_codes = vec![ReasonCode::Success, ReasonCode::NoSubscriptionExisted];
        let out = connection.input(Input::Unsubscribed { packet_id: id(4), reason_codes: reason_codes.clone() });
        let unsuback = UnsubAck { packet_id: id(4), reason_codes, properties: AckProperties::default() };
        assert_eq!(out, [Output::Send(Packet::UnsubAck(unsuback))], "[MQTT-3.10.4-4]");
        assert!(connection.session.is_at_rest());
        assert_eq!(connection.session.subscriptions().count(), 0);
    }
}

#[test]
fn a_durable_session_says_so_when_its_connection_ends() {
    for version in VERSIONS {
        let out = Connection::durable(version).input(Input::ConnectionLost);
        assert!(matches!(&out[..], [Output::Close(ended)] if ended.is_durable && ended.session_expiry.is_none()));
    }
}
