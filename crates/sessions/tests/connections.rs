//! Claims, endings, wills and presence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{World, broker, clean, durable, ending, id, with_will};
use iot_types::{Qos, UnixMillis};
use messages::broker::{BrokerRequest, ConnectionId, FenceReason};
use messages::session::{ConnectionDetails, DisconnectReason as Reason, Ending};
use messages::sessions::{ClaimReply, SessionsRequest};
use messages::{Refusal, Reply};
use sessions::{LogEvent, ShardSettings};
use std::collections::BTreeSet;

#[test]
fn a_takeover_fences_the_older_connection_and_then_grants() {
    let mut world = World::new();
    let first = world.connect(0, "c", 1, clean());
    world.told.clear();
    assert_eq!(world.claim(1, "c", 9, clean()), Reply::Claim(ClaimReply::Pending));
    let fence =
        BrokerRequest::Fence { connection: ConnectionId(1), client_id: id("c"), reason: FenceReason::TakenOver };
    assert_eq!(world.told[0], (0, fence));
    let decided = world.told.iter().find_map(|(to, request)| match request {
        BrokerRequest::ClaimDecided { connection, grant } => Some((*to, *connection, grant.as_ref()?.number)),
        _ => None,
    });
    let (to, connection, number) = decided.unwrap();
    assert_eq!((to, connection), (1, ConnectionId(9)));
    assert!(number > first.number);
    assert!(world.shard.is_at_rest());
}

#[test]
fn a_claim_that_a_newer_one_replaces_is_refused() {
    let mut world = World::new();
    world.connect(0, "c", 1, clean());
    world.unreachable.insert(0);
    world.claim(1, "c", 2, clean());
    world.told.clear();
    world.claim(2, "c", 3, clean());
    assert_eq!(world.told, [(1, BrokerRequest::ClaimDecided { connection: ConnectionId(2), grant: None })]);
    world.pass(2_000);
    assert!(matches!(&world.told[1], (2, BrokerRequest::ClaimDecided { grant: Some(_), .. })), "{:?}", world.told);
}

#[test]
fn a_shard_that_forgot_a_waiting_takeover_still_fences_and_grants() {
    let mut world = World::new();
    world.connect(0, "c", 1, clean());
    world.unreachable.insert(0);
    world.claim(1, "c", 2, clean());
    world.told.clear();
    world.restart();
    world.unreachable.clear();
    world.run();
    world.pass(2_000);
    let fences = world.told.iter().filter(|(_, request)| matches!(request, BrokerRequest::Fence { .. })).count();
    let grants = world.told.iter().filter(|(_, request)| matches!(request, BrokerRequest::ClaimDecided { .. })).count();
    assert_eq!((fences, grants), (1, 1), "{:?}", world.told);
}

#[test]
fn an_unreachable_connection_is_asked_to_close_for_a_minute_although_the_newer_one_goes_on() {
    let mut world = World::new();
    world.connect(0, "c", 1, clean());
    world.unreachable.insert(0);
    world.connect_late();
    world.told.clear();
    world.pass(10_000);
    world.unreachable.clear();
    world.pass(5_000);
    assert!(world.told.iter().any(|(to, request)| *to == 0 && matches!(request, BrokerRequest::Fence { .. })));
    world.told.clear();
    world.pass(100_000);
    assert!(!world.told.iter().any(|(_, request)| matches!(request, BrokerRequest::Fence { .. })));
}

impl World {
    fn connect_late(&mut self) {
        self.claim(1, "c", 2, clean());
        self.pass(2_000);
    }
}

#[test]
fn the_release_of_a_claim_that_was_not_granted_leaves_the_older_connection_to_be_fenced() {
    let mut world = World::new();
    world.connect(0, "c", 1, with_will(clean(), 0));
    world.unreachable.insert(0);
    world.claim(1, "c", 2, clean());
    // Numbers are the clock's or one more.
    world.release(1, "c", 1_000_001, Reason::ConnectionLost);
    world.told.clear();
    world.restart();
    world.unreachable.clear();
    world.pass(5_000);
    assert!(world.told.iter().any(|(to, request)| *to == 0 && matches!(request, BrokerRequest::Fence { .. })));
    assert!(world.published_topics().contains(&"will".to_owned()));
}

