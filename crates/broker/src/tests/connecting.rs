//! From CONNECT to CONNACK, and the ends of connections.

use super::*;

fn claims(world: &mut World) -> Vec<Claim> {
    world.asked(|_, request| match request {
        Request::Sessions(SessionsRequest::Claim { claim, .. }) => Some((**claim).clone()),
        _ => None,
    })
}

fn releases(world: &mut World) -> Vec<(String, DisconnectReason, bool, Option<u32>)> {
    // as long as one may be held
    world.wait(20);
    world.asked(|_, request| match request {
        Request::Sessions(SessionsRequest::Release { client_id, ending, .. }) => {
            Some((client_id.as_str().to_owned(), ending.reason, ending.publishes_will, ending.session_expiry))
        }
        _ => None,
    })
}

fn outgoing(topic: &str, qos: Qos, packet_id: u16) -> Outgoing {
    Outgoing::Publish {
        packet_id: PacketId::new(packet_id),
        dup: false,
        qos,
        retain: false,
        subscription_identifiers: Vec::new(),
        publication: Publication::of_platform(topic.into(), "x", qos, START),
    }
}

#[test]
fn a_claim_says_what_connect_asked_for_within_the_limits() {
    let will = mqtt_codec::Will {
        qos: Qos::AtLeastOnce,
        retain: false,
        topic: "last".into(),
        payload: "words".into(),
        properties: Default::default(),
    };
    let rows: [(World, Connect, u32); 4] = [
        (World::new(), connect("a"), 0),
        (World::new(), durable("a"), 3_600),
        (
            World::new(),
            Connect { version: ProtocolVersion::V3_1_1, clean_start: false, ..connect("a") },
            SessionSettings::STANDARD.v3_session_expiry,
        ),
        (
            World::aws(),
            Connect {
                properties: ConnectProperties {
                    session_expiry_interval: Some(u32::MAX),
                    ..ConnectProperties::default()
                },
                ..connect("a")
            },
            SessionSettings::AWS.maximum_session_expiry.unwrap(),
        ),
    ];
    for (mut world, connect, session_expiry) in rows {
        let version = connect.version;
        let connection = world.open(7);
        let connect = Connect { will: Some(will.clone()), ..connect };
        let mut bytes = BytesMut::new();
        encode(&Packet::Connect(Box::new(connect.clone())), version, &mut bytes);
        if version == ProtocolVersion::V3_1_1 {
            world.sent.get_mut(&connection).unwrap().0 = Decoder::restore(u32::MAX, Some(version), Bytes::new());
        }
        world.input(Input::Received { connection, bytes: bytes.freeze() });
        world.settle();
        let claim = claims(&mut world).remove(0);
        assert_eq!(claim.session_expiry, session_expiry);
        assert_eq!(claim.clean_start, connect.clean_start);
        assert_eq!(claim.will.unwrap().topic, "last");
        assert_eq!(claim.details.principal, "AKIDEXAMPLEEXAMPLE");
        assert_eq!(claim.details.trace_id, "trace-7");
        assert!(matches!(world.take(connection)[..], [Packet::ConnAck(_)]));
    }
}

#[test]
fn connack_says_whether_there_was_a_session() {
    let mut world = World::new();
    world.script(|_, request| match request {
        Request::Sessions(SessionsRequest::Claim { .. }) => {
            let grant = Grant { number: 9, session_present: true, subscriptions: BTreeMap::new() };
            Some(Reply::Claim(ClaimReply::Granted(Box::new(grant))))
        }
        _ => None,
    });
    let connection = world.open(1);
    world.send(connection, Packet::Connect(Box::new(durable("a"))));
    let packets = world.take(connection);
    assert!(matches!(&packets[..], [Packet::ConnAck(ack)] if ack.session_present), "[MQTT-3.2.2-3] {packets:?}");
}

