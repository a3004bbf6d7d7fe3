//! Retained messages: GetRetainedMessage, ListRetainedMessages.

use super::Call;
use super::error::Failure;
use super::objects::{ask, unexpected};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use messages::address::Address;
use messages::router::RouterRequest;
use messages::{Reply, Request};
use registry::data::{
    GetRetainedMessageRequest, ListRetainedMessagesRequest, RetainedListing, RetainedSummaries,
    get_retained_message_response,
};

/// Routers that answer at once: each answer has the payloads, and the isolate must hold them until they are read.
const ROUTERS_AT_ONCE: usize = 4;

/// Times that all Routers are asked for one page. A page that is not full by then is answered as it is.
const ROUNDS: usize = 5;

pub async fn get(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let topic = call.route.parameter("topic");
    let request = GetRetainedMessageRequest::parse(topic, &call.deployment.limits().data)?;
    let (router, question) = request.addressed(&call.deployment.config.router_shards);
    match ask(&call.deployment.env, router, Request::Router(question)).await? {
        Reply::Retained(page) => Ok(get_retained_message_response(&request, &page, call.now)?),
        _ => Err(unexpected("the Router")),
    }
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let mut listing = RetainedListing::new(&ListRetainedMessagesRequest::parse(call.query)?);
    let routers = call.deployment.config.router_shards.objects();
    for _ in 0..ROUNDS {
        let Some(question) = listing.question() else { break };
        let pages = routers.iter().map(|router| summaries(call, *router, question.clone()));
        let pages: Vec<RetainedSummaries> = stream::iter(pages).buffered(ROUTERS_AT_ONCE).try_collect().await?;
        if !listing.add(pages) {
            return Err(Failure::Platform("a Router repeats its page of retained messages".to_owned()));
        }
    }
    Ok(listing.response())
}

async fn summaries(call: &Call<'_>, router: u32, question: RouterRequest) -> Result<RetainedSummaries, Failure> {
    match ask(&call.deployment.env, Address::Router(router), Request::Router(question)).await? {
        Reply::Retained(page) => Ok(RetainedSummaries::of(page, call.now)),
        _ => Err(unexpected("the Router")),
    }
}
