//! What clients do, and what reaches them.

use super::{Event, World};
use crate::client::{Client, ClientKey, ClientOptions, Received, Unacknowledged};
use crate::record::{Publish as PublishRecord, Stamp, Subscription, Waiting};
use crate::settings::Sabotage;
use broker::Input;
use bytes::{Bytes, BytesMut};
use device_auth::internal_header::ConnectionGrant;
use iot_types::{PacketId, Qos};
use messages::broker::ConnectionId;
use mqtt_codec::{
    AckProperties, Disconnect, Packet, ProtocolVersion, PubAck, PubRec, PubRel, Publish, PublishProperties, ReasonCode,
    Subscribe, SubscribeProperties, SubscriptionRequest, UnsubAck, Unsubscribe, UserProperties, encode,
};

impl World {
    /// A connection of the simulation. Keys come from [`Self::connect`] only.
    ///
    /// # Panics
    /// When the key is another world's.
    #[must_use]
    #[allow(clippy::indexing_slicing)] // a test's own mistake
    pub fn client(&self, key: ClientKey) -> &Client {
        &self.clients[key.0]
    }

    /// All connections there ever were.
    pub fn clients(&self) -> impl Iterator<Item = (ClientKey, &Client)> {
        self.clients.iter().enumerate().map(|(index, client)| (ClientKey(index), client))
    }

    /// All publishes there ever were. The payload of number n is `m` and n.
    #[must_use]
    pub fn published(&self) -> &[PublishRecord] {
        &self.published
    }

    /// Opens a socket and sends CONNECT.
    pub fn connect(&mut self, mut options: ClientOptions) -> ClientKey {
        if options.is_durable() && self.is_uncertain(&options.client_id) {
            match options.version {
                ProtocolVersion::V5 => options.clean_start = true,
                ProtocolVersion::V3_1_1 => options.session_expiry = 0,
            }
        }
        let (key, index, now) = (ClientKey(self.clients.len()), self.instance(options.broker), self.now());
        self.wake(index);
        let connection = self.nodes.get_mut(index as usize).map_or(ConnectionId(0), |node| node.admit(key));
        self.check_sockets(index);
        self.connections.insert((options.broker, connection), key);
        let grant = Box::new(ConnectionGrant {
            principal: if options.credentials.is_none() { Self::principal() } else { None },
            source_ip: None,
            trace_id: key.0.to_string(),
            host: "sim".to_owned(),
            ..ConnectionGrant::default()
        });
        let before = options.is_durable().then(|| self.last_connection(&options.client_id)).flatten();
        if let Some(before) = before {
            // One device, which has given up its older connection; the server may not know yet.
            self.lose(before);
        }
        // [MQTT-3.1.2-4]: whoever asks for a new session has forgotten the one before, whatever the server answers.
        let memory = before
            .filter(|_| !options.clean_start)
            .and_then(|before| self.clients.get_mut(before.0))
            .map(|client| core::mem::take(&mut client.memory));
        let packet = options.connect_packet();
        let ping = (options.keep_alive > 0 && options.pings).then(|| u64::from(options.keep_alive) * 700);
        let mut client = Client::new(options, index, connection, now);
        client.before = before;
        client.memory = memory.unwrap_or_default();
        self.clients.push(client);
        self.handle(index, Input::Opened { connection, grant });
        self.request(key, Waiting::Connect, &packet);
        if let Some(wait) = ping {
            self.later(wait, Event::Ping(key));
        }
        key
    }

    /// Whether the client has asked for a new session and was told nothing. It has forgotten the one before, which the
    /// server may have, and so has to ask again ([MQTT-3.2.2-4]).
    fn is_uncertain(&self, client_id: &str) -> bool {
        let last = self.clients.iter().rfind(|client| client.options.client_id == client_id);
        last.is_some_and(|last| {
            let asked = last.options.clean_start || !last.options.is_durable();
            asked && last.connack != Some(ReasonCode::Success)
        })
    }

