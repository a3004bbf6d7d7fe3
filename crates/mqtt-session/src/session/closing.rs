//! How a connection ends, and what is said before.

use super::{Phase, Session};
use crate::Subscriptions;
use crate::io::{Disconnection, Output};
use messages::session::DisconnectReason;
use mqtt_codec::{
    ConnAck, ConnAckProperties, DecodeError, Disconnect, DisconnectProperties, Packet, PacketType, ReasonCode,
};

impl Session {
    /// Tells the client why, as far as its version and the phase allow, and closes.
    pub(super) fn end(&mut self, reason_code: ReasonCode, reason: &'static str, out: &mut Vec<Output>) {
        let last = match &self.phase {
            Phase::Connecting(connecting) => {
                let last = connecting.negotiated.in_words(reason, |reason_string| {
                    let properties = ConnAckProperties { reason_string, ..ConnAckProperties::default() };
                    let reason_code = fit_for(PacketType::ConnAck, reason_code);
                    Packet::ConnAck(Box::new(ConnAck { session_present: false, reason_code, properties }))
                });
                connecting.negotiated.takes(&last).then_some(last)
            }
            Phase::Connected(connected) if connected.negotiated.is_v5 => {
                let last = connected.negotiated.in_words(reason, |reason_string| {
                    let properties = DisconnectProperties { reason_string, ..DisconnectProperties::default() };
                    let reason_code = fit_for(PacketType::Disconnect, reason_code);
                    Packet::Disconnect(Disconnect { reason_code, properties })
                });
                connected.negotiated.takes(&last).then_some(last)
            }
            Phase::Connected(_) | Phase::AwaitingConnect { .. } | Phase::Closed => None,
        };
        out.extend(last.map(Output::Send));
        self.close(reason_code, reason, out);
    }

    /// The network connection is gone.
    pub(super) fn lose(&mut self, out: &mut Vec<Output>) {
        self.close_as(ReasonCode::UnspecifiedError, "the connection was lost", DisconnectReason::ConnectionLost, out);
    }

    pub(super) fn close(&mut self, reason_code: ReasonCode, reason: &'static str, out: &mut Vec<Output>) {
        self.close_as(reason_code, reason, disconnect_reason(reason_code), out);
    }

    fn close_as(
        &mut self,
        reason_code: ReasonCode,
        reason: &'static str,
        disconnect_reason: DisconnectReason,
        out: &mut Vec<Output>,
    ) {
        let mut ended = Disconnection {
            reason_code,
            reason,
            client_initiated: false,
            disconnect_reason,
            publishes_will: true,
            session_expiry: None,
            is_durable: false,
            client_id: None,
            subscriptions: Subscriptions::new(),
        };
        match core::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Connected(connected) => {
                ended.is_durable = connected.is_durable;
                ended.client_id = Some(connected.client_id);
                ended.subscriptions = connected.subscriptions;
            }
            // A will counts from CONNACK on.
            Phase::AwaitingConnect { .. } | Phase::Connecting(_) => ended.publishes_will = false,
            Phase::Closed => return,
        }
        out.push(Output::Close(ended));
    }

    /// DISCONNECT came.
    pub(super) fn disconnect(&mut self, disconnect: &Disconnect, out: &mut Vec<Output>) {
        if is_only_for_servers(disconnect.reason_code) {
            let reason = "[MQTT-3.14.2-1] a reason code that only a server may send";
            return self.end(ReasonCode::ProtocolError, reason, out);
        }
        let asked = disconnect.properties.session_expiry_interval;
        if asked.is_some_and(|secs| secs > 0)
            && self.connected().is_some_and(|connected| connected.negotiated.session_expiry == 0)
        {
            let reason = "section 3.14.2.2.2: a Session Expiry Interval where CONNECT had none";
            return self.end(ReasonCode::ProtocolError, reason, out);
        }
        // Every other code leaves the Will Message in force ([MQTT-3.14.4-3]).
        let keeps_will = disconnect.reason_code != ReasonCode::NormalDisconnection;
        let session_expiry = asked.map(|secs| self.settings.limited_expiry(secs));
        let first = out.len();
        let reason = "the client disconnected";
        self.close_as(disconnect.reason_code, reason, DisconnectReason::ClientInitiated, out);
        if let Some(Output::Close(ended)) = out.get_mut(first) {
            ended.client_initiated = true;
            ended.publishes_will &= keeps_will;
            ended.session_expiry = session_expiry.filter(|_| ended.is_durable);
        }
    }

    pub(super) fn undecodable(&mut self, error: &DecodeError, out: &mut Vec<Output>) {
        let reason_code = error.reason_code();
        if let Phase::AwaitingConnect { .. } = self.phase {
            // [MQTT-3.1.2-2]: a version that is not spoken here may be told so; everything else just ends.
            if reason_code == ReasonCode::UnsupportedProtocolVersion {
                out.push(Output::Send(Packet::ConnAck(Box::new(ConnAck {
                    session_present: false,
                    reason_code,
                    properties: ConnAckProperties::default(),
                }))));
            }
            return self.close(reason_code, error.clause(), out);
        }
        if reason_code == ReasonCode::UnsupportedProtocolVersion {
            return self.end(ReasonCode::ProtocolError, "[MQTT-3.1.0-2] a second CONNECT", out);
        }
        self.end(reason_code, error.clause(), out);
    }
}

