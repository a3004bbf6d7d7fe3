//! From CONNECT to CONNACK: who it is, and that nobody else is.

use crate::broker::Broker;
use crate::connection::{Claiming, Connection};
use crate::io::{AuthenticationStep, Output};
use crate::token::Token;
use device_auth::principal::Principal;
use iot_types::{ClientId, UnixMillis};
use messages::address::Address;
use messages::broker::ConnectionId;
use messages::channel::Undelivered;
use messages::session::{ConnectionDetails, DisconnectReason, Ending, Grant};
use messages::sessions::{ClaimReply, SessionsRequest};
use messages::{Reply, Request};
use mqtt_codec::{Connect, ReasonCode};
use mqtt_session::{AcceptedSession, Input as SessionInput};
use mqtt_topic::TopicName;
use mqtt_topic::reserved;
use std::collections::BTreeMap;

impl Broker {
    /// A valid proof at the HTTP level decides and makes user name and password irrelevant: AWS's SDKs put metrics
    /// there.
    pub(crate) fn connect(&mut self, now: UnixMillis, id: ConnectionId, connect: &Connect) {
        if !self.admits_connect(now) {
            let reason = "too many clients are connecting";
            return self.end(now, id, ReasonCode::ConnectionRateExceeded, reason);
        }
        if let Some((reason_code, reason)) = self.will_refusal(connect) {
            return self.end(now, id, reason_code, reason);
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (client_id, is_assigned) = match ClientId::new(connect.client_id.to_string()) {
            Some(client_id) => (Some(client_id), false),
            // Unique because the connection's id is.
            None => (ClientId::new(format!("umbra-{}", connection.grant.trace_id)), true),
        };
        let Some(client_id) = client_id else { return };
        let details = ConnectionDetails {
            trace_id: connection.grant.trace_id.clone(),
            source_ip: connection.grant.source_ip.map(|ip| ip.to_string()),
            ..ConnectionDetails::default()
        };
        let Some(claim) = connection.session.claim(details) else { return };
        let method = connect.properties.authentication_method.as_deref().map(str::to_owned);
        let mut claiming = Claiming::new(client_id, is_assigned, claim);
        claiming.has_password = connect.password.is_some();
        connection.claiming = Some(Box::new(claiming));
        if let Some(method) = method {
            return self.authenticate_enhanced(now, id, method, connect.properties.authentication_data.clone());
        }
        if connection.grant.principal.is_some() {
            return self.authorize(now, id);
        }
        // It is needed once, and too large to be kept.
        let invocation = connection.grant.invocation.take();
        if connect.password.is_none() && connect.username.is_none() && invocation.is_none() {
            let reason = "no credentials, neither in the upgrade nor in CONNECT";
            return self.end(now, id, ReasonCode::NotAuthorized, reason);
        }
        self.outputs.push(Output::Authenticate {
            connection: id,
            client_id: connect.client_id.to_string(),
            host: connection.grant.host.clone(),
            source_ip: connection.grant.source_ip.map(|ip| ip.to_string()),
            username: connect.username.as_ref().map(ToString::to_string),
            password: connect.password.clone(),
            invocation,
        });
    }

    /// Why a Will Message could never be published.
    fn will_refusal(&self, connect: &Connect) -> Option<(ReasonCode, &'static str)> {
        let topic = &connect.will.as_ref()?.topic;
        match TopicName::new(topic.clone()).and_then(|name| name.check(&self.settings.topics)) {
            Err(_) => Some((ReasonCode::TopicNameInvalid, "the Will Topic is invalid or too long")),
            Ok(()) if !reserved::may_publish(topic) => {
                Some((ReasonCode::NotAuthorized, "clients may not publish to this Will Topic"))
            }
            Ok(()) => None,
        }
    }

    /// A step of an enhanced authentication that a client asks for, in CONNECT or AUTH.
    pub(crate) fn authenticate_enhanced(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        method: String,
        data: Option<bytes::Bytes>,
    ) {
        let Some(connection) = self.connections.get(&id) else { return };
        if self.settings.authentication_methods.contains(&method) {
            let named = connection.claiming.as_ref().filter(|claiming| !claiming.is_assigned);
            let client_id = named.map(|claiming| &claiming.client_id).or(connection.client_id.as_ref());
            let client_id = client_id.map(|client_id| client_id.as_str().to_owned()).unwrap_or_default();
            let host = connection.grant.host.clone();
            return self.outputs.push(Output::AuthenticateEnhanced { connection: id, client_id, host, method, data });
        }
        let reason = "[MQTT-4.12.0-1] this method of authentication is not known";
        self.end(now, id, ReasonCode::BadAuthenticationMethod, reason);
    }

    /// The method has decided what follows.
    pub(crate) fn enhanced_authenticated(&mut self, now: UnixMillis, id: ConnectionId, step: AuthenticationStep) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match step {
            AuthenticationStep::Continue { data } => self.session(now, id, SessionInput::AuthContinue { data }),
            AuthenticationStep::Failure { reason_code } => {
                let reason = "the enhanced authentication failed";
                let reason_code = if reason_code.is_error() { reason_code } else { ReasonCode::NotAuthorized };
                self.end(now, id, reason_code, reason);
            }
            AuthenticationStep::Success { principal, certificate, data } => {
                if connection.claiming.is_none() && connection.grant.principal.as_ref() != Some(&principal) {
                    let reason = "a re-authentication as somebody else";
                    return self.end(now, id, ReasonCode::NotAuthorized, reason);
                }
                connection.grant.principal = Some(principal);
                if let Some(claiming) = &mut connection.claiming {
                    connection.grant.certificate = certificate;
                    claiming.authentication_data = data;
                    return self.authorize(now, id);
                }
                connection.mark_stale();
                // A re-authentication [MQTT-4.12.1-2]: nothing else about the connection changes.
                self.session(now, id, SessionInput::Reauthenticated { data });
            }
        }
    }