#[test]
fn a_repeated_claim_hears_the_same_even_from_a_shard_that_forgot() {
    let mut world = World::new();
    let first = world.claim(0, "c", 1, durable());
    assert_eq!(world.claim(0, "c", 1, durable()), first);
    world.restart();
    assert_eq!(world.claim(0, "c", 1, durable()), first);
}

#[test]
fn only_the_present_number_speaks() {
    let mut world = World::new();
    let old = world.connect(0, "c", 1, durable()).number;
    let new = world.connect(1, "c", 2, durable()).number;
    let filters = vec![("a".to_owned(), common::at_most(Qos::AtLeastOnce), false)];
    let subscribe = |number| SessionsRequest::Subscribe {
        client_id: id("c"),
        number,
        packet_id: common::packet(1),
        filters: filters.clone(),
    };
    assert_eq!(world.ask(0, subscribe(old)), Reply::Refused(Refusal::Superseded));
    assert_eq!(world.ask(1, subscribe(new)), Reply::Pending);
    world.release(0, "c", old, Reason::ConnectionLost);
    assert_eq!(world.ask(1, subscribe(new)), Reply::Applied, "still connected, and registered");
}

#[test]
fn session_present_says_whether_there_was_a_session() {
    // (first expiry, seconds between, clean start of the second) → session present
    for (expiry, secs, clean_start, expected) in [
        (600, 10, false, true),
        (600, 599, false, true),
        (600, 600, false, false),
        (600, 10, true, false),
        (0, 0, false, false),
        (u32::MAX, 1_000_000, false, true),
    ] {
        for restarts in [false, true] {
            let mut world = World::new();
            let claim = messages::session::Claim { session_expiry: expiry, ..durable() };
            let number = world.connect(0, "c", 1, claim.clone()).number;
            world.release(0, "c", number, Reason::ConnectionLost);
            world.pass(secs * 1_000);
            if restarts {
                world.restart();
            }
            let grant = world.connect(0, "c", 2, messages::session::Claim { clean_start, ..claim });
            assert_eq!(grant.session_present, expected, "{expiry} {secs} {clean_start} {restarts}");
        }
    }
}

#[test]
fn aws_lets_no_session_be_taken_up_with_the_other_version() {
    for (resumes_other_version, expected) in [(true, true), (false, false)] {
        let settings = ShardSettings { resumes_other_version, ..ShardSettings::default() };
        let mut world = World::with(settings);
        let with_version = |is_v5| {
            let claim = durable();
            let details = ConnectionDetails { is_v5, ..*claim.details };
            messages::session::Claim { details: Box::new(details), ..claim }
        };
        for (connection, is_v5, present) in [(1, true, false), (2, true, true), (3, false, expected), (4, false, true)]
        {
            let grant = world.connect(0, "c", connection, with_version(is_v5));
            assert_eq!(grant.session_present, present, "{resumes_other_version} {connection}");
            world.release(0, "c", grant.number, Reason::ConnectionLost);
        }
    }
}

#[test]
fn disconnect_may_change_the_expiry() {
    let mut world = World::new();
    let number = world.connect(0, "c", 1, durable()).number;
    let ending = Ending { session_expiry: Some(0), ..ending(Reason::ClientInitiated) };
    world.ask(0, SessionsRequest::Release { client_id: id("c"), number, ending });
    assert!(!world.connect(0, "c", 2, durable()).session_present);
}

#[test]
fn presence_events_are_those_of_aws() {
    let mut world = World::new();
    let number = world.connect(0, "c", 1, clean()).number;
    world.release(0, "c", number, Reason::KeepAliveTimeout);
    let number = world.connect(0, "c", 2, clean()).number;
    world.release(0, "c", number, Reason::ClientInitiated);
    let events: Vec<(String, String)> = world
        .published()
        .into_iter()
        .map(|event| (event.topic, String::from_utf8(event.payload.to_vec()).unwrap()))
        .collect();
    let connected = |version: u32| {
        format!(
            r#"{{"clientId":"c","timestamp":1000000,"eventType":"connected","sessionIdentifier":"t","principalIdentifier":"p","ipAddress":"192.0.2.1","versionNumber":{version}}}"#
        )
    };
    let disconnected = |version: u32, is_clients: bool, reason: &str| {
        format!(
            r#"{{"clientId":"c","timestamp":1000000,"eventType":"disconnected","clientInitiatedDisconnect":{is_clients},"sessionIdentifier":"t","principalIdentifier":"p","disconnectReason":"{reason}","versionNumber":{version}}}"#
        )
    };
    let topic = |what: &str| format!("$aws/events/presence/{what}/c");
    assert_eq!(
        events,
        [
            (topic("connected"), connected(0)),
            (topic("disconnected"), disconnected(0, false, "MQTT_KEEP_ALIVE_TIMEOUT")),
            (topic("connected"), connected(1)),
            (topic("disconnected"), disconnected(1, true, "CLIENT_INITIATED_DISCONNECT")),
        ]
    );
}

