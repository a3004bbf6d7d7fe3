//! Enhanced authentication (section 4.12).

use super::*;

const SETTINGS: SessionSettings = SessionSettings { has_enhanced_authentication: true, ..STANDARD };
const METHOD: &str = "SCRAM-SHA-256";

fn asking() -> Connect {
    connect_with(ConnectProperties {
        authentication_method: Some(METHOD.into()),
        authentication_data: Some("first".into()),
        ..ConnectProperties::default()
    })
}

fn auth_of(method: Option<&str>, reason_code: ReasonCode, data: &'static str) -> Packet {
    let properties = AuthProperties {
        authentication_method: method.map(Into::into),
        authentication_data: Some(data.into()),
        ..AuthProperties::default()
    };
    Packet::Auth(Auth { reason_code, properties })
}

fn auth(reason_code: ReasonCode, data: &'static str) -> Packet {
    auth_of(Some(METHOD), reason_code, data)
}

fn authenticate(data: &'static str, is_reauthentication: bool) -> Output {
    Output::Authenticate { method: METHOD.into(), data: Some(data.into()), is_reauthentication }
}

fn asked(data: &'static str) -> Input {
    Input::AuthContinue { data: Some(data.into()) }
}

fn content() -> Input {
    Input::Accepted {
        client_id: ClientId::new("c").unwrap(),
        assigned: false,
        session: AcceptedSession::default(),
        authentication_data: Some("welcome".into()),
    }
}

fn authenticated() -> Connection {
    let mut connection = Connection::connecting(SETTINGS, asking());
    assert_eq!(connection.input(content()).len(), 1);
    connection
}

#[test]
fn an_authentication_goes_back_and_forth_until_connack() {
    let mut connection = Connection::connecting(SETTINGS, asking());
    for (challenge, response) in [("1?", "1!"), ("2?", "2!")] {
        let out = connection.input(asked(challenge));
        let expected = auth(ReasonCode::ContinueAuthentication, challenge);
        assert_eq!(out, [Output::Send(expected)], "[MQTT-4.12.0-2], [MQTT-4.12.0-5]");
        assert_eq!(connection.input(asked("again?")), [], "it is the client's turn");
        assert_eq!(connection.input(content()), [], "it is the client's turn");
        let out = connection.packet(auth(ReasonCode::ContinueAuthentication, response));
        assert_eq!(out, [authenticate(response, false)]);
    }
    let out = connection.input(content());
    let [Output::Send(Packet::ConnAck(connack))] = &out[..] else { panic!("{out:?}") };
    assert_eq!(connack.properties.authentication_method.as_deref(), Some(METHOD), "[MQTT-4.12.0-5]");
    assert_eq!(connack.properties.authentication_data.as_deref(), Some(&b"welcome"[..]));
}

#[test]
fn without_a_method_there_is_no_authentication_data() {
    let mut connection = Connection::connecting(SETTINGS, connect(V5));
    assert_eq!(connection.input(asked("?")), [], "[MQTT-4.12.0-6]");
    let out = connection.input(content());
    let [Output::Send(Packet::ConnAck(connack))] = &out[..] else { panic!("{out:?}") };
    assert_eq!(connack.properties.authentication_method, None);
    assert_eq!(connack.properties.authentication_data, None);
}

#[test]
fn an_authentication_that_fails_is_refused() {
    let mut connection = Connection::connecting(SETTINGS, asking());
    let out = connection.input(Input::End { reason_code: ReasonCode::BadAuthenticationMethod, reason: "unknown" });
    check_refused(&out, V5, ReasonCode::BadAuthenticationMethod, "unknown"); // [MQTT-4.12.0-1]
    let mut connection = Connection::connecting(SETTINGS, asking());
    connection.input(asked("?"));
    connection.packet(auth(ReasonCode::ContinueAuthentication, "!"));
    let out = connection.input(Input::End { reason_code: ReasonCode::NotAuthorized, reason: "wrong" });
    check_refused(&out, V5, ReasonCode::NotAuthorized, "wrong"); // [MQTT-4.12.0-4]
}

#[test]
fn what_breaks_the_rules_of_the_exchange_is_a_protocol_error() {
    let continues = || auth(ReasonCode::ContinueAuthentication, "!");
    let rows: &[(&str, Connect, bool, Packet)] = &[
        ("[MQTT-4.12.0-3]", asking(), false, continues()),
        ("[MQTT-4.12.0-3]", asking(), true, auth(ReasonCode::Success, "!")),
        ("[MQTT-4.12.0-3]", asking(), true, auth(ReasonCode::ReAuthenticate, "!")),
        ("[MQTT-4.12.0-5]", asking(), true, auth_of(Some("PLAIN"), ReasonCode::ContinueAuthentication, "!")),
        ("[MQTT-4.12.0-5]", asking(), true, auth_of(None, ReasonCode::ContinueAuthentication, "!")),
        ("[MQTT-3.1.2-30]", asking(), false, Packet::PingReq),
        ("[MQTT-3.1.2-30]", asking(), true, Packet::Publish(publish(None))),
        ("[MQTT-4.12.0-7]", connect(V5), false, continues()),
    ];
    for (clause, connect, is_clients_turn, packet) in rows {
        let mut connection = Connection::connecting(SETTINGS, connect.clone());
        if *is_clients_turn {
            connection.input(asked("?"));
        }
        let out = connection.packet(packet.clone());
        check_refused(&out, V5, ReasonCode::ProtocolError, clause);
    }
}

