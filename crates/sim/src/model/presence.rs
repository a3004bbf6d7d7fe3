//! What is told of connections in `$aws/events/presence/…`: each that was let in and each that ended, at least once,
//! with versions that tell their order.

use super::name;
use crate::client::{Client, ClientKey, Received};
use crate::world::World;
use iot_types::UnixMillis;
use mqtt_codec::ReasonCode;
use std::collections::BTreeMap;

/// An event as it came.
#[derive(Clone, Copy, Debug)]
struct Event<'a> {
    key: ClientKey,
    is_end: bool,
    version: u64,
    timestamp: u64,
    reason: &'a str,
    is_clients: bool,
    is_dup: bool,
}

/// What one session that was subscribed from the beginning has got, or should have got, of all presence events.
/// `since` is when its own subscription began.
pub fn check(world: &World, since: UnixMillis, got: &[&Received], found: &mut Vec<String>) {
    let mut events = Vec::new();
    for received in got.iter().filter(|received| received.topic.starts_with("$aws/events/presence/")) {
        match read(world, received) {
            Some(event) => events.push(event),
            None => found.push(format!("a presence event that says nothing of anybody: {received:?}")),
        }
    }
    for (key, client) in world.clients() {
        let of_it: Vec<&Event<'_>> = events.iter().filter(|event| event.key == key).collect();
        everything_is_told(world, since, (key, client), &of_it, found);
    }
    versions_rise(world, &events, found);
    if world.count().is_flawless() {
        order_is_kept(world, &events, found);
    }
}

fn read<'a>(world: &World, received: &'a Received) -> Option<Event<'a>> {
    let (kind, client_id) = received.topic.strip_prefix("$aws/events/presence/")?.split_once('/')?;
    let is_end = match kind {
        "connected" => false,
        "disconnected" => true,
        _ => return None,
    };
    let json = received.payload.as_str();
    let key = ClientKey(text(json, "sessionIdentifier")?.parse().ok()?);
    let client = world.clients().find(|(of, _)| *of == key)?.1;
    let is_right = text(json, "clientId") == Some(client_id)
        && client.options.client_id == client_id
        && text(json, "eventType") == Some(kind);
    is_right.then_some(())?;
    Some(Event {
        key,
        is_end,
        version: number(json, "versionNumber")?,
        timestamp: number(json, "timestamp")?,
        reason: if is_end { text(json, "disconnectReason")? } else { "" },
        is_clients: is_end && after(json, "clientInitiatedDisconnect")?.starts_with("true"),
        is_dup: received.dup,
    })
}

/// What follows a member's name and colon in a flat JSON object.
fn after<'a>(json: &'a str, member: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{member}\":"))?;
    Some(rest)
}

fn text<'a>(json: &'a str, member: &str) -> Option<&'a str> {
    Some(after(json, member)?.strip_prefix('"')?.split_once('"')?.0)
}

