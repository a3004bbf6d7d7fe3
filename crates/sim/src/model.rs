//! What clients may expect, said as naively as possible: lists, and a matching of its own.

pub mod presence;
pub mod wills;

use crate::client::{Client, ClientKey, Received};
use crate::record::{Publish, Stamp, Subscription, Waiting};
use crate::world::World;
use iot_types::{Qos, UnixMillis};
use mqtt_codec::ReasonCode;
use std::collections::{BTreeMap, BTreeSet};

/// Nobody waits longer than this for an answer, in milliseconds: a CONNECT may take fifteen seconds, everything else
/// but a SUBSCRIBE ends when leases have been waited for and a channel's attempts are spent.
pub const LONGEST_WAIT_MILLIS: u64 = 30_000;

/// A SUBSCRIBE may have to wait until leases have ended by themselves whose holder can't be reached, and longer, in
/// milliseconds.
pub const LONGEST_SUBSCRIBE_MILLIS: u64 = 90_000;

/// How long an older connection may hold a newer one back, in milliseconds.
const FENCE_MILLIS: u64 = 2_000;

/// Sessions that last less may expire in a run, in seconds.
const BRIEF_SECS: u32 = 3_600;

/// How long a claim may be on its way after its connection has ended, in milliseconds.
const CLAIM_MILLIS: u64 = 10_000;

/// One session as its client knows it: its connections, oldest first.
struct Session<'a> {
    connections: Vec<(ClientKey, &'a Client)>,
}

impl<'a> Session<'a> {
    fn last(&self) -> Option<(ClientKey, &'a Client)> {
        self.connections.last().copied()
    }

    fn name(&self) -> String {
        self.last().map_or_else(String::new, |(key, client)| name(key, client))
    }

    fn subscriptions(&self) -> impl Iterator<Item = &'a Subscription> + use<'a, '_> {
        self.connections.iter().flat_map(|(_, client)| &client.subscriptions)
    }

    /// The subscriptions that it certainly has, or had until they were ended.
    fn certain_subscriptions<'w>(&'w self, world: &'w World) -> impl Iterator<Item = &'a Subscription> + use<'a, 'w> {
        let first = self.connections.first().map(|(key, _)| *key);
        self.connections.iter().flat_map(move |(key, client)| {
            let is_certain =
                move |subscription: &&Subscription| !may_have_been_forgotten(world, *key, first, subscription.asked.at);
            client.subscriptions.iter().filter(is_certain)
        })
    }

    fn received(&self) -> impl Iterator<Item = &'a Received> + use<'a, '_> {
        self.connections.iter().flat_map(|(_, client)| &client.received)
    }

    fn has(&self, key: ClientKey) -> bool {
        self.connections.iter().any(|(connection, _)| *connection == key)
    }

    fn is_durable(&self) -> bool {
        self.last().is_some_and(|(_, client)| client.options.is_durable())
    }

    /// Whether nothing that it was promised can have been lost with a connection.
    fn is_whole(&self) -> bool {
        self.last().is_some_and(|(_, client)| {
            client.is_connected() && client.server_ended_at.is_none() && client.options.acknowledges
        })
    }
}

/// The sessions there are. A connection that got no CONNACK belongs to the session that it may have taken up.
fn sessions(world: &World) -> Vec<Session<'_>> {
    let mut sessions: Vec<Session<'_>> = Vec::new();
    for (key, client) in world.clients() {
        let takes_up = client.before.filter(|_| client.session_present != Some(false));
        let earlier = takes_up.and_then(|before| sessions.iter_mut().find(|session| session.has(before)));
        match earlier {
            Some(session) => session.connections.push((key, client)),
            None => sessions.push(Session { connections: vec![(key, client)] }),
        }
    }
    sessions
}

/// Whether a connection may have made the server forget the session that there was at that time: one that asked for a
/// new session, and whose word may have come later, whatever its client heard. `first` is the connection that the
/// session began with.
fn may_have_been_forgotten(world: &World, key: ClientKey, first: Option<ClientKey>, since: UnixMillis) -> bool {
    let client_id = &world.client(key).options.client_id;
    world.clients().any(|(other, rival)| {
        let asks = rival.options.clean_start || !rival.options.is_durable();
        let over = rival.accepted_at.or(rival.server_ended_at.map(|at| at.plus_millis(CLAIM_MILLIS)));
        other != key
            && Some(other) != first
            && asks
            && rival.options.client_id == *client_id
            && over.is_none_or(|over| since <= over)
    })
}

