//! Wills and presence events on their way: what is safe, what is told again, in which order, and what is nobody's fault.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::*;
use messages::Reply;
use messages::publication::MessageId;
use messages::session::DisconnectReason as Reason;
use messages::sessions::{ClaimReply, SessionsRequest};
use sessions::ShardSettings;

const CONNECTED: &str = "$aws/events/presence/connected/c";
const DISCONNECTED: &str = "$aws/events/presence/disconnected/c";

fn two_brokers() -> World {
    World::with(ShardSettings { brokers: 2, ..ShardSettings::default() })
}

fn announced(world: &mut World, index: u32, ticket: u64, is_safe: bool) {
    world.ask(index, SessionsRequest::Announced { tickets: vec![(ticket, is_safe)] });
}

/// The topics that Brokers were told of since the last time.
fn topics(world: &mut World) -> Vec<String> {
    world.announced().into_iter().map(|(_, topic, _)| topic).collect()
}

#[test]
fn the_events_of_a_client_wait_for_each_other() {
    let mut world = World::new();
    world.announcement_answers.push_back(Reply::Pending);
    let number = world.connect(0, "c", 1, clean()).number;
    let first = world.announced();
    assert_eq!(first[0].1, CONNECTED);
    world.release(0, "c", number, Reason::ConnectionLost);
    world.connect(1, "other", 1, clean());
    assert_eq!(topics(&mut world), ["$aws/events/presence/connected/other"], "another client waits for nobody");
    announced(&mut world, 0, first[0].2, true);
    assert_eq!(topics(&mut world), [DISCONNECTED]);
    world.pass(100_000);
    assert!(topics(&mut world).is_empty(), "once");
}

#[test]
fn a_will_waits_for_no_event() {
    let mut world = World::new();
    world.announcement_answers.push_back(Reply::Pending);
    let number = world.connect(0, "c", 1, with_will(clean(), 0)).number;
    world.told.clear();
    world.release(0, "c", number, Reason::ConnectionLost);
    assert_eq!(topics(&mut world), ["will"]);
}

#[test]
fn what_a_broker_took_and_says_nothing_of_is_given_to_another() {
    let mut world = two_brokers();
    world.announcement_answers.push_back(Reply::Pending);
    world.connect(5, "c", 1, clean());
    let first = world.announced();
    assert_eq!((first[0].0, first[0].1.as_str()), (5, CONNECTED));
    assert!(!world.shard.is_at_rest());
    world.pass(14_000);
    assert!(topics(&mut world).is_empty());
    world.pass(2_000);
    let second = world.announced();
    assert_eq!((second[0].1.as_str(), second[0].2), (CONNECTED, first[0].2));
    assert_ne!(second[0].0, 5);
    assert!(world.shard.is_at_rest());
}

#[test]
fn what_some_could_not_get_comes_again_and_again_and_holds_back_nobody() {
    let mut world = World::new();
    world.announcement_answers.push_back(Reply::Pending);
    let number = world.connect(0, "c", 1, clean()).number;
    let ticket = world.announced()[0].2;
    announced(&mut world, 0, ticket, false);
    world.release(0, "c", number, Reason::ConnectionLost);
    assert_eq!(topics(&mut world), [DISCONNECTED]);
    let mut times = 1;
    for wait in [5_000, 10_000, 20_000, 40_000, 80_000] {
        world.pass(wait - 1_000);
        assert!(topics(&mut world).is_empty(), "not before {wait} ms");
        world.announcement_answers.push_back(Reply::Pending);
        world.pass(1_500);
        let again = world.announced();
        assert_eq!((again[0].1.as_str(), again[0].2, again.len()), (CONNECTED, ticket, 1));
        announced(&mut world, 0, ticket, false);
        times += 1;
    }
    assert_eq!(times, world.settings.maximum_announcements);
    world.pass(1_000_000);
    assert!(topics(&mut world).is_empty(), "who can't be had for that long goes without");
    assert!(world.shard.is_at_rest());
}

#[test]
fn what_a_memory_before_had_not_made_safe_is_announced_again() {
    let mut world = World::new();
    world.announcement_answers.push_back(Reply::Pending);
    world.connect(0, "c", 1, clean());
    assert_eq!(topics(&mut world), [CONNECTED]);
    world.restart();
    world.run();
    assert_eq!(topics(&mut world), [CONNECTED]);
}

