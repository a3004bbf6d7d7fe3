//! Which wills must have been published, which must not, and which may: said of one connection at a time, from what
//! its client did, when its Broker lost it, and when the next one of its client id was let in.

use super::name;
use crate::client::{Client, ClientKey, Granted, Received};
use crate::world::World;
use iot_types::{Qos, UnixMillis};
use messages::session::DisconnectReason;
use mqtt_codec::ReasonCode;

/// Wills on topics below this are watched. Every payload is another one.
pub const WATCHED: &str = "w/";

/// How long the client of a Broker that was lost has to come back, in milliseconds.
const GRACE_MILLIS: u64 = 30_000;

/// How long an older connection may hold a newer one back, in milliseconds.
const FENCE_MILLIS: u64 = 2_000;

/// How long a claim may be on its way after its connection has ended, in milliseconds.
const CLAIM_MILLIS: u64 = 10_000;

/// What one session that was subscribed with QoS 2 from the beginning has got, or should have got, of all wills.
pub fn check(world: &World, got: &[&Received], found: &mut Vec<String>) {
    for (key, client) in world.clients() {
        let Some((topic, payload, qos)) = client.options.will.as_ref().filter(|(topic, ..)| topic.starts_with(WATCHED))
        else {
            continue;
        };
        let name = name(key, client);
        let copies: Vec<&&Received> = got.iter().filter(|received| received.payload == *payload).collect();
        if let Some(copy) = copies.first() {
            if let Some(why) = forbidden(world, key, client) {
                found.push(format!("the will of {name} was published although {why}"));
            }
            if let Some(why) = too_early(world, key, client, copy.stamp.at) {
                found.push(format!("the will of {name} was published at {:?}: {why}", copy.stamp.at));
            }
            if copies.iter().any(|copy| copy.topic != *topic || copy.qos != *qos || copy.retain) {
                found.push(format!("the will of {name} is not as it was meant: {copies:?}"));
            }
        } else if is_due(world, key, client) {
            found.push(format!("the will of {name} was never published: {:?}", client.overheard));
        }
        let anew = copies.iter().filter(|copy| !copy.dup).count();
        if *qos == Qos::ExactlyOnce && copies.len() > 1 {
            found.push(format!("the will of {name}, of QoS 2, was published twice"));
        } else if anew > 1 && world.count().is_flawless() {
            found.push(format!("the will of {name} was published twice, and nothing had failed"));
        }
    }
}

/// Whether a connection's will must have been published by now, when everything is over.
fn is_due(world: &World, key: ClientKey, client: &Client) -> bool {
    let is_kept =
        client.options.will.as_ref().is_some_and(|(_, _, qos)| *qos > Qos::AtMostOnce) || world.count().is_flawless();
    let Some(granted) = client.overheard.granted else { return false };
    // What was never told that it was connected may have had no will, and one that said goodbye has none any more.
    let is_accepted = client.connack == Some(ReasonCode::Success);
    if client.overheard.is_granted_again
        || !is_kept
        || !is_accepted
        || says_goodbye(client)
        || client.server_ended_at.is_none()
    {
        return false;
    }
    let delay = client.options.will_delay_millis();
    match &client.overheard.released {
        Some((at, ending)) => {
            // Sent elsewhere, or closed for want of something that is the platform's to have.
            let is_excused = ending.reason == DisconnectReason::ServerInitiated;
            let grace = if is_excused { GRACE_MILLIS } else { 0 };
            // Who comes back before cancels it, unless it is for a new session, which ends the one that the will is of.
            let latest = at.plus_millis(delay.max(grace) + 1_000);
            let may_cancel = |other: &Client| {
                let is_new = other.overheard.granted.is_some_and(|granted| !granted.session_present);
                other.opened_at <= latest && (is_excused || !is_new)
            };
            delay == 0 && !is_excused || !rivals(world, key, granted).any(|(_, other)| may_cancel(other))
        }
        // Its Broker was lost: the will comes when its client has had time to come back, and didn't.
        None => {
            client.overheard.lost_at.is_some()
                && client.overheard.fenced_at.is_none()
                && rivals(world, key, granted).next().is_none()
        }
    }
}

