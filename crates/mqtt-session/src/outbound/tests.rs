use super::*;
use messages::publication::PublicationProperties;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const LIMITS: OutboundLimits = OutboundLimits { window: 2, maximum_messages: 10, maximum_bytes: 100_000 };
const START: UnixMillis = UnixMillis(1_000_000);

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn name(number: u64) -> MessageId {
    MessageId { origin: 7, number }
}

fn delivery(topic: &str, qos: Qos) -> Delivery {
    let publication = Rc::new(Publication::of_platform(topic.to_owned(), "p", qos, START));
    Delivery { publication, qos, retain: false, subscription_identifiers: vec![9] }
}

fn named(number: u64, qos: Qos) -> Delivery {
    let mut delivery = delivery(&number.to_string(), qos);
    Rc::get_mut(&mut delivery.publication).unwrap().message_id = Some(name(number));
    delivery
}

fn expiring(mut delivery: Delivery, secs: u32) -> Delivery {
    let properties = PublicationProperties { message_expiry_interval: Some(secs), ..PublicationProperties::default() };
    Rc::get_mut(&mut delivery.publication).unwrap().properties = Some(Box::new(properties));
    delivery
}

/// Sequence, packet identifier and DUP of what is to be sent.
fn sent(offer: Offer) -> (u64, Option<u16>, bool) {
    match offer {
        Offer::Send(sending) => (sending.sequence, sending.packet_id.map(PacketId::get), sending.dup),
        other => panic!("{other:?}"),
    }
}

fn next(outbound: &mut Outbound) -> Option<(String, u16, bool)> {
    let sending = outbound.next_waiting(START)?;
    Some((sending.delivery.publication.topic.clone(), sending.packet_id.unwrap().get(), sending.dup))
}

fn resent(outbound: &mut Outbound) -> Vec<String> {
    let resend = |resend| match resend {
        Resend::PubRel(packet_id) => format!("PUBREL {}", packet_id.get()),
        Resend::Publish(sending) => {
            assert!(sending.dup, "[MQTT-3.3.1-1]");
            format!("{} {}", sending.delivery.publication.topic, sending.packet_id.unwrap().get())
        }
    };
    outbound.resend(START).into_iter().map(resend).collect()
}

#[test]
fn a_window_of_zero_is_nobody_there() {
    let mut outbound = Outbound::new(OutboundLimits { window: 0, ..LIMITS });
    assert!(matches!(outbound.offer(delivery("a", Qos::AtMostOnce)), Offer::Dropped), "QoS 0 is never stored");
    assert!(matches!(outbound.offer(delivery("b", Qos::AtLeastOnce)), Offer::Waits(1)));
    assert!(matches!(outbound.offer(delivery("c", Qos::ExactlyOnce)), Offer::Waits(2)));
    assert!(outbound.next_waiting(START).is_none());
    outbound.set_window(2);
    assert!(resent(&mut outbound).is_empty());
    assert_eq!(next(&mut outbound), Some(("b".into(), 1, false)));
    assert_eq!(next(&mut outbound), Some(("c".into(), 2, false)));
    assert_eq!(next(&mut outbound), None);
}

#[test]
fn a_new_message_does_not_overtake_those_that_wait() {
    let mut outbound = Outbound::new(OutboundLimits { window: 1, ..LIMITS });
    assert_eq!(sent(outbound.offer(delivery("1", Qos::AtLeastOnce))), (1, Some(1), false), "[MQTT-3.3.1-2]");
    assert!(matches!(outbound.offer(delivery("2", Qos::AtLeastOnce)), Offer::Waits(2)));
    assert_eq!(outbound.puback(id(1)), Some(1));
    assert!(!outbound.has_room());
    assert!(matches!(outbound.offer(delivery("3", Qos::AtLeastOnce)), Offer::Waits(3)), "[MQTT-4.6.0-5]");
    assert_eq!(next(&mut outbound).unwrap().0, "2");
    assert_eq!(sent(outbound.offer(delivery("4", Qos::AtMostOnce))), (0, None, false), "QoS 0 waits for nobody");
}

