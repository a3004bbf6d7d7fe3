//! `rumqttc`, an MQTT client of its own making, in both versions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use system_tests::http::{Proof, Sent, send};
use system_tests::platform::{Contract, platform};
use system_tests::{unique, within};

/// Held for writing by a test that takes the platform away from under the others.
static PLATFORM: RwLock<()> = RwLock::new(());

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn among_others(test: impl Future<Output = ()>) {
    let _together = PLATFORM.read().unwrap_or_else(PoisonError::into_inner);
    run(test);
}

fn alone(test: impl Future<Output = ()>) {
    let _alone = PLATFORM.write().unwrap_or_else(PoisonError::into_inner);
    run(test);
}

/// Ends workerd with SIGKILL and starts it again, at the same address and with what it had stored.
async fn kill() {
    #[derive(Deserialize)]
    struct WithControl {
        control: Control,
    }
    #[derive(Deserialize)]
    struct Control {
        url: String,
        token: String,
    }
    let line = std::env::var("UMBRA_PLATFORM").unwrap();
    let WithControl { control } = serde_json::from_str(&line).expect("this needs `cargo xtask dev --json --control`");
    let port = Contract { endpoint: control.url, ..platform().clone() };
    let mut request = Sent::new("POST", "/kill", "{}");
    request.headers.push(("authorization".to_owned(), format!("Bearer {}", control.token)));
    assert_eq!(send(&port, &Proof::default(), &request).await.status, 200);
}

/// How to connect.
#[derive(Clone, Copy)]
struct Wishes<'a> {
    client_id: &'a str,
    password: &'a str,
    /// The session outlives its connections.
    is_durable: bool,
    /// Topic and payload, with QoS 1.
    will: Option<(&'a str, &'a str)>,
}

impl<'a> Wishes<'a> {
    fn new(client_id: &'a str) -> Self {
        Self { client_id, password: &platform().secret_access_key, is_durable: false, will: None }
    }

    fn durable(client_id: &'a str) -> Self {
        Self { is_durable: true, ..Self::new(client_id) }
    }
}

/// A message as it arrived.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Message {
    topic: String,
    qos: u8,
    is_retained: bool,
    payload: String,
}

fn message(topic: &str, qos: u8, payload: &str) -> Message {
    Message { topic: topic.to_owned(), qos, is_retained: false, payload: payload.to_owned() }
}