#[test]
fn a_claim_that_waits_is_decided_later() {
    for (is_granted, expected) in [(true, ReasonCode::Success), (false, ReasonCode::UnspecifiedError)] {
        let mut world = World::new();
        world.script(|_, request| match request {
            Request::Sessions(SessionsRequest::Claim { .. }) => Some(Reply::Claim(ClaimReply::Pending)),
            _ => None,
        });
        let connection = world.open(1);
        world.send(connection, Packet::Connect(Box::new(connect("a"))));
        assert!(world.take(connection).is_empty());
        let grant = is_granted.then(|| Box::new(world.grant_of(5)));
        let from = world.sessions("a");
        assert_eq!(world.ask(from, BrokerRequest::ClaimDecided { connection, grant }), Reply::Applied);
        let packets = world.take(connection);
        assert!(matches!(&packets[..], [Packet::ConnAck(ack)] if ack.reason_code == expected), "{packets:?}");
        assert_eq!(
            world.closed.contains_key(&connection),
            !is_granted,
            "[MQTT-3.1.4-3]; CONNACK has no 0x8E [MQTT-3.2.2-8]"
        );
    }
}

#[test]
fn packets_that_come_before_their_grant_wait_for_it_and_no_others_do() {
    let mut world = World::new();
    world.script(|_, request| match request {
        Request::Sessions(SessionsRequest::Claim { .. }) => Some(Reply::Claim(ClaimReply::Pending)),
        _ => None,
    });
    let connection = world.open(1);
    world.send(connection, Packet::Connect(Box::new(durable("a"))));
    let from = world.sessions("a");
    for (number, topic) in [(4, "of an earlier claim"), (5, "mine")] {
        let packets = vec![outgoing(topic, Qos::AtLeastOnce, 1)];
        let reply = world.ask(from.clone(), BrokerRequest::Send { connection, number, packets });
        assert_eq!(reply, Reply::Applied);
    }
    let payload = "x".repeat(BrokerLimits::STANDARD.maximum_early_bytes);
    let large = Outgoing::Publish {
        packet_id: None,
        dup: false,
        qos: Qos::AtMostOnce,
        retain: false,
        subscription_identifiers: Vec::new(),
        publication: Publication::of_platform("large".into(), payload, Qos::AtMostOnce, START),
    };
    let reply = world.ask(from.clone(), BrokerRequest::Send { connection, number: 5, packets: vec![large] });
    assert_eq!(reply, Reply::Refused(Refusal::Full));
    let grant = Some(Box::new(world.grant_of(5)));
    world.ask(from.clone(), BrokerRequest::ClaimDecided { connection, grant });
    let packets = world.take(connection);
    assert!(matches!(packets[0], Packet::ConnAck(_)), "{packets:?}");
    assert!(matches!(&packets[1..], [Packet::Publish(publish)] if &*publish.topic == "mine"), "{packets:?}");
    for (number, connection) in [(4, connection), (5, ConnectionId(99))] {
        let packets = vec![outgoing("late", Qos::AtLeastOnce, 2)];
        let reply = world.ask(from.clone(), BrokerRequest::Send { connection, number, packets });
        assert_eq!(reply, Reply::Refused(Refusal::Superseded));
    }
}

#[test]
fn a_client_that_does_not_wait_for_its_grant_gives_it_back() {
    for is_decided_later in [false, true] {
        let mut world = World::new();
        if is_decided_later {
            world.script(|_, request| match request {
                Request::Sessions(SessionsRequest::Claim { .. }) => Some(Reply::Claim(ClaimReply::Pending)),
                _ => None,
            });
        }
        let connection = world.open(1);
        world.frame(connection, &[Packet::Connect(Box::new(connect("a")))]);
        if is_decided_later {
            world.settle();
        }
        world.input(Input::Lost { connection });
        assert!(!world.node.is_at_rest(), "the claim is still to be decided");
        world.settle();
        if is_decided_later {
            let (from, grant) = (world.sessions("a"), Some(Box::new(world.grant_of(5))));
            world.ask(from, BrokerRequest::ClaimDecided { connection, grant });
            world.settle();
        }
        assert_eq!(releases(&mut world), [("a".to_owned(), DisconnectReason::ConnectionLost, false, None)]);
        assert!(world.node.is_at_rest());
    }
}