#[test]
fn wills_of_claims_of_one_millisecond_have_names_of_their_own() {
    let mut world = World::new();
    let mut names = Vec::new();
    for client in ["a", "b", "c", "d"] {
        let number = world.connect(0, client, 1, with_will(clean(), 0)).number;
        assert_eq!(number, 1_000_000);
        world.published();
        world.release(0, client, number, Reason::ConnectionLost);
        let will = world.published().into_iter().find(|published| published.topic == "will").unwrap();
        names.extend(will.message_id);
    }
    assert_eq!(names.len(), 4);
    let of_a_connection = |name: &MessageId| name.number & 1 << 43 == 0;
    assert!(names.iter().all(|name| !of_a_connection(name)));
    names.dedup();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn the_will_of_a_client_whose_broker_is_found_lost_by_its_return_is_nobodys() {
    let mut world = World::new();
    world.connect(0, "c", 1, with_will(clean(), 0));
    world.told.clear();
    // Nobody has said so yet: the answer to the fence does.
    world.epochs.insert(0, 2);
    world.connect(1, "c", 2, clean());
    world.pass(60_000);
    let published = world.published();
    let topics: Vec<&str> = published.iter().map(|published| published.topic.as_str()).collect();
    assert_eq!(topics, [DISCONNECTED, CONNECTED]);
    assert!(String::from_utf8_lossy(&published[0].payload).contains("SERVER_ERROR"));
}

#[test]
fn a_client_that_is_found_lost_by_a_message_for_it_has_half_a_minute_to_come_back() {
    for comes_back in [false, true] {
        let mut world = World::new();
        let number = world.connect(0, "c", 1, with_will(durable(), 0)).number;
        world.subscribe(0, "c", number, &[("a/#", at_most(iot_types::Qos::AtLeastOnce))]);
        world.told.clear();
        world.epochs.insert(0, 2);
        world.unreachable.insert(0);
        world.deliver(message("m", iot_types::Qos::AtLeastOnce), 1);
        world.pass(1_000);
        world.unreachable.clear();
        world.pass(5_000);
        assert!(!topics(&mut world).contains(&"will".to_owned()));
        if comes_back {
            world.connect(1, "c", 2, durable());
        }
        world.pass(60_000);
        let wills = topics(&mut world).into_iter().filter(|topic| topic == "will").count();
        assert_eq!(wills, usize::from(!comes_back));
    }
}

#[test]
fn a_connection_that_could_not_be_told_its_messages_did_not_end_by_an_administrators_word() {
    let mut world = World::new();
    let number = world.connect(0, "c", 1, durable()).number;
    world.subscribe(0, "c", number, &[("a/#", at_most(iot_types::Qos::AtLeastOnce))]);
    world.told.clear();
    world.unreachable.insert(0);
    world.deliver(message("m", iot_types::Qos::AtLeastOnce), 1);
    world.pass(1_500);
    assert!(world.packets().is_empty());
    // The Broker has heard the fence, and its word comes before its answer.
    world.release(0, "c", number, Reason::ApiInitiated);
    world.unreachable.clear();
    world.pass(10_000);
    let published = world.published();
    let payload = String::from_utf8_lossy(&published[0].payload).into_owned();
    assert!(payload.contains("SERVER_ERROR"), "{payload}");
}

#[test]
fn a_claim_whose_broker_is_lost_while_it_waits_is_granted_to_nobody() {
    let mut world = World::new();
    world.connect(0, "c", 1, clean());
    world.told.clear();
    world.unreachable.insert(0);
    let claim = world.claim(1, "c", 2, with_will(clean(), 0));
    assert!(matches!(claim, Reply::Claim(ClaimReply::Pending)));
    world.epochs.insert(1, 2);
    world.ask(1, SessionsRequest::EpochStarted);
    world.pass(60_000);
    assert_eq!(topics(&mut world), [DISCONNECTED], "that of the first connection");
    let grant = world.connect(1, "c", 3, clean());
    assert!(!grant.session_present);
    assert_eq!(topics(&mut world), [CONNECTED]);
}

#[test]
fn what_is_announced_again_is_a_message_of_now_and_expires_when_it_would_have() {
    let mut world = two_brokers();
    let mut claim = with_will(clean(), 0);
    let will = claim.will.as_mut().unwrap();
    will.properties = Some(Box::new(messages::publication::PublicationProperties {
        message_expiry_interval: Some(60),
        ..Default::default()
    }));
    let number = world.connect(5, "c", 1, claim).number;
    world.published();
    world.announcement_answers.extend(vec![Reply::Pending; 2]);
    world.release(5, "c", number, Reason::ConnectionLost);
    let mut wills = world.published();
    world.pass(20_000);
    wills.extend(world.published());
    wills.retain(|will| will.topic == "will");
    let said: Vec<_> = wills
        .iter()
        .map(|will| (will.accepted_at.0, will.properties.as_ref().unwrap().message_expiry_interval))
        .collect();
    assert_eq!(said, [(1_000_000, Some(60)), (1_015_000, Some(45))]);
}
