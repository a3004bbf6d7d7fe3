//! From the first packet to CONNACK.

use super::authenticating::Turn;
use super::{Connected, Negotiated, Phase, Session};
use crate::WillMessage;
use crate::io::{AcceptedSession, Output};
use bytes::Bytes;
use iot_types::{ClientId, Qos, UnixMillis};
use messages::publication::PublicationProperties;
use messages::session::{Claim, ConnectionDetails};
use mqtt_codec::{ByteString, ConnAck, ConnAckProperties, Connect, Packet, ProtocolVersion, ReasonCode, encoded_len};
use std::collections::VecDeque;

/// A CONNECT on its way to CONNACK.
#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) negotiated: Negotiated,
    clean_start: bool,
    asked_keep_alive: u16,
    /// What the client asked for, within the limit.
    session_expiry: u32,
    wants_response_information: bool,
    will: Option<Box<WillMessage>>,
    early: Early,
    /// When the client or the broker last got something to do.
    pub(super) since: UnixMillis,
    /// With enhanced authentication.
    pub(super) turn: Option<Turn>,
}

/// Packets that came before CONNACK, oldest first.
#[derive(Debug, Default)]
struct Early {
    packets: VecDeque<Packet>,
    bytes: usize,
}

impl Session {
    pub(super) fn connect(&mut self, connect: Box<Connect>, now: UnixMillis, out: &mut Vec<Output>) {
        let settings = &self.settings;
        let is_v5 = connect.version == ProtocolVersion::V5;
        let properties = &connect.properties;
        let will = connect.will.as_ref().map(|will| self.will_message(will));
        let refusal = self.refusal(&connect, will.as_ref());
        let session_expiry = settings.session_expiry(&connect);
        let negotiated = Negotiated {
            is_v5,
            keep_alive: settings.keep_alive(connect.keep_alive),
            session_expiry: if is_v5 { properties.session_expiry_interval.unwrap_or(0) } else { session_expiry },
            receive_maximum: properties.receive_maximum.unwrap_or(u16::MAX),
            maximum_packet_size: properties.maximum_packet_size,
            problem_information: properties.request_problem_information.unwrap_or(true),
            topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
            // A copy of its own: the packet's text would keep the whole CONNECT alive.
            authentication_method: properties.authentication_method.as_deref().map(ByteString::from),
        };
        self.phase = Phase::Connecting(Box::new(Connecting {
            clean_start: connect.clean_start,
            asked_keep_alive: connect.keep_alive,
            session_expiry,
            wants_response_information: properties.request_response_information.unwrap_or(false),
            will: will.map(Box::new),
            early: Early::default(),
            since: now,
            turn: negotiated.authentication_method.is_some().then_some(Turn::Server),
            negotiated,
        }));
        match refusal {
            Some((reason_code, reason)) => self.end(reason_code, reason, out),
            None => out.push(Output::Connect(connect)),
        }
    }

    /// What the CONNECT asks of its Sessions shard, within the limits; `None` unless a CONNECT has been given out.
    #[must_use]
    pub fn claim(&self, details: ConnectionDetails) -> Option<Claim> {
        let Phase::Connecting(connecting) = &self.phase else { return None };
        let negotiated = &connecting.negotiated;
        Some(Claim {
            clean_start: connecting.clean_start,
            session_expiry: connecting.session_expiry,
            receive_maximum: self.settings.outbound(negotiated.receive_maximum).window,
            maximum_packet_size: negotiated.maximum_packet_size,
            will: connecting.will.clone(),
            details: Box::new(ConnectionDetails {
                keep_alive: negotiated.keep_alive,
                is_v5: negotiated.is_v5,
                ..details
            }),
        })
    }

    fn refusal(&self, connect: &Connect, will: Option<&WillMessage>) -> Option<(ReasonCode, &'static str)> {
        let is_v5 = connect.version == ProtocolVersion::V5;
        if connect.client_id.is_empty() && !is_v5 && !connect.clean_start {
            Some((
                ReasonCode::ClientIdentifierNotValid,
                "MQTT 3.1.1 [MQTT-3.1.3-8]: an empty client identifier needs Clean Session",
            ))
        } else if connect.client_id.len() > self.settings.maximum_client_id_bytes {
            Some((ReasonCode::ClientIdentifierNotValid, "the client identifier is too long"))
        } else if connect.properties.authentication_method.is_some() && !self.settings.has_enhanced_authentication {
            Some((ReasonCode::BadAuthenticationMethod, "[MQTT-4.12.0-1] enhanced authentication is not offered"))
        } else if will.is_some_and(|will| will.qos > self.settings.maximum_qos) {
            Some((ReasonCode::QosNotSupported, "[MQTT-3.2.2-12] the Will QoS is higher than the Maximum QoS"))
        } else if will.is_some_and(|will| will.retain) && !self.settings.is_retain_available && is_v5 {
            Some((ReasonCode::RetainNotSupported, "[MQTT-3.2.2-13] retained messages are not supported"))
        } else if will.is_some_and(|will| weight(will) > self.settings.maximum_will_bytes) {
            Some((ReasonCode::PacketTooLarge, "the Will Message is too large"))
        } else {
            None
        }
    }

