//! One connection, as a script of what the client, the broker and the clock do.

mod model;
mod script;

use bytes::Bytes;
use iot_types::{ClientId, PacketId, Qos, UnixMillis};
use messages::publication::{MessageId, Publication, PublicationProperties};
use messages::session::Outgoing;
use model::{Model, Offered};
use mqtt_codec::{Decoder, Packet, PacketType, PubAck, PubComp, PubRec, PubRel, ReasonCode};
use mqtt_session::{
    AcceptedSession, Delivery, Input, Output, Session, SessionSettings, SessionSnapshot, SubscriptionOptions,
};
use script::Script;
use std::rc::Rc;

/// Byte 0 chooses the settings; each byte after it an action, which may take further bytes.
///
/// Holds: what `model` says, after each step, and that a session whose client and broker have answered everything is
/// at rest, with every message sent or said to be dropped.
pub fn session(data: &[u8]) -> usize {
    let Some((&choice, rest)) = data.split_first() else { return 0 };
    let settings = match choice % 4 {
        0 => SessionSettings::STANDARD,
        1 => SessionSettings::AWS,
        _ => small(choice),
    };
    let mut run = Run::new(settings);
    let mut script = Script::new(rest);
    while let Some(action) = script.next() {
        run.act(action, &mut script);
    }
    run.finish();
    run.model.outputs
}

/// Limits that a short script reaches.
fn small(choice: u8) -> SessionSettings {
    SessionSettings {
        receive_maximum: 2,
        maximum_inflight: 3,
        maximum_queued_messages: 2,
        maximum_queued_bytes: 600,
        topic_alias_maximum: 2,
        outgoing_topic_aliases: 2,
        maximum_early_packets: 3,
        maximum_early_bytes: 64,
        maximum_filters_per_subscribe: 2,
        maximum_subscribing: 2,
        maximum_subscriptions: 2,
        maximum_will_bytes: 4,
        has_enhanced_authentication: true,
        is_retain_available: choice & 0x10 != 0,
        response_information: Some("r"),
        ..SessionSettings::STANDARD
    }
}

struct Run {
    settings: SessionSettings,
    session: Session,
    now: UnixMillis,
    /// Of what the client sends as bytes.
    decoder: Decoder,
    model: Model,
    /// Counts what is delivered; the first four bytes of its payload.
    offered: u32,
    /// Messages with a name so far: not more than a snapshot keeps.
    named: u64,
    /// The snapshot, last heard apart, when it was last said to have changed.
    stored: Option<SessionSnapshot>,
}

const PACKET_IDS: u16 = 5;
const TOPICS: [&str; 4] = ["t", "topic/one", "topic/two", "topic/three"];
const CODES: [ReasonCode; 4] =
    [ReasonCode::Success, ReasonCode::NoMatchingSubscribers, ReasonCode::NotAuthorized, ReasonCode::QuotaExceeded];

fn packet_id(byte: u8) -> PacketId {
    PacketId::new(u16::from(byte) % PACKET_IDS + 1).expect("not zero")
}

impl Run {
    fn new(settings: SessionSettings) -> Self {
        let now = UnixMillis(1_700_000_000_000);
        Self {
            settings,
            session: Session::new(settings, now),
            now,
            decoder: Decoder::new(settings.maximum_packet_size),
            model: Model::new(settings),
            offered: 0,
            named: 0,
            stored: None,
        }
    }

    fn act(&mut self, action: u8, script: &mut Script<'_>) {
        match action % 24 {
            0 => self.client(Packet::Connect(Box::new(script.connect()))),
            1..=3 => self.client(Packet::Publish(script.publish())),
            4 => {
                let (id, code) = (packet_id(script.byte()), script.code());
                self.client(Packet::PubAck(PubAck::with_reason(id, code)));
            }
            5 => {
                let (id, code) = (packet_id(script.byte()), script.code());
                self.client(Packet::PubRec(PubRec::with_reason(id, code)));
            }
            6 => self.client(Packet::PubRel(PubRel::new(packet_id(script.byte())))),
            7 => self.client(Packet::PubComp(PubComp::new(packet_id(script.byte())))),
            8 => self.client(Packet::Subscribe(script.subscribe())),
            9 => self.client(Packet::Unsubscribe(script.unsubscribe())),
            10 => self.client(script.other()),
            11 => self.client_bytes(script.bytes()),
            12 => self.accept(script.byte()),
            13 => {
                let (at, code) = (usize::from(script.byte()), script.code());
                let id = self.model.open_publish(at).unwrap_or(packet_id(at as u8));
                self.settle(id, code);
            }
            14 => {
                let (at, code) = (usize::from(script.byte()), script.code());
                self.answer_subscribing(at, code);
            }
            15 => {
                let id = self.model.releasing(usize::from(script.byte())).unwrap_or(packet_id(0));
                self.feed(Input::Released { packet_id: id });
            }
            16..=18 => self.deliver(script),
            19 => self.relay(script),
            20 => {
                let data = script.data();
                match script.byte() % 2 {
                    0 => self.feed(Input::AuthContinue { data }),
                    _ => self.feed(Input::Reauthenticated { data }),
                }
            }
            21 => {
                let wait = u64::from(script.byte());
                self.now = self.now.plus_millis(wait * wait * 20);
                let is_due = self.session.next_timeout().is_some_and(|timeout| timeout <= self.now);
                let before = self.model.outputs;
                self.feed(Input::Tick);
                assert_eq!(self.model.outputs > before, is_due, "a tick does something when it is due, else nothing");
                assert!(!is_due || self.session.is_closed());
            }
            22 => self.sleep(),
            _ => match script.byte() {
                0 => self.feed(Input::ConnectionLost),
                byte @ 1..32 => {
                    let codes = ReasonCode::ALL;
                    let reason_code = codes[usize::from(byte) % codes.len()];
                    self.feed(Input::End { reason_code, reason: "fuzz" });
                }
                _ => {}
            },
        }
    }