/// The Reason Code as the packet may carry it ([MQTT-3.2.2-8], [MQTT-3.14.2-1]).
fn fit_for(packet: PacketType, reason_code: ReasonCode) -> ReasonCode {
    if reason_code.is_allowed_in(packet) { reason_code } else { ReasonCode::UnspecifiedError }
}

/// Whether section 3.14.2.1 lists the code as sent by the server alone.
const fn is_only_for_servers(reason_code: ReasonCode) -> bool {
    matches!(
        reason_code,
        ReasonCode::NotAuthorized
            | ReasonCode::ServerBusy
            | ReasonCode::ServerShuttingDown
            | ReasonCode::KeepAliveTimeout
            | ReasonCode::SessionTakenOver
            | ReasonCode::TopicFilterInvalid
            | ReasonCode::RetainNotSupported
            | ReasonCode::QosNotSupported
            | ReasonCode::UseAnotherServer
            | ReasonCode::ServerMoved
            | ReasonCode::SharedSubscriptionsNotSupported
            | ReasonCode::ConnectionRateExceeded
            | ReasonCode::MaximumConnectTime
            | ReasonCode::SubscriptionIdentifiersNotSupported
            | ReasonCode::WildcardSubscriptionsNotSupported
    )
}

/// AWS's word for an ending that the server decided on (AWS "Lifecycle events").
const fn disconnect_reason(reason_code: ReasonCode) -> DisconnectReason {
    match reason_code {
        ReasonCode::KeepAliveTimeout => DisconnectReason::KeepAliveTimeout,
        ReasonCode::SessionTakenOver => DisconnectReason::DuplicateClientId,
        ReasonCode::BadUserNameOrPassword | ReasonCode::BadAuthenticationMethod | ReasonCode::Banned => {
            DisconnectReason::AuthError
        }
        ReasonCode::NotAuthorized => DisconnectReason::ForbiddenAccess,
        ReasonCode::QuotaExceeded | ReasonCode::MessageRateTooHigh | ReasonCode::ConnectionRateExceeded => {
            DisconnectReason::Throttled
        }
        ReasonCode::AdministrativeAction => DisconnectReason::ApiInitiated,
        ReasonCode::ServerUnavailable
        | ReasonCode::ServerBusy
        | ReasonCode::ServerShuttingDown
        | ReasonCode::UseAnotherServer
        | ReasonCode::ServerMoved => DisconnectReason::ServerInitiated,
        // Nothing else ends a connection for its age.
        ReasonCode::MaximumConnectTime => DisconnectReason::CustomAuthTtlExpiration,
        ReasonCode::UnspecifiedError | ReasonCode::ImplementationSpecificError => DisconnectReason::ServerError,
        _ => DisconnectReason::ClientError,
    }
}
