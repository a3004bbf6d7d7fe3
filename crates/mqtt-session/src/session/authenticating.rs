//! Enhanced authentication (MQTT 5.0 section 4.12): whose turn it is. What the data means is the broker's.

use super::{Phase, Session};
use crate::io::Output;
use bytes::Bytes;
use iot_types::UnixMillis;
use mqtt_codec::{Auth, AuthProperties, ByteString, Packet, ReasonCode};

/// Who has to say something next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Client,
    Server,
}

/// A re-authentication under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authentication {
    pub(super) turn: Turn,
    /// When it became the turn of whoever has it.
    pub(super) since: UnixMillis,
}

impl Session {
    /// AUTH before CONNACK.
    pub(super) fn early_auth(&mut self, auth: Auth, now: UnixMillis, out: &mut Vec<Output>) {
        let Phase::Connecting(connecting) = &mut self.phase else { return };
        let method = connecting.negotiated.authentication_method.clone();
        let Some(method) = method else {
            let reason = "[MQTT-4.12.0-7] AUTH without an authentication method in CONNECT";
            return self.end(ReasonCode::ProtocolError, reason, out);
        };
        if auth.reason_code != ReasonCode::ContinueAuthentication || connecting.turn != Some(Turn::Client) {
            let reason = "[MQTT-4.12.0-3] an AUTH that continues nothing";
            return self.end(ReasonCode::ProtocolError, reason, out);
        }
        if auth.properties.authentication_method.as_ref() != Some(&method) {
            return self.end(ReasonCode::ProtocolError, OTHER_METHOD, out);
        }
        connecting.turn = Some(Turn::Server);
        connecting.since = now;
        out.push(authenticate(&method, auth.properties.authentication_data, false));
    }

    /// AUTH after CONNACK.
    pub(super) fn auth(&mut self, auth: Auth, now: UnixMillis, out: &mut Vec<Output>) {
        let Some(connected) = self.connected_mut() else { return };
        let method = connected.negotiated.authentication_method.clone();
        let Some(method) = method else {
            let reason = "[MQTT-4.12.0-7] AUTH without an authentication method in CONNECT";
            return self.end(ReasonCode::ProtocolError, reason, out);
        };
        let turn = connected.reauthentication.map(|step| step.turn);
        match (auth.reason_code, turn) {
            (ReasonCode::ReAuthenticate, None) | (ReasonCode::ContinueAuthentication, Some(Turn::Client)) => {}
            (ReasonCode::ReAuthenticate, Some(_)) => {
                let reason = "section 4.12.1: a re-authentication during another";
                return self.end(ReasonCode::ProtocolError, reason, out);
            }
            _ => {
                let reason = "[MQTT-4.12.0-3] an AUTH that continues nothing";
                return self.end(ReasonCode::ProtocolError, reason, out);
            }
        }
        if auth.properties.authentication_method.as_ref() != Some(&method) {
            return self.end(ReasonCode::ProtocolError, OTHER_METHOD, out);
        }
        connected.reauthentication = Some(Authentication { turn: Turn::Server, since: now });
        out.push(authenticate(&method, auth.properties.authentication_data, true));
    }

    /// The broker wants to hear more.
    pub(super) fn continue_authentication(&mut self, data: Option<Bytes>, now: UnixMillis, out: &mut Vec<Output>) {
        let method = match &mut self.phase {
            Phase::Connecting(connecting) if connecting.turn == Some(Turn::Server) => {
                connecting.turn = Some(Turn::Client);
                connecting.since = now;
                connecting.negotiated.authentication_method.clone()
            }
            Phase::Connected(connected) => match &mut connected.reauthentication {
                Some(step) if step.turn == Turn::Server => {
                    *step = Authentication { turn: Turn::Client, since: now };
                    connected.negotiated.authentication_method.clone()
                }
                Some(_) | None => return,
            },
            Phase::Connecting(_) | Phase::AwaitingConnect { .. } | Phase::Closed => return,
        };
        // [MQTT-4.12.0-2], [MQTT-4.12.0-5]
        self.send_auth(ReasonCode::ContinueAuthentication, method, data, out);
    }

    /// The broker is content again.
    pub(super) fn reauthenticated(&mut self, data: Option<Bytes>, out: &mut Vec<Output>) {
        let Some(connected) = self.connected_mut() else { return };
        if connected.reauthentication.is_none_or(|step| step.turn != Turn::Server) {
            return;
        }
        connected.reauthentication = None;
        let method = connected.negotiated.authentication_method.clone();
        self.send_auth(ReasonCode::Success, method, data, out);
    }

    fn send_auth(
        &mut self,
        reason_code: ReasonCode,
        authentication_method: Option<ByteString>,
        authentication_data: Option<Bytes>,
        out: &mut Vec<Output>,
    ) {
        let properties = AuthProperties { authentication_method, authentication_data, ..AuthProperties::default() };
        let packet = Packet::Auth(Auth { reason_code, properties });
        let takes = match &self.phase {
            Phase::Connecting(connecting) => connecting.negotiated.takes(&packet),
            Phase::Connected(connected) => connected.negotiated.takes(&packet),
            Phase::AwaitingConnect { .. } | Phase::Closed => return,
        };
        if takes {
            out.push(Output::Send(packet));
        } else {
            self.end(ReasonCode::PacketTooLarge, "[MQTT-3.1.2-24] the AUTH is larger than the client takes", out);
        }
    }
}

const OTHER_METHOD: &str = "[MQTT-4.12.0-5] an AUTH with another authentication method than CONNECT";

fn authenticate(method: &ByteString, data: Option<Bytes>, is_reauthentication: bool) -> Output {
    Output::Authenticate { method: method.to_string(), data, is_reauthentication }
}
