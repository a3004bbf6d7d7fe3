use super::*;

fn subscribed(packet_id: u16, reason_codes: &[ReasonCode]) -> Input {
    Input::Subscribed { packet_id: id(packet_id), reason_codes: reason_codes.to_vec() }
}

#[test]
fn suback_follows_when_the_subscriptions_are_in_force() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        let asked = subscribe(3, &["a", "b/#"]);
        assert_eq!(connection.packet(Packet::Subscribe(asked.clone())), [Output::Subscribe(asked)]);
        assert!(connection.session.add_subscription("a", options(Qos::AtLeastOnce)));
        let codes = [ReasonCode::GrantedQos1, ReasonCode::NotAuthorized];
        let out = connection.input(subscribed(3, &codes));
        let suback = SubAck { packet_id: id(3), reason_codes: codes.to_vec(), properties: said(version, codes[1]) };
        assert_eq!(out, [Output::Send(Packet::SubAck(suback))], "[MQTT-3.8.4-1], [MQTT-3.8.4-6]");
        let in_force: Vec<_> = connection.session.subscriptions().collect();
        assert_eq!(in_force, [("a", options(Qos::AtLeastOnce))]);
    }
}

#[test]
fn too_many_filters_in_one_subscribe_end_the_connection() {
    for version in VERSIONS {
        let mut connection = Connection::connected_with(SessionSettings::AWS, connect(version));
        assert_eq!(connection.packet(Packet::Subscribe(subscribe(1, &["t"; 8]))).len(), 1);
        let out = connection.packet(Packet::Subscribe(subscribe(2, &["t"; 9])));
        check_ended(&out, version, ReasonCode::QuotaExceeded, "too many Topic Filters");
    }
}

#[test]
fn too_many_filters_in_one_unsubscribe_end_the_connection() {
    let settings = SessionSettings { maximum_filters_per_unsubscribe: 2, ..STANDARD };
    for version in VERSIONS {
        let mut connection = Connection::connected_with(settings, connect(version));
        assert_eq!(connection.packet(Packet::Unsubscribe(unsubscribe(1, &["t"; 2]))).len(), 2);
        let out = connection.packet(Packet::Unsubscribe(unsubscribe(2, &["t"; 3])));
        check_ended(&out, version, ReasonCode::QuotaExceeded, "too many Topic Filters");
    }
}

#[test]
fn a_session_takes_no_more_subscriptions_than_allowed_but_replaces_them() {
    let settings = SessionSettings { maximum_subscriptions: 2, ..STANDARD };
    for version in VERSIONS {
        let mut connection = Connection::connected_with(settings, connect(version));
        for (filter, qos, taken) in [
            ("a", Qos::AtMostOnce, true),
            ("b", Qos::AtMostOnce, true),
            ("c", Qos::AtMostOnce, false),
            ("a", Qos::AtLeastOnce, true),
        ] {
            assert_eq!(connection.session.add_subscription(filter, options(qos)), taken, "[MQTT-3.8.4-3] {filter}");
        }
        connection.session.remove_subscription("b");
        assert!(connection.session.add_subscription("c", options(Qos::AtMostOnce)));
        let in_force: Vec<_> = connection.session.subscriptions().collect();
        assert_eq!(in_force, [("a", options(Qos::AtLeastOnce)), ("c", options(Qos::AtMostOnce))]);
    }
}

#[test]
fn nobody_subscribes_outside_a_connection() {
    let mut opened = Connection::opened(STANDARD);
    assert!(!opened.session.add_subscription("a", options(Qos::AtMostOnce)));
    let mut closed = Connection::connected(V5);
    closed.input(Input::ConnectionLost);
    assert!(!closed.session.add_subscription("a", options(Qos::AtMostOnce)));
    assert_eq!(closed.session.subscriptions().count(), 0);
}

#[test]
fn unsuback_says_of_each_filter_whether_it_was_there() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        connection.session.add_subscription("a", options(Qos::AtLeastOnce));
        connection.session.add_subscription("b", options(Qos::AtLeastOnce));
        let asked = unsubscribe(4, &["a", "x", "a"]);
        let out = connection.packet(Packet::Unsubscribe(asked.clone()));
        let unsuback = UnsubAck {
            packet_id: id(4),
            reason_codes: vec![
                ReasonCode::Success,
                ReasonCode::NoSubscriptionExisted,
                ReasonCode::NoSubscriptionExisted,
            ],
            properties: AckProperties::default(),
        };
        // Taken away first: nothing is delivered after the UNSUBACK ([MQTT-3.10.4-2]).
        assert_eq!(out, [Output::Unsubscribe(asked), Output::Send(Packet::UnsubAck(unsuback))], "[MQTT-3.11.3-1]");
        assert_eq!(connection.session.subscriptions().map(|(filter, _)| filter).collect::<Vec<_>>(), ["b"]);
    }
}

