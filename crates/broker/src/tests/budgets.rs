//! What one client may take of what all of them share.

use super::*;

#[test]
fn a_flood_in_one_frame_lets_others_have_their_turn() {
    let mut world = World::new();
    let (flooding, other) = (world.client(1, connect("f")), world.client(2, connect("o")));
    world.send(other, subscribe(1, &[("#", Qos::AtMostOnce)]));
    world.take(other);
    let per_turn = BrokerLimits::STANDARD.packets_per_turn;
    let flood: Vec<Packet> = (0..per_turn * 3).map(|_| publish("f", "x", Qos::AtMostOnce, 0)).collect();
    world.frame(flooding, &flood);
    world.frame(other, &[Packet::PingReq]);
    let first = world.take(other);
    let pong = first.iter().position(|packet| *packet == Packet::PingResp).expect("an answer");
    assert_eq!(pong, per_turn, "its turn came after one turn of the other");
    assert_eq!(world.node.next_retry(), Some(UnixMillis(0)), "more is to be done at once");
    for _ in 0..3 {
        world.input(Input::Tick);
    }
    world.settle();
    assert_eq!(world.messages(other).len(), per_turn * 2);
    world.wait(2_000);
    assert!(world.node.is_at_rest());
}

#[test]
fn a_backlog_beyond_its_bytes_ends_the_connection() {
    let limits = BrokerLimits { maximum_backlog_bytes: 1_000, packets_per_turn: 1, ..BrokerLimits::STANDARD };
    let mut world = World::with(settings(limits, SessionSettings::STANDARD, TopicLimits::STANDARD));
    let connection = world.client(1, connect("f"));
    let flood: Vec<Packet> = (0..50).map(|_| publish("f", "twenty bytes or more", Qos::AtMostOnce, 0)).collect();
    world.frame(connection, &flood);
    assert_eq!(world.ended(connection), Some(ReasonCode::MessageRateTooHigh));
}

#[test]
fn packets_that_never_end_take_no_more_than_there_is_for_all_of_them() {
    let limits = BrokerLimits { maximum_backlog_bytes_of_all: 2_500, ..BrokerLimits::STANDARD };
    let mut world = World::with(settings(limits, SessionSettings::STANDARD, TopicLimits::STANDARD));
    // The beginning of a large packet; what is before CONNACK goes first, then what has most.
    let part = |packet: Packet, length: usize| {
        let mut bytes = BytesMut::new();
        encode(&packet, ProtocolVersion::V5, &mut bytes);
        bytes.freeze().slice(..length)
    };
    let more = |length: usize| Bytes::from(vec![b'x'; length]);
    let clients: Vec<ConnectionId> =
        (1..=2).map(|number| world.client(number, connect(&format!("c{number}")))).collect();
    let stranger = world.open(3);
    let large = || publish("t", &"x".repeat(5_000), Qos::AtMostOnce, 0);
    let mut receive = |connection, bytes| world.input(Input::Received { connection, bytes });
    receive(stranger, part(Packet::Connect(Box::new(connect(&"x".repeat(5_000)))), 500));
    receive(clients[0], part(large(), 900));
    receive(clients[1], part(large(), 1_100));
    assert!(world.closed.is_empty());
    world.input(Input::Received { connection: clients[0], bytes: more(100) });
    assert_eq!(world.closed.keys().collect::<Vec<_>>(), [&stranger]);
    world.input(Input::Received { connection: clients[0], bytes: more(500) });
    assert_eq!(world.ended(clients[0]), Some(ReasonCode::QuotaExceeded));
    world.input(Input::Received { connection: clients[1], bytes: more(1_300) });
    assert_eq!(world.closed.len(), 2, "there is room again for the others");
}

#[test]
fn too_much_on_its_way_drops_qos_0_and_ends_connections_with_more() {
    let rows = [
        BrokerLimits { maximum_pending_per_connection: 2, ..BrokerLimits::STANDARD },
        BrokerLimits { maximum_pending_bytes_per_connection: 250, ..BrokerLimits::STANDARD },
        BrokerLimits { maximum_pending_bytes: 250, ..BrokerLimits::STANDARD },
    ];
    for limits in rows {
        let mut world = World::with(settings(limits, SessionSettings::STANDARD, TopicLimits::STANDARD));
        let connection = world.client(1, connect("f"));
        // No lease is answered, so everything stays under way.
        let frame: Vec<Packet> = (1..=2).map(|packet_id| publish("t", "x", Qos::AtLeastOnce, packet_id)).collect();
        world.frame(connection, &frame);
        world.frame(connection, &[publish("t", "x", Qos::AtMostOnce, 0)]);
        assert_eq!(world.count_logs("message_dropped"), 1, "{limits:?}");
        assert!(world.closed.is_empty());
        world.frame(connection, &[publish("t", "x", Qos::AtLeastOnce, 3)]);
        assert_eq!(world.ended(connection), Some(ReasonCode::QuotaExceeded), "{limits:?}");
        world.settle();
        world.client(2, connect("g"));
        world.frame(ConnectionId(2), &[publish("t", "x", Qos::AtLeastOnce, 1)]);
        world.settle();
        assert_eq!(world.acknowledged(ConnectionId(2)), [(1, ReasonCode::Success)], "nothing is left behind");
    }
}

#[test]
fn a_client_that_says_nothing_while_much_is_sent_loses_qos_0_and_then_its_connection() {
    let limits = BrokerLimits { maximum_unheard_bytes: 1_000, ..BrokerLimits::STANDARD };
    let mut world = World::with(settings(limits, SessionSettings::STANDARD, TopicLimits::STANDARD));
    let connection = world.client(1, connect("mute"));
    world.send(connection, subscribe(1, &[("t", Qos::AtMostOnce)]));
    world.take(connection);
    let deliver =
        || BrokerRequest::Deliver(Publication::of_platform("t".into(), "x".repeat(90), Qos::AtMostOnce, START));
    let mut turns = 0;
    let mut received = 0;
    while world.closed.is_empty() {
        world.ask(Address::Broker(other_broker(1)), deliver());
        received += world.messages(connection).len();
        turns += 1;
        if turns == 15 {
            assert!(received < 12, "the rest was dropped: {received}");
            assert!(world.count_logs("message_dropped") > 0);
            world.send(connection, Packet::PingReq);
            world.ask(Address::Broker(other_broker(1)), deliver());
            assert_eq!(world.messages(connection).len(), 1, "it reads again");
        }
        assert!(turns < 100, "it is never closed");
    }
    assert!(turns > 15);
}