    /// An authorizer's answer is good for a time: then it is asked again, and in the end its client has to come again.
    pub(crate) fn check_lease(&mut self, now: UnixMillis, id: ConnectionId) {
        let Some(lease) = self.connections.get_mut(&id).and_then(|connection| connection.grant.lease.as_mut()) else {
            return;
        };
        if lease.ends_at <= now {
            let reason = "the custom authorizer lets clients stay for so long";
            return self.end(now, id, ReasonCode::MaximumConnectTime, reason);
        }
        if lease.refresh_at <= now {
            // The answer brings another one.
            lease.refresh_at = lease.ends_at;
            self.authorities.want(id);
        }
    }

    pub(crate) fn authenticated(&mut self, now: UnixMillis, id: ConnectionId, principal: Option<Principal>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if principal.is_none() {
            let has_password = connection.claiming.as_ref().is_some_and(|claiming| claiming.has_password);
            if !has_password {
                let reason = "no credentials, neither in the upgrade nor in CONNECT";
                return self.end(now, id, ReasonCode::NotAuthorized, reason);
            }
            let reason = "user name and password are no access key, no valid token, and no authorizer lets them in";
            return self.end(now, id, ReasonCode::BadUserNameOrPassword, reason);
        }
        connection.grant.principal = principal;
        self.authorize(now, id);
    }

    pub(crate) fn claim(&mut self, now: UnixMillis, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(claiming) = connection.claiming.as_mut().filter(|claiming| !claiming.is_asked) else { return };
        claiming.is_asked = true;
        if let Some(principal) = &connection.grant.principal {
            claiming.claim.details.principal = principal.identifier().to_owned();
        }
        let (client_id, claim) = (claiming.client_id.clone(), Box::new(claiming.claim.clone()));
        let target = Address::sessions_of_client(&client_id, &self.settings.sessions_shards);
        self.tell_held(now, &target);
        let request = Request::Sessions(SessionsRequest::Claim { client_id, connection: id, claim });
        if self.outbox.push(target, request, Token::Claim(id)).is_err() {
            if let Some(claiming) = self.connections.get_mut(&id).and_then(|c| c.claiming.as_mut()) {
                claiming.is_asked = false;
            }
            self.end(now, id, ReasonCode::ServerBusy, "too many clients are connecting");
        }
    }