#[test]
fn a_sessions_shard_that_can_not_be_reached_refuses_with_server_unavailable() {
    let mut world = World::new();
    world.script(|_, _| Some(Reply::Refused(Refusal::Unavailable)));
    let connection = world.open(1);
    world.send(connection, Packet::Connect(Box::new(connect("a"))));
    assert_eq!(world.ended(connection), Some(ReasonCode::ServerUnavailable));
    assert!(releases(&mut world).is_empty(), "nothing was granted");
}

#[test]
fn a_fenced_connection_is_told_why_and_its_shard_what_of_its_will() {
    let rows = [
        (FenceReason::TakenOver, ReasonCode::SessionTakenOver, DisconnectReason::DuplicateClientId, true),
        (
            FenceReason::Administrative { prevents_will: false },
            ReasonCode::AdministrativeAction,
            DisconnectReason::ApiInitiated,
            true,
        ),
        (
            FenceReason::Administrative { prevents_will: true },
            ReasonCode::AdministrativeAction,
            DisconnectReason::ApiInitiated,
            false,
        ),
    ];
    for (reason, reason_code, disconnect_reason, publishes_will) in rows {
        let mut world = World::new();
        let connection = world.client(1, connect("a"));
        let (from, other) = (world.sessions("a"), ClientId::new("b").unwrap());
        world.ask(from.clone(), BrokerRequest::Fence { connection, client_id: other, reason });
        assert!(world.closed.is_empty(), "it is not that client's");
        let client_id = ClientId::new("a").unwrap();
        assert_eq!(world.ask(from, BrokerRequest::Fence { connection, client_id, reason }), Reply::Applied);
        world.settle();
        assert_eq!(world.ended(connection), Some(reason_code));
        assert_eq!(releases(&mut world), [("a".to_owned(), disconnect_reason, publishes_will, None)]);
    }
}

#[test]
fn an_ending_is_told_in_awss_words() {
    let disconnect = |reason_code| {
        let properties = mqtt_codec::DisconnectProperties::default();
        Packet::Disconnect(Disconnect { reason_code, properties })
    };
    type End = Box<dyn Fn(&mut World, ConnectionId)>;
    let rows: [(&str, End, DisconnectReason, bool); 6] = [
        (
            "DISCONNECT",
            Box::new(move |world, c| world.frame(c, &[disconnect(ReasonCode::Success)])),
            DisconnectReason::ClientInitiated,
            false,
        ),
        (
            "DISCONNECT with will, section 3.14.2.1",
            Box::new(move |world, c| world.frame(c, &[disconnect(ReasonCode::DisconnectWithWillMessage)])),
            DisconnectReason::ClientInitiated,
            true,
        ),
        (
            "lost",
            Box::new(|world, connection| world.input(Input::Lost { connection })),
            DisconnectReason::ConnectionLost,
            true,
        ),
        (
            "a text frame [MQTT-6.0.0-1]",
            Box::new(|world, connection| world.input(Input::ReceivedText { connection })),
            DisconnectReason::ClientError,
            true,
        ),
        (
            "a second CONNECT [MQTT-3.1.0-2]",
            Box::new(|world, c| world.frame(c, &[Packet::Connect(Box::new(connect("a")))])),
            DisconnectReason::ClientError,
            true,
        ),
        (
            "silence [MQTT-3.1.2-22]",
            Box::new(|world, _| {
                world.now = world.now.plus_secs(91);
                world.input(Input::Tick);
            }),
            DisconnectReason::KeepAliveTimeout,
            true,
        ),
    ];
    for (name, end, reason, publishes_will) in rows {
        let mut world = World::new();
        let connection = world.client(1, Connect { keep_alive: 60, ..connect("a") });
        end(&mut world, connection);
        world.settle();
        assert_eq!(releases(&mut world), [("a".to_owned(), reason, publishes_will, None)], "{name}");
        assert_eq!(world.node.connection_count(), 0, "{name}");
    }
}

