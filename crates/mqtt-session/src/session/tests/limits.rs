use super::*;

#[test]
fn a_publish_larger_than_a_limit_ends_the_connection() {
    type Change = fn(&mut Publish, usize);
    let rows: &[(&str, &[ProtocolVersion], usize, Change)] = &[
        ("the payload", &VERSIONS, 128 * 1024, |publish, bytes| publish.payload = vec![0; bytes].into()),
        ("the Content Type", &[V5], 256, |publish, bytes| {
            publish.properties.content_type = Some("x".repeat(bytes).into());
        }),
        ("the Correlation Data", &[V5], 8 * 1024, |publish, bytes| {
            publish.properties.correlation_data = Some(vec![0; bytes].into());
        }),
        ("the User Properties", &[V5], 8 * 1024, |publish, bytes| {
            let half = "x".repeat(bytes / 2);
            let other = "x".repeat(bytes - bytes / 2);
            publish.properties.user_properties = [(half.as_str(), ""), ("", other.as_str())].into();
        }),
    ];
    for (clause, versions, limit, change) in rows {
        for version in *versions {
            for (bytes, aws_takes) in [(*limit, true), (limit + 1, false)] {
                let mut publish = publish(Some(1));
                change(&mut publish, bytes);
                let packet = || Packet::Publish(publish.clone());
                let out = Connection::connected_with(SessionSettings::AWS, connect(*version)).packet(packet());
                if aws_takes {
                    assert!(matches!(out[..], [Output::Publish(_)]), "{clause}");
                } else {
                    check_ended(&out, *version, ReasonCode::QuotaExceeded, clause);
                }
                let out = Connection::connected(*version).packet(packet());
                assert!(matches!(out[..], [Output::Publish(_)]), "the standard knows no limit: {clause}");
            }
        }
    }
}

#[test]
fn more_publishes_in_a_second_than_allowed_are_dropped_or_end_the_connection() {
    let rates = [
        SessionSettings { publish_rate: Some(RateLimit { per_second: 1, burst: 2 }), ..STANDARD },
        SessionSettings { publish_bytes_rate: Some(RateLimit { per_second: 1, burst: 2 }), ..STANDARD },
    ];
    for settings in rates {
        for version in VERSIONS {
            let mut connection = Connection::connected_with(settings, connect(version));
            let at_once = |connection: &mut Connection| connection.packet(Packet::Publish(publish(None))).len();
            assert_eq!([1, 1, 0, 0], [(); 4].map(|()| at_once(&mut connection)), "QoS 0 is dropped");
            connection.wait(1_000);
            assert_eq!([1, 0], [(); 2].map(|()| at_once(&mut connection)));
            let out = connection.packet(Packet::Publish(publish(Some(1))));
            check_ended(&out, version, ReasonCode::MessageRateTooHigh, "in a second");
        }
    }
}

#[test]
fn aws_takes_100_publishes_and_512_kilobytes_a_second() {
    let mut connection = Connection::connected_with(SessionSettings::AWS, connect(V5));
    let large = || Packet::Publish(Publish { payload: vec![0; 128 * 1024].into(), ..publish(None) });
    connection.now = START.plus_secs(100);
    let mut taken = [0, 0];
    for _ in 0..40 {
        connection.now = connection.now.plus_millis(100);
        for _ in 0..20 {
            taken[0] += connection.packet(Packet::Publish(publish(None))).len();
        }
    }
    assert_eq!(taken[0], 200 + 390, "a burst of two seconds and 100 for each of the rest");
    connection.now = START.plus_secs(200);
    for _ in 0..40 {
        connection.now = connection.now.plus_millis(100);
        taken[1] += connection.packet(large()).len();
    }
    assert!((8 + 15..=8 + 16).contains(&taken[1]), "{}", taken[1]);
}

#[test]
fn the_standard_takes_as_many_as_come() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        for _ in 0..10_000 {
            assert_eq!(connection.packet(Packet::Publish(publish(None))).len(), 1);
        }
    }
}

#[test]
fn what_is_unacknowledged_counts_for_the_bytes_that_may_wait() {
    let weight = delivery("1", Qos::AtLeastOnce).publication.weight();
    let settings = SessionSettings { maximum_queued_bytes: 2 * weight, ..STANDARD };
    for version in VERSIONS {
        let mut connection = Connection::connected_with(settings, connect(version));
        assert_eq!(connection.deliver(delivery("1", Qos::AtLeastOnce)).len(), 1);
        assert_eq!(connection.deliver(delivery("2", Qos::ExactlyOnce)).len(), 1);
        assert_eq!(connection.deliver(delivery("3", Qos::AtLeastOnce)), [Output::Dropped(1)]);
        connection.acknowledge(1);
        assert_eq!(connection.deliver(delivery("4", Qos::AtLeastOnce)).len(), 1);
    }
}

#[test]
fn an_expired_message_gives_its_place_in_the_queue_back() {
    let settings = SessionSettings { maximum_inflight: 1, maximum_queued_messages: 1, ..STANDARD };
    for version in VERSIONS {
        let mut connection = Connection::connected_with(settings, connect(version));
        connection.deliver(delivery("1", Qos::AtLeastOnce));
        assert_eq!(connection.deliver(expiring("2", 10)), []);
        assert_eq!(connection.deliver(delivery("3", Qos::AtLeastOnce)), [Output::Dropped(1)]);
        connection.now = connection.now.plus_millis(10_000);
        assert_eq!(connection.deliver(delivery("4", Qos::AtLeastOnce)), []);
        assert_eq!(deliveries(&connection.acknowledge(1)), [("4".into(), Some(2))]);
    }
}

#[test]
fn subscription_identifiers_are_refused_where_they_are_not_available() {
    let mut asked = subscribe(1, &["a"]);
    asked.properties.subscription_identifier = Some(1);
    let packet = || Packet::Subscribe(asked.clone());
    assert_eq!(Connection::connected(V5).packet(packet()), [Output::Subscribe(asked.clone())]);
    let out = Connection::connected_with(SessionSettings::AWS, connect(V5)).packet(packet());
    check_ended(&out, V5, ReasonCode::SubscriptionIdentifiersNotSupported, "section 3.2.2.3.12");
}

#[test]
fn requests_without_an_answer_are_bounded() {
    let settings = SessionSettings { maximum_subscribing: 2, ..STANDARD };
    for version in VERSIONS {
        let begin = || {
            let mut connection = Connection::durable_with(settings, connect_durably(version));
            connection.packet(Packet::Subscribe(subscribe(1, &["a"])));
            connection.packet(Packet::Unsubscribe(unsubscribe(2, &["a"])));
            connection
        };
        let out = begin().packet(Packet::Subscribe(subscribe(3, &["b"])));
        check_ended(&out, version, ReasonCode::QuotaExceeded, "before their SUBACKs");
        let out = begin().packet(Packet::Unsubscribe(unsubscribe(3, &["b"])));
        check_ended(&out, version, ReasonCode::QuotaExceeded, "before their UNSUBACKs");
    }
}