/// Why a connection's will must not be published at all.
fn forbidden(world: &World, key: ClientKey, client: &Client) -> Option<&'static str> {
    let heard = &client.overheard;
    let Some(granted) = heard.granted else {
        return (world.count().losses == 0).then_some("it was never connected");
    };
    let ended = earliest_end(client);
    if ended.is_none() {
        return Some("it is connected");
    }
    if heard.is_granted_again {
        return None;
    }
    let before = |at: UnixMillis| rivals(world, key, granted).filter(move |(_, other)| other.opened_at <= at);
    // [MQTT-3.14.4-3]
    if let (true, Some(_), Some((at, ending))) = (says_goodbye(client), heard.disconnect_arrived_at, &heard.released) {
        let is_told = ending.reason == DisconnectReason::ClientInitiated || world.count().losses == 0;
        if is_told && heard.fenced_at.is_none() && heard.lost_at.is_none() && before(*at).next().is_none() {
            return Some("its client said goodbye");
        }
    }
    // The next one that was let in, if nobody else can have been let in before.
    let next = rivals(world, key, granted).filter_map(|(other, rival)| Some((other, rival.overheard.granted?)));
    let (next_key, next) = next.min_by_key(|(_, granted)| granted.number)?;
    if before(next.at).any(|(other, _)| other != next_key) {
        return None;
    }
    let delay = client.options.will_delay_millis();
    // [MQTT-3.1.3-9]
    if next.session_present && delay > 0 && ended.is_some_and(|ended| next.at < ended.plus_millis(delay)) {
        return Some("its session was taken up before the Will Delay Interval was over");
    }
    // An object that can't reach the Broker takes the connection for ended by itself after a while.
    let opened_at = world.client(next_key).opened_at;
    let is_lost =
        heard.released.is_none() && heard.fenced_at.is_none_or(|at| at >= opened_at && Some(at) >= heard.lost_at);
    if let Some(lost_at) = heard.lost_at.filter(|_| is_lost && next.at.millis_since(opened_at) < FENCE_MILLIS)
        && next.at < lost_at.plus_millis(GRACE_MILLIS)
    {
        return Some("its Broker was lost and its client came back soon");
    }
    None
}

/// Why a connection's will may be published, but not yet.
fn too_early(world: &World, key: ClientKey, client: &Client, at: UnixMillis) -> Option<&'static str> {
    let heard = &client.overheard;
    let (granted, ended) = (heard.granted?, earliest_end(client)?);
    if rivals(world, key, granted).any(|(_, other)| other.opened_at <= at) {
        return None;
    }
    if at < ended.plus_millis(client.options.will_delay_millis()) {
        return Some("the Will Delay Interval is not over");
    }
    let is_lost = heard.released.is_none() && heard.fenced_at.is_none();
    let lost_at = heard.lost_at.filter(|_| is_lost)?;
    (at < lost_at.plus_millis(GRACE_MILLIS)).then_some("its Broker was lost, and its client may come back")
}

/// The first time at which anybody can have taken it for ended.
fn earliest_end(client: &Client) -> Option<UnixMillis> {
    client.server_ended_at.into_iter().chain(client.overheard.fenced_at).min()
}

fn says_goodbye(client: &Client) -> bool {
    client.disconnected == Some(ReasonCode::NormalDisconnection)
}

/// Other connections of the client id that were let in after this one, or may have been.
fn rivals(world: &World, key: ClientKey, granted: Granted) -> impl Iterator<Item = (ClientKey, &Client)> {
    let client_id = world.client(key).options.client_id.as_str();
    world.clients().filter(move |(other, rival)| {
        let is_later = match rival.overheard.granted {
            Some(other) => other.number > granted.number,
            None => {
                let may_claim = |at: UnixMillis| at.plus_millis(CLAIM_MILLIS) > granted.at;
                *other > key || rival.server_ended_at.is_none_or(may_claim)
            }
        };
        *other != key && rival.options.client_id == client_id && is_later
    })
}

/// What a topic may retain of wills, and whether it must retain something.
#[must_use]
pub fn retained(world: &World, topic: &str) -> (Vec<String>, bool) {
    let wills = world.clients().filter_map(|(key, client)| {
        let (of, payload, _) = client.options.will.as_ref()?;
        (of == topic && client.options.will_retain).then(|| (payload.clone(), is_due(world, key, client)))
    });
    let wills: Vec<(String, bool)> = wills.collect();
    let must = wills.iter().any(|(_, is_due)| *is_due);
    (wills.into_iter().map(|(payload, _)| payload).collect(), must)
}