#[test]
fn what_is_sent_before_the_socket_closes_is_worked_on_first() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    let listener = world.client(2, connect("b"));
    world.send(listener, subscribe(1, &[("#", Qos::AtMostOnce)]));
    world.take(listener);
    let count = BrokerLimits::STANDARD.packets_per_turn * 2;
    let mut packets: Vec<Packet> = (0..count).map(|i| publish("t", &i.to_string(), Qos::AtMostOnce, 0)).collect();
    packets.push(Packet::Disconnect(Disconnect::new(ReasonCode::Success)));
    world.frame(connection, &packets);
    world.input(Input::Lost { connection });
    for _ in 0..4 {
        world.input(Input::Tick);
    }
    world.settle();
    assert_eq!(world.messages(listener).len(), count);
    let told = releases(&mut world);
    assert_eq!(told, [("a".to_owned(), DisconnectReason::ClientInitiated, false, None)], "no will: it said goodbye");
}

#[test]
fn an_ending_is_told_until_the_shard_has_heard_it() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.input(Input::Lost { connection });
    for _ in 0..20 {
        for call in core::mem::take(&mut world.calls) {
            world.input(Input::Answered { target: call.target, reply: None });
        }
        world.now = world.now.plus_millis(1_000);
        world.input(Input::Tick);
    }
    assert!(!world.node.is_at_rest());
    world.settle();
    assert_eq!(releases(&mut world).len(), 1);
    assert!(world.node.is_at_rest());
}

#[test]
fn a_new_epoch_is_announced_to_every_router_and_sessions_object_until_it_is_heard() {
    let mut world = World::new();
    world.node.begin_epoch(4);
    world.flush();
    assert!(world.calls.iter().all(|call| call.batch.sender.as_ref().unwrap().epoch == 4));
    for call in core::mem::take(&mut world.calls) {
        for _ in 0..6 {
            world.input(Input::Answered { target: call.target.clone(), reply: None });
            world.now = world.now.plus_millis(1_000);
            world.input(Input::Tick);
        }
    }
    world.settle();
    let told: BTreeSet<Address> = world
        .asked(|address, request| match request {
            Request::Router(RouterRequest::EpochStarted) | Request::Sessions(SessionsRequest::EpochStarted) => {
                Some(address.clone())
            }
            _ => None,
        })
        .into_iter()
        .collect();
    let all = [Address::Router(0), Address::Router(1), Address::Sessions(0), Address::Sessions(1)];
    assert_eq!(told, all.into());
}

#[test]
fn an_instance_that_has_been_replaced_closes_everything_and_stops() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.script(|address, _| matches!(address, Address::Router(_)).then_some(Reply::Refused(Refusal::Superseded)));
    world.send(connection, publish("t", "x", Qos::AtLeastOnce, 1));
    assert!(world.is_stopped);
    assert_eq!(world.ended(connection), Some(ReasonCode::ServerBusy));
    assert!(!world.node.has_room() && world.node.is_at_rest());
    let reply = world.ask(Address::Sessions(0), BrokerRequest::Settled { tickets: Vec::new() });
    assert_eq!(reply, Reply::Refused(Refusal::Superseded), "whoever asks has to find the newer one");
    let late = world.open(2);
    assert!(world.closed.contains_key(&late));
}

#[test]
fn a_node_that_is_over_itself_does_not_stop_others() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.subscribe_elsewhere("t", Destination::Broker(other_broker(1)));
    world.script(|address, _| matches!(address, Address::Broker(_)).then_some(Reply::Refused(Refusal::Superseded)));
    world.send(connection, publish("t", "x", Qos::AtLeastOnce, 1));
    assert!(!world.is_stopped);
    assert_eq!(world.acknowledged(connection), [(1, ReasonCode::ImplementationSpecificError)]);
}