fn number(json: &str, member: &str) -> Option<u64> {
    let rest = after(json, member)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

fn everything_is_told(
    world: &World,
    since: UnixMillis,
    (key, client): (ClientKey, &Client),
    events: &[&Event<'_>],
    found: &mut Vec<String>,
) {
    let (name, heard) = (name(key, client), &client.overheard);
    let (starts, ends): (Vec<&Event<'_>>, Vec<&Event<'_>>) = events.iter().partition(|event| !event.is_end);
    let is_calm = world.count().losses == 0;
    let Some(granted) = heard.granted else {
        if is_calm && !events.is_empty() {
            found.push(format!("{name} was told of, and was never let in"));
        }
        return;
    };
    let is_watched = granted.at > since;
    if is_watched && starts.is_empty() {
        found.push(format!("nobody was told that {name} connected"));
    }
    let is_known = heard.released.is_some() || heard.lost_at.is_some();
    if is_known && is_watched && ends.is_empty() {
        found.push(format!("nobody was told that {name} disconnected"));
    }
    // A Broker that never heard of the grant knows nothing to give back.
    let is_accepted = client.accepted_at.is_some();
    if !is_known && is_accepted && is_calm && client.server_ended_at.is_some() {
        found.push(format!("{name} ended, and its shard was not told"));
    }
    let is_over = client.server_ended_at.is_some() || heard.fenced_at.is_some();
    if !is_over && !ends.is_empty() {
        found.push(format!("{name} is connected, and was told to have disconnected"));
    }
    // What was asked twice of a shard that forgot it may have been granted twice.
    if is_calm && starts.iter().any(|event| event.timestamp > granted.at.0.saturating_add(1)) {
        found.push(format!("{name} is told to have connected later than it did: {starts:?}"));
    }
    for copies in [starts, ends.clone()] {
        if world.count().is_flawless() && copies.iter().filter(|event| !event.is_dup).count() > 1 {
            found.push(format!("{name} was told of twice, and nothing had failed: {copies:?}"));
        }
    }
    for end in ends {
        let is_possible = match end.reason {
            "CLIENT_INITIATED_DISCONNECT" => client.disconnected.is_some(),
            "CONNECTION_LOST" => client.ended.is_some(),
            "MQTT_KEEP_ALIVE_TIMEOUT" => client.options.keep_alive > 0,
            "DUPLICATE_CLIENTID" => heard.fenced_at.is_some() || heard.lost_at.is_some() || !is_calm,
            "SERVER_ERROR" | "SERVER_INITIATED_DISCONNECT" => heard.fenced_at.is_some() || has_failed(world),
            _ => false,
        };
        if !is_possible || end.is_clients != (end.reason == "CLIENT_INITIATED_DISCONNECT") {
            found.push(format!("{name} did not end like this: {end:?}"));
        }
        let said = heard.disconnect_arrived_at.is_some() && client.connack == Some(ReasonCode::Success);
        let is_heard = client.overheard.fenced_at.is_none() && !has_failed(world);
        if said && is_heard && !end.is_clients {
            found.push(format!("{name} said goodbye, and ended like this: {end:?}"));
        }
    }
}

fn has_failed(world: &World) -> bool {
    !world.count().is_flawless()
}

/// A connection and its end have the same version, the next connection of its client id a higher one, and nothing that
/// has a lower one happened later.
fn versions_rise(world: &World, events: &[Event<'_>], found: &mut Vec<String>) {
    let mut by_client: BTreeMap<&str, BTreeMap<(u64, bool), Vec<Event<'_>>>> = BTreeMap::new();
    for event in events {
        let client_id = world.client(event.key).options.client_id.as_str();
        by_client.entry(client_id).or_default().entry((event.version, event.is_end)).or_default().push(*event);
    }
    let is_calm = world.count().losses == 0;
    for (client_id, versions) in by_client {
        let all: Vec<Event<'_>> = versions.into_values().flatten().collect();
        for pair in all.windows(2) {
            let [before, next] = pair else { continue };
            if before.version == next.version && before.key != next.key {
                found.push(format!("{client_id}: two connections of one version: {before:?}, {next:?}"));
            }
            let number = |event: &Event<'_>| world.client(event.key).overheard.granted.map(|granted| granted.number);
            let is_older = number(before).zip(number(next)).is_some_and(|(before, next)| before > next);
            if is_calm && is_older || before.timestamp > next.timestamp {
                found.push(format!("{client_id}: the versions are in another order: {before:?}, {next:?}"));
            }
        }
        let versions: BTreeMap<ClientKey, u64> = all.iter().map(|event| (event.key, event.version)).collect();
        if is_calm && all.iter().any(|event| versions.get(&event.key) != Some(&event.version)) {
            found.push(format!("{client_id}: one connection with two versions"));
        }
    }
}

/// While nothing fails, the events of a client id come in the order of what they tell.
fn order_is_kept(world: &World, events: &[Event<'_>], found: &mut Vec<String>) {
    let mut last: BTreeMap<&str, (u64, bool)> = BTreeMap::new();
    for event in events.iter().filter(|event| !event.is_dup) {
        let client_id = world.client(event.key).options.client_id.as_str();
        let now = (event.version, event.is_end);
        if last.insert(client_id, now).is_some_and(|before| before > now) {
            found.push(format!("{client_id}: {event:?} came after {:?}", last.get(client_id)));
        }
    }
}