/// Everything that went wrong in a world in which nothing is under way any more.
#[must_use]
pub fn violations(world: &World) -> Vec<String> {
    let mut found = world.violations.clone();
    if !world.is_quiet() {
        found.push("something is still under way: no node of it could ever sleep".to_owned());
    }
    nobody_waits(world, &mut found);
    no_session_is_forgotten(world, &mut found);
    let sessions = sessions(world);
    for session in &sessions {
        everything_acknowledged_comes(world, session, &mut found);
        nothing_comes_unasked(world, session, &mut found);
        order_is_kept(world, session, &mut found);
        exactly_once_is_once(world, session, &mut found);
        nothing_comes_twice(world, session, &mut found);
    }
    groups_get_what_was_acknowledged(world, &sessions, &mut found);
    one_connection_for_each_client_id(world, &mut found);
    found
}

/// What went wrong with wills and presence events, as a session with this client id saw it that was subscribed to all of
/// them with QoS 2 before anything happened.
#[must_use]
pub fn lifecycle_violations(world: &World, watcher: &str) -> Vec<String> {
    let mut found = Vec::new();
    let watchers: Vec<&Client> =
        world.clients().map(|(_, client)| client).filter(|client| client.options.client_id == watcher).collect();
    let subscribed = watchers.iter().flat_map(|client| &client.subscriptions);
    let Some(since) = subscribed.filter_map(|subscription| Some(subscription.answered?.0.at)).max() else {
        return vec![format!("{watcher} watches nothing")];
    };
    let got = watchers.iter().flat_map(|client| &client.received).filter(|received| !received.retain);
    let got: Vec<&Received> = got.collect();
    wills::check(world, &got, &mut found);
    presence::check(world, since, &got, &mut found);
    found
}

fn nobody_waits(world: &World, found: &mut Vec<String>) {
    for (key, client) in world.clients() {
        let name = name(key, client);
        if client.is_waiting() {
            found.push(format!("{name} still waits for {:?}", client.waiting.keys().collect::<Vec<_>>()));
        }
        for (waited, what) in &client.long_waits {
            let longest = match what {
                Waiting::Subscribe(_) => LONGEST_SUBSCRIBE_MILLIS,
                _ => LONGEST_WAIT_MILLIS,
            };
            if *waited > longest {
                found.push(format!("{name} waited {waited} ms for {what:?}"));
            }
        }
    }
}

/// A session that was there is there, unless somebody asked for a new one ([MQTT-3.1.2-5]), or it is of those that last
/// for a moment only.
fn no_session_is_forgotten(world: &World, found: &mut Vec<String>) {
    for (key, client) in world.clients() {
        let Some(before) = client.before.filter(|_| client.session_present == Some(false)) else { continue };
        if client.options.clean_start || world.client(before).options.session_expiry < BRIEF_SECS {
            continue;
        }
        let is_cleaned = world.clients().any(|(other, rival)| {
            other != key
                && rival.options.client_id == client.options.client_id
                && (rival.options.clean_start || !rival.options.is_durable())
        });
        if !is_cleaned && world.client(before).connack == Some(ReasonCode::Success) {
            found.push(format!("{} lost its session", name(key, client)));
        }
    }
}

/// What was published after a SUBACK and acknowledged has come: to a session that outlives its connections in any case,
/// to another unless its connection ended.
fn everything_acknowledged_comes(world: &World, session: &Session<'_>, found: &mut Vec<String>) {
    if !session.is_whole() {
        return;
    }
    // A later SUBSCRIBE of the same filter takes the place of an earlier one.
    let is_lowered = |of: &Subscription, until: Stamp| {
        let mut all = session.subscriptions();
        all.any(|s| s.filter == of.filter && s.qos == Qos::AtMostOnce && s.asked > of.asked && s.asked < until)
    };
    let certain: Vec<&Subscription> = session.certain_subscriptions(world).collect();
    let received: BTreeSet<&str> = session.received().map(|received| received.payload.as_str()).collect();
    for publish in world.published() {
        let Some((acknowledged, ReasonCode::Success)) = publish.acknowledged else { continue };
        let expects = certain.iter().any(|subscription| {
            let was_granted = subscription.answered.is_some_and(|(at, code)| !code.is_error() && at < publish.sent);
            was_granted
                && subscription.qos >= Qos::AtLeastOnce
                && subscription.ended.is_none_or(|at| at > acknowledged)
                && !is_lowered(subscription, acknowledged)
                && matches(&subscription.filter, &publish.topic)
        });
        let payload = &publish.payload;
        if expects && !payload.is_empty() && !received.contains(payload.as_str()) {
            found.push(format!(
                "{} never got {payload} on {}, sent at {:?} by {:?}",
                session.name(),
                publish.topic,
                publish.sent,
                publish.client
            ));
        }
    }
}