#[test]
fn a_number_that_is_over_ends_its_connection_and_no_other() {
    let mut world = World::new();
    let (old, other) = (world.client(1, durable("a")), world.client(2, durable("b")));
    world.script(|_, request| match request {
        Request::Sessions(SessionsRequest::Subscribe { client_id, .. }) if client_id.as_str() == "a" => {
            Some(Reply::Refused(Refusal::Superseded))
        }
        _ => None,
    });
    world.send(old, subscribe(1, &[("t", Qos::AtLeastOnce)]));
    world.send(other, subscribe(1, &[("t", Qos::AtLeastOnce)]));
    assert!(!world.is_stopped);
    assert!(world.closed.contains_key(&old) && !world.closed.contains_key(&other));
    let packets = world.take(old);
    let is_told =
        |packet: &Packet| matches!(packet, Packet::Disconnect(d) if d.reason_code == ReasonCode::SessionTakenOver);
    assert!(packets.iter().any(is_told), "{packets:?}");
}

#[test]
fn connects_beyond_the_rate_are_told_so() {
    let limits = BrokerLimits { connects_per_second: Some(2), ..BrokerLimits::STANDARD };
    let mut world = World::with(settings(limits, SessionSettings::STANDARD, TopicLimits::STANDARD));
    let refused: Vec<bool> = (1..=4)
        .map(|number| {
            let connection = world.open(number);
            world.send(connection, Packet::Connect(Box::new(connect(&number.to_string()))));
            world.ended(connection) == Some(ReasonCode::ConnectionRateExceeded)
        })
        .collect();
    assert_eq!(refused, [false, false, true, true]);
    world.now = world.now.plus_millis(500);
    world.client(9, connect("later"));
}

#[test]
fn a_will_that_nobody_may_publish_is_refused_with_its_connect() {
    let rows = [
        ("$umbra/x", ReasonCode::NotAuthorized),
        ("$aws/things/t/shadow/update/accepted", ReasonCode::NotAuthorized),
        ("a/b/c/d/e/f/g/h/i", ReasonCode::TopicNameInvalid),
    ];
    for (topic, expected) in rows {
        let mut world = World::aws();
        let connection = world.open(1);
        let will = mqtt_codec::Will {
            qos: Qos::AtMostOnce,
            retain: false,
            topic: topic.into(),
            payload: "x".into(),
            properties: Default::default(),
        };
        world.send(connection, Packet::Connect(Box::new(Connect { will: Some(will), ..connect("a") })));
        assert_eq!(world.ended(connection), Some(expected), "{topic}");
        assert!(claims(&mut world).is_empty());
    }
}

#[test]
fn enhanced_authentication_goes_to_and_fro_until_the_method_is_content() {
    let mut session = SessionSettings::STANDARD;
    session.has_enhanced_authentication = true;
    let mut world = World::with(settings(BrokerLimits::STANDARD, session, TopicLimits::STANDARD));
    let properties = ConnectProperties {
        authentication_method: Some("SCRAM".into()),
        authentication_data: Some("first".into()),
        ..ConnectProperties::default()
    };
    let connection = world.open_as(1, None);
    world.send(connection, Packet::Connect(Box::new(Connect { properties, ..connect("a") })));
    let asked = |data: &'static str| Output::AuthenticateEnhanced {
        connection,
        client_id: "a".into(),
        host: "host".into(),
        method: "SCRAM".into(),
        data: Some(Bytes::from_static(data.as_bytes())),
    };
    assert_eq!(core::mem::take(&mut world.authentications), [asked("first")]);
    let step = AuthenticationStep::Continue { data: Some("challenge".into()) };
    world.input(Input::EnhancedAuthenticated { connection, step });
    let packets = world.take(connection);
    assert!(
        matches!(&packets[..], [Packet::Auth(auth)] if auth.reason_code == ReasonCode::ContinueAuthentication),
        "[MQTT-4.12.0-2] {packets:?}"
    );
    let auth = mqtt_codec::Auth {
        reason_code: ReasonCode::ContinueAuthentication,
        properties: mqtt_codec::AuthProperties {
            authentication_method: Some("SCRAM".into()),
            authentication_data: Some("response".into()),
            ..Default::default()
        },
    };
    world.send(connection, Packet::Auth(auth));
    assert_eq!(core::mem::take(&mut world.authentications), [asked("response")]);
    let step = AuthenticationStep::Success { principal: principal(), certificate: None, data: Some("done".into()) };
    world.input(Input::EnhancedAuthenticated { connection, step });
    world.settle();
    let packets = world.take(connection);
    let [Packet::ConnAck(ack)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!(ack.properties.authentication_data, Some("done".into()), "[MQTT-4.12.0-5]");
    assert_eq!(claims(&mut world).remove(0).details.principal, "AKIDEXAMPLEEXAMPLE");
}

