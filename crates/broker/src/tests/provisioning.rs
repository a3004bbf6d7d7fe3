//! Devices that are being provisioned.

use super::*;

const TOPIC: &str = "$aws/certificates/create/json";

fn ask(world: &mut World, connection: ConnectionId) -> u64 {
    world.send(connection, publish(TOPIC, "{}", Qos::AtLeastOnce, 7));
    world.settle();
    let [(ticket, client_id, topic)] = &world.provisioning[..] else { panic!("{:?}", world.provisioning) };
    assert_eq!((client_id.as_str(), topic.as_str()), ("a", TOPIC));
    *ticket
}

#[test]
fn a_request_is_acknowledged_once_it_is_answered_and_nobody_else_gets_either() {
    let mut world = World::new();
    let (device, other) = (world.client(1, connect("a")), world.client(2, connect("b")));
    world.send(other, subscribe(1, &[("$aws/#", Qos::AtMostOnce)]));
    world.settle();
    world.take(device);
    world.take(other);
    let ticket = ask(&mut world, device);
    assert_eq!(world.take(device), []);
    let answer = Some((format!("{TOPIC}/accepted"), Bytes::from_static(b"yes")));
    world.input(Input::Provisioned { ticket, answer });
    world.settle();
    let packets = world.take(device);
    let [Packet::PubAck(_), Packet::Publish(publish)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!((&*publish.topic, &publish.payload[..]), ("$aws/certificates/create/json/accepted", &b"yes"[..]));
    assert_eq!(world.take(other), []);
}

#[test]
fn an_answer_for_a_device_that_is_gone_is_dropped() {
    let mut world = World::new();
    let device = world.client(1, connect("a"));
    let ticket = ask(&mut world, device);
    world.input(Input::Lost { connection: device });
    let answer = Some((format!("{TOPIC}/accepted"), Bytes::new()));
    world.input(Input::Provisioned { ticket, answer: answer.clone() });
    world.input(Input::Provisioned { ticket: 99, answer });
    world.settle();
}