/// Whatever comes matches a subscription that was not over when it was published.
fn nothing_comes_unasked(world: &World, session: &Session<'_>, found: &mut Vec<String>) {
    for received in session.received() {
        let publish = published(world, &received.payload);
        let is_wanted = |subscription: &Subscription| {
            let is_over = match (publish, subscription.end_confirmed) {
                (Some((_, publish)), Some(confirmed)) => publish.sent > confirmed,
                _ => false,
            };
            let filter = unshared(&subscription.filter);
            subscription.asked < received.stamp && !is_over && matches(filter, &received.topic)
        };
        if !session.subscriptions().any(is_wanted) {
            found.push(format!(
                "{} got {received:?} (sent: {:?}) without a subscription: {:?}",
                session.name(),
                publish.map(|(_, publish)| publish.sent),
                session.subscriptions().collect::<Vec<_>>()
            ));
        }
        if let Some((_, publish)) = publish
            && publish.topic != received.topic
        {
            found.push(format!("{} got {received:?}, published on {}", session.name(), publish.topic));
        }
    }
}

/// The messages of one publisher on one topic come in the order they were sent, repeats and retained copies aside
/// ([MQTT-4.6.0-6]): what was sent once and on one connection, and what was acknowledged before the later one was sent. What a
/// shared group shares has no order.
fn order_is_kept(world: &World, session: &Session<'_>, found: &mut Vec<String>) {
    if session.subscriptions().any(|subscription| subscription.filter != unshared(&subscription.filter)) {
        return;
    }
    let mut before: BTreeMap<(&str, &str, Qos), Vec<usize>> = BTreeMap::new();
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    for received in session.received().filter(|received| !received.retain) {
        let Some((number, publish)) = published(world, &received.payload) else { continue };
        if !seen.insert(number) {
            continue;
        }
        let publisher = world.client(publish.client).options.client_id.as_str();
        let line = before.entry((publisher, received.topic.as_str(), received.qos)).or_default();
        let overtook = line.iter().copied().find(|later| {
            let Some(other) = world.published().get(*later) else { return false };
            let was_over = publish.acknowledged.is_some_and(|(at, _)| at < other.sent);
            let same = publish.client == other.client && !other.is_resent;
            // What the publisher was told to have failed may still come, at any time.
            let has_failed = publish.acknowledged.is_some_and(|(_, code)| code.is_error());
            *later > number && !has_failed && !publish.is_resent && (same || was_over)
        });
        if let Some(later) = overtook {
            found.push(format!("{} got m{number} after m{later}", session.name()));
        }
        line.push(number);
    }
}

/// A message that comes with QoS 2 comes once ([MQTT-4.3.3-1] and on), retained copies aside.
fn exactly_once_is_once(world: &World, session: &Session<'_>, found: &mut Vec<String>) {
    let mut seen: BTreeMap<usize, UnixMillis> = BTreeMap::new();
    let (first, last) = (session.connections.first().map(|(key, _)| *key), session.last().map(|(key, _)| key));
    for received in session.received().filter(|r| r.qos == Qos::ExactlyOnce && !r.retain) {
        let Some((number, publish)) = published(world, &received.payload) else { continue };
        let Some(before) = seen.insert(number, received.stamp.at) else { continue };
        // What either side forgot because of a CONNECT that was never answered, the other may send again.
        let is_new_to_server =
            publish.is_resent && may_have_been_forgotten(world, publish.client, None, publish.sent.at);
        let is_new_to_client = last.is_some_and(|last| may_have_been_forgotten(world, last, first, before));
        if !is_new_to_server && !is_new_to_client {
            found.push(format!("{} got m{number} of QoS 2 twice", session.name()));
        }
    }
}