#[test]
fn client_ids_with_wildcards_have_no_presence_events() {
    let mut world = World::new();
    for client in ["thing#2", "a+b"] {
        world.connect(0, client, 1, clean());
        assert!(world.published().is_empty());
    }
}

#[test]
fn a_will_follows_the_end_of_its_connection() {
    use Reason::{ClientInitiated, ConnectionLost};
    // (durable, delay, how it ends, seconds until the will)
    for (is_durable, delay, reason, expected) in [
        (false, 0, ConnectionLost, Some(0)),
        (false, 30, ConnectionLost, Some(0)),
        (true, 0, ConnectionLost, Some(0)),
        (true, 30, ConnectionLost, Some(30)),
        (true, 5_000, ConnectionLost, Some(600)),
        (true, 30, ClientInitiated, None),
        (false, 0, ClientInitiated, None),
    ] {
        let mut world = World::new();
        let claim = with_will(if is_durable { durable() } else { clean() }, delay);
        let number = world.connect(0, "c", 1, claim).number;
        world.release(0, "c", number, reason);
        let (mut waited, mut names) = (None, BTreeSet::new());
        for secs in 0..700_u64 {
            let wills: Vec<_> = world.published().into_iter().filter(|one| one.topic == "will").collect();
            for will in &wills {
                assert_eq!(will.client_id.as_deref(), Some("c"));
                assert!(will.retain);
                // A shard that forgets may say it again, under the same name.
                names.insert(will.message_id.unwrap());
                waited.get_or_insert(secs);
            }
            if secs == 3 {
                world.restart();
            }
            world.pass(1_000);
        }
        assert!(names.len() <= 1, "once");
        let is_expected = match (waited, expected) {
            (Some(waited), Some(expected)) => waited >= expected && waited <= expected + 1,
            (waited, expected) => waited == expected,
        };
        assert!(is_expected, "{is_durable} {delay} {reason:?}: {waited:?}");
    }
}

#[test]
fn a_resumption_cancels_a_delayed_will_and_a_clean_start_does_not() {
    for (clean_start, expected) in [(false, 0), (true, 1)] {
        let mut world = World::new();
        let number = world.connect(0, "c", 1, with_will(durable(), 100)).number;
        world.release(0, "c", number, Reason::ConnectionLost);
        world.pass(50_000);
        world.connect(0, "c", 2, messages::session::Claim { clean_start, ..durable() });
        world.pass(100_000);
        let wills = world.published_topics().into_iter().filter(|topic| topic == "will").count();
        assert_eq!(wills, expected, "{clean_start}");
    }
}

#[test]
fn a_takeover_publishes_the_will_of_the_older_connection() {
    let mut world = World::new();
    world.connect(0, "c", 1, with_will(clean(), 0));
    world.connect(1, "c", 2, clean());
    let published = world.published();
    let topics: Vec<&str> = published.iter().map(|one| one.topic.as_str()).collect();
    assert_eq!(
        topics,
        [
            "$aws/events/presence/connected/c",
            "$aws/events/presence/disconnected/c",
            "will",
            "$aws/events/presence/connected/c",
        ]
    );
    assert!(String::from_utf8_lossy(&published[1].payload).contains("DUPLICATE_CLIENTID"));
}