    /// A packet between CONNECT and CONNACK.
    pub(super) fn early_packet(&mut self, packet: Packet, now: UnixMillis, out: &mut Vec<Output>) {
        let Phase::Connecting(connecting) = &mut self.phase else { return };
        match packet {
            Packet::Auth(auth) => return self.early_auth(auth, now, out),
            Packet::Disconnect(disconnect) if connecting.turn.is_some() => return self.disconnect(&disconnect, out),
            _ if connecting.turn.is_some() => {
                let reason = "[MQTT-3.1.2-30] a packet other than AUTH and DISCONNECT during the authentication";
                return self.end(ReasonCode::ProtocolError, reason, out);
            }
            _ => {}
        }
        let early = &mut connecting.early;
        let bytes = early.bytes.saturating_add(encoded_len(&packet, connecting.negotiated.version()));
        let has_room =
            early.packets.len() < self.settings.maximum_early_packets && bytes <= self.settings.maximum_early_bytes;
        if has_room {
            early.packets.push_back(packet);
            early.bytes = bytes;
        } else {
            self.end(ReasonCode::QuotaExceeded, "too much was sent before CONNACK", out);
        }
    }

    pub(super) fn accepted(
        &mut self,
        client_id: ClientId,
        assigned: bool,
        session: AcceptedSession,
        authentication_data: Option<Bytes>,
        now: UnixMillis,
        out: &mut Vec<Output>,
    ) {
        // While the client has to answer an AUTH, nobody can have accepted it.
        let is_due = matches!(&self.phase, Phase::Connecting(connecting) if connecting.turn != Some(Turn::Client));
        if !is_due {
            return;
        }
        let Phase::Connecting(connecting) = core::mem::replace(&mut self.phase, Phase::Closed) else { return };
        let negotiated = &connecting.negotiated;
        let mut properties = ConnAckProperties::default();
        if negotiated.is_v5 {
            properties = self.announcements();
            // Section 3.2.2.3.2: told where it is not what the client asked for.
            properties.session_expiry_interval =
                (session.session_expiry != negotiated.session_expiry).then_some(session.session_expiry);
            properties.assigned_client_identifier = assigned.then(|| ByteString::from(client_id.as_str()));
            properties.server_keep_alive =
                (negotiated.keep_alive != connecting.asked_keep_alive).then_some(negotiated.keep_alive);
            if connecting.wants_response_information {
                properties.response_information = self.settings.response_information.map(ByteString::from_static);
            }
            // [MQTT-4.12.0-5]
            properties.authentication_method.clone_from(&negotiated.authentication_method);
            properties.authentication_data = authentication_data.filter(|_| negotiated.authentication_method.is_some());
        }
        let session_present = session.session_present;
        let connack =
            Packet::ConnAck(Box::new(ConnAck { session_present, reason_code: ReasonCode::Success, properties }));
        if !negotiated.takes(&connack) {
            self.phase = Phase::Connecting(connecting);
            return self.end(ReasonCode::PacketTooLarge, "[MQTT-3.1.2-24] the CONNACK is larger than allowed", out);
        }
        let Connecting { negotiated, early, .. } = *connecting;
        let AcceptedSession { is_durable, subscriptions, .. } = session;
        let connected = Connected::new(&self.settings, negotiated, client_id, is_durable, subscriptions);
        self.phase = Phase::Connected(Box::new(connected));
        self.is_changed = true;
        out.push(Output::Send(connack));
        for packet in early.packets {
            self.packet(packet, now, out);
        }
    }

    /// What every CONNACK of MQTT 5.0 says; what is not said is without limit or available.
    fn announcements(&self) -> ConnAckProperties {
        let settings = &self.settings;
        ConnAckProperties {
            receive_maximum: Some(settings.receive_maximum),
            maximum_qos: (settings.maximum_qos < Qos::ExactlyOnce).then_some(settings.maximum_qos),
            retain_available: (!settings.is_retain_available).then_some(false),
            maximum_packet_size: Some(settings.maximum_packet_size),
            topic_alias_maximum: (settings.topic_alias_maximum > 0).then_some(settings.topic_alias_maximum),
            subscription_identifier_available: (!settings.are_subscription_identifiers_available).then_some(false),
            ..ConnAckProperties::default()
        }
    }

    /// Everything is a copy: a slice of the CONNECT would keep all of it alive.
    fn will_message(&self, will: &mqtt_codec::Will) -> WillMessage {
        let p = &will.properties;
        let passed = PublicationProperties {
            payload_format_indicator: p.payload_format_indicator,
            message_expiry_interval: self.settings.message_expiry(p.message_expiry_interval),
            content_type: p.content_type.as_deref().map(str::to_owned),
            response_topic: p.response_topic.as_deref().map(str::to_owned),
            correlation_data: p.correlation_data.as_deref().map(Bytes::copy_from_slice),
            user_properties: p.user_properties.to_owned_bytes(),
        };
        let properties = (passed != PublicationProperties::default()).then(|| Box::new(passed));
        WillMessage {
            topic: will.topic.to_string(),
            payload: Bytes::copy_from_slice(&will.payload),
            qos: will.qos,
            retain: will.retain,
            delay: p.will_delay_interval.unwrap_or(0),
            properties,
        }
    }
}

/// Bytes of a will's topic, payload and properties.
fn weight(will: &WillMessage) -> usize {
    will.topic.len() + will.payload.len() + will.properties.as_deref().map_or(0, PublicationProperties::weight)
}
