//! GetConnection, DeleteConnection and ListSubscriptions.

use super::{DataLimits, Holder, client_id, has_session, no_session};
use crate::error::ApiError;
use crate::input::{Query, Violations};
use crate::page::{self, List};
use iot_types::{ClientId, ThingName, UnixMillis};
use messages::session::{ClientState, Subscriptions};
use messages::sessions::SessionsRequest;
use serde_json::{Map, Value, json};

/// Subscriptions on a page when `maxResults` is absent.
const DEFAULT_PAGE_SIZE: u32 = 20;
/// The most that `maxResults` may ask for.
const MAXIMUM_PAGE_SIZE: u32 = 200;

/// A valid GetConnection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetConnectionRequest {
    /// From the path.
    pub client_id: ClientId,
    /// Whether to tell addresses and ports.
    pub include_socket_information: bool,
}

impl GetConnectionRequest {
    /// Parses the path parameter and the query string (without `?`).
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(client: &str, query: &str, limits: &DataLimits) -> Result<Self, ApiError> {
        let include_socket_information = Query::parse(query).boolean("includeSocketInformation")?.unwrap_or(false);
        let client_id = client_id(client, limits, Violations::default())?;
        Ok(Self { client_id, include_socket_information })
    }
}

/// GetConnectionResponse, from what the Sessions shard knows. Ports and the platform's own address are not told to a
/// Worker, so they are left out.
///
/// # Errors
/// `ResourceNotFoundException`: the client has no connection and no session, and what is known of its last connection
/// is too old to be told.
pub fn get_connection_response(
    request: &GetConnectionRequest,
    state: Option<&ClientState>,
    limits: &DataLimits,
    now: UnixMillis,
) -> Result<Vec<u8>, ApiError> {
    let Some(state) = state else { return Err(no_session(&request.client_id)) };
    let is_connected = state.holder.is_some();
    let ended = state.disconnected.filter(|(at, _)| {
        let is_told = limits.disconnect_information_millis.is_none_or(|limit| now.millis_since(*at) <= limit);
        !is_connected && is_told
    });
    if ended.is_none() && !has_session(state, now) {
        return Err(no_session(&request.client_id));
    }
    let mut body = Map::new();
    let mut member = |name: &str, value: Value| body.insert(name.to_owned(), value);
    member("clientId", request.client_id.as_str().into());
    member("connected", is_connected.into());
    member("cleanSession", state.is_clean.into());
    member("keepAliveDuration", state.details.keep_alive.into());
    member("sessionExpiry", state.session_expiry.into());
    if is_connected {
        member("connectedSince", state.connected_at.0.into());
    }
    if let Some((at, reason)) = ended {
        member("disconnectedSince", at.0.into());
        member("disconnectReason", reason.as_str().into());
    }
    if let (true, Some(ip)) = (request.include_socket_information, &state.details.source_ip) {
        member("sourceIp", ip.as_str().into());
    }
    Ok(Value::Object(body).to_string().into_bytes())
}

/// GetThingConnectivityDataResponse: of the client that has the thing's name. A timestamp is when it last came or went.
#[must_use]
pub fn connectivity_response(thing_name: &ThingName, state: Option<&ClientState>) -> Vec<u8> {
    let mut body = Map::new();
    body.insert("thingName".to_owned(), thing_name.as_str().into());
    body.insert("connected".to_owned(), state.is_some_and(|state| state.holder.is_some()).into());
    if let Some(state) = state {
        let ended = state.disconnected.filter(|_| state.holder.is_none());
        let at = ended.map_or(state.connected_at, |(at, _)| at);
        // Seconds, with the milliseconds behind the point: the model's type `timestamp`.
        body.insert("timestamp".to_owned(), (at.0 as f64 / 1_000.0).into());
        if let Some((_, reason)) = ended {
            body.insert("disconnectReason".to_owned(), reason.as_str().into());
        }
    }
    Value::Object(body).to_string().into_bytes()
}

/// A valid DeleteConnection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteConnectionRequest {
    /// From the path.
    pub client_id: ClientId,
    /// Whether to forget the session as well.
    pub clean_session: bool,
    /// Whether to drop the Will Message.
    pub prevent_will_message: bool,
}

