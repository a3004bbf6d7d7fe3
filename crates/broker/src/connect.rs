//! From CONNECT to CONNACK: who it is, and that nobody else is.

use crate::broker::{Broker, Token};
use crate::io::Output;
use device_auth::principal::Principal;
use iot_types::{ClientId, UnixMillis};
use messages::Request;
use messages::address::Address;
use messages::broker::ConnectionId;
use messages::sessions::SessionsRequest;
use mqtt_codec::{Connect, ReasonCode};
use mqtt_session::Input as SessionInput;

impl Broker {
    /// A valid proof at the HTTP level decides and makes user name and password irrelevant: AWS's SDKs put metrics
    /// there.
    pub(crate) fn connect(&mut self, now: UnixMillis, id: ConnectionId, connect: &Connect) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (client_id, assigned) = match ClientId::new(connect.client_id.to_string()) {
            Some(client_id) => (Some(client_id), false),
            // Unique because the connection's id is.
            None => (ClientId::new(format!("umbra-{}", connection.grant.trace_id)), true),
        };
        connection.claiming = client_id.map(|client_id| (client_id, assigned));
        if connection.grant.principal.is_some() {
            return self.claim(now, id);
        }
        match (&connect.username, &connect.password) {
            (Some(username), Some(password)) => self.outputs.push(Output::Authenticate {
                connection: id,
                username: username.to_string(),
                password: password.clone(),
            }),
            _ => {
                let reason = "no credentials, neither in the upgrade nor in CONNECT";
                self.session(now, id, SessionInput::End { reason_code: ReasonCode::NotAuthorized, reason });
            }
        }
    }

    pub(crate) fn authenticated(&mut self, now: UnixMillis, id: ConnectionId, principal: Option<Principal>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if principal.is_none() {
            let reason = "the user name and password are no valid access key";
            let input = SessionInput::End { reason_code: ReasonCode::BadUserNameOrPassword, reason };
            return self.session(now, id, input);
        }
        connection.grant.principal = principal;
        self.claim(now, id);
    }

    fn claim(&mut self, now: UnixMillis, id: ConnectionId) {
        let client_id = self.connections.get(&id).and_then(|c| c.claiming.as_ref()).map(|(client_id, _)| client_id);
        let Some(client_id) = client_id.cloned() else { return };
        let target = Address::sessions_of_client(&client_id, self.settings.sessions_shards);
        let request = Request::Sessions(SessionsRequest::Claim { client_id, connection: id });
        if self.outbox.push(target, request, Token::Claim(id)).is_err() {
            let reason = "too many clients are connecting";
            self.session(now, id, SessionInput::End { reason_code: ReasonCode::ServerBusy, reason });
        }
    }

    pub(crate) fn claimed(&mut self, now: UnixMillis, id: ConnectionId, number: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.number = Some(number);
        let Some((client_id, assigned)) = connection.claiming.take() else { return };
        connection.mark_stale();
        self.session(now, id, SessionInput::Accepted { client_id, assigned });
        let timeout = self.connections.get(&id).and_then(|c| c.session.next_timeout());
        self.note_deadline(timeout);
        if self.connections.get(&id).is_some_and(|c| c.session.client_id().is_some()) {
            self.log(id, "connected", None, None, None);
        }
    }
}
