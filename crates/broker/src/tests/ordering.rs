//! Whatever the objects do and in whichever order they answer: publishes keep their order, and each is told its outcome
//! once.

use super::*;
use proptest::prelude::*;

const TOPICS: [&str; 4] = ["a", "a/b", "c/d", "e"];

#[derive(Clone, Debug)]
enum Step {
    /// A client publishes to a topic, retained or not, with this QoS.
    Publish {
        client: usize,
        topic: usize,
        qos: u8,
        is_retained: bool,
    },
    /// One of the calls under way is answered, or fails.
    Answer {
        which: prop::sample::Index,
        outcome: u8,
    },
    /// A Router takes its leases back.
    Revoke {
        router: u32,
    },
    /// What was promised for later is settled, well or badly.
    Settle {
        is_safe: bool,
    },
    Wait {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_usize, 0..TOPICS.len(), 0..3_u8, any::<bool>())
            .prop_map(|(client, topic, qos, is_retained)| Step::Publish { client, topic, qos, is_retained }),
        8 => (any::<prop::sample::Index>(), 0..12_u8).prop_map(|(which, outcome)| Step::Answer { which, outcome }),
        1 => (0..2_u32).prop_map(|router| Step::Revoke { router }),
        1 => any::<bool>().prop_map(|is_safe| Step::Settle { is_safe }),
        1 => (0..3_000_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// (client, number) of a message, in its payload.
fn sequence(payload: &[u8]) -> (usize, usize) {
    let text = std::str::from_utf8(payload).unwrap();
    let (client, number) = text.split_once(' ').unwrap();
    (client.parse().unwrap(), number.parse().unwrap())
}

fn check_order(seen: &[(usize, usize)], whose: &str) {
    for client in 0..2 {
        let numbers: Vec<usize> = seen.iter().filter(|(of, _)| *of == client).map(|(_, number)| *number).collect();
        assert!(numbers.is_sorted(), "{whose}: {numbers:?}");
        assert_eq!(numbers.len(), numbers.iter().collect::<BTreeSet<_>>().len(), "{whose}: twice: {numbers:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn publishes_keep_their_order_and_are_acknowledged_once(
        steps in prop::collection::vec(step(), 1..120), is_durable in any::<bool>()
    ) {
        let mut world = World::new();
        let first = if is_durable { durable("p0") } else { connect("p0") };
        let publishers = [world.client(1, first), world.client(2, connect("p1"))];
        let listener = world.client(3, connect("l"));
        world.send(listener, subscribe(1, &[("#", Qos::AtMostOnce)]));
        world.take(listener);
        for (filter, destination) in [
            ("a/#", Destination::Broker(other_broker(1))),
            ("c/+", Destination::Broker(other_broker(1))),
            ("c/+", Destination::Sessions(0)),
            ("a/b", Destination::Sessions(1)),
        ] {
            world.subscribe_elsewhere(filter, destination);
        }
        world.asked.clear();
        let (mut published, mut expected) = ([0, 0], [BTreeSet::new(), BTreeSet::new()]);
        let mut here = Vec::new();
        let (mut acknowledged, mut there) = ([Vec::new(), Vec::new()], BTreeMap::<Address, Vec<(usize, usize)>>::new());
        let mut promised: Vec<(Address, u64)> = Vec::new();
        let steps: Vec<Step> = steps
            .into_iter()
            // Then everything comes to its end.
            .chain((0..14).flat_map(|_| [Step::Settle { is_safe: true }, Step::Wait { millis: 1_000 }]))
            .collect();
        let calm_from = steps.len() - 28;
        for (at, step) in steps.into_iter().enumerate() {
            match step {
                Step::Publish { client, topic, qos, is_retained } => {
                    published[client] += 1;
                    let qos = Qos::from_bits(qos).unwrap();
                    let number = published[client];
                    let packet_id = u16::try_from(number).unwrap();
                    let payload = format!("{client} {number}");
                    let packet = if is_retained {
                        retained(TOPICS[topic], &payload, qos, packet_id)
                    } else {
                        publish(TOPICS[topic], &payload, qos, packet_id)
                    };
                    if qos > Qos::AtMostOnce {
                        expected[client].insert(packet_id);
                    }
                    world.frame(publishers[client], &[packet]);
                }
                Step::Answer { which, outcome } if !world.calls.is_empty() => {
                    let call = world.calls.remove(which.index(world.calls.len()));
                    // A call that fails has not arrived here, so that repeats can't be mistaken.
                    if outcome == 0 {
                        world.input(Input::Answered { target: call.target, reply: None });
                        continue;
                    }
                    for request in &call.batch.requests {
                        let arrived = handed_over(request).into_iter().map(|message| sequence(&message.payload));
                        there.entry(call.target.clone()).or_default().extend(arrived);
                        if let Request::Sessions(SessionsRequest::Deliver { ticket: Some(ticket), .. }) = request
                            && outcome == 1
                        {
                            promised.push((call.target.clone(), *ticket));
                        }
                    }
                    world.script(move |_, request| match (outcome, request) {
                        (1, Request::Sessions(SessionsRequest::Deliver { ticket: Some(_), .. })) => Some(Reply::Pending),
                        (2, Request::Router(_) | Request::Sessions(_)) => Some(Reply::Refused(Refusal::Unavailable)),
                        _ => None,
                    });
                    world.answer_call(call);
                    world.unscript();
                }
                Step::Answer { .. } => {}
                Step::Revoke { router } => {
                    world.ask(Address::Router(router), BrokerRequest::Revoke { nodes: None });
                }
                Step::Settle { is_safe } => {
                    for (from, ticket) in core::mem::take(&mut promised) {
                        world.ask(from, BrokerRequest::Settled { tickets: vec![(ticket, is_safe)] });
                    }
                }
                Step::Wait { millis } => {
                    world.now = world.now.plus_millis(millis);
                    world.input(Input::Tick);
                    if at >= calm_from {
                        while let Some(call) = world.calls.pop() {
                            for request in &call.batch.requests {
                                let arrived = handed_over(request).into_iter().map(|message| sequence(&message.payload));
                                there.entry(call.target.clone()).or_default().extend(arrived);
                            }
                            world.answer_call(call);
                        }
                    }
                }
            }
            for (client, connection) in publishers.into_iter().enumerate() {
                acknowledged[client].extend(world.acknowledged(connection).into_iter().map(|(packet_id, _)| packet_id));
            }
            for packet in world.take(listener) {
                if let Packet::Publish(publish) = packet {
                    here.push(sequence(&publish.payload));
                }
            }
        }
        check_order(&here, "here");
        for (address, seen) in &there {
            check_order(seen, &address.to_string());
        }
        for (client, connection) in publishers.into_iter().enumerate() {
            // A durable publisher's shard may have refused to note what it sent: then it is to connect again.
            if world.closed.contains_key(&connection) {
                continue;
            }
            let once: BTreeSet<u16> = acknowledged[client].iter().copied().collect();
            prop_assert_eq!(once.len(), acknowledged[client].len(), "acknowledged twice");
            prop_assert_eq!(&once, &expected[client]);
        }
        prop_assert!(world.node.publishes.is_empty(), "something is left behind");
        prop_assert_eq!(world.node.publishes.bytes(), 0);
    }
}