#[test]
fn qos_2_takes_four_packets_and_holds_its_place_in_the_window_until_the_last() {
    let mut outbound = Outbound::new(OutboundLimits { window: 1, ..LIMITS });
    assert_eq!(sent(outbound.offer(delivery("a", Qos::ExactlyOnce))), (1, Some(1), false), "[MQTT-4.3.3-1]");
    assert!(matches!(outbound.offer(delivery("b", Qos::AtLeastOnce)), Offer::Waits(2)));
    assert_eq!(outbound.pubcomp(id(1)), None, "before PUBREC");
    assert_eq!(outbound.puback(id(1)), None, "PUBACK is for QoS 1");
    assert_eq!(outbound.pubrec(id(1), false), PubRec::Release(1), "[MQTT-4.3.3-4]");
    assert_eq!(next(&mut outbound), None, "section 4.9: PUBREC opens no window");
    assert_eq!(outbound.pubrec(id(1), false), PubRec::Again);
    assert_eq!(outbound.pubcomp(id(1)), Some(1), "[MQTT-4.3.3-6]");
    assert_eq!(outbound.pubcomp(id(1)), None);
    assert_eq!(next(&mut outbound), Some(("b".into(), 2, false)));
    assert_eq!(outbound.pubrec(id(2), false), PubRec::Unknown, "PUBREC is for QoS 2");
    assert_eq!(outbound.pubrec(id(9), false), PubRec::Unknown);
}

#[test]
fn a_pubrec_with_an_error_ends_the_exchange() {
    for is_released in [false, true] {
        let mut outbound = Outbound::new(OutboundLimits { window: 1, ..LIMITS });
        sent(outbound.offer(delivery("a", Qos::ExactlyOnce)));
        if is_released {
            outbound.pubrec(id(1), false);
        }
        assert_eq!(outbound.pubrec(id(1), true), PubRec::Done(1), "section 4.3.3");
        assert!(outbound.is_idle() && outbound.is_empty() && outbound.bytes() == 0);
        assert_eq!(outbound.pubrec(id(1), true), PubRec::Unknown);
    }
}

#[test]
fn a_released_message_keeps_its_identifiers_only() {
    let mut outbound = Outbound::new(LIMITS);
    sent(outbound.offer(named(1, Qos::ExactlyOnce)));
    let before = outbound.bytes();
    outbound.pubrec(id(1), false);
    assert!(outbound.bytes() < before);
    let entry = outbound.entry(1).unwrap();
    assert_eq!((entry.phase, entry.packet_id), (Phase::Released, Some(id(1))));
    assert!(entry.delivery.publication.payload.is_empty());
    assert_eq!(entry.delivery.publication.message_id, Some(name(1)));
    assert!(matches!(outbound.offer(named(1, Qos::ExactlyOnce)), Offer::Duplicate));
}

#[test]
fn a_message_of_qos_2_that_was_had_is_not_taken_again() {
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut outbound = Outbound::new(OutboundLimits { window: 1, ..LIMITS });
        let (_, packet_id, _) = sent(outbound.offer(named(1, qos)));
        assert!(matches!(outbound.offer(named(1, qos)), Offer::Duplicate), "in flight, {qos:?}");
        if let Some(packet_id) = packet_id {
            assert!(matches!(outbound.offer(named(2, qos)), Offer::Waits(_)));
            assert!(matches!(outbound.offer(named(2, qos)), Offer::Duplicate), "waiting, {qos:?}");
            outbound.puback(id(packet_id));
            outbound.pubrec(id(packet_id), false);
            outbound.pubcomp(id(packet_id));
        }
        assert!(matches!(outbound.offer(named(1, qos)), Offer::Duplicate), "done, {qos:?}");
        assert!(!matches!(outbound.offer(named(3, qos)), Offer::Duplicate));
    }
}

