//! What clients do, and what reaches them.

use super::{Event, World};
use crate::client::{Client, ClientKey, ClientOptions, Received};
use crate::record::{Publish as PublishRecord, Subscription, Waiting};
use crate::settings::Sabotage;
use broker::Input;
use bytes::{Bytes, BytesMut};
use device_auth::internal_header::ConnectionGrant;
use iot_types::{PacketId, Qos};
use messages::broker::ConnectionId;
use mqtt_codec::{
    AckProperties, Disconnect, Packet, Publish, PublishProperties, ReasonCode, Subscribe, SubscribeProperties,
    SubscriptionRequest, UnsubAck, Unsubscribe, UserProperties, encode,
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
    pub fn connect(&mut self, options: ClientOptions) -> ClientKey {
        let (key, index, now) = (ClientKey(self.clients.len()), options.broker, self.now());
        self.wake(index);
        let connection = self.nodes.get_mut(index as usize).map_or(ConnectionId(0), |node| node.admit(key));
        let grant = Box::new(ConnectionGrant {
            principal: if options.credentials.is_none() { Self::principal() } else { None },
            source_ip: None,
            trace_id: key.0.to_string(),
            host: "sim".to_owned(),
        });
        let packet = options.connect_packet();
        let ping = (options.keep_alive > 0 && options.pings).then(|| u64::from(options.keep_alive) * 700);
        self.clients.push(Client::new(options, connection, now));
        self.handle(index, Input::Opened { connection, grant });
        self.request(key, Waiting::Connect, &packet);
        if let Some(wait) = ping {
            self.later(wait, Event::Ping(key));
        }
        key
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
        for subscription in &mut client.subscriptions {
            if subscription.filter == filter {
                subscription.ended.get_or_insert((stamp, packet_id));
            }
        }
        let packet = Unsubscribe { packet_id, filters: vec![filter.into()], user_properties: UserProperties::new() };
        if self.settings.sabotage == Some(Sabotage::UnsubscribesAreIgnored) {
            return self.pretend_to_unsubscribe(key, packet_id);
        }
        self.request(key, Waiting::Unsubscribe(packet_id), &Packet::Unsubscribe(packet));
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
        let sent = self.stamp();
        let Some(client) = self.clients.get_mut(key.0) else { return };
        let packet_id = (qos > Qos::AtMostOnce).then(|| client.packet_id());
        let record = PublishRecord {
            client: key,
            topic: topic.to_owned(),
            payload: payload.clone(),
            qos,
            packet_id,
            sent,
            acknowledged: None,
        };
        self.published.push(record);
        let packet = Packet::Publish(Publish {
            dup: false,
            qos,
            retain: false,
            topic: topic.into(),
            packet_id,
            properties: PublishProperties::default(),
            payload: Bytes::from(payload),
        });
        match packet_id {
            Some(packet_id) => self.request(key, Waiting::Publish(packet_id), &packet),
            None => self.send(key, &packet),
        }
    }

    /// Sends PINGREQ.
    pub fn ping(&mut self, key: ClientKey) {
        self.request(key, Waiting::Ping, &Packet::PingReq);
    }

    /// Sends DISCONNECT; the client's end closes at once.
    pub fn disconnect(&mut self, key: ClientKey) {
        self.send(key, &Packet::Disconnect(Disconnect::new(ReasonCode::NormalDisconnection)));
        self.write(key);
        self.client_ended(key);
        self.lose_upstream(key);
    }

    /// The network connection breaks.
    pub fn lose(&mut self, key: ClientKey) {
        self.client_ended(key);
        self.lose_upstream(key);
    }

    /// Acknowledges everything that came with QoS 1, for a client that doesn't do so by itself.
    pub fn acknowledge(&mut self, key: ClientKey, packet_id: PacketId) {
        if let Some(client) = self.clients.get_mut(key.0) {
            client.acknowledge(packet_id);
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
        let Some(client) = self.clients.get_mut(key.0) else { return };
        client.log.push(packet.packet_type().to_string());
        match packet {
            Packet::ConnAck(connack) => {
                client.connack = Some(connack.reason_code);
                client.answered(Waiting::Connect, now);
            }
            Packet::Publish(publish) => {
                client.received.push(Received {
                    stamp,
                    topic: publish.topic.to_string(),
                    payload: String::from_utf8_lossy(&publish.payload).into_owned(),
                    qos: publish.qos,
                });
                if let Some(packet_id) = publish.packet_id.filter(|_| client.options.acknowledges) {
                    client.acknowledge(packet_id);
                    self.write_later(key);
                }
            }
            Packet::PubAck(puback) => {
                if self.settings.sabotage == Some(Sabotage::PubAcksAreLost) {
                    return;
                }
                client.answered(Waiting::Publish(puback.packet_id), now);
                let record = self.published.iter_mut().rev().find(|publish| {
                    publish.client == key
                        && publish.packet_id == Some(puback.packet_id)
                        && publish.acknowledged.is_none()
                });
                match record {
                    Some(record) => record.acknowledged = Some((stamp, puback.reason_code)),
                    None => self.violations.push(format!("{}: a PUBACK for nothing", client.options.client_id)),
                }
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
                for subscription in &mut client.subscriptions {
                    if subscription.ended.is_some_and(|(_, id)| id == unsuback.packet_id) {
                        subscription.end_confirmed.get_or_insert(stamp);
                    }
                }
            }
            Packet::PingResp => client.answered(Waiting::Ping, now),
            Packet::Disconnect(disconnect) => client.disconnect = Some(disconnect.reason_code),
            other => self.violations.push(format!("a server sent {}", other.packet_type())),
        }
    }
}
