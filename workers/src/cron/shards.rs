//! Spreads virtual shards over as many objects as `ROUTER_SHARDS` and `SESSIONS_SHARDS` say, a few at a time, while clients
//! are connected.
//!
//! The objects move them by themselves once they were asked; here is only who is asked for what, and what of it is done.
//! Runs that overlap or were cut off do no harm: asking again changes nothing, and an object that has given a virtual
//! shard away says to whom.

use crate::http::now;
use durable_objects::d1::Registry;
use durable_objects::{Config, call_object, log_line};
use futures_util::StreamExt as _;
use messages::address::{Address, ShardMap};
use messages::codec::Batch;
use messages::router::RouterRequest;
use messages::sessions::SessionsRequest;
use messages::{Refusal, Reply, Request};
use placement::{ShardMove, plan_moves};
use registry::control::{DeploymentRow, ShardKind, VirtualShardRow};
use registry::{Partition, statements};
use serde_json::json;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;
use worker::{Delay, Env};

/// No virtual shard is asked for after this, in milliseconds: the next run goes on.
const BEGIN_MILLIS: u64 = 45_000;
/// One that hasn't moved after this is left to the next run.
const MOVE_MILLIS: u64 = 60_000;
/// How long until an object is asked again whether it is done, at first and at most.
const ASK_MILLIS: (u64, u64) = (50, 1_000);
/// Objects that give some away at the same time.
const OBJECTS_AT_ONCE: usize = 4;
/// Virtual shards that an object gives away at the same time. Clients of a Sessions object's are refused for about a second.
const SHARDS_AT_ONCE: usize = 64;

/// Moves what is not where it should be.
pub async fn spread(env: &Env) {
    if let Err(error) = walk(env).await {
        log_line(&json!({"level": "error", "event": "shards_not_spread", "reason": error.to_string()}));
    }
}

async fn walk(env: &Env) -> worker::Result<()> {
    let config = Config::from_env(env)?;
    let registry = Registry::new(env.clone());
    let wanted = [(ShardKind::Router, config.router_shards), (ShardKind::Sessions, config.sessions_shards)];
    let facts: Vec<DeploymentRow> = registry.read(statements::select_deployment(Partition::FIRST)).await?;
    let is_spread = |kind: ShardKind, objects: u16| {
        let row = facts.iter().find(|row| row.key == kind.spread_key());
        row.map_or(objects == ShardMap::initial().count(), |row| row.value == objects.to_string())
    };
    if wanted.iter().all(|(kind, objects)| is_spread(*kind, *objects)) {
        return Ok(());
    }
    let rows: Vec<VirtualShardRow> = registry.read(statements::select_virtual_shards(Partition::FIRST)).await?;
    for (kind, objects) in wanted {
        if !is_spread(kind, objects) {
            spread_kind(env, &registry, kind, objects, &rows).await?;
        }
    }
    Ok(())
}

async fn spread_kind(
    env: &Env,
    registry: &Registry,
    kind: ShardKind,
    objects: u16,
    rows: &[VirtualShardRow],
) -> worker::Result<()> {
    let mut map = ShardMap::initial();
    VirtualShardRow::of_kind(rows, kind).for_each(|(shard, object)| map.note_moved(shard, object));
    let mut by_object: BTreeMap<u32, Vec<ShardMove>> = BTreeMap::new();
    for planned in plan_moves(&map, objects) {
        by_object.entry(planned.from).or_default().push(planned);
    }
    let planned: usize = by_object.values().map(Vec::len).sum();
    let moved = Cell::new(0);
    let begin_until = now().plus_millis(BEGIN_MILLIS);
    futures_util::stream::iter(by_object)
        .for_each_concurrent(OBJECTS_AT_ONCE, |(from, moves)| {
            let moved = &moved;
            async move {
                for some in moves.chunks(SHARDS_AT_ONCE) {
                    if now() < begin_until {
                        let count = move_some(env, registry, kind, from, some).await;
                        moved.set(moved.get() + count);
                    }
                }
            }
        })
        .await;
    let left = planned - moved.get();
    log_line(
        &json!({"level": "info", "event": "shards_moved", "kind": kind.as_str(), "moved": moved.get(), "left": left}),
    );
    if left == 0 {
        let row = statements::put_deployment_value(Partition::FIRST, kind.spread_key(), &objects.to_string());
        registry.batch(&[row]).await?;
    }
    Ok(())
}

/// Has some virtual shards of one object moved, and waits for it. Answers how many are where they should be and known to be.
async fn move_some(env: &Env, registry: &Registry, kind: ShardKind, from: u32, moves: &[ShardMove]) -> usize {
    let until = now().plus_millis(MOVE_MILLIS);
    let (mut left, mut moved, mut wait) = (moves.to_vec(), 0, ASK_MILLIS.0);
    while !left.is_empty() && now() < until {
        let mut done = Vec::new();
        for (planned, reply) in left.iter().zip(hand_over(env, kind, from, &left).await) {
            match reply {
                Reply::Applied => done.push((*planned, planned.to)),
                Reply::Refused(Refusal::Moved { to, .. }) => done.push((*planned, to)),
                _ => {}
            }
        }
        left.retain(|planned| !done.iter().any(|(one, _)| one == planned));
        let put = |(planned, at): &(ShardMove, u32)| {
            statements::put_virtual_shard(Partition::FIRST, kind, planned.shard, *at)
        };
        match registry.batch(&done.iter().map(put).collect::<Vec<_>>()).await {
            Ok(_) => moved += done.iter().filter(|(planned, at)| *at == planned.to).count(),
            // The next run hears the same of them, and tries again.
            Err(error) => {
                log_line(&json!({"level": "warn", "event": "shard_moves_not_stored", "reason": error.to_string()}));
            }
        }
        if !left.is_empty() {
            Delay::from(Duration::from_millis(wait)).await;
            wait = (wait * 2).min(ASK_MILLIS.1);
        }
    }
    for planned in left {
        log_line(
            &json!({"level": "warn", "event": "shard_not_moved", "kind": kind.as_str(), "shard": planned.shard, "from": from, "to": planned.to}),
        );
    }
    moved
}

/// Asks for all of them with one call. No answers if the object can't be reached.
async fn hand_over(env: &Env, kind: ShardKind, from: u32, moves: &[ShardMove]) -> Vec<Reply> {
    let request = |ShardMove { shard, to, .. }: &ShardMove| match kind {
        ShardKind::Router => Request::Router(RouterRequest::HandOver { shard: *shard, to: *to }),
        ShardKind::Sessions => Request::Sessions(SessionsRequest::HandOver { shard: *shard, to: *to }),
    };
    let target = match kind {
        ShardKind::Router => Address::Router(from),
        ShardKind::Sessions => Address::Sessions(from),
    };
    let batch = Batch { sender: None, requests: moves.iter().map(request).collect() };
    call_object(env, &target, &batch).await.map(|reply| reply.replies).unwrap_or_default()
}
