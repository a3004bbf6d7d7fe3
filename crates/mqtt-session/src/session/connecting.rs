//! From the first packet to CONNACK.

use super::{Connected, Early, Negotiated, Phase, Session};
use crate::io::{Output, Subscriptions, WillMessage};
use crate::outbound::Outbound;
use crate::unsettled::Unsettled;
use iot_types::{ClientId, Qos, UnixMillis};
use messages::publication::PublicationProperties;
use mqtt_codec::{ByteString, ConnAck, ConnAckProperties, Connect, DecodeError, Packet, ProtocolVersion, ReasonCode};

impl Session {
    pub(super) fn connect(&mut self, connect: Connect, now: UnixMillis, out: &mut Vec<Output>) {
        let is_v5 = connect.version == ProtocolVersion::V5;
        let properties = &connect.properties;
        let will = connect.will.as_ref().map(will_message);
        let too_long = connect.client_id.len() > self.settings.maximum_client_id_bytes;
        let will_too_large = will.as_ref().is_some_and(|will| {
            let properties = will.properties.as_ref().map_or(0, |p| {
                p.user_properties.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>()
                    + p.correlation_data.as_ref().map_or(0, bytes::Bytes::len)
                    + p.content_type.as_ref().map_or(0, String::len)
                    + p.response_topic.as_ref().map_or(0, String::len)
            });
            will.topic.len() + will.payload.len() + properties > self.settings.maximum_will_bytes
        });
        let refusal = if connect.client_id.is_empty() && !is_v5 && !connect.clean_start {
            Some((
                ReasonCode::ClientIdentifierNotValid,
                "MQTT 3.1.1 [MQTT-3.1.3-8]: an empty client identifier needs Clean Session",
            ))
        } else if too_long {
            Some((ReasonCode::ClientIdentifierNotValid, "the client identifier is too long"))
        } else if properties.authentication_method.is_some() {
            Some((ReasonCode::BadAuthenticationMethod, "[MQTT-4.12.0-1] enhanced authentication is not offered"))
        } else if will.as_ref().is_some_and(|will| will.qos > self.settings.maximum_qos) {
            Some((ReasonCode::QosNotSupported, "[MQTT-3.2.2-12] the Will QoS is higher than the Maximum QoS"))
        } else if will.as_ref().is_some_and(|will| will.retain) && is_v5 {
            Some((ReasonCode::RetainNotSupported, "[MQTT-3.2.2-13] retained messages are not supported"))
        } else if will_too_large {
            Some((ReasonCode::PacketTooLarge, "the Will Message is too large"))
        } else {
            None
        };
        let negotiated = Negotiated {
            is_v5,
            asked_keep_alive: connect.keep_alive,
            keep_alive: self.settings.keep_alive(connect.keep_alive),
            asked_session_expiry: properties.session_expiry_interval.is_some_and(|secs| secs > 0),
            receive_maximum: properties.receive_maximum.unwrap_or(u16::MAX),
            maximum_packet_size: properties.maximum_packet_size,
            problem_information: properties.request_problem_information.unwrap_or(true),
            will,
        };
        self.phase = Phase::Connecting { connect: Box::new(negotiated), early: Early::default(), since: now };
        match refusal {
            Some((reason_code, reason)) => self.end(reason_code, reason, out),
            None => out.push(Output::Connect(Box::new(connect))),
        }
    }

    pub(super) fn accepted(&mut self, client_id: ClientId, assigned: bool, now: UnixMillis, out: &mut Vec<Output>) {
        let (negotiated, early) = match core::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Connecting { connect, early, .. } => (*connect, early),
            other => {
                self.phase = other;
                return;
            }
        };
        let settings = &self.settings;
        let mut properties = ConnAckProperties::default();
        if negotiated.is_v5 {
            // Sessions end with their connection so far; whoever asked for more is told (section 3.2.2.3.2).
            properties.session_expiry_interval = negotiated.asked_session_expiry.then_some(0);
            properties.receive_maximum = Some(settings.receive_maximum);
            properties.maximum_qos = (settings.maximum_qos < Qos::ExactlyOnce).then_some(settings.maximum_qos);
            properties.retain_available = Some(false);
            properties.maximum_packet_size = Some(settings.maximum_packet_size);
            properties.shared_subscription_available = Some(false);
            properties.assigned_client_identifier = assigned.then(|| ByteString::from(client_id.as_str()));
            properties.server_keep_alive =
                (negotiated.keep_alive != negotiated.asked_keep_alive).then_some(negotiated.keep_alive);
        }
        let connack = Packet::ConnAck(ConnAck { session_present: false, reason_code: ReasonCode::Success, properties });
        if !negotiated.takes(&connack) {
            self.phase = Phase::Connecting { connect: Box::new(negotiated), early, since: now };
            return self.end(ReasonCode::PacketTooLarge, "[MQTT-3.1.2-24] the CONNACK is larger than allowed", out);
        }
        let window = negotiated.receive_maximum.min(settings.maximum_inflight);
        self.phase = Phase::Connected(Box::new(Connected {
            negotiated,
            client_id,
            subscriptions: Subscriptions::new(),
            outbound: Outbound::new(window),
            unsettled: Unsettled::default(),
            subscribing: 0,
        }));
        out.push(Output::Send(connack));
        for packet in early.packets {
            self.packet(packet, now, out);
        }
    }

    pub(super) fn undecodable(&mut self, error: &DecodeError, out: &mut Vec<Output>) {
        let reason_code = error.reason_code();
        if let Phase::AwaitingConnect { .. } = self.phase {
            // [MQTT-3.1.2-2]: a version that is not spoken here may be told so; everything else just ends.
            if reason_code == ReasonCode::UnsupportedProtocolVersion {
                out.push(Output::Send(Packet::ConnAck(ConnAck {
                    session_present: false,
                    reason_code,
                    properties: ConnAckProperties::default(),
                })));
            }
            return self.close(reason_code, error.clause(), out);
        }
        if reason_code == ReasonCode::UnsupportedProtocolVersion {
            return self.end(ReasonCode::ProtocolError, "[MQTT-3.1.0-2] a second CONNECT", out);
        }
        self.end(reason_code, error.clause(), out);
    }
}

fn will_message(will: &mqtt_codec::Will) -> WillMessage {
    let p = &will.properties;
    let passed = PublicationProperties {
        payload_format_indicator: p.payload_format_indicator,
        message_expiry_interval: p.message_expiry_interval,
        content_type: p.content_type.as_deref().map(str::to_owned),
        response_topic: p.response_topic.as_deref().map(str::to_owned),
        correlation_data: p.correlation_data.clone(),
        user_properties: p.user_properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
    };
    let properties = (passed != PublicationProperties::default()).then(|| Box::new(passed));
    WillMessage {
        topic: will.topic.to_string(),
        payload: will.payload.clone(),
        qos: will.qos,
        retain: will.retain,
        properties,
    }
}