#[test]
fn a_client_authenticates_again_as_nobody_else() {
    let mut session = SessionSettings::STANDARD;
    session.has_enhanced_authentication = true;
    let other = Principal::RootKey { access_key_id: AccessKeyId::new("AKIDOTHEROTHEROTHER").unwrap() };
    for (again, expected) in [(principal(), None), (other, Some(ReasonCode::NotAuthorized))] {
        let mut world = World::with(settings(BrokerLimits::STANDARD, session, TopicLimits::STANDARD));
        let properties =
            ConnectProperties { authentication_method: Some("SCRAM".into()), ..ConnectProperties::default() };
        let connection = world.open_as(1, None);
        world.send(connection, Packet::Connect(Box::new(Connect { properties, ..connect("a") })));
        let step = AuthenticationStep::Success { principal: principal(), certificate: None, data: None };
        world.input(Input::EnhancedAuthenticated { connection, step });
        world.settle();
        world.take(connection);
        let auth = mqtt_codec::Auth {
            reason_code: ReasonCode::ReAuthenticate,
            properties: mqtt_codec::AuthProperties {
                authentication_method: Some("SCRAM".into()),
                ..Default::default()
            },
        };
        world.send(connection, Packet::Auth(auth));
        let step = AuthenticationStep::Success { principal: again, certificate: None, data: None };
        world.input(Input::EnhancedAuthenticated { connection, step });
        world.settle();
        assert_eq!(world.ended(connection), expected);
    }
}

#[test]
fn an_unknown_or_failed_method_of_authentication_is_refused() {
    for (method, step, expected) in [
        ("KERBEROS", None, ReasonCode::BadAuthenticationMethod),
        (
            "SCRAM",
            Some(AuthenticationStep::Failure { reason_code: ReasonCode::NotAuthorized }),
            ReasonCode::NotAuthorized,
        ),
    ] {
        let mut session = SessionSettings::STANDARD;
        session.has_enhanced_authentication = true;
        let mut world = World::with(settings(BrokerLimits::STANDARD, session, TopicLimits::STANDARD));
        let properties =
            ConnectProperties { authentication_method: Some(method.into()), ..ConnectProperties::default() };
        let connection = world.open(1);
        world.send(connection, Packet::Connect(Box::new(Connect { properties, ..connect("a") })));
        if let Some(step) = step {
            world.input(Input::EnhancedAuthenticated { connection, step });
        }
        assert_eq!(world.ended(connection), Some(expected), "[MQTT-4.12.0-4] {method}");
    }
}

#[test]
fn a_batch_that_comes_again_gets_the_same_answer_and_does_nothing() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.send(connection, subscribe(1, &[("t", Qos::AtMostOnce)]));
    world.take(connection);
    let batch = |number| Batch {
        sender: Some(Sender { address: Address::Broker(other_broker(1)), epoch: 1, instance: 50, number }),
        requests: vec![Request::Broker(BrokerRequest::Deliver(Publication::of_platform(
            "t".into(),
            "x",
            Qos::AtMostOnce,
            START,
        )))],
    };
    let first = world.node.call(world.now, batch(2));
    assert_eq!(world.node.call(world.now, batch(2)), first);
    let late = world.node.call(world.now, batch(1));
    assert_eq!(late.replies, [Reply::Refused(Refusal::Superseded)]);
    world.flush();
    assert_eq!(world.messages(connection).len(), 1);
}