    fn client(&mut self, packet: Packet) {
        self.model.client_sends(&packet);
        self.feed(Input::Packet(packet));
    }

    fn client_bytes(&mut self, bytes: &[u8]) {
        if let (None, Some(version)) = (self.decoder.version(), self.model.version()) {
            // The CONNECT didn't come as bytes.
            let remainder = Bytes::copy_from_slice(self.decoder.remainder());
            self.decoder = Decoder::restore(self.settings.maximum_packet_size, Some(version), remainder);
        }
        self.decoder.push(Bytes::copy_from_slice(bytes));
        while !self.session.is_closed() {
            match self.decoder.next_packet() {
                Ok(Some(packet)) => self.client(packet),
                Ok(None) => break,
                Err(error) => {
                    self.feed(Input::Undecodable(error));
                    assert!(self.session.is_closed(), "bytes that are no packet end the connection");
                }
            }
        }
    }

    fn accept(&mut self, choice: u8) {
        let is_durable = choice & 1 != 0;
        let mut session = AcceptedSession {
            is_durable,
            session_present: choice & 2 != 0,
            session_expiry: if is_durable { 100 } else { 0 },
            ..AcceptedSession::default()
        };
        if session.session_present {
            session.subscriptions.insert("kept".to_owned(), SubscriptionOptions::default());
        }
        let assigned = choice & 4 != 0;
        self.model.accepts(&session);
        self.feed(Input::Accepted {
            client_id: ClientId::new("client").expect("not empty"),
            assigned,
            session,
            authentication_data: (choice & 8 != 0).then(|| Bytes::from_static(b"d")),
        });
    }

    fn settle(&mut self, packet_id: PacketId, reason_code: ReasonCode) {
        self.model.settles(packet_id, reason_code);
        self.feed(Input::Settled { packet_id, reason_code });
    }

    /// As a broker does it: the subscriptions first, then the answer.
    fn answer_subscribing(&mut self, at: usize, code: ReasonCode) {
        let fit = |packet| if code.is_allowed_in(packet) { code } else { ReasonCode::NotAuthorized };
        let Some((packet_id, request)) = self.model.subscribing(at) else {
            let packet_id = packet_id(at as u8);
            self.feed(Input::Subscribed { packet_id, reason_codes: vec![code] });
            return self.feed(Input::Unsubscribed { packet_id, reason_codes: vec![code] });
        };
        if request.is_unsubscribe {
            let reason_codes = vec![fit(PacketType::UnsubAck); request.filters.len()];
            self.model.answers(packet_id, reason_codes.clone());
            return self.feed(Input::Unsubscribed { packet_id, reason_codes });
        }
        let code = fit(PacketType::SubAck);
        let mut reason_codes = Vec::new();
        for filter in &request.filters {
            let is_granted = !code.is_error();
            let is_stored = is_granted && self.session.add_subscription(filter, SubscriptionOptions::default());
            assert!(!is_granted || is_stored == self.model.stores(filter), "{filter}");
            reason_codes.push(if is_granted && !is_stored { ReasonCode::QuotaExceeded } else { code });
        }
        self.model.answers(packet_id, reason_codes.clone());
        self.feed(Input::Subscribed { packet_id, reason_codes });
    }

    fn publication(&mut self, script: &mut Script<'_>) -> Publication {
        let (choice, size) = (script.byte(), script.byte());
        self.offered += 1;
        let mut payload = self.offered.to_be_bytes().to_vec();
        payload.resize(4 + usize::from(size), b'x');
        let topic = TOPICS[usize::from(choice) % TOPICS.len()].to_owned();
        let mut publication = Publication::of_platform(topic, payload, Qos::ExactlyOnce, self.now);
        publication.properties = (choice & 4 != 0).then(|| {
            Box::new(PublicationProperties {
                message_expiry_interval: (choice & 8 != 0).then_some(1),
                content_type: Some("c".to_owned()),
                user_properties: [("k", "v")].into(),
                ..PublicationProperties::default()
            })
        });
        if choice & 0x10 != 0 && self.named < 60 {
            self.named += 1;
            publication.message_id = Some(MessageId { origin: 1, number: u64::from(choice >> 5) });
        }
        publication
    }

