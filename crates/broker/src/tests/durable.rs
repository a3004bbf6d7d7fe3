//! Sessions that outlive their connection.

use super::*;

#[test]
fn subscriptions_are_the_sessions_shards_and_touch_no_router() {
    let mut world = World::new();
    let connection = world.client(1, durable("a"));
    world.script(|_, request| match request {
        Request::Sessions(SessionsRequest::Subscribe { .. }) => Some(Reply::Pending),
        _ => None,
    });
    let replays = [RetainHandling::SendAtSubscribe, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
    let filters = [("a", Qos::AtLeastOnce), ("b", Qos::ExactlyOnce), ("c", Qos::AtMostOnce)];
    let requests: Vec<SubscriptionRequest> = filters
        .iter()
        .zip(replays)
        .map(|((filter, qos), retain_handling)| SubscriptionRequest {
            retain_handling,
            ..SubscriptionRequest::new(*filter, *qos)
        })
        .chain([SubscriptionRequest::new("#/x", Qos::AtMostOnce)])
        .collect();
    let packet = |packet_id| {
        Packet::Subscribe(Subscribe {
            packet_id: id(packet_id),
            filters: requests.iter().cloned().collect(),
            properties: SubscribeProperties::default(),
        })
    };
    world.send(connection, packet(1));
    let told = |world: &mut World| {
        world.asked(|_, request| match request {
            Request::Sessions(SessionsRequest::Subscribe { filters, .. }) => Some(
                filters
                    .iter()
                    .map(|(filter, options, replays)| (filter.clone(), options.qos, *replays))
                    .collect::<Vec<_>>(),
            ),
            Request::Router(RouterRequest::Subscribe { .. }) => Some(Vec::new()),
            _ => None,
        })
    };
    let expected = |is_new| {
        vec![
            ("a".to_owned(), Qos::AtLeastOnce, true),
            ("b".to_owned(), Qos::ExactlyOnce, is_new),
            ("c".to_owned(), Qos::AtMostOnce, false),
        ]
    };
    assert_eq!(told(&mut world), [expected(true)], "Retain Handling, section 3.8.3.1");
    let number = world.next_number;
    let from = world.sessions("a");
    let subscribed =
        BrokerRequest::Subscribed { connection, number, packet_id: id(1), are_stored: vec![true, true, false] };
    assert_eq!(world.ask(from.clone(), subscribed.clone()), Reply::Applied);
    let packets = world.take(connection);
    let [Packet::SubAck(ack)] = &packets[..] else { panic!("{packets:?}") };
    let codes = [
        ReasonCode::GrantedQos1,
        ReasonCode::GrantedQos2,
        ReasonCode::ImplementationSpecificError,
        ReasonCode::TopicFilterInvalid,
    ];
    assert_eq!(ack.reason_codes, codes);
    world.ask(from, subscribed);
    assert!(world.take(connection).is_empty(), "once");
    world.send(connection, packet(2));
    assert_eq!(told(&mut world), [expected(false)]);
}

#[test]
fn a_subscription_that_is_in_force_before_its_answer_arrives_is_acknowledged_once() {
    let mut world = World::new();
    let connection = world.client(1, durable("a"));
    world.frame(connection, &[subscribe(1, &[("a", Qos::AtMostOnce)])]);
    let (number, from) = (world.next_number, world.sessions("a"));
    world.ask(from, BrokerRequest::Subscribed { connection, number, packet_id: id(1), are_stored: vec![true] });
    world.script(|_, request| match request {
        Request::Sessions(SessionsRequest::Subscribe { .. }) => Some(Reply::Pending),
        _ => None,
    });
    world.settle();
    assert_eq!(world.take(connection).len(), 1);
    world.wait(2_000);
    assert!(world.node.is_at_rest());
}

#[test]
fn a_subscription_that_nobody_answers_fails_in_the_end() {
    let mut world = World::new();
    let connection = world.client(1, durable("a"));
    world.script(|_, request| match request {
        Request::Sessions(SessionsRequest::Subscribe { .. }) => Some(Reply::Pending),
        _ => None,
    });
    world.send(connection, subscribe(1, &[("a", Qos::AtMostOnce)]));
    world.wait(74_999);
    assert!(world.take(connection).is_empty());
    world.wait(1);
    let packets = world.take(connection);
    let [Packet::SubAck(ack)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!(ack.reason_codes, [ReasonCode::ImplementationSpecificError]);
}

#[test]
fn unsuback_waits_for_the_sessions_shard() {
    let mut world = World::new();
    let connection = world.client(1, durable("a"));
    world.send(connection, subscribe(1, &[("a", Qos::AtMostOnce)]));
    world.take(connection);
    world.frame(connection, &[unsubscribe(2, &["a", "b", "a"])]);
    assert!(world.take(connection).is_empty());
    world.settle();
    let packets = world.take(connection);
    let [Packet::UnsubAck(ack)] = &packets[..] else { panic!("{packets:?}") };
    let gone = ReasonCode::NoSubscriptionExisted;
    assert_eq!(ack.reason_codes, [ReasonCode::Success, gone, gone], "[MQTT-3.11.3-1]");
}

#[test]
fn packets_of_the_shard_reach_the_client_and_its_acknowledgements_go_back_together() {
    let mut world = World::new();
    let connection = world.client(1, durable("a"));
    let (number, from) = (world.next_number, world.sessions("a"));
    let outgoing = |packet_id: u16, qos: Qos| Outgoing::Publish {
        packet_id: PacketId::new(packet_id),
        dup: true,
        qos,
        retain: true,
        subscription_identifiers: vec![4],
        publication: Publication::of_platform("t".into(), "x", qos, START),
    };
    let packets = vec![
        outgoing(1, Qos::AtLeastOnce),
        outgoing(2, Qos::ExactlyOnce),
        outgoing(0, Qos::AtMostOnce),
        Outgoing::PubRel { packet_id: id(9), is_unknown: false },
    ];
    assert_eq!(world.ask(from, BrokerRequest::Send { connection, number, packets }), Reply::Applied);
    let sent = world.take(connection);
    assert!(
        matches!(&sent[..], [Packet::Publish(one), Packet::Publish(two), Packet::Publish(_), Packet::PubRel(_)]
            if one.dup && one.retain && two.packet_id == Some(id(2)) && one.properties.subscription_identifiers == [4]),
        "{sent:?}"
    );
    world.frame(
        connection,
        &[Packet::PubAck(PubAck::new(id(1))), Packet::PubRec(PubRec::new(id(2))), Packet::PubComp(PubComp::new(id(9)))],
    );
    world.settle();
    let told = world.asked(|_, request| match request {
        Request::Sessions(SessionsRequest::Acknowledge { acknowledgements, number: of, .. }) => {
            assert_eq!(*of, number);
            Some(acknowledgements.iter().map(|a| a.packet_id.get()).collect::<Vec<_>>())
        }
        _ => None,
    });
    assert_eq!(told, [vec![1, 2, 9]], "packed, in order");
}

#[test]
fn acknowledgements_are_told_before_the_ending() {
    let mut world = World::new();
    let connection = world.client(1, durable("a"));
    let bye = Packet::Disconnect(Disconnect::new(ReasonCode::Success));
    world.frame(connection, &[Packet::PubAck(PubAck::new(id(1))), bye]);
    world.settle();
    let told = world.asked(|_, request| match request {
        Request::Sessions(SessionsRequest::Acknowledge { .. }) => Some("acknowledge"),
        Request::Sessions(SessionsRequest::Release { .. }) => Some("release"),
        _ => None,
    });
    assert_eq!(told, ["acknowledge", "release"]);
}

#[test]
fn an_acknowledgement_that_can_not_be_told_ends_the_connection_so_that_it_comes_again() {
    let mut world = World::new();
    let connection = world.client(1, durable("a"));
    world.script(|_, request| match request {
        Request::Sessions(SessionsRequest::Acknowledge { .. }) => Some(Reply::Refused(Refusal::Unavailable)),
        _ => None,
    });
    world.send(connection, Packet::PubAck(PubAck::new(id(1))));
    assert!(world.closed.contains_key(&connection));
}

#[test]
fn qos_2_is_received_before_it_is_passed_on_and_settled_before_pubrec() {
    let mut world = World::new();
    let connection = world.client(1, durable("a"));
    world.subscribe_elsewhere("t", Destination::Broker(other_broker(1)));
    world.frame(connection, &[publish("t", "x", Qos::ExactlyOnce, 5)]);
    let mut steps = Vec::new();
    while !world.calls.is_empty() {
        let call = world.calls.remove(0);
        world.answer_call(call);
        let rec = world.take(connection).iter().any(|packet| matches!(packet, Packet::PubRec(_)));
        steps.extend(world.asked(|_, request| match request {
            Request::Sessions(SessionsRequest::Receive { .. }) => Some("receive"),
            Request::Broker(BrokerRequest::Deliver(_)) => Some("deliver"),
            Request::Sessions(SessionsRequest::ReceiveSettled { is_safe: true, .. }) => Some("settled"),
            _ => None,
        }));
        steps.extend(rec.then_some("PUBREC"));
    }
    assert_eq!(steps, ["receive", "deliver", "settled", "PUBREC"], "[MQTT-4.3.3-10]");
    world.frame(connection, &[Packet::PubRel(PubRel::new(id(5)))]);
    assert!(world.take(connection).is_empty(), "PUBCOMP waits for the shard");
    world.settle();
    assert!(matches!(world.take(connection)[..], [Packet::PubComp(_)]), "[MQTT-4.3.3-11]");
    let forgotten = world.asked(|_, request| match request {
        Request::Sessions(SessionsRequest::PubRel { packet_id, .. }) => Some(packet_id.get()),
        _ => None,
    });
    assert_eq!(forgotten, [5]);
}

#[test]
fn a_message_of_qos_2_that_comes_again_keeps_its_first_name_or_is_passed_on_no_more() {
    use messages::publication::MessageId;
    let name = MessageId { origin: 1, number: 2 };
    for (is_settled, expected) in [(false, vec![Some(name)]), (true, vec![])] {
        let mut world = World::new();
        let connection = world.client(1, durable("a"));
        world.subscribe_elsewhere("t", Destination::Broker(other_broker(1)));
        world.script(move |_, request| match request {
            Request::Sessions(SessionsRequest::Receive { .. }) => {
                Some(Reply::Received(ReceivedState { message_id: name, is_settled }))
            }
            _ => None,
        });
        world.send(connection, publish("t", "x", Qos::ExactlyOnce, 5));
        let names = world.asked(|_, request| match request {
            Request::Broker(BrokerRequest::Deliver(publication)) => Some(publication.message_id),
            _ => None,
        });
        assert_eq!(names, expected);
        assert_eq!(world.acknowledged(connection), [(5, ReasonCode::Success)]);
    }
}

#[test]
fn a_message_of_qos_2_that_could_not_be_passed_on_keeps_its_identifier_and_has_to_be_sent_again() {
    let mut world = World::new();
    let connection = world.client(1, durable("a"));
    world.subscribe_elsewhere("t", Destination::Broker(other_broker(1)));
    world.script(|_, request| match request {
        Request::Broker(BrokerRequest::Deliver(_)) => Some(Reply::Refused(Refusal::Unavailable)),
        _ => None,
    });
    world.send(connection, publish("t", "x", Qos::ExactlyOnce, 5));
    let told = world.asked(|_, request| match request {
        Request::Sessions(SessionsRequest::ReceiveSettled { is_safe, .. }) => Some(*is_safe),
        _ => None,
    });
    assert!(told.is_empty());
    assert_eq!(world.ended(connection), Some(ReasonCode::ImplementationSpecificError));
}

#[test]
fn publishes_behind_one_of_qos_2_keep_their_place() {
    let mut world = World::new();
    let connection = world.client(1, durable("a"));
    let listener = world.client(2, connect("l"));
    world.send(listener, subscribe(1, &[("#", Qos::AtMostOnce)]));
    world.take(listener);
    world.frame(connection, &[publish("t", "1", Qos::ExactlyOnce, 5), publish("t", "2", Qos::AtMostOnce, 0)]);
    world.settle();
    let payloads: Vec<String> = world.messages(listener).into_iter().map(|(_, payload, ..)| payload).collect();
    assert_eq!(payloads, ["1", "2"]);
}

#[test]
fn a_durable_session_gets_nothing_that_nodes_hand_to_clean_ones() {
    let mut world = World::new();
    let connection = world.client(1, durable("a"));
    world.send(connection, subscribe(1, &[("t", Qos::AtMostOnce)]));
    world.take(connection);
    let publication = Publication::of_platform("t".into(), "x", Qos::AtMostOnce, START);
    world.ask(Address::Broker(other_broker(1)), BrokerRequest::Deliver(publication));
    assert!(world.messages(connection).is_empty(), "its shard sends it");
}