    /// The newest connection of a client id whose session outlives its connections.
    fn last_connection(&self, client_id: &str) -> Option<ClientKey> {
        let found = self.clients.iter().rposition(|c| c.options.client_id == client_id && c.options.is_durable());
        found.map(ClientKey)
    }

    /// Sends SUBSCRIBE.
    pub fn subscribe(&mut self, key: ClientKey, filters: &[&str], qos: Qos) {
        let stamp = self.stamp();
        let Some(client) = self.clients.get_mut(key.0) else { return };
        let packet_id = client.packet_id();
        client.subscriptions.extend(filters.iter().map(|filter| Subscription {
            filter: (*filter).to_owned(),
            qos,
            packet_id,
            asked: stamp,
            answered: None,
            ended: None,
            end_asked: None,
            end_confirmed: None,
        }));
        let packet = Packet::Subscribe(Subscribe {
            packet_id,
            filters: filters.iter().map(|filter| SubscriptionRequest::new(*filter, qos)).collect(),
            properties: SubscribeProperties::default(),
        });
        self.request(key, Waiting::Subscribe(packet_id), &packet);
    }

    /// Sends UNSUBSCRIBE.
    pub fn unsubscribe(&mut self, key: ClientKey, filter: &str) {
        let stamp = self.stamp();
        let Some(client) = self.clients.get_mut(key.0) else { return };
        let packet_id = client.packet_id();
        self.each_subscription(key, |subscription| {
            if subscription.filter == filter {
                subscription.ended.get_or_insert(stamp);
                subscription.end_asked = Some((key, packet_id));
            }
        });
        let packet = Unsubscribe { packet_id, filters: [filter.into()].into(), user_properties: UserProperties::new() };
        if self.settings.sabotage == Some(Sabotage::UnsubscribesAreIgnored) {
            return self.pretend_to_unsubscribe(key, packet_id);
        }
        self.request(key, Waiting::Unsubscribe(packet_id), &Packet::Unsubscribe(packet));
    }

    /// All subscriptions of a connection's session, those that were made on earlier connections among them.
    fn each_subscription(&mut self, key: ClientKey, mut act: impl FnMut(&mut Subscription)) {
        let mut next = Some(key);
        while let Some(client) = next.and_then(|key| self.clients.get_mut(key.0)) {
            client.subscriptions.iter_mut().for_each(&mut act);
            next = client.before.filter(|_| client.session_present != Some(false));
        }
    }

    fn pretend_to_unsubscribe(&mut self, key: ClientKey, packet_id: PacketId) {
        let Some(client) = self.clients.get_mut(key.0) else { return };
        let answer =
            UnsubAck { packet_id, reason_codes: vec![ReasonCode::Success], properties: AckProperties::default() };
        let mut bytes = BytesMut::new();
        encode(&Packet::UnsubAck(answer), client.options.version, &mut bytes);
        self.downstream(key, |client| Event::Downstream { client, bytes: bytes.freeze() });
    }

    /// Sends PUBLISH with a payload of its own, `m` and its number in [`Self::published`], which is returned.
    pub fn publish(&mut self, key: ClientKey, topic: &str, qos: Qos) -> usize {
        let number = self.published.len();
        self.publish_payload(key, topic, qos, format!("m{number}"));
        number
    }

    /// Sends PUBLISH.
    pub fn publish_payload(&mut self, key: ClientKey, topic: &str, qos: Qos, payload: String) {
        self.send_publish(key, topic, qos, payload, false);
    }

    /// Sends PUBLISH with RETAIN and a payload of its own, or, to clear the topic, an empty one.
    pub fn publish_retained(&mut self, key: ClientKey, topic: &str, qos: Qos, clears: bool) -> usize {
        let number = self.published.len();
        let payload = if clears { String::new() } else { format!("m{number}") };
        self.send_publish(key, topic, qos, payload, true);
        number
    }

