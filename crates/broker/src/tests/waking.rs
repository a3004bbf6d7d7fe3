//! Sleep: what a node that lost its memory does with the sockets it finds.

use super::*;

/// The node forgets everything but its sockets.
pub(super) fn sleep(world: &mut World) {
    assert!(world.node.is_at_rest());
    world.node = Broker::new(
        settings(BrokerLimits::STANDARD, SessionSettings::STANDARD, TopicLimits::STANDARD),
        EPOCH,
        world.now,
    );
    world.node.restore_policies(world.policies.clone().into_iter().collect());
    let sockets = world.attachments.clone().into_iter().collect();
    world.node.wake(world.now, sockets);
    world.node.handle(world.now, Input::RulesLoaded { sequence: 1, rules: Vec::new() });
    world.flush();
    world.asked.clear();
}

#[test]
fn clean_sessions_find_their_subscriptions_and_groups_again_without_asking_routers() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.send(connection, subscribe(1, &[("t", Qos::AtMostOnce), ("$share/g/s", Qos::AtMostOnce)]));
    world.take(connection);
    world.wait(2_000);
    sleep(&mut world);
    world.settle();
    let asked = world.asked(|_, request| match request {
        Request::Router(RouterRequest::Subscribe { filter, .. }) => Some(filter.clone()),
        _ => None,
    });
    assert!(asked.is_empty(), "their Routers know them: {asked:?}");
    for topic in ["t", "s"] {
        world.send(connection, publish(topic, "x", Qos::AtMostOnce, 0));
    }
    assert_eq!(world.messages(connection).len(), 2);
    world.asked.clear();
    world.send(connection, unsubscribe(2, &["t", "$share/g/s"]));
    let ended =
        world.asked(|_, request| matches!(request, Request::Router(RouterRequest::Unsubscribe { .. })).then_some(()));
    assert_eq!(ended.len(), 2);
}

#[test]
fn durable_sessions_are_not_put_into_the_index_and_keep_their_number() {
    let mut world = World::new();
    let connection = world.client(1, durable("a"));
    world.send(connection, subscribe(1, &[("t", Qos::AtMostOnce)]));
    world.take(connection);
    let (number, from) = (world.next_number, world.sessions("a"));
    world.wait(2_000);
    sleep(&mut world);
    world.send(connection, publish("t", "x", Qos::AtMostOnce, 0));
    assert!(world.messages(connection).is_empty(), "its shard sends it");
    let packets = vec![Outgoing::PubRel { packet_id: id(1), is_unknown: false }];
    assert_eq!(world.ask(from, BrokerRequest::Send { connection, number, packets }), Reply::Applied);
    world.send(connection, unsubscribe(2, &["t"]));
    let packets = world.take(connection);
    assert!(
        matches!(&packets[..], [Packet::PubRel(_), Packet::UnsubAck(ack)] if ack.reason_codes == [ReasonCode::Success]),
        "{packets:?}"
    );
}

#[test]
fn names_of_messages_do_not_begin_anew_after_a_sleep() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.subscribe_elsewhere("#", Destination::Broker(other_broker(1)));
    let mut names = Vec::new();
    for packet_id in 1..=3 {
        world.send(connection, publish("t", "x", Qos::ExactlyOnce, packet_id));
        world.send(connection, Packet::PubRel(PubRel::new(id(packet_id))));
        names.extend(world.asked(|_, request| match request {
            Request::Broker(BrokerRequest::Deliver(publication)) => publication.message_id,
            _ => None,
        }));
        world.wait(2_000);
        sleep(&mut world);
    }
    assert_eq!(names.len(), 3);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn a_connection_that_was_in_the_middle_of_something_is_closed() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.wait(2_000);
    // The queue of a slow Router: the publish is under way when the node loses its memory.
    world.frame(connection, &[publish("t", "x", Qos::AtLeastOnce, 1)]);
    let bytes = world.attachments[&connection].clone();
    assert!(Attachment::decode(&bytes).unwrap().session.unwrap().is_dirty);
    world.node = Broker::new(
        settings(BrokerLimits::STANDARD, SessionSettings::STANDARD, TopicLimits::STANDARD),
        EPOCH,
        world.now,
    );
    world.node.wake(world.now, vec![(connection, bytes), (ConnectionId(9), vec![9])]);
    world.flush();
    assert!(world.closed.contains_key(&connection) && world.closed.contains_key(&ConnectionId(9)));
}

#[test]
fn an_attachment_of_another_epoch_is_a_restart() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    let bytes = world.attachments[&connection].clone();
    world.node = Broker::new(
        settings(BrokerLimits::STANDARD, SessionSettings::STANDARD, TopicLimits::STANDARD),
        EPOCH + 1,
        world.now,
    );
    world.node.wake(world.now, vec![(connection, bytes)]);
    world.flush();
    assert_eq!((world.node.connection_count(), world.closed[&connection]), (0, 1012));
}

#[test]
fn with_sockets_that_end_with_the_memory_nothing_is_kept_for_it_and_rest_begins_at_once() {
    for sockets_outlive_memory in [true, false] {
        let mut world = World::with(BrokerSettings {
            sockets_outlive_memory,
            ..settings(BrokerLimits::STANDARD, SessionSettings::STANDARD, TopicLimits::STANDARD)
        });
        let connection = world.client(1, connect("a"));
        world.send(connection, subscribe(1, &[("t", Qos::AtLeastOnce)]));
        world.send(connection, publish("t", "x", Qos::AtLeastOnce, 2));
        let is_acknowledged = |packet: &Packet| matches!(packet, Packet::PubAck(_));
        assert!(world.take(connection).iter().any(is_acknowledged));
        world.send(connection, Packet::PubAck(PubAck::new(id(1))));
        assert_eq!(world.attachments.contains_key(&connection), sockets_outlive_memory);
        assert_eq!(world.node.is_at_rest(), !sockets_outlive_memory, "a mark waits for the end of its interval");
    }
}