/// What two clients of either version do with each other.
trait Client: Sized {
    /// Connects; `Err` is what CONNACK says.
    async fn connect(wishes: Wishes<'_>) -> Result<Self, String>;
    /// What the last CONNACK said.
    fn session_present(&self) -> bool;
    /// Subscribes and waits for the SUBACK.
    async fn subscribe(&mut self, filter: &str, qos: u8);
    /// Publishes; with QoS 1 it waits for the PUBACK, with QoS 2 for the PUBCOMP.
    async fn publish(&mut self, topic: &str, qos: u8, retain: bool, payload: &str);
    /// The next message, once all handshakes of QoS 2 that have begun are done.
    async fn message(&mut self) -> Message;
    /// Waits until the connection has ended.
    async fn ended(&mut self);
    /// Connects again by itself, as often as it takes.
    async fn come_back(&mut self);
    /// Says DISCONNECT. Without that, a client that is dropped has vanished.
    async fn leave(self);
}

/// rumqttc has one API twice: the same code, compiled for the names that are in scope.
macro_rules! client {
    () => {
        pub struct Rumqttc {
            client: AsyncClient,
            events: EventLoop,
            session_present: bool,
            messages: Vec<Message>,
            /// Messages of QoS 2 for which no PUBCOMP has left.
            unfinished: usize,
        }

        fn qos_of(qos: u8) -> QoS {
            [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos)]
        }

        impl Rumqttc {
            /// The next packet that is no message; messages are kept.
            async fn packet(&mut self) -> Option<Incoming> {
                match within("an MQTT event", self.events.poll()).await.expect("the connection ended") {
                    Event::Incoming(Incoming::Publish(publish)) => {
                        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                        let topic: &[u8] = publish.topic.as_ref();
                        self.unfinished += usize::from(publish.qos == QoS::ExactlyOnce);
                        self.messages.push(Message {
                            topic: text(topic),
                            qos: publish.qos as u8,
                            is_retained: publish.retain,
                            payload: text(&publish.payload),
                        });
                        None
                    }
                    Event::Incoming(packet) => Some(packet),
                    Event::Outgoing(Outgoing::PubComp(_)) => {
                        self.unfinished -= 1;
                        None
                    }
                    Event::Outgoing(_) => None,
                }
            }
        }

        impl Client for Rumqttc {
            async fn connect(wishes: Wishes<'_>) -> Result<Self, String> {
                let contract = platform();
                // for WebSockets the address is the URL, and the port is in it
                let mut options = MqttOptions::new(wishes.client_id, &contract.mqtt, 0);
                options.set_transport(Transport::Ws).set_credentials(&contract.access_key_id, wishes.password);
                options.set_keep_alive(Duration::from_secs(30));
                set_session(&mut options, wishes.is_durable);
                if let Some((topic, payload)) = wishes.will {
                    options.set_last_will(will(topic, payload));
                }
                let (client, mut events) = AsyncClient::new(options, 32);
                match within("CONNACK", events.poll()).await {
                    Ok(Event::Incoming(Incoming::ConnAck(connack))) => Ok(Self {
                        client,
                        events,
                        session_present: connack.session_present,
                        messages: Vec::new(),
                        unfinished: 0,
                    }),
                    other => Err(format!("{other:?}")),
                }
            }

            fn session_present(&self) -> bool {
                self.session_present
            }

            async fn subscribe(&mut self, filter: &str, qos: u8) {
                self.client.subscribe(filter, qos_of(qos)).await.unwrap();
                while !matches!(self.packet().await, Some(Incoming::SubAck(_))) {}
            }

            async fn publish(&mut self, topic: &str, qos: u8, retain: bool, payload: &str) {
                self.client.publish(topic, qos_of(qos), retain, payload.to_owned()).await.unwrap();
                match qos {
                    // the answer to what was sent after it
                    0 => self.subscribe("clients/never", 0).await,
                    1 => while !matches!(self.packet().await, Some(Incoming::PubAck(_))) {},
                    _ => while !matches!(self.packet().await, Some(Incoming::PubComp(_))) {},
                }
            }

            async fn message(&mut self) -> Message {
                while self.messages.is_empty() || self.unfinished > 0 {
                    self.packet().await;
                }
                self.messages.remove(0)
            }

            async fn ended(&mut self) {
                while within("the end of the connection", self.events.poll()).await.is_ok() {}
            }

            async fn come_back(&mut self) {
                let connack = async {
                    loop {
                        match self.events.poll().await {
                            Ok(Event::Incoming(Incoming::ConnAck(connack))) => return connack,
                            Ok(_) => {}
                            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                        }
                    }
                };
                self.session_present = within("another CONNACK", connack).await.session_present;
            }

            async fn leave(mut self) {
                self.client.disconnect().await.unwrap();
                self.ended().await;
            }
        }
    };
}

mod v4 {
    use super::{Client, Duration, Message, Wishes, platform, within};
    use rumqttc::{AsyncClient, Event, EventLoop, Incoming, LastWill, MqttOptions, Outgoing, QoS, Transport};
    client!();

    fn set_session(options: &mut MqttOptions, is_durable: bool) {
        options.set_clean_session(!is_durable);
    }

    fn will(topic: &str, payload: &str) -> LastWill {
        LastWill::new(topic, payload, QoS::AtLeastOnce, false)
    }
}

mod v5 {
    use super::{Client, Duration, Message, Wishes, platform, within};
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::LastWill;
    use rumqttc::v5::{AsyncClient, Event, EventLoop, Incoming, MqttOptions};
    use rumqttc::{Outgoing, Transport};
    client!();