    fn deliver(&mut self, script: &mut Script<'_>) {
        let choice = script.byte();
        let qos = Qos::from_bits(choice & 3).unwrap_or(Qos::AtLeastOnce);
        let retain = choice & 4 != 0;
        let subscription_identifiers = if choice & 8 != 0 { vec![1, 300] } else { Vec::new() };
        let publication = Rc::new(self.publication(script));
        let delivery = Delivery { publication, qos, retain, subscription_identifiers };
        self.model.offers(self.offered, Offered::of_broker(&delivery));
        self.feed(Input::Deliver(delivery));
        self.model.has_offered(self.offered);
    }

    fn relay(&mut self, script: &mut Script<'_>) {
        let choice = script.byte();
        let id = packet_id(script.byte());
        let outgoing = if choice & 0x80 != 0 {
            Outgoing::PubRel { packet_id: id, is_unknown: choice & 1 != 0 }
        } else {
            let qos = Qos::from_bits(choice & 3).unwrap_or(Qos::AtLeastOnce);
            let publish = Outgoing::Publish {
                packet_id: (qos > Qos::AtMostOnce).then_some(id),
                dup: qos > Qos::AtMostOnce && choice & 16 != 0,
                qos,
                retain: choice & 4 != 0,
                subscription_identifiers: if choice & 8 != 0 { vec![1, 300] } else { Vec::new() },
                publication: self.publication(script),
            };
            self.model.offers(self.offered, Offered::of_shard(&publish));
            publish
        };
        self.model.relays(Some(&outgoing));
        self.feed(Input::Relay(outgoing));
        self.model.relays(None);
    }

    /// The object that has the session sleeps and wakes, if it may.
    fn sleep(&mut self) {
        let Some(snapshot) = self.session.snapshot().filter(|_| self.session.is_at_rest()) else { return };
        self.session = Session::restore(self.settings, snapshot);
        self.model.sleeps();
    }

    fn feed(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.session.handle(self.now, input, &mut outputs);
        for output in &outputs {
            self.model.output(output);
        }
        self.model.check(&self.session);
        self.check_snapshot();
    }

    fn check_snapshot(&mut self) {
        let Some(snapshot) = self.session.snapshot() else { return };
        assert_eq!(snapshot.is_dirty, !self.session.is_at_rest());
        assert_eq!(SessionSnapshot::decode(&snapshot.encode()).as_ref(), Ok(&snapshot));
        if self.session.is_at_rest() {
            let restored = Session::restore(self.settings, snapshot.clone());
            assert_eq!(restored.snapshot().as_ref(), Some(&snapshot));
            assert_eq!(restored.next_timeout(), self.session.next_timeout());
            assert!(restored.is_at_rest());
        }
        // The names of what the client had go with `is_dirty`, or with QoS 0, of which nothing is kept.
        let now = SessionSnapshot { last_heard: UnixMillis(0), is_dirty: false, recent: Vec::new(), ..snapshot };
        if !self.session.take_changed() {
            assert_eq!(self.stored.as_ref(), Some(&now), "a change that nobody was told of");
        }
        self.stored = Some(now);
    }

    /// Everybody answers everything.
    fn finish(&mut self) {
        for _ in 0..1_000 {
            if self.session.is_closed() || !self.model.is_connected() {
                return;
            }
            if let Some(id) = self.model.open_publish(0) {
                // From the last to the first, so that the acknowledgements have to wait for each other.
                self.settle(self.model.last_open_publish().unwrap_or(id), ReasonCode::Success);
            } else if self.model.subscribing(0).is_some() {
                self.answer_subscribing(0, ReasonCode::Success);
            } else if let Some(packet_id) = self.model.releasing(0) {
                self.feed(Input::Released { packet_id });
            } else if let Some(packet) = self.model.next_of_client() {
                self.client(packet);
            } else {
                break;
            }
        }
        if self.model.is_reauthenticating() {
            return;
        }
        assert!(self.session.is_closed() || self.session.is_at_rest(), "{:?}", self.session);
        if !self.session.is_closed() {
            self.model.everything_was_sent();
        }
    }
}

/// A session in which nothing has happened since CONNACK.
pub(crate) fn a_connected_session() -> Session {
    let mut run = Run::new(SessionSettings::STANDARD);
    run.client(Packet::Connect(Box::new(Script::new(&[]).connect())));
    run.accept(0);
    run.session
}

/// What an output is, for messages of failed assertions.
fn name(output: &Output) -> String {
    let mut text = format!("{output:?}");
    text.truncate(text.floor_char_boundary(300));
    text
}
