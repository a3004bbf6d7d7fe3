//! Connections: GetConnection, DeleteConnection, ListSubscriptions, SendDirectMessage.

use super::Call;
use super::error::{self, Failure};
use super::objects::{ask, unexpected};
use durable_objects::call_broker_api;
use iot_types::ClientId;
use messages::address::{Address, ShardMap};
use messages::broker::BrokerRequest;
use messages::session::ClientState;
use messages::sessions::SessionsRequest;
use messages::{Reply, Request};
use registry::data::{
    DeleteConnectionRequest, GetConnectionRequest, ListSubscriptionsRequest, SendDirectMessageRequest,
    SubscriptionSource, get_connection_response, list_subscriptions_response, message_response,
    settle_delete_connection, settle_direct_message, subscription_source,
};

pub async fn get(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let limits = call.deployment.limits().data;
    let request = GetConnectionRequest::parse(call.route.parameter("clientId"), call.query, &limits)?;
    let state = describe(call, &request.client_id).await?;
    Ok(get_connection_response(&request, state.as_ref(), &limits, call.now)?)
}

pub async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let limits = call.deployment.limits().data;
    let request = DeleteConnectionRequest::parse(call.route.parameter("clientId"), call.query, &limits)?;
    let before = ask_sessions(call, &request.client_id, request.question()).await?;
    settle_delete_connection(&request, before.as_ref(), call.now)?;
    Ok(Vec::new())
}

pub async fn subscriptions(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let limits = call.deployment.limits().data;
    let request = ListSubscriptionsRequest::parse(call.route.parameter("clientId"), call.query, &limits)?;
    let state = describe(call, &request.client_id).await?;
    let subscriptions = match subscription_source(&request, state, call.now)? {
        SubscriptionSource::Known(subscriptions) => Some(subscriptions),
        SubscriptionSource::Broker((broker, connection)) => {
            let question = Request::Broker(BrokerRequest::Subscriptions { connection });
            match ask(&call.deployment.env, Address::Broker(broker), question).await? {
                Reply::Subscriptions(subscriptions) => subscriptions,
                _ => return Err(unexpected("the Broker")),
            }
        }
    };
    Ok(list_subscriptions_response(&request, subscriptions.as_ref())?)
}

pub async fn send(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let limits = call.deployment.limits().data;
    let client_id = call.route.parameter("clientId");
    let request = SendDirectMessageRequest::parse(client_id, &call.parts(), &limits, call.now)?;
    let state = describe(call, &request.client_id).await?;
    let ((broker, _), question) = request.addressed(state.as_ref())?;
    let broker = Address::Broker(broker);
    let reply = call_broker_api(&call.deployment.env, &broker, &question).await;
    settle_direct_message(client_id, reply.ok_or_else(|| error::unreachable(&broker.to_string()))?)?;
    Ok(message_response(call.request_id))
}

pub async fn describe(call: &Call<'_>, client_id: &ClientId) -> Result<Option<ClientState>, Failure> {
    ask_sessions(call, client_id, SessionsRequest::Describe { client_id: client_id.clone() }).await
}

async fn ask_sessions(
    call: &Call<'_>,
    client_id: &ClientId,
    question: SessionsRequest,
) -> Result<Option<ClientState>, Failure> {
    let sessions = Address::sessions_of_client(client_id, &ShardMap::initial());
    match ask(&call.deployment.env, sessions, Request::Sessions(question)).await? {
        Reply::Client(state) => Ok(state.map(|state| *state)),
        _ => Err(unexpected("the Sessions shard")),
    }
}