/// What Sessions shards are asked about client ids, call by call.
fn claims_and_releases(calls: &[Call]) -> Vec<Vec<String>> {
    let word = |request: &Request| match request {
        Request::Sessions(SessionsRequest::Claim { client_id, .. }) => Some(format!("claim {}", client_id.as_str())),
        Request::Sessions(SessionsRequest::Release { client_id, .. }) => {
            Some(format!("release {}", client_id.as_str()))
        }
        _ => None,
    };
    let words = calls.iter().map(|call| call.batch.requests.iter().filter_map(word).collect());
    words.filter(|words: &Vec<String>| !words.is_empty()).collect()
}

#[test]
fn an_ending_that_nobody_waits_for_travels_with_the_next_claim_or_a_little_later() {
    let goodbye = || Packet::Disconnect(Default::default());
    // comes again at once, and is told of first
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.frame(connection, &[goodbye()]);
    assert_eq!(claims_and_releases(&world.calls), Vec::<Vec<String>>::new());
    assert!(!world.node.is_at_rest());
    let again = world.open(2);
    world.frame(again, &[Packet::Connect(Box::new(connect("a")))]);
    assert_eq!(claims_and_releases(&world.calls), [["release a", "claim a"]]);
    world.settle();
    world.wait(20);
    assert!(world.calls.is_empty());

    // stays away
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.frame(connection, &[goodbye()]);
    let due = world.node.next_retry().expect("it is to be told by itself");
    world.now = due;
    world.input(Input::Tick);
    assert_eq!(claims_and_releases(&world.calls), [["release a"]]);
    world.settle();
    assert!(world.node.is_at_rest() && world.node.next_retry().is_none());
}

#[test]
fn an_ending_that_a_will_a_session_or_a_fence_depends_on_is_told_at_once() {
    let will = mqtt_codec::Will {
        qos: Qos::AtMostOnce,
        retain: false,
        topic: "last".into(),
        payload: "words".into(),
        properties: Default::default(),
    };
    for (connect, is_fenced) in
        [(Connect { will: Some(will), ..connect("a") }, false), (durable("a"), false), (connect("a"), true)]
    {
        let mut world = World::new();
        let connection = world.client(1, connect);
        if is_fenced {
            let fence = BrokerRequest::Fence {
                connection,
                client_id: ClientId::new("a").unwrap(),
                reason: FenceReason::TakenOver,
            };
            world.ask(Address::Sessions(0), fence);
        } else {
            world.frame(connection, &[Packet::Disconnect(Default::default())]);
        }
        assert_eq!(claims_and_releases(&world.calls), [["release a"]], "{is_fenced}");
    }
    // one that has just ended otherwise
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.frame(connection, &[Packet::Disconnect(Default::default())]);
    let fence =
        BrokerRequest::Fence { connection, client_id: ClientId::new("a").unwrap(), reason: FenceReason::TakenOver };
    world.ask(Address::Sessions(0), fence);
    assert_eq!(claims_and_releases(&world.calls), [["release a"]]);
}

#[test]
fn a_line_about_a_connection_is_routine_unless_something_went_wrong() {
    let goodbye = |world: &mut World, connection| world.send(connection, Packet::Disconnect(Default::default()));
    let breaks_off = |world: &mut World, connection| world.input(Input::Lost { connection });
    let misbehaves = |world: &mut World, connection| world.send(connection, Packet::PingResp);
    type End<'a> = &'a dyn Fn(&mut World, ConnectionId);
    for (end, is_routine) in [(&goodbye as End<'_>, true), (&breaks_off, false), (&misbehaves, false)] {
        let mut world = World::new();
        let connection = world.client(1, connect("a"));
        end(&mut world, connection);
        let lines: Vec<(&str, bool)> = world.logs.iter().map(|log| (log.event, log.is_routine())).collect();
        assert_eq!(lines, [("connected", true), ("disconnected", is_routine)]);
    }
    let mut world = World::new();
    let connection = world.open_as(1, None);
    world.send(connection, Packet::Connect(Box::new(connect("a"))));
    let lines: Vec<(&str, bool)> = world.logs.iter().map(|log| (log.event, log.is_routine())).collect();
    assert_eq!(lines, [("disconnected", false)], "refused");
}