#[test]
fn so_many_names_of_finished_messages_are_remembered() {
    let mut outbound = Outbound::new(LIMITS);
    for number in 0..=256 {
        sent(outbound.offer(named(number, Qos::AtMostOnce)));
    }
    assert_eq!(outbound.recent().count(), 256);
    assert!(matches!(outbound.offer(named(1, Qos::AtMostOnce)), Offer::Duplicate));
    assert!(matches!(outbound.offer(named(0, Qos::AtMostOnce)), Offer::Send(_)));
}

#[test]
fn a_full_queue_drops_the_newest() {
    let weight = delivery("1", Qos::AtLeastOnce).publication.weight();
    for limits in [
        OutboundLimits { window: 1, maximum_messages: 2, ..LIMITS },
        OutboundLimits { window: 1, maximum_bytes: 4 * weight - 1, ..LIMITS },
    ] {
        let mut outbound = Outbound::new(limits);
        for topic in ["1", "2", "3"] {
            assert!(!matches!(outbound.offer(delivery(topic, Qos::AtLeastOnce)), Offer::Dropped));
        }
        assert!(matches!(outbound.offer(delivery("4", Qos::AtLeastOnce)), Offer::Dropped));
        assert_eq!((outbound.len(), outbound.bytes()), (3, 3 * weight));
        outbound.puback(id(1));
        assert_eq!(next(&mut outbound).unwrap().0, "2");
        assert!(matches!(outbound.offer(delivery("5", Qos::AtLeastOnce)), Offer::Waits(4)));
    }
}

#[test]
fn a_message_that_is_alone_is_taken_whatever_its_size() {
    let mut outbound = Outbound::new(OutboundLimits { maximum_bytes: 1, ..LIMITS });
    sent(outbound.offer(delivery("1", Qos::AtLeastOnce)));
    assert!(matches!(outbound.offer(delivery("2", Qos::AtLeastOnce)), Offer::Dropped));
}

#[test]
fn expired_messages_give_their_place_back() {
    let mut outbound = Outbound::new(OutboundLimits { window: 1, maximum_messages: 2, ..LIMITS });
    sent(outbound.offer(expiring(delivery("1", Qos::AtLeastOnce), 5)));
    assert_eq!(outbound.next_expiry(), None, "what was sent doesn't expire");
    outbound.offer(expiring(delivery("2", Qos::AtLeastOnce), 10));
    outbound.offer(expiring(delivery("3", Qos::AtLeastOnce), 20));
    assert_eq!(outbound.next_expiry(), Some(START.plus_secs(10)));
    outbound.expire(START.plus_millis(9_999));
    assert!(matches!(outbound.offer(delivery("4", Qos::AtLeastOnce)), Offer::Dropped));
    outbound.expire(START.plus_secs(10));
    assert_eq!(outbound.take_expired(), [2], "[MQTT-3.3.2-5]");
    assert!(outbound.take_expired().is_empty());
    assert!(matches!(outbound.offer(delivery("4", Qos::AtLeastOnce)), Offer::Waits(4)));
    outbound.puback(id(1));
    let sending = outbound.next_waiting(START.plus_secs(20)).unwrap();
    assert_eq!(sending.delivery.publication.topic, "4", "3 expired in its turn");
    assert_eq!(outbound.take_expired(), [3]);
}