impl DeleteConnectionRequest {
    /// Parses the path parameter and the query string (without `?`).
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(client: &str, query: &str, limits: &DataLimits) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let clean_session = query.boolean("cleanSession")?.unwrap_or(false);
        let prevent_will_message = query.boolean("preventWillMessage")?.unwrap_or(false);
        let client_id = client_id(client, limits, Violations::default())?;
        Ok(Self { client_id, clean_session, prevent_will_message })
    }

    /// What to ask the Sessions shard.
    #[must_use]
    pub fn question(&self) -> SessionsRequest {
        SessionsRequest::Disconnect {
            client_id: self.client_id.clone(),
            clean_session: self.clean_session,
            prevents_will: self.prevent_will_message,
        }
    }
}

/// Whether DeleteConnection had something to end, from what the Sessions shard knew before.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn settle_delete_connection(
    request: &DeleteConnectionRequest,
    before: Option<&ClientState>,
    now: UnixMillis,
) -> Result<(), ApiError> {
    match before {
        Some(state) if has_session(state, now) => Ok(()),
        _ => Err(no_session(&request.client_id)),
    }
}

/// A valid ListSubscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSubscriptionsRequest {
    /// From the path.
    pub client_id: ClientId,
    /// The page begins after this Topic Filter.
    pub after: Option<String>,
    /// The most subscriptions on the page.
    pub max_results: u32,
}

impl ListSubscriptionsRequest {
    /// Parses the path parameter and the query string (without `?`).
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(client: &str, query: &str, limits: &DataLimits) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let mut violations = Violations::default();
        let max_results = query.max_results(DEFAULT_PAGE_SIZE, MAXIMUM_PAGE_SIZE, &mut violations)?;
        let client_id = client_id(client, limits, violations)?;
        let after = query.string("nextToken").map(|token| page::decode_token(List::Subscriptions, token));
        Ok(Self { client_id, after: after.transpose()?, max_results })
    }
}

/// Who knows a client's subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionSource {
    /// The Sessions shard, whose answer this is: the session outlives its connection.
    Known(Subscriptions),
    /// The Broker that the client is connected to: the session ends with the connection.
    Broker(Holder),
}

/// Finds them by what the Sessions shard knows of the client.
///
/// # Errors
/// `ResourceNotFoundException`: the client has no session.
pub fn subscription_source(
    request: &ListSubscriptionsRequest,
    state: Option<ClientState>,
    now: UnixMillis,
) -> Result<SubscriptionSource, ApiError> {
    match state {
        Some(state) if !state.is_clean && has_session(&state, now) => {
            Ok(SubscriptionSource::Known(state.subscriptions))
        }
        Some(ClientState { holder: Some(holder), .. }) => Ok(SubscriptionSource::Broker(holder)),
        _ => Err(no_session(&request.client_id)),
    }
}

/// ListSubscriptionsResponse. `None`: the connection has ended since, and its session with it.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn list_subscriptions_response(
    request: &ListSubscriptionsRequest,
    subscriptions: Option<&Subscriptions>,
) -> Result<Vec<u8>, ApiError> {
    let Some(subscriptions) = subscriptions else { return Err(no_session(&request.client_id)) };
    let follows = |filter: &String| request.after.as_ref().is_none_or(|after| filter > after);
    let room = usize::try_from(request.max_results).unwrap_or(usize::MAX).saturating_add(1);
    let mut rows: Vec<_> = subscriptions.iter().filter(|(filter, _)| follows(filter)).take(room).collect();
    let next_token = page::cut(&mut rows, request.max_results, List::Subscriptions, |(filter, _)| (*filter).clone());
    let rows = rows.into_iter().map(|(filter, options)| json!({"topicFilter": filter, "qos": options.qos.bits()}));
    let mut body = Map::new();
    body.insert("subscriptions".to_owned(), rows.collect());
    if let Some(token) = next_token {
        body.insert("nextToken".to_owned(), token.into());
    }
    Ok(Value::Object(body).to_string().into_bytes())
}
