//! What clients may expect, said as naively as possible: lists, and a matching of its own.

use crate::client::{Client, ClientKey};
use crate::record::{Publish, Subscription};
use crate::world::World;
use iot_types::Qos;
use mqtt_codec::ReasonCode;
use std::collections::BTreeMap;

/// Nobody waits longer than this for an answer, in milliseconds: a CONNECT may take fifteen seconds, everything else
/// ends when a channel's attempts are spent.
pub const LONGEST_WAIT_MILLIS: u64 = 20_000;

/// How long an older connection may hold a newer one back, in milliseconds.
const FENCE_MILLIS: u64 = 2_000;

/// Everything that went wrong in a world in which nothing is under way any more.
#[must_use]
pub fn violations(world: &World) -> Vec<String> {
    let mut found = world.violations.clone();
    if !world.is_quiet() {
        found.push("something is still under way: no node of it could ever sleep".to_owned());
    }
    nobody_waits(world, &mut found);
    everybody_gets_what_was_acknowledged(world, &mut found);
    for (key, client) in world.clients() {
        nothing_comes_unasked(world, client, &mut found);
        order_is_kept(world, key, client, &mut found);
    }
    one_connection_for_each_client_id(world, &mut found);
    found
}

fn nobody_waits(world: &World, found: &mut Vec<String>) {
    for (key, client) in world.clients() {
        let name = name(key, client);
        if client.is_waiting() {
            found.push(format!("{name} still waits for {:?}", client.waiting.keys().collect::<Vec<_>>()));
        }
        if client.longest_wait.0 > LONGEST_WAIT_MILLIS {
            found.push(format!("{name} waited {:?}", client.longest_wait));
        }
    }
}

/// What was published after a SUBACK and acknowledged has come, unless the subscriber's connection ended.
fn everybody_gets_what_was_acknowledged(world: &World, found: &mut Vec<String>) {
    for (key, client) in world.clients() {
        if client.ended.is_some() || client.server_ended_at.is_some() || !client.options.acknowledges {
            continue;
        }
        for publish in world.published() {
            let Some((acknowledged, ReasonCode::Success)) = publish.acknowledged else { continue };
            let expects = client.subscriptions.iter().any(|subscription| {
                let was_granted = subscription.answered.is_some_and(|(at, code)| !code.is_error() && at < publish.sent);
                was_granted
                    && subscription.qos >= Qos::AtLeastOnce
                    && subscription.ended.is_none_or(|(at, _)| at > acknowledged)
                    && matches(&subscription.filter, &publish.topic)
            });
            let payload = &publish.payload;
            if expects && !client.received.iter().any(|received| received.payload == *payload) {
                found.push(format!(
                    "{} never got {payload} on {}, sent at {:?} by {:?}",
                    name(key, client),
                    publish.topic,
                    publish.sent,
                    publish.client
                ));
            }
        }
    }
}

/// Whatever comes matches a subscription that was not over when it was published.
fn nothing_comes_unasked(world: &World, client: &Client, found: &mut Vec<String>) {
    for received in &client.received {
        let publish = published(world, &received.payload);
        let is_wanted = |subscription: &Subscription| {
            let is_over = match (publish, subscription.end_confirmed) {
                (Some((_, publish)), Some(confirmed)) => publish.sent > confirmed,
                _ => false,
            };
            subscription.asked < received.stamp && !is_over && matches(&subscription.filter, &received.topic)
        };
        if !client.subscriptions.iter().any(is_wanted) {
            found.push(format!(
                "{} got {received:?} (sent: {:?}) without a subscription: {:?}",
                client.options.client_id,
                publish.map(|(_, publish)| publish.sent),
                client.subscriptions
            ));
        }
        if let Some((_, publish)) = publish
            && publish.topic != received.topic
        {
            found.push(format!("{} got {received:?}, published on {}", client.options.client_id, publish.topic));
        }
    }
}

/// The messages of one publisher on one topic come in the order they were sent, repeats aside ([MQTT-4.6.0-6]).
fn order_is_kept(world: &World, key: ClientKey, client: &Client, found: &mut Vec<String>) {
    let mut last: BTreeMap<(ClientKey, &str, Qos), usize> = BTreeMap::new();
    let mut seen: Vec<usize> = Vec::new();
    for received in &client.received {
        let Some((number, publish)) = published(world, &received.payload) else { continue };
        if seen.contains(&number) {
            continue;
        }
        seen.push(number);
        let before = last.insert((publish.client, received.topic.as_str(), received.qos), number);
        if before.is_some_and(|before| before > number) {
            found.push(format!("{} got m{number} after {before:?}", name(key, client)));
        }
    }
}

/// At most one connection lives for a client id; a newer one is accepted when the older has been closed, or has been
/// asked for two seconds ([MQTT-3.1.4-3]).
fn one_connection_for_each_client_id(world: &World, found: &mut Vec<String>) {
    for (key, client) in world.clients() {
        let Some(accepted) = client.accepted_at else { continue };
        for (other_key, other) in world.clients() {
            if other_key == key || other.options.client_id != client.options.client_id {
                continue;
            }
            let Some(other_accepted) = other.accepted_at else { continue };
            let (name, other_name) = (name(key, client), name(other_key, other));
            if key < other_key && client.server_ended_at.is_none() && other.server_ended_at.is_none() {
                found.push(format!("{name} and {other_name} both live"));
            }
            // The grant of an older claim may reach a slow node after a newer one has waited its two seconds. It is
            // followed by the word to close.
            let is_newer = client.opened_at >= other.opened_at;
            let is_live = other.server_ended_at.is_none_or(|ended| ended > accepted);
            let overlaps = is_newer && other_accepted < accepted && is_live;
            // The older one may have been asked for the sake of an earlier rival already, even one that lost.
            let rivals = world.clients().map(|(_, rival)| rival).filter(|rival| {
                let decided = rival.accepted_at.or(rival.server_ended_at);
                rival.options.client_id == client.options.client_id
                    && decided.is_none_or(|at| at > other.opened_at)
                    && rival.opened_at <= accepted
            });
            let asked = rivals.map(|rival| rival.opened_at.max(other.opened_at)).min().unwrap_or(client.opened_at);
            if overlaps && accepted.millis_since(asked) < FENCE_MILLIS {
                found.push(format!("{name} was accepted at {accepted:?} while {other_name} lived"));
            }
        }
    }
}

fn published<'a>(world: &'a World, payload: &str) -> Option<(usize, &'a Publish)> {
    let number = payload.strip_prefix('m')?.parse().ok()?;
    Some((number, world.published().get(number)?))
}

fn name(key: ClientKey, client: &Client) -> String {
    format!("{}#{} on broker {}", client.options.client_id, key.0, client.options.broker)
}

/// MQTT 5.0 section 4.7, level by level.
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    fn levels(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => levels(filter, topic),
            ([wanted, filter @ ..], [actual, topic @ ..]) => wanted == actual && levels(filter, topic),
            _ => false,
        }
    }
    let (filter, topic): (Vec<&str>, Vec<&str>) = (filter.split('/').collect(), topic.split('/').collect());
    let is_hidden = topic.first().is_some_and(|level| level.starts_with('$'))
        && filter.first().is_some_and(|level| *level == "+" || *level == "#");
    !is_hidden && levels(&filter, &topic)
}
