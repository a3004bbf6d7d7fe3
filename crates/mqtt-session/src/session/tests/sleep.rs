use super::*;

fn is_dirty(connection: &Connection) -> bool {
    let is_dirty = connection.session.snapshot().unwrap().is_dirty;
    assert_eq!(is_dirty, !connection.session.is_at_rest());
    is_dirty
}

#[test]
fn a_snapshot_is_dirty_while_something_is_under_way() {
    for version in VERSIONS {
        type Step = fn(&mut Connection) -> Vec<Output>;
        let rows: &[(&str, Step, Step)] = &[
            ("a publish", |c| c.packet(Packet::Publish(publish(Some(1)))), |c| c.settle(1, ReasonCode::Success)),
            (
                "a subscribe",
                |c| c.packet(Packet::Subscribe(subscribe(1, &["a"]))),
                |c| c.input(Input::Subscribed { packet_id: id(1), reason_codes: vec![ReasonCode::Success] }),
            ),
            ("a delivery", |c| c.deliver(delivery("t", Qos::AtLeastOnce)), |c| c.acknowledge(1)),
            (
                "a publish of QoS 2",
                |c| {
                    c.packet(Packet::Publish(publish_2(1)));
                    c.settle(1, ReasonCode::Success)
                },
                |c| c.pubrel(1),
            ),
            (
                "a delivery of QoS 2",
                |c| {
                    c.deliver(delivery("t", Qos::ExactlyOnce));
                    c.pubrec(1, ReasonCode::Success)
                },
                |c| c.pubcomp(1),
            ),
        ];
        for (what, begin, end) in rows {
            let mut connection = Connection::connected(version);
            assert!(!is_dirty(&connection), "{what}");
            begin(&mut connection);
            assert!(is_dirty(&connection), "{what}");
            end(&mut connection);
            assert!(!is_dirty(&connection), "{what}");
        }
        let mut connection = Connection::connected(version);
        for at_once in [Packet::PingReq, Packet::Publish(publish(None)), Packet::Unsubscribe(unsubscribe(1, &["a"]))] {
            connection.packet(at_once);
            assert!(!is_dirty(&connection));
        }
        connection.deliver(delivery("t", Qos::AtMostOnce));
        assert!(!is_dirty(&connection));
    }
}

#[test]
fn there_is_no_snapshot_before_connack() {
    assert!(Connection::opened(STANDARD).session.snapshot().is_none());
    for version in VERSIONS {
        let connecting = Connection::connecting(STANDARD, connect(version));
        assert!(connecting.session.snapshot().is_none());
        assert!(!connecting.session.is_at_rest(), "its object may not sleep");
    }
}

/// The connection after its object slept.
fn asleep(connection: Connection) -> Connection {
    let snapshot = connection.session.snapshot().unwrap();
    let stored = SessionSnapshot::decode(&snapshot.encode()).unwrap();
    assert_eq!(stored, snapshot);
    Connection { session: Session::restore(STANDARD, stored), now: connection.now }
}

#[test]
fn a_session_goes_on_after_sleep_as_if_it_had_not_slept() {
    for version in VERSIONS {
        let properties = match version {
            V3_1_1 => ConnectProperties::default(),
            V5 => ConnectProperties {
                receive_maximum: Some(1),
                maximum_packet_size: Some(100),
                request_problem_information: Some(false),
                ..ConnectProperties::default()
            },
        };
        let mut connection =
            Connection::connected_with(STANDARD, Connect { will: Some(will()), properties, ..connect(version) });
        connection.session.add_subscription("a", options(Qos::AtLeastOnce));
        connection.now = connection.now.plus_millis(30_000);
        connection.packet(Packet::PingReq);

        let mut connection = asleep(connection);
        assert_eq!(connection.session.next_timeout(), Some(START.plus_millis(120_000)));
        assert_eq!(connection.session.is_v5(), version == V5);
        assert_eq!(connection.acknowledge(1), [], "of what was sent before it slept");
        let sent =
            [delivery("1", Qos::AtLeastOnce), delivery("2", Qos::AtLeastOnce)].map(|d| connection.deliver(d).len());
        assert_eq!(sent, if version == V5 { [1, 0] } else { [1, 1] }, "Receive Maximum");
        let large = delivery(&"x".repeat(100), Qos::AtMostOnce);
        assert_eq!(connection.deliver(large).len(), usize::from(version == V3_1_1), "Maximum Packet Size");
        let out = connection.packet(Packet::PingResp);
        let Some((Output::Close(ended), told)) = out.split_last() else { panic!("{out:?}") };
        let without_words = Output::Send(Packet::Disconnect(Disconnect::new(ReasonCode::ProtocolError)));
        assert_eq!(told, if version == V5 { vec![without_words] } else { vec![] }, "Request Problem Information");
        assert_eq!((ended.publishes_will, &ended.client_id), (true, &ClientId::new("c")));
        assert!(ended.subscriptions.contains_key("a"));
    }
}

#[test]
fn the_session_expiry_that_was_asked_for_is_remembered_in_sleep() {
    for (asked, is_error) in [(None, true), (Some(60), false)] {
        let properties = ConnectProperties { session_expiry_interval: asked, ..ConnectProperties::default() };
        let mut connection = asleep(Connection::connected_with(STANDARD, connect_with(properties)));
        let mut disconnect = Disconnect::default();
        disconnect.properties.session_expiry_interval = Some(30);
        let out = connection.packet(Packet::Disconnect(disconnect));
        assert_eq!(out.len(), 1 + usize::from(is_error), "section 3.14.2.2.2");
    }
}