#[test]
fn clients_of_a_broker_that_started_afresh_have_half_a_minute_to_come_back() {
    let mut world = World::new();
    world.connect(0, "back", 1, with_will(clean(), 0));
    world.connect(0, "away", 2, with_will(clean(), 0));
    world.told.clear();
    world.epochs.insert(0, 2);
    world.ask(0, SessionsRequest::EpochStarted);
    assert_eq!(world.log, [LogEvent::BrokerLost { broker: broker(0), epoch: 2 }]);
    world.pass(10_000);
    world.restart();
    world.connect(0, "back", 1, clean());
    world.pass(19_000);
    assert!(!world.published_topics().contains(&"will".to_owned()));
    world.pass(2_000);
    let wills: Vec<_> = world.published().into_iter().filter(|one| one.topic == "will").collect();
    assert_eq!(wills.len(), 1);
    assert_eq!(wills[0].client_id.as_deref(), Some("away"));
    let Reply::Client(Some(state)) = world.ask_api(SessionsRequest::Describe { client_id: id("away") }) else {
        panic!()
    };
    assert_eq!(state.disconnected, Some((UnixMillis(1_000_000), Reason::ServerError)));
}

#[test]
fn clients_that_were_sent_elsewhere_have_half_a_minute_to_arrive() {
    for claim in [clean(), durable()] {
        let mut world = World::new();
        let send_elsewhere = |world: &mut World, client: &str, connection| {
            let number = world.connect(0, client, connection, with_will(claim.clone(), 0)).number;
            world.release(0, client, number, Reason::ServerInitiated);
        };
        for (client, connection) in [("back", 1), ("afresh", 2), ("away", 3)] {
            send_elsewhere(&mut world, client, connection);
        }
        world.pass(10_000);
        world.restart();
        world.connect(1, "back", 4, claim.clone());
        world.connect(1, "afresh", 5, messages::session::Claim { clean_start: true, ..claim.clone() });
        world.pass(19_000);
        assert!(!world.published_topics().contains(&"will".to_owned()));
        world.pass(2_000);
        let wills: Vec<_> = world.published().into_iter().filter(|one| one.topic == "will").collect();
        assert_eq!(wills.iter().map(|will| will.client_id.as_deref()).collect::<Vec<_>>(), [Some("away")]);
        world.pass(100_000);
        assert!(!world.published_topics().contains(&"will".to_owned()), "once");
    }
}

#[test]
fn a_longer_delay_than_the_grace_of_those_sent_elsewhere_holds() {
    let mut world = World::new();
    let number = world.connect(0, "c", 1, with_will(durable(), 100)).number;
    world.release(0, "c", number, Reason::ServerInitiated);
    world.pass(99_000);
    assert!(!world.published_topics().contains(&"will".to_owned()));
    world.pass(2_000);
    assert!(world.published_topics().contains(&"will".to_owned()));
}

#[test]
fn a_newer_epoch_in_an_answer_is_heard_as_well() {
    let mut world = World::new();
    world.connect(0, "c", 1, clean());
    world.connect(0, "d", 2, clean());
    world.epochs.insert(0, 2);
    world.connect(1, "c", 2, clean());
    assert_eq!(world.log.len(), 1, "the answer to the fence had it");
}

#[test]
fn words_of_an_epoch_that_is_over_are_refused_even_by_a_shard_that_forgot() {
    let mut world = World::new();
    world.connect(0, "c", 1, clean());
    let zombie = world.batch(0, vec![SessionsRequest::Describe { client_id: id("c") }]);
    world.epochs.insert(0, 2);
    world.ask(0, SessionsRequest::EpochStarted);
    for _ in 0..2 {
        assert_eq!(world.call(&zombie).replies, [Reply::Refused(Refusal::Superseded)]);
        world.restart();
    }
}

#[test]
fn a_silent_broker_is_asked_for_its_epoch_while_it_has_wills_or_durable_sessions() {
    for (claim, expected) in [(clean(), 0), (with_will(clean(), 0), 1), (durable(), 1)] {
        let mut world = World::new();
        world.connect(0, "c", 1, claim);
        world.told.clear();
        world.pass(300_000);
        world.restart();
        world.run();
        world.pass(400_000);
        let questions = world
            .told
            .iter()
            .filter(|(_, request)| matches!(request, BrokerRequest::Settled { tickets } if tickets.is_empty()));
        assert_eq!(questions.count(), expected);
        assert!(expected > 0 || world.shard.next_alarm().is_none_or(|at| at > world.now.plus_secs(3_000)));
    }
}

