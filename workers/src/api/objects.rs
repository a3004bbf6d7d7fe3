//! One question to one object.

use super::error::{self, Failure};
use durable_objects::call_object;
use messages::address::Address;
use messages::codec::Batch;
use messages::{Refusal, Reply, Request};
use worker::Env;

/// Times that a question follows its shard to another object.
const MOVES: usize = 8;

/// Asks an object, and the one that has its shard now if it has moved.
pub async fn ask(env: &Env, target: Address, request: Request) -> Result<Reply, Failure> {
    let mut target = target;
    let batch = Batch { sender: None, requests: vec![request] };
    for _ in 0..MOVES {
        let replies = call_object(env, &target, &batch).await.map(|reply| reply.replies).unwrap_or_default();
        target = match (replies.into_iter().next(), &target) {
            (Some(Reply::Refused(Refusal::Moved { to, .. })), Address::Router(_)) => Address::Router(to),
            (Some(Reply::Refused(Refusal::Moved { to, .. })), Address::Sessions(_)) => Address::Sessions(to),
            (Some(Reply::Refused(_)) | None, _) => return Err(error::unreachable(&target.to_string())),
            (Some(reply), _) => return Ok(reply),
        };
    }
    Err(error::unreachable(&target.to_string()))
}

/// An object answered something else than it was asked for.
pub fn unexpected(target: &str) -> Failure {
    Failure::Platform(format!("{target} answered another question"))
}