#[test]
fn after_a_reconnect_everything_unacknowledged_is_sent_again_in_order() {
    let mut outbound = Outbound::new(OutboundLimits { window: 4, ..LIMITS });
    for (topic, qos) in
        [("a", Qos::AtLeastOnce), ("b", Qos::ExactlyOnce), ("c", Qos::ExactlyOnce), ("d", Qos::AtLeastOnce)]
    {
        sent(outbound.offer(delivery(topic, qos)));
    }
    outbound.offer(delivery("e", Qos::AtLeastOnce));
    outbound.pubrec(id(2), false);
    outbound.set_window(0);
    assert!(matches!(outbound.offer(delivery("f", Qos::AtLeastOnce)), Offer::Waits(6)));
    outbound.set_window(4);
    assert_eq!(resent(&mut outbound), ["a 1", "PUBREL 2", "c 3", "d 4"], "[MQTT-4.4.0-1], [MQTT-4.6.0-1]");
    assert_eq!(next(&mut outbound), None);
    outbound.puback(id(1));
    assert_eq!(next(&mut outbound), Some(("e".into(), 5, false)));
}

#[test]
fn a_smaller_window_after_a_reconnect_is_kept() {
    let mut outbound = Outbound::new(OutboundLimits { window: 4, ..LIMITS });
    for topic in ["a", "b", "c"] {
        sent(outbound.offer(delivery(topic, Qos::AtLeastOnce)));
    }
    sent(outbound.offer(delivery("d", Qos::ExactlyOnce)));
    outbound.pubrec(id(4), false);
    outbound.set_window(2);
    assert_eq!(resent(&mut outbound), ["a 1", "PUBREL 4"], "[MQTT-3.3.4-9]");
    assert!(matches!(outbound.offer(delivery("e", Qos::AtLeastOnce)), Offer::Waits(_)));
    assert_eq!(next(&mut outbound), None);
    outbound.puback(id(1));
    assert_eq!(next(&mut outbound), Some(("b".into(), 2, true)));
    // An acknowledgement of the earlier connection's PUBLISH counts as well.
    assert_eq!(outbound.puback(id(3)), Some(3));
    outbound.pubcomp(id(4));
    assert_eq!(next(&mut outbound), Some(("e".into(), 5, false)));
}

#[test]
fn the_largest_window_uses_every_packet_identifier_once() {
    let limits = OutboundLimits { window: u16::MAX, maximum_bytes: usize::MAX, ..LIMITS };
    let mut outbound = Outbound::new(limits);
    let mut used = BTreeSet::new();
    for number in 0..u32::from(u16::MAX) {
        let (_, packet_id, _) = sent(outbound.offer(delivery(&number.to_string(), Qos::AtLeastOnce)));
        assert!(used.insert(packet_id.unwrap()), "[MQTT-2.2.1-4]");
    }
    assert!(matches!(outbound.offer(delivery("more", Qos::AtLeastOnce)), Offer::Waits(_)));
    outbound.puback(id(40_000));
    assert_eq!(next(&mut outbound).unwrap().1, 40_000, "the only free one");
}

#[test]
fn any_message_can_be_discarded() {
    let mut outbound = Outbound::new(OutboundLimits { window: 1, ..LIMITS });
    sent(outbound.offer(named(1, Qos::ExactlyOnce)));
    outbound.offer(named(2, Qos::ExactlyOnce));
    assert!(outbound.discard(2) && outbound.discard(1) && !outbound.discard(1));
    assert!(outbound.is_idle() && outbound.bytes() == 0);
    assert!(matches!(outbound.offer(named(2, Qos::ExactlyOnce)), Offer::Duplicate), "it counts as delivered");
}

/// A client that follows the standard, over a network that loses what is under way when the connection ends.
#[derive(Default)]
struct Client {
    /// Topics in the order of their arrival; each is a number.
    arrived: Vec<(Qos, u64)>,
    /// Identifiers of QoS 2 between PUBLISH and PUBREL.
    received: BTreeSet<PacketId>,
    /// Answers that have not left.
    answers: VecDeque<Answer>,
    /// What was sent on this connection and not answered so that the window opens.
    unanswered: BTreeSet<PacketId>,
}

#[derive(Clone, Copy, PartialEq)]
#[allow(clippy::enum_variant_names, reason = "the packets' names")]
enum Answer {
    PubAck(PacketId),
    PubRec(PacketId),
    PubComp(PacketId),
}