    fn set_session(options: &mut MqttOptions, is_durable: bool) {
        options.set_clean_start(!is_durable).set_session_expiry_interval(is_durable.then_some(3_600));
    }

    fn will(topic: &str, payload: &str) -> LastWill {
        LastWill::new(topic, payload, QoS::AtLeastOnce, false, None)
    }
}

use v4::Rumqttc as V4;
use v5::Rumqttc as V5;

async fn connect<C: Client>() -> C {
    C::connect(Wishes::new(&unique("rumqttc"))).await.unwrap()
}

/// Several of each, so that they are on different Brokers.
async fn messages_reach_every_subscriber<P: Client, S: Client>() {
    let topic = unique("clients");
    let mut publisher = connect::<P>().await;
    let mut subscribers = Vec::new();
    for granted in [0, 1, 2, 0, 1, 2] {
        let mut subscriber = connect::<S>().await;
        subscriber.subscribe(&format!("{topic}/+/temperature"), granted).await;
        subscribers.push((granted, subscriber));
    }
    let published = [("hall", 1, "21"), ("cellar", 0, "9"), ("attic", 2, "30")];
    for (room, qos, payload) in published {
        publisher.publish(&format!("{topic}/{room}/humidity"), qos, false, "not subscribed").await;
        publisher.publish(&format!("{topic}/{room}/temperature"), qos, false, payload).await;
    }
    for (granted, subscriber) in &mut subscribers {
        let mut heard = BTreeSet::new();
        for _ in published {
            heard.insert(subscriber.message().await);
        }
        let wanted = published
            .map(|(room, qos, payload)| message(&format!("{topic}/{room}/temperature"), qos.min(*granted), payload));
        assert_eq!(heard, BTreeSet::from(wanted), "granted: {granted}");
    }
}

#[test]
fn version_3_1_1_reaches_version_3_1_1() {
    among_others(messages_reach_every_subscriber::<V4, V4>());
}

#[test]
fn version_5_reaches_version_5() {
    among_others(messages_reach_every_subscriber::<V5, V5>());
}

#[test]
fn version_3_1_1_reaches_version_5_and_back() {
    among_others(async {
        messages_reach_every_subscriber::<V4, V5>().await;
        messages_reach_every_subscriber::<V5, V4>().await;
    });
}

/// The client takes its own name over, as after a broken connection, and goes on as a fresh one.
async fn a_client_that_comes_back_replaces_itself<C: Client>() {
    let (client_id, topic) = (unique("rumqttc"), unique("clients"));
    let mut publisher = connect::<C>().await;
    let mut first = C::connect(Wishes::new(&client_id)).await.unwrap();
    first.subscribe(&topic, 1).await;
    for round in ["1", "2", "3"] {
        let mut second = C::connect(Wishes::new(&client_id)).await.unwrap();
        first.ended().await;
        assert!(!second.session_present());
        second.subscribe(&topic, 1).await;
        publisher.publish(&topic, 1, false, round).await;
        assert_eq!(second.message().await, message(&topic, 1, round));
        first = second;
    }
}

#[test]
fn a_client_of_version_3_1_1_that_comes_back_replaces_itself() {
    among_others(a_client_that_comes_back_replaces_itself::<V4>());
}

#[test]
fn a_client_of_version_5_that_comes_back_replaces_itself() {
    among_others(a_client_that_comes_back_replaces_itself::<V5>());
}

#[test]
fn a_wrong_password_is_refused_in_the_words_of_each_version() {
    among_others(async {
        let client_id = unique("rumqttc");
        let wishes = Wishes { password: "wrong", ..Wishes::new(&client_id) };
        for refusal in [V4::connect(wishes).await.err(), V5::connect(wishes).await.err()] {
            let refusal = refusal.expect("it is accepted");
            assert!(refusal.contains("BadUserNamePassword"), "{refusal}");
        }
    });
}