    /// The Sessions shard has answered a claim, or could not.
    pub(crate) fn claim_answered(&mut self, now: UnixMillis, id: ConnectionId, result: Result<Reply, Undelivered>) {
        match result {
            Ok(Reply::Claim(ClaimReply::Granted(grant))) => self.claimed(now, id, *grant),
            // `ClaimDecided` follows.
            Ok(Reply::Claim(ClaimReply::Pending)) => {}
            Err(Undelivered::Moved { .. }) => {
                self.abandoned.remove(&id);
                if let Some(claiming) = self.connections.get_mut(&id).and_then(|c| c.claiming.as_mut()) {
                    claiming.is_asked = false;
                }
                self.claim(now, id);
            }
            Ok(_) | Err(_) => {
                self.abandoned.remove(&id);
                if let Some(claiming) = self.connections.get_mut(&id).and_then(|c| c.claiming.as_mut()) {
                    claiming.is_asked = false;
                }
                let reason = "the client identifier could not be claimed";
                self.end(now, id, ReasonCode::ServerUnavailable, reason);
            }
        }
    }

    /// A claim that had to wait is decided.
    pub(crate) fn claim_decided(&mut self, now: UnixMillis, id: ConnectionId, grant: Option<Box<Grant>>) {
        match grant {
            Some(grant) => self.claimed(now, id, *grant),
            None => {
                self.abandoned.remove(&id);
                if let Some(claiming) = self.connections.get_mut(&id).and_then(|c| c.claiming.as_mut()) {
                    claiming.is_asked = false;
                }
                self.take_over(now, id);
            }
        }
    }

    fn claimed(&mut self, now: UnixMillis, id: ConnectionId, grant: Grant) {
        let Some(connection) = self.connections.get_mut(&id) else {
            // The client did not wait for it.
            if let Some((client_id, _)) = self.abandoned.remove(&id) {
                let ending =
                    Ending { reason: DisconnectReason::ConnectionLost, publishes_will: false, session_expiry: None };
                self.give_back(now, client_id, grant.number, ending);
            }
            return;
        };
        let Some(mut claiming) = connection.claiming.take() else { return };
        let Grant { number, session_present, subscriptions } = grant;
        connection.client_id = Some(claiming.client_id.clone());
        connection.number = Some(number);
        connection.mark_stale();
        let early = claiming.take_early(number);
        // One that is taken up has its queue in the Sessions shard, even if it ends with this connection.
        let is_durable = claiming.claim.session_expiry > 0 || session_present;
        connection.is_durable = is_durable;
        connection.is_ending_urgent = is_durable || claiming.claim.will.is_some();
        let subscriptions = if is_durable { subscriptions } else { BTreeMap::new() };
        connection.durable_filters = subscriptions.keys().cloned().collect();
        let session = AcceptedSession {
            is_durable,
            session_present,
            session_expiry: claiming.claim.session_expiry,
            subscriptions,
        };
        let input = SessionInput::Accepted {
            client_id: claiming.client_id,
            assigned: claiming.is_assigned,
            session,
            authentication_data: claiming.authentication_data,
        };
        self.session(now, id, input);
        for packet in early {
            self.relay_packet(now, id, packet);
        }
        let timeout = self.connections.get(&id).and_then(Connection::next_timeout);
        self.note_deadline(timeout);
        if self.connections.get(&id).is_some_and(|c| c.session.client_id().is_some()) {
            self.log(id, "connected", None, None, None);
        }
    }
}