impl Client {
    fn publish(&mut self, sending: &Sending) {
        let number = sending.delivery.publication.topic.parse().unwrap();
        match (sending.delivery.qos, sending.packet_id) {
            (Qos::AtMostOnce, _) => self.arrived.push((Qos::AtMostOnce, number)),
            (Qos::AtLeastOnce, Some(packet_id)) => {
                assert!(self.unanswered.insert(packet_id), "[MQTT-2.2.1-4]");
                self.arrived.push((Qos::AtLeastOnce, number));
                self.answers.push_back(Answer::PubAck(packet_id));
            }
            (Qos::ExactlyOnce, Some(packet_id)) => {
                assert!(self.unanswered.insert(packet_id), "[MQTT-2.2.1-4]");
                if self.received.insert(packet_id) {
                    self.arrived.push((Qos::ExactlyOnce, number));
                } else {
                    assert!(sending.dup, "an identifier in use");
                }
                self.answers.push_back(Answer::PubRec(packet_id));
            }
            other => panic!("{other:?}"),
        }
    }

    fn pubrel(&mut self, packet_id: PacketId) {
        self.received.remove(&packet_id);
        self.answers.push_back(Answer::PubComp(packet_id));
    }

    fn answer(&mut self, place: usize, outbound: &mut Outbound) {
        let Some(answer) = self.answers.remove(place) else { return };
        match answer {
            Answer::PubAck(packet_id) => {
                self.unanswered.remove(&packet_id);
                outbound.puback(packet_id);
            }
            Answer::PubRec(packet_id) => match outbound.pubrec(packet_id, false) {
                PubRec::Release(_) | PubRec::Again => self.pubrel(packet_id),
                other => panic!("{other:?}"),
            },
            Answer::PubComp(packet_id) => {
                self.unanswered.remove(&packet_id);
                outbound.pubcomp(packet_id);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Offer { qos: Qos, again: Option<u64>, expiry: Option<u32> },
    Answer(usize),
    Reconnect { window: u16, is_restored: bool },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let qos = (0..3_u8).prop_map(|bits| Qos::from_bits(bits).unwrap());
    prop_oneof![
        10 => (qos, proptest::option::weighted(0.2, 0..40_u64), proptest::option::weighted(0.3, 1..20_u32))
            .prop_map(|(qos, again, expiry)| Step::Offer { qos, again, expiry }),
        14 => (0..3_usize).prop_map(Step::Answer),
        2 => (1..5_u16, any::<bool>()).prop_map(|(window, is_restored)| Step::Reconnect { window, is_restored }),
        1 => (0..5_000_u64).prop_map(Step::Wait),
    ]
}

/// The same half, as storage would bring it back.
fn restored(outbound: &Outbound) -> Outbound {
    let mut copy = Outbound::new(OutboundLimits { window: 0, ..outbound.limits });
    outbound.entries().for_each(|entry| copy.restore_entry(entry));
    outbound.recent().for_each(|name| copy.restore_recent(name));
    copy
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Offers, answers in any order, lost connections and lost memories: QoS 2 arrives once, QoS 1 at least once,
    /// both in order, and never more than the window is unacknowledged.
    #[test]
    fn nothing_is_lost_doubled_or_reordered(
        first_window in 1..5_u16,
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        const MESSAGES: usize = 4;
        let limits = OutboundLimits { window: first_window, maximum_messages: MESSAGES, maximum_bytes: 100_000 };
        let (mut outbound, mut client, mut now) = (Outbound::new(limits), Client::default(), START);
        let (mut accepted, mut names, mut expired) = (Vec::new(), Vec::new(), BTreeSet::<u64>::new());
        let mut sequences = BTreeMap::new();
        let mut window = first_window;
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Offer { qos, again, expiry } => {
                    // An earlier QoS 2 message comes again, or a new one.
                    let again = again.filter(|again| names.iter().any(|(name, _)| name == again));
                    let number = again.unwrap_or(number);
                    let qos = match names.iter().find(|(name, _)| *name == number) {
                        Some((_, qos)) => *qos,
                        None => qos,
                    };
                    let mut delivery = if qos == Qos::ExactlyOnce {
                        named(number, qos)
                    } else {
                        delivery(&number.to_string(), qos)
                    };
                    Rc::get_mut(&mut delivery.publication).unwrap().accepted_at = now;
                    if let Some(secs) = expiry {
                        delivery = expiring(delivery, secs);
                    }
                    outbound.expire(now);
                    match outbound.offer(delivery) {
                        Offer::Send(sending) => {
                            prop_assert!(again.is_none() || !accepted.contains(&(qos, number)), "doubled");
                            sequences.insert(sending.sequence, number);
                            client.publish(&sending);
                            accepted.push((qos, number));
                        }
                        Offer::Waits(sequence) => {
                            prop_assert!(again.is_none() || !accepted.contains(&(qos, number)), "doubled");
                            sequences.insert(sequence, number);
                            accepted.push((qos, number));
                        }
                        Offer::Dropped => prop_assert_eq!(outbound.waiting.len(), MESSAGES),
                        Offer::Duplicate => prop_assert!(accepted.contains(&(qos, number))),
                    }
                    if qos == Qos::ExactlyOnce && again.is_none() {
                        names.push((number, qos));
                    }
                }
                Step::Answer(place) => client.answer(place, &mut outbound),
                Step::Reconnect { window: new, is_restored } => {
                    window = new;
                    client.answers.clear();
                    client.unanswered.clear();
                    if is_restored {
                        expired.extend(outbound.take_expired().iter().filter_map(|sequence| sequences.get(sequence).copied()));
                        outbound = restored(&outbound);
                    }
                    outbound.set_window(new);
                    for resend in outbound.resend(now) {
                        match resend {
                            Resend::Publish(sending) => client.publish(&sending),
                            Resend::PubRel(packet_id) => {
                                client.unanswered.insert(packet_id);
                                client.pubrel(packet_id);
                            }
                        }
                    }
                }
                Step::Wait(millis) => now = now.plus_millis(millis),
            }
            while let Some(sending) = outbound.next_waiting(now) {
                client.publish(&sending);
            }
            expired.extend(outbound.take_expired().iter().filter_map(|sequence| sequences.get(sequence).copied()));
            let released = outbound.in_flight.values().filter(|m| m.phase == Phase::Released).count();
            prop_assert!(client.unanswered.len() <= usize::from(window).max(released), "[MQTT-3.3.4-9]");
            let bytes: usize = outbound.entries().map(|entry| entry.delivery.publication.weight()).sum();
            prop_assert_eq!(outbound.bytes(), bytes);
            prop_assert_eq!(outbound.len(), outbound.entries().count());
            prop_assert!(outbound.waiting.is_empty() || outbound.in_flight.len() >= usize::from(window), "it need not wait");
        }
        while !client.answers.is_empty() {
            client.answer(0, &mut outbound);
            while let Some(sending) = outbound.next_waiting(now) {
                client.publish(&sending);
            }
        }
        expired.extend(outbound.take_expired().iter().filter_map(|sequence| sequences.get(sequence).copied()));
        prop_assert!(outbound.is_idle() && outbound.bytes() == 0 && outbound.known.len() == outbound.recent.len());
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let due = accepted.iter().filter(|(of, number)| *of == qos && !expired.contains(number));
            let due: Vec<u64> = due.map(|(_, number)| *number).collect();
            let mut arrived: Vec<u64> =
                client.arrived.iter().filter(|(of, _)| *of == qos).map(|(_, number)| *number).collect();
            if qos == Qos::AtLeastOnce {
                let mut seen = BTreeSet::new();
                arrived.retain(|number| seen.insert(*number));
            }
            prop_assert_eq!(arrived, due, "{:?}: once, in order, and nothing else", qos);
        }
    }
}
