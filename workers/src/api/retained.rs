//! Retained messages: GetRetainedMessage, ListRetainedMessages.

use super::Call;
use super::error::Failure;
use super::objects::{ask, unexpected};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use messages::address::{Address, ShardMap};
use messages::router::RouterRequest;
use messages::{Reply, Request};
use registry::data::{
    GetRetainedMessageRequest, ListRetainedMessagesRequest, RetainedListing, RetainedSummaries,
    get_retained_message_response,
};
use std::collections::BTreeSet;

/// Routers that answer at once: each answer has the payloads, and the isolate must hold them until they are read.
const ROUTERS_AT_ONCE: usize = 4;

/// Times that all Routers are asked for one page. A page that is not full by then is answered as it is.
const ROUNDS: usize = 5;

pub async fn get(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let topic = call.route.parameter("topic");
    let request = GetRetainedMessageRequest::parse(topic, &call.deployment.limits().data)?;
    let (router, question) = request.addressed(&ShardMap::initial());
    match ask(&call.deployment.env, router, Request::Router(question)).await? {
        Reply::Retained(page) => Ok(get_retained_message_response(&request, &page, call.now)?),
        _ => Err(unexpected("the Router")),
    }
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let mut listing = RetainedListing::new(&ListRetainedMessagesRequest::parse(call.query)?);
    let mut routers = ShardMap::initial().objects();
    for _ in 0..ROUNDS {
        let Some(question) = listing.question() else { break };
        let mut pages = Vec::new();
        let mut unasked = routers.clone();
        // Who has given virtual shards away names who has them now.
        while !unasked.is_empty() {
            let answers = unasked.iter().map(|router| summaries(call, *router, question.clone()));
            let answers: Vec<(RetainedSummaries, Vec<u32>)> =
                stream::iter(answers).buffered(ROUTERS_AT_ONCE).try_collect().await?;
            unasked = BTreeSet::new();
            for (page, heirs) in answers {
                pages.push(page);
                unasked.extend(heirs.into_iter().filter(|heir| routers.insert(*heir)));
            }
        }
        if !listing.add(pages) {
            return Err(Failure::Platform("a Router repeats its page of retained messages".to_owned()));
        }
    }
    Ok(listing.response())
}

/// A Router's page, and the Routers that it has given virtual shards to.
async fn summaries(
    call: &Call<'_>,
    router: u32,
    question: RouterRequest,
) -> Result<(RetainedSummaries, Vec<u32>), Failure> {
    match ask(&call.deployment.env, Address::Router(router), Request::Router(question)).await? {
        Reply::Retained(page) => {
            let heirs = page.given_away.iter().map(|(_, heir)| *heir).collect();
            Ok((RetainedSummaries::of(page, call.now), heirs))
        }
        _ => Err(unexpected("the Router")),
    }
}