#[test]
fn an_answer_larger_than_the_client_takes_ends_the_connection() {
    let properties = ConnectProperties { maximum_packet_size: Some(60), ..ConnectProperties::default() };
    let filters = ["x"; 100];
    let mut connection = Connection::connected_with(STANDARD, connect_with(properties.clone()));
    connection.packet(Packet::Subscribe(subscribe(1, &filters)));
    let subacked = connection.input(subscribed(1, &[ReasonCode::Success; 100]));
    let mut connection = Connection::connected_with(STANDARD, connect_with(properties));
    let unsubacked = connection.packet(Packet::Unsubscribe(unsubscribe(1, &filters)));
    // The reason in words has no room either.
    let told = Output::Send(Packet::Disconnect(Disconnect::new(ReasonCode::PacketTooLarge)));
    for out in [&subacked[..], &unsubacked[1..]] {
        assert!(matches!(out, [first, Output::Close(_)] if *first == told), "[MQTT-3.1.2-24]: {out:?}");
    }
}

#[test]
fn the_reason_of_a_refused_filter_is_told_where_there_is_room() {
    for (problems, maximum, words) in
        [(None, None, true), (None, Some(60), true), (Some(false), None, false), (None, Some(20), false)]
    {
        let properties = ConnectProperties {
            request_problem_information: problems,
            maximum_packet_size: maximum,
            ..ConnectProperties::default()
        };
        let mut connection = Connection::connected_with(STANDARD, connect_with(properties));
        connection.packet(Packet::Subscribe(subscribe(1, &["a"])));
        let out = connection.input(subscribed(1, &[ReasonCode::NotAuthorized]));
        let [Output::Send(Packet::SubAck(suback))] = &out[..] else { panic!("{out:?}") };
        let told = suback.properties.reason_string.as_deref();
        assert_eq!(told, words.then_some("Not authorized"), "[MQTT-3.1.2-29], [MQTT-3.9.2-1]: {maximum:?}");
    }
}

#[test]
fn a_request_under_an_identifier_in_use_is_refused() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        connection.packet(Packet::Subscribe(subscribe(1, &["a"])));
        let codes = || vec![ReasonCode::PacketIdentifierInUse; 2];
        let properties = || said(version, ReasonCode::PacketIdentifierInUse);
        let out = connection.packet(Packet::Subscribe(subscribe(1, &["b", "c"])));
        let suback = SubAck { packet_id: id(1), reason_codes: codes(), properties: properties() };
        assert_eq!(out, [Output::Send(Packet::SubAck(suback))], "section 3.9.3");
        let out = connection.packet(Packet::Unsubscribe(unsubscribe(1, &["b", "c"])));
        let unsuback = UnsubAck { packet_id: id(1), reason_codes: codes(), properties: properties() };
        assert_eq!(out, [Output::Send(Packet::UnsubAck(unsuback))], "section 3.11.3");
        assert_eq!(connection.input(subscribed(1, &[ReasonCode::Success])).len(), 1, "the first goes on");
        assert_eq!(connection.input(subscribed(1, &[ReasonCode::Success])), [], "and is answered once");
    }
}

#[test]
fn a_change_of_the_subscriptions_makes_what_was_stored_out_of_date() {
    let mut connection = Connection::connected(V5);
    assert!(connection.session.take_changed());
    type Change = fn(&mut Connection);
    let rows: &[(bool, Change)] = &[
        (true, |c| assert!(c.session.add_subscription("a", options(Qos::AtMostOnce)))),
        (true, |c| c.session.remove_subscription("a")),
        (false, |c| c.session.remove_subscription("a")),
        (true, |c| assert!(c.session.add_subscription("a", options(Qos::AtMostOnce)))),
        (true, |c| drop(c.packet(Packet::Unsubscribe(unsubscribe(1, &["a"]))))),
        (false, |c| drop(c.packet(Packet::Unsubscribe(unsubscribe(1, &["a"]))))),
        (false, |c| drop(c.packet(Packet::PingReq))),
    ];
    for (place, (is_changed, change)) in rows.iter().enumerate() {
        change(&mut connection);
        assert_eq!(connection.session.take_changed(), *is_changed, "row {place}");
    }
}