/// While no object forgets anything, a failed call that is made again is the only reason for a message to come twice, and
/// its receiver knows it. Nothing tells copies apart that a client gets as itself and as a member of a group.
fn nothing_comes_twice(world: &World, session: &Session<'_>, found: &mut Vec<String>) {
    let shares = session.subscriptions().any(|subscription| subscription.filter != unshared(&subscription.filter));
    if shares || world.count().losses > 0 {
        return;
    }
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    for received in session.received().filter(|received| !received.retain && !received.dup) {
        let Some((number, publish)) = published(world, &received.payload) else { continue };
        if !seen.insert(number) && !publish.is_resent {
            found.push(format!("{} got m{number} twice, although it was sent once", session.name()));
        }
    }
}

/// What a shared group was promised has come to one of its members; with QoS 2 to no more than one ([MQTT-4.8.2-4] and
/// on). Nothing is promised to groups with members that lost their sessions.
fn groups_get_what_was_acknowledged(world: &World, sessions: &[Session<'_>], found: &mut Vec<String>) {
    let filters: BTreeSet<&str> = sessions
        .iter()
        .flat_map(Session::subscriptions)
        .map(|subscription| subscription.filter.as_str())
        .filter(|filter| *filter != unshared(filter))
        .collect();
    for filter in filters {
        let members: Vec<&Session<'_>> =
            sessions.iter().filter(|session| session.subscriptions().any(|s| s.filter == filter)).collect();
        // One that asked for QoS 0 may be picked, too, and nothing is promised to it.
        let is_kept = |s: &Subscription| s.filter != filter || s.ended.is_none() && s.qos >= Qos::AtLeastOnce;
        let is_stable = members.iter().all(|member| member.is_whole() && member.subscriptions().all(is_kept));
        let certain: Vec<&Subscription> =
            members.iter().flat_map(|member| member.certain_subscriptions(world)).collect();
        for (number, publish) in world.published().iter().enumerate() {
            let Some((_, ReasonCode::Success)) = publish.acknowledged else { continue };
            if !matches(unshared(filter), &publish.topic) || publish.payload.is_empty() {
                continue;
            }
            let is_asked = certain.iter().any(|subscription| {
                subscription.filter == filter
                    && subscription.qos >= Qos::AtLeastOnce
                    && subscription.answered.is_some_and(|(at, code)| !code.is_error() && at < publish.sent)
            });
            // A member may have asked for the same topic by itself, too: then its copies can't be told apart.
            let is_alone = members.iter().all(|member| {
                member.subscriptions().all(|s| s.filter == filter || !matches(unshared(&s.filter), &publish.topic))
            });
            let copies = members.iter().flat_map(|member| member.received());
            let copies: Vec<&Received> = copies.filter(|received| received.payload == publish.payload).collect();
            if is_stable && is_asked && copies.is_empty() {
                found.push(format!("nobody of {filter} got m{number} on {}", publish.topic));
            }
            // A publisher that was told nothing sends again, and whoever is picked then may be another.
            // Nor can one whose session has ended tell anybody that it had it.
            let lasting = members.iter().filter(|member| member.is_whole() || member.is_durable());
            let exactly_once = lasting
                .flat_map(|member| member.received())
                .filter(|received| received.payload == publish.payload && received.qos == Qos::ExactlyOnce)
                .count();
            if is_alone && !publish.is_resent && exactly_once > 1 {
                found.push(format!("more than one of {filter} got m{number} of QoS 2"));
            }
        }
    }
}

/// What a retained message may be, by topic: the newest publishes with RETAIN that nobody has certainly replaced. An
/// empty payload stands for none.
#[must_use]
pub fn retained_candidates(world: &World, topic: &str) -> Vec<String> {
    let retained: Vec<&Publish> = world.published().iter().filter(|p| p.retain && p.topic == topic).collect();
    let is_replaced = |publish: &Publish| {
        // What the publisher was told to have failed may still come, at any time.
        let Some((acknowledged, ReasonCode::Success)) = publish.acknowledged else { return false };
        retained
            .iter()
            .any(|later| later.sent > acknowledged && matches!(later.acknowledged, Some((_, ReasonCode::Success))))
    };
    let mut candidates: Vec<String> =
        retained.iter().filter(|publish| !is_replaced(publish)).map(|publish| publish.payload.clone()).collect();
    let is_certain = retained.iter().any(|p| matches!(p.acknowledged, Some((_, ReasonCode::Success))));
    if !is_certain {
        candidates.push(String::new());
    }
    candidates
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

/// The filter inside a Shared Subscription's.
fn unshared(filter: &str) -> &str {
    let inside = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    inside.map_or(filter, |(_, filter)| filter)
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
