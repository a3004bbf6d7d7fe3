//! Messages for one client, whether it subscribed or not.

use super::*;

fn direct(world: &mut World, connection: ConnectionId, client_id: &str, confirmation: bool) {
    world.input(Input::DirectRequest {
        request: 1,
        connection,
        client_id: ClientId::new(client_id).unwrap(),
        publication: Publication::of_platform("to/you".into(), "x", Qos::AtMostOnce, START),
        confirmation,
        timeout_millis: 3_000,
    });
    world.settle();
}

#[test]
fn a_client_that_is_connected_here_gets_it() {
    for (id_asked, client_id, expected) in [
        (1, "a", BrokerApiReply::Done),
        (1, "b", BrokerApiReply::Failed(ApiFailure::NotConnected)),
        (9, "a", BrokerApiReply::Failed(ApiFailure::NotConnected)),
    ] {
        let mut world = World::new();
        let connection = world.client(1, connect("a"));
        direct(&mut world, ConnectionId(id_asked), client_id, false);
        assert_eq!(world.published, [(1, expected)]);
        assert_eq!(world.messages(connection).len(), usize::from(expected == BrokerApiReply::Done));
    }
}

#[test]
fn with_confirmation_it_is_done_when_the_client_has_acknowledged() {
    type Event = Box<dyn Fn(&mut World, ConnectionId, PacketId)>;
    let rows: [(Event, BrokerApiReply); 3] = [
        (
            Box::new(|world, connection, packet_id| world.send(connection, Packet::PubAck(PubAck::new(packet_id)))),
            BrokerApiReply::Done,
        ),
        (Box::new(|world, _, _| world.wait(3_000)), BrokerApiReply::TimedOut),
        (
            Box::new(|world, connection, _| world.input(Input::Lost { connection })),
            BrokerApiReply::Failed(ApiFailure::NotConnected),
        ),
    ];
    for (event, expected) in rows {
        let mut world = World::new();
        let connection = world.client(1, connect("a"));
        direct(&mut world, connection, "a", true);
        assert!(world.published.is_empty());
        let packets = world.take(connection);
        let [Packet::Publish(publish)] = &packets[..] else { panic!("{packets:?}") };
        assert_eq!(publish.qos, Qos::AtLeastOnce);
        event(&mut world, connection, publish.packet_id.unwrap());
        assert_eq!(world.published, [(1, expected)]);
    }
}

#[test]
fn it_is_not_queued_and_not_larger_than_the_client_takes() {
    for (properties, expected) in [
        (ConnectProperties { receive_maximum: Some(1), ..ConnectProperties::default() }, ApiFailure::Overloaded),
        (ConnectProperties { maximum_packet_size: Some(8), ..ConnectProperties::default() }, ApiFailure::TooLarge),
    ] {
        let mut world = World::new();
        let is_small = properties.maximum_packet_size.is_some();
        let maximum_packet_size = properties.maximum_packet_size.map(|_| 60);
        let properties = ConnectProperties { maximum_packet_size, ..properties };
        let connection = world.client(1, Connect { properties, ..connect("a") });
        if is_small {
            world.input(Input::DirectRequest {
                request: 1,
                connection,
                client_id: ClientId::new("a").unwrap(),
                publication: Publication::of_platform("to/you".into(), "x".repeat(99), Qos::AtMostOnce, START),
                confirmation: false,
                timeout_millis: 0,
            });
        } else {
            direct(&mut world, connection, "a", true);
            direct(&mut world, connection, "a", true);
        }
        assert_eq!(world.published, [(1, BrokerApiReply::Failed(expected))]);
    }
}

#[test]
fn for_a_session_that_outlives_its_connection_the_shard_sends_it() {
    for (reply, settled, expected) in [
        (Reply::Applied, None, BrokerApiReply::Done),
        (Reply::Pending, Some(true), BrokerApiReply::Done),
        (Reply::Pending, Some(false), BrokerApiReply::Failed(ApiFailure::NotSafe)),
        (Reply::Pending, None, BrokerApiReply::TimedOut),
        (Reply::Refused(Refusal::Unavailable), None, BrokerApiReply::Failed(ApiFailure::NotConnected)),
    ] {
        let mut world = World::new();
        let connection = world.client(1, durable("a"));
        let answer = reply.clone();
        world.script(move |_, request| match request {
            Request::Sessions(SessionsRequest::Direct { .. }) => Some(answer.clone()),
            _ => None,
        });
        direct(&mut world, connection, "a", true);
        let tickets = world.asked(|_, request| match request {
            Request::Sessions(SessionsRequest::Direct { ticket, .. }) => *ticket,
            _ => None,
        });
        if let Some(is_safe) = settled {
            world.ask(Address::Sessions(0), BrokerRequest::Settled { tickets: vec![(tickets[0], is_safe)] });
        }
        world.wait(3_000);
        assert_eq!(world.published, [(1, expected)], "{reply:?} {settled:?}");
    }
}

#[test]
fn it_follows_its_client_to_another_shard() {
    let mut world = World::new();
    let connection = world.client(1, durable("a"));
    world.script(|address, request| match request {
        Request::Sessions(SessionsRequest::Direct { client_id, .. }) => Some(if *address == Address::Sessions(7) {
            Reply::Applied
        } else {
            let shard = ShardMap::virtual_shard(client_id.as_str().as_bytes());
            Reply::Refused(Refusal::Moved { shard, to: 7 })
        }),
        _ => None,
    });
    direct(&mut world, connection, "a", true);
    assert_eq!(world.published, [(1, BrokerApiReply::Done)]);
}