#[test]
fn a_client_may_leave_during_the_authentication() {
    let mut connection = Connection::connecting(SETTINGS, asking());
    let out = connection.packet(Packet::Disconnect(Disconnect::default()));
    assert!(matches!(&out[..], [Output::Close(ended)] if ended.client_initiated && !ended.publishes_will));
}

#[test]
fn each_step_has_fifteen_seconds() {
    let mut connection = Connection::connecting(SETTINGS, asking());
    connection.wait(14_999);
    connection.input(asked("?"));
    assert_eq!(connection.wait(14_999), []);
    let mut late = Connection::connecting(SETTINGS, asking());
    late.input(asked("?"));
    let out = late.wait(15_000);
    check_refused(&out, V5, ReasonCode::NotAuthorized, "no AUTH came in time");
    connection.packet(auth(ReasonCode::ContinueAuthentication, "!"));
    let out = connection.wait(15_000);
    check_refused(&out, V5, ReasonCode::ServerUnavailable, "could not be set up");
}

#[test]
fn a_client_may_authenticate_again_and_goes_on_meanwhile() {
    let mut connection = authenticated();
    assert!(connection.session.is_at_rest());
    assert_eq!(connection.packet(auth(ReasonCode::ReAuthenticate, "a")), [authenticate("a", true)], "[MQTT-4.12.1-1]");
    assert!(!connection.session.is_at_rest());
    assert_eq!(connection.packet(Packet::PingReq), [Output::Send(Packet::PingResp)], "section 4.12.1");
    let out = connection.input(asked("?"));
    assert_eq!(out, [Output::Send(auth(ReasonCode::ContinueAuthentication, "?"))]);
    assert_eq!(connection.input(Input::Reauthenticated { data: None }), [], "it is the client's turn");
    assert_eq!(connection.packet(auth(ReasonCode::ContinueAuthentication, "!")), [authenticate("!", true)]);
    let out = connection.input(Input::Reauthenticated { data: Some("fine".into()) });
    assert_eq!(out, [Output::Send(auth(ReasonCode::Success, "fine"))]);
    assert!(connection.session.is_at_rest());
    assert_eq!(connection.input(Input::Reauthenticated { data: None }), [], "once");
    assert_eq!(connection.packet(auth(ReasonCode::ReAuthenticate, "b")), [authenticate("b", true)], "and again");
}

#[test]
fn a_re_authentication_that_breaks_the_rules_or_fails_ends_the_connection() {
    let rows: &[(&str, bool, Packet)] = &[
        ("[MQTT-4.12.0-3]", false, auth(ReasonCode::ContinueAuthentication, "!")),
        ("[MQTT-4.12.0-3]", false, auth(ReasonCode::Success, "!")),
        ("[MQTT-4.12.0-5]", false, auth_of(Some("PLAIN"), ReasonCode::ReAuthenticate, "!")),
        ("section 4.12.1", true, auth(ReasonCode::ReAuthenticate, "!")),
        ("[MQTT-4.12.0-3]", true, auth(ReasonCode::ContinueAuthentication, "!")),
    ];
    for (clause, has_begun, packet) in rows {
        let mut connection = authenticated();
        if *has_begun {
            connection.packet(auth(ReasonCode::ReAuthenticate, "a"));
        }
        let out = connection.packet(packet.clone());
        check_ended(&out, V5, ReasonCode::ProtocolError, clause);
    }
    let mut connection = authenticated();
    connection.packet(auth(ReasonCode::ReAuthenticate, "a"));
    let out = connection.input(Input::End { reason_code: ReasonCode::NotAuthorized, reason: "wrong" });
    check_ended(&out, V5, ReasonCode::NotAuthorized, "wrong"); // [MQTT-4.12.1-2]
    let out = Connection::connected(V5).packet(auth(ReasonCode::ReAuthenticate, "a"));
    check_ended(&out, V5, ReasonCode::ProtocolError, "[MQTT-4.12.0-7]");
}

#[test]
fn a_re_authentication_has_fifteen_seconds_for_each_step() {
    let mut connection = authenticated();
    connection.packet(auth(ReasonCode::ReAuthenticate, "a"));
    assert_eq!(connection.wait(14_999), []);
    let out = connection.wait(1);
    check_ended(&out, V5, ReasonCode::NotAuthorized, "section 4.12.1");
}

#[test]
fn the_method_survives_sleep() {
    let mut connection = authenticated();
    let snapshot = connection.session.snapshot().unwrap();
    connection.session = Session::restore(SETTINGS, snapshot);
    assert_eq!(connection.packet(auth(ReasonCode::ReAuthenticate, "a")), [authenticate("a", true)]);
}

#[test]
fn an_auth_that_the_client_has_no_room_for_ends_the_connection() {
    let mut asking = asking();
    asking.properties.maximum_packet_size = Some(70);
    let mut connection = Connection::connecting(SETTINGS, asking);
    let out = connection.input(Input::AuthContinue { data: Some(vec![0; 70].into()) });
    let [Output::Send(Packet::ConnAck(connack)), Output::Close(_)] = &out[..] else { panic!("{out:?}") };
    assert_eq!(connack.reason_code, ReasonCode::PacketTooLarge, "[MQTT-3.1.2-24]");
}