    fn send_publish(&mut self, key: ClientKey, topic: &str, qos: Qos, payload: String, retain: bool) {
        let (sent, number) = (self.stamp(), self.published.len());
        let Some(client) = self.clients.get_mut(key.0) else { return };
        let packet_id = (qos > Qos::AtMostOnce).then(|| client.packet_id());
        if let Some(packet_id) = packet_id {
            client.memory.unacknowledged.push(Unacknowledged { packet_id, number, is_received: false });
        }
        let topic = topic.to_owned();
        let record = PublishRecord {
            client: key,
            topic,
            payload,
            qos,
            retain,
            packet_id,
            sent,
            is_resent: false,
            acknowledged: None,
        };
        let packet = publish_packet(&record, false);
        self.published.push(record);
        match packet_id {
            Some(packet_id) => self.request(key, Waiting::Publish(packet_id), &packet),
            None => self.send(key, &packet),
        }
    }

    /// Sends again what the session had not finished ([MQTT-4.4.0-1]).
    fn take_up(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key.0) else { return };
        if client.session_present != Some(true) {
            // A server without the session knows none of these; what was not acknowledged is lost.
            let sent_here =
                |publish: &Unacknowledged| client.waiting.contains_key(&Waiting::Publish(publish.packet_id));
            client.memory.unacknowledged.retain(sent_here);
            client.memory.unreleased.clear();
            return;
        }
        for publish in client.memory.unacknowledged.clone() {
            let waiting = Waiting::Publish(publish.packet_id);
            let Some(record) = self.published.get_mut(publish.number) else { continue };
            if record.client == key {
                // It did not wait for CONNACK.
                continue;
            }
            record.is_resent = true;
            if publish.is_received {
                let packet = Packet::PubRel(PubRel {
                    packet_id: publish.packet_id,
                    reason_code: ReasonCode::Success,
                    properties: AckProperties::default(),
                });
                self.request(key, waiting, &packet);
            } else {
                let packet = publish_packet(record, true);
                self.request(key, waiting, &packet);
            }
        }
    }

    /// Sends PINGREQ.
    pub fn ping(&mut self, key: ClientKey) {
        self.request(key, Waiting::Ping, &Packet::PingReq);
    }

    /// Sends DISCONNECT; the client's end closes at once.
    pub fn disconnect(&mut self, key: ClientKey) {
        self.disconnect_with(key, ReasonCode::NormalDisconnection);
    }

    /// The same with a reason: 0x04 leaves the Will Message in force ([MQTT-3.14.4-3]). MQTT 3.1.1 has none.
    pub fn disconnect_with(&mut self, key: ClientKey, reason_code: ReasonCode) {
        self.send(key, &Packet::Disconnect(Disconnect::new(reason_code)));
        self.write(key);
        if let Some(client) = self.clients.get_mut(key.0).filter(|client| client.ended.is_none()) {
            client.disconnected = Some(reason_code);
        }
        self.client_ended(key);
        self.lose_upstream(key);
    }

    /// The network connection breaks.
    pub fn lose(&mut self, key: ClientKey) {
        self.client_ended(key);
        self.lose_upstream(key);
    }

    /// The client is gone without a word, and nobody learns of it: only its silence tells.
    pub fn vanish(&mut self, key: ClientKey) {
        self.client_ended(key);
    }

    /// Acknowledges a message of QoS 1, for a client that doesn't do so by itself.
    pub fn acknowledge(&mut self, key: ClientKey, packet_id: PacketId) {
        if let Some(client) = self.clients.get_mut(key.0) {
            client.acknowledge(packet_id, Qos::AtLeastOnce);
            self.write_later(key);
        }
    }

    pub(super) fn ping_in_time(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key.0) else { return };
        let wait = u64::from(client.options.keep_alive) * 700;
        if client.ended.is_none() {
            self.ping(key);
            self.later(wait, Event::Ping(key));
        }
    }

    fn request(&mut self, key: ClientKey, waiting: Waiting, packet: &Packet) {
        let now = self.now();
        if let Some(client) = self.clients.get_mut(key.0)
            && client.ended.is_none()
        {
            client.waiting.entry(waiting).or_insert(now);
        }
        self.send(key, packet);
    }

    fn send(&mut self, key: ClientKey, packet: &Packet) {
        if self.is_logging() {
            let client = self.client(key);
            let (name, is_over) = (client.options.client_id.clone(), client.ended.is_some());
            self.note(|| format!("{name}#{} {}-> {packet:?}", key.0, if is_over { "(over) " } else { "" }));
        }
        let Some(client) = self.clients.get_mut(key.0) else { return };
        if client.ended.is_none() {
            client.write(packet);
            self.write_later(key);
        }
    }

    /// One packet is one frame, unless packets are to be cut and joined.
    fn write_later(&mut self, key: ClientKey) {
        if self.settings.faults.fragments {
            let wait = self.random.below(4);
            self.later(wait, Event::Write(key));
        } else {
            self.write(key);
        }
    }

    pub(super) fn write(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key.0) else { return };
        let mut bytes = client.sending.split().freeze();
        while !bytes.is_empty() {
            let fragment = self.settings.faults.fragments && self.random.chance(500);
            let length = if fragment { 1 + self.random.index(bytes.len()) } else { bytes.len() };
            let piece = bytes.split_to(length);
            let at = self.upstream_free(key);
            self.check_frame(key, piece.len());
            if let Some(client) = self.clients.get_mut(key.0) {
                client.upstream_pieces += 1;
            }
            self.schedule.at(at, Event::Upstream { client: key, bytes: piece });
        }
    }

    fn lose_upstream(&mut self, key: ClientKey) {
        let at = self.upstream_free(key);
        self.schedule.at(at, Event::Lost { client: key });
    }

    /// When what the client sends now arrives: after everything it has sent before.
    fn upstream_free(&mut self, key: ClientKey) -> iot_types::UnixMillis {
        let arrives = self.now().plus_millis(self.delay());
        let Some(client) = self.clients.get_mut(key.0) else { return arrives };
        client.upstream_free = client.upstream_free.max(arrives);
        client.upstream_free
    }

    pub(super) fn client_ended(&mut self, key: ClientKey) {
        let stamp = self.stamp();
        self.note(|| format!("#{} ended for its client", key.0));
        if let Some(client) = self.clients.get_mut(key.0) {
            client.ended.get_or_insert(stamp);
        }
    }

    pub(super) fn client_received(&mut self, key: ClientKey, bytes: Bytes) {
        let Some(client) = self.clients.get_mut(key.0).filter(|client| client.ended.is_none()) else { return };
        match client.read(bytes) {
            Ok(packets) => packets.into_iter().for_each(|packet| self.client_packet(key, packet)),
            Err(error) => self.violations.push(error),
        }
    }

    fn client_packet(&mut self, key: ClientKey, packet: Packet) {
        let (stamp, now) = (self.stamp(), self.now());
        if self.is_logging() {
            let name = self.client(key).options.client_id.clone();
            self.note(|| format!("{name}#{} <- {packet:?}", key.0));
        }
        let Some(client) = self.clients.get_mut(key.0) else { return };
        client.log.push(packet.packet_type().to_string());
        match packet {
            Packet::ConnAck(connack) => {
                client.connack = Some(connack.reason_code);
                client.answered(Waiting::Connect, now);
                if connack.reason_code == ReasonCode::Success {
                    client.session_present = Some(connack.session_present);
                    if connack.session_present && client.before.is_none() {
                        self.violations.push(format!("{}: a session that never was", client.options.client_id));
                    }
                    self.take_up(key);
                }
            }
            Packet::Publish(publish) => {
                let is_repeat = publish.qos == Qos::ExactlyOnce
                    && publish.packet_id.is_some_and(|packet_id| !client.memory.unreleased.insert(packet_id));
                if !is_repeat {
                    client.received.push(Received {
                        stamp,
                        topic: publish.topic.to_string(),
                        payload: String::from_utf8_lossy(&publish.payload).into_owned(),
                        qos: publish.qos,
                        retain: publish.retain,
                        dup: publish.dup,
                    });
                }
                if let Some(packet_id) = publish.packet_id.filter(|_| client.options.acknowledges) {
                    client.acknowledge(packet_id, publish.qos);
                    self.write_later(key);
                }
            }
            Packet::PubRel(pubrel) => {
                client.complete(pubrel.packet_id);
                self.write_later(key);
            }
            Packet::PubAck(PubAck { packet_id, reason_code, .. }) => {
                if self.settings.sabotage != Some(Sabotage::PubAcksAreLost) {
                    self.acknowledged(key, packet_id, reason_code, true, stamp);
                }
            }
            Packet::PubRec(PubRec { packet_id, reason_code, .. }) => {
                self.acknowledged(key, packet_id, reason_code, reason_code.is_error(), stamp);
                if !reason_code.is_error()
                    && let Some(client) = self.clients.get_mut(key.0)
                {
                    client.release(packet_id);
                    self.write_later(key);
                }
            }
            Packet::PubComp(pubcomp) => {
                client.answered(Waiting::Publish(pubcomp.packet_id), now);
                client.memory.unacknowledged.retain(|publish| publish.packet_id != pubcomp.packet_id);
            }
            Packet::SubAck(suback) => {
                client.answered(Waiting::Subscribe(suback.packet_id), now);
                let asked =
                    client.subscriptions.iter_mut().filter(|s| s.packet_id == suback.packet_id && s.answered.is_none());
                let mut count = 0;
                for (subscription, code) in asked.zip(&suback.reason_codes) {
                    subscription.answered = Some((stamp, *code));
                    count += 1;
                }
                if count != suback.reason_codes.len() || count == 0 {
                    self.violations.push(format!("{}: a SUBACK for something else", client.options.client_id));
                }
            }
            Packet::UnsubAck(unsuback) => {
                client.answered(Waiting::Unsubscribe(unsuback.packet_id), now);
                self.each_subscription(key, |subscription| {
                    if subscription.end_asked == Some((key, unsuback.packet_id)) {
                        subscription.end_confirmed.get_or_insert(stamp);
                    }
                });
            }
            Packet::PingResp => client.answered(Waiting::Ping, now),
            Packet::Disconnect(disconnect) => client.disconnect = Some(disconnect.reason_code),
            other => self.violations.push(format!("a server sent {}", other.packet_type())),
        }
    }

    /// PUBACK or PUBREC: the server has the message, or refuses it.
    fn acknowledged(&mut self, key: ClientKey, packet_id: PacketId, code: ReasonCode, is_done: bool, stamp: Stamp) {
        let now = self.now();
        let Some(client) = self.clients.get_mut(key.0) else { return };
        let Some(at) = client.memory.unacknowledged.iter().position(|publish| publish.packet_id == packet_id) else {
            let name = client.options.client_id.clone();
            self.violations.push(format!("{name}#{}: an acknowledgement of nothing, {packet_id:?} at {now:?}", key.0));
            return;
        };
        if let Some(publish) = client.memory.unacknowledged.get_mut(at) {
            publish.is_received = true;
            if let Some(record) = self.published.get_mut(publish.number) {
                record.acknowledged.get_or_insert((stamp, code));
            }
        }
        if is_done {
            client.answered(Waiting::Publish(packet_id), now);
            client.memory.unacknowledged.remove(at);
        }
    }
}

fn publish_packet(record: &PublishRecord, dup: bool) -> Packet {
    Packet::Publish(Publish {
        dup,
        qos: record.qos,
        retain: record.retain,
        topic: record.topic.as_str().into(),
        packet_id: record.packet_id,
        properties: PublishProperties::default().into(),
        payload: Bytes::from(record.payload.clone()),
    })
}