#[test]
fn wills_and_events_go_to_another_broker_when_the_first_cannot_be_reached() {
    let settings = sessions::ShardSettings { brokers: 2, ..sessions::ShardSettings::default() };
    let mut world = World::with(settings);
    let number = world.connect(5, "c", 1, with_will(clean(), 0)).number;
    world.published();
    world.unreachable.insert(5);
    world.release(5, "c", number, Reason::ConnectionLost);
    assert!(world.published().is_empty());
    world.pass(20_000);
    assert_eq!(world.published_topics(), ["$aws/events/presence/disconnected/c", "will"]);
}

#[test]
fn wills_and_events_survive_the_shards_memory() {
    let mut world = World::new();
    let number = world.connect(0, "c", 1, with_will(clean(), 0)).number;
    world.pass(60_000);
    world.published();
    let ending = ending(Reason::ConnectionLost);
    world.ask_only(0, SessionsRequest::Release { client_id: id("c"), number, ending });
    world.restart();
    world.run();
    assert_eq!(world.published_topics(), ["$aws/events/presence/disconnected/c", "will"]);
    world.pass(60_000);
    world.restart();
    world.run();
    assert!(world.published().is_empty(), "not again");
}

#[test]
fn what_was_published_is_noted_before_the_object_sleeps_and_then_nothing_is_due() {
    let mut world = World::new();
    world.connect(0, "c", 1, clean());
    assert_eq!(world.published_topics(), ["$aws/events/presence/connected/c"]);
    let soon = world.shard.next_timeout().expect("it stays awake");
    assert!(soon <= world.now.plus_millis(5_000), "an object sleeps after ten seconds");
    world.pass(5_000);
    assert_eq!((world.shard.next_timeout(), world.shard.next_alarm()), (None, None));
    world.restart();
    world.pass(600_000);
    assert!(world.published().is_empty(), "not again");
}

#[test]
fn the_api_sees_and_ends_connections() {
    let mut world = World::new();
    let describe = SessionsRequest::Describe { client_id: id("c") };
    assert_eq!(world.ask_api(describe.clone()), Reply::Client(None));
    world.connect(0, "c", 1, with_will(durable(), 0));
    let Reply::Client(Some(state)) = world.ask_api(describe.clone()) else { panic!() };
    assert_eq!(state.holder, Some((broker(0), ConnectionId(1))));
    assert!(!state.is_clean);
    world.told.clear();
    let disconnect = SessionsRequest::Disconnect { client_id: id("c"), clean_session: false, prevents_will: true };
    assert!(matches!(world.ask_api(disconnect), Reply::Client(Some(_))));
    let reason = FenceReason::Administrative { prevents_will: true };
    assert_eq!(world.told[0], (0, BrokerRequest::Fence { connection: ConnectionId(1), client_id: id("c"), reason }));
    assert_eq!(world.published_topics(), ["$aws/events/presence/disconnected/c"]);
    let Reply::Client(Some(state)) = world.ask_api(describe.clone()) else { panic!() };
    assert_eq!(state.disconnected.map(|(_, reason)| reason), Some(Reason::ApiInitiated));
    assert!(world.connect(0, "c", 2, durable()).session_present);
    let disconnect = SessionsRequest::Disconnect { client_id: id("c"), clean_session: true, prevents_will: false };
    world.ask_api(disconnect);
    assert!(!world.connect(0, "c", 3, durable()).session_present);
}

#[test]
fn a_client_id_is_forgotten_after_an_hour() {
    let mut world = World::new();
    let number = world.connect(0, "c", 1, clean()).number;
    world.release(0, "c", number, Reason::ClientInitiated);
    world.pass(3_500_000);
    assert!(matches!(world.ask_api(SessionsRequest::Describe { client_id: id("c") }), Reply::Client(Some(_))));
    world.pass(200_000);
    assert_eq!(world.ask_api(SessionsRequest::Describe { client_id: id("c") }), Reply::Client(None));
    assert_eq!(world.store.rows(), 1, "the Broker's");
    assert_eq!(world.shard.next_alarm(), None);
}

#[test]
fn connecting_and_disconnecting_write_a_row_each() {
    let mut world = World::new();
    world.connect(0, "a", 1, clean());
    world.pass(10_000);
    let number = world.connect(0, "b", 2, clean()).number;
    assert_eq!(world.rows(|world| drop(world.connect(0, "c", 3, clean()))), 1);
    assert_eq!(world.rows(|world| drop(world.release(0, "b", number, Reason::ConnectionLost))), 1);
}