async fn a_will_is_published_for_a_client_that_vanishes<C: Client>() {
    let (topic, client_id) = (unique("wills"), unique("rumqttc"));
    let mut subscriber = connect::<C>().await;
    subscriber.subscribe(&topic, 1).await;
    let mortal = |payload| Wishes { will: Some((&topic, payload)), ..Wishes::new(&client_id) };
    C::connect(mortal("nobody hears this")).await.unwrap().leave().await;
    drop(C::connect(mortal("gone")).await.unwrap());
    assert_eq!(subscriber.message().await, message(&topic, 1, "gone"));
}

#[test]
fn a_will_of_version_3_1_1_is_published_for_a_client_that_vanishes_and_not_for_one_that_leaves() {
    among_others(a_will_is_published_for_a_client_that_vanishes::<V4>());
}

#[test]
fn a_will_of_version_5_is_published_for_a_client_that_vanishes_and_not_for_one_that_leaves() {
    among_others(a_will_is_published_for_a_client_that_vanishes::<V5>());
}

async fn a_retained_message_waits_for_those_who_come_later<C: Client>() {
    let topic = unique("retained");
    let mut publisher = connect::<C>().await;
    for (qos, payload) in [(0, "first"), (2, "second"), (1, "third")] {
        publisher.publish(&topic, qos, true, payload).await;
    }
    let mut subscriber = connect::<C>().await;
    subscriber.subscribe(&format!("{topic}/#"), 2).await;
    assert_eq!(subscriber.message().await, Message { is_retained: true, ..message(&topic, 1, "third") });
    publisher.publish(&topic, 1, true, "live").await;
    assert_eq!(subscriber.message().await, message(&topic, 1, "live"));
    // an empty one takes it away
    publisher.publish(&topic, 1, true, "").await;
    assert_eq!(subscriber.message().await, message(&topic, 1, ""));
    let mut late = connect::<C>().await;
    late.subscribe(&topic, 1).await;
    publisher.publish(&topic, 1, false, "nothing before").await;
    assert_eq!(late.message().await, message(&topic, 1, "nothing before"));
}

#[test]
fn a_retained_message_waits_for_clients_of_version_3_1_1_who_come_later() {
    among_others(a_retained_message_waits_for_those_who_come_later::<V4>());
}

#[test]
fn a_retained_message_waits_for_clients_of_version_5_who_come_later() {
    among_others(a_retained_message_waits_for_those_who_come_later::<V5>());
}

/// One client is away meanwhile, another is connected and comes back by itself.
async fn sessions_survive_the_end_of_the_platform<C: Client>() {
    let (away_id, stays_id, topic) = (unique("rumqttc"), unique("rumqttc"), unique("survives"));
    let mut away = C::connect(Wishes::durable(&away_id)).await.unwrap();
    let mut stays = C::connect(Wishes::durable(&stays_id)).await.unwrap();
    for client in [&mut away, &mut stays] {
        assert!(!client.session_present());
        client.subscribe(&topic, 2).await;
    }
    drop(away);
    let mut publisher = connect::<C>().await;
    for qos in [1, 2] {
        publisher.publish(&topic, qos, false, "before").await;
        assert_eq!(stays.message().await, message(&topic, qos, "before"));
    }
    kill().await;

    let mut away = C::connect(Wishes::durable(&away_id)).await.unwrap();
    stays.come_back().await;
    for qos in [1, 2] {
        assert_eq!(away.message().await, message(&topic, qos, "before"));
    }
    // they need not subscribe again
    let mut publisher = connect::<C>().await;
    for qos in [0, 1, 2] {
        publisher.publish(&topic, qos, false, "after").await;
        for client in [&mut away, &mut stays] {
            assert!(client.session_present());
            assert_eq!(client.message().await, message(&topic, qos, "after"));
        }
    }
}

#[test]
fn sessions_of_version_3_1_1_survive_the_end_of_the_platform() {
    alone(sessions_survive_the_end_of_the_platform::<V4>());
}

#[test]
fn sessions_of_version_5_survive_the_end_of_the_platform() {
    alone(sessions_survive_the_end_of_the_platform::<V5>());
}
