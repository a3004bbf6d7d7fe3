//! `rumqttc`, an MQTT client of its own making, in both versions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;
use system_tests::platform::platform;
use system_tests::{unique, within};

/// What two clients of either version do with each other.
trait Client: Sized {
    /// Connects; `Err` is what CONNACK says.
    async fn connect(client_id: &str, password: &str) -> Result<Self, String>;
    /// Subscribes with QoS 1 and waits for the SUBACK.
    async fn subscribe(&mut self, filter: &str);
    /// Publishes; with QoS 1 it waits for the PUBACK.
    async fn publish(&mut self, topic: &str, at_least_once: bool, payload: &str);
    /// The next message: topic, QoS, payload.
    async fn message(&mut self) -> (String, u8, String);
    /// Waits until the connection has ended.
    async fn ended(&mut self);
}

/// rumqttc has one API twice: the same code, compiled for the names that are in scope.
macro_rules! client {
    () => {
        pub struct Rumqttc {
            client: AsyncClient,
            events: EventLoop,
            messages: Vec<(String, u8, String)>,
        }

        impl Rumqttc {
            /// The next packet that is no message; messages are kept.
            async fn packet(&mut self) -> Option<Incoming> {
                match within("an MQTT event", self.events.poll()).await.expect("the connection ended") {
                    Event::Incoming(Incoming::Publish(publish)) => {
                        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                        let topic: &[u8] = publish.topic.as_ref();
                        self.messages.push((text(topic), publish.qos as u8, text(&publish.payload)));
                        None
                    }
                    Event::Incoming(packet) => Some(packet),
                    Event::Outgoing(_) => None,
                }
            }
        }

        impl Client for Rumqttc {
            async fn connect(client_id: &str, password: &str) -> Result<Self, String> {
                let contract = platform();
                // for WebSockets the address is the URL, and the port is in it
                let mut options = MqttOptions::new(client_id, &contract.mqtt, 0);
                options.set_transport(Transport::Ws).set_credentials(&contract.access_key_id, password);
                options.set_keep_alive(Duration::from_secs(30));
                let (client, mut events) = AsyncClient::new(options, 32);
                match within("CONNACK", events.poll()).await {
                    Ok(_) => Ok(Self { client, events, messages: Vec::new() }),
                    Err(error) => Err(format!("{error:?}")),
                }
            }

            async fn subscribe(&mut self, filter: &str) {
                self.client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
                while !matches!(self.packet().await, Some(Incoming::SubAck(_))) {}
            }

            async fn publish(&mut self, topic: &str, at_least_once: bool, payload: &str) {
                let qos = if at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce };
                self.client.publish(topic, qos, false, payload.to_owned()).await.unwrap();
                if at_least_once {
                    while !matches!(self.packet().await, Some(Incoming::PubAck(_))) {}
                } else {
                    // the answer to what was sent after it
                    self.subscribe("clients/never").await;
                }
            }

            async fn message(&mut self) -> (String, u8, String) {
                while self.messages.is_empty() {
                    self.packet().await;
                }
                self.messages.remove(0)
            }

            async fn ended(&mut self) {
                while within("the end of the connection", self.events.poll()).await.is_ok() {}
            }
        }
    };
}

mod v4 {
    use super::{Client, Duration, platform, within};
    use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, QoS, Transport};
    client!();
}

mod v5 {
    use super::{Client, Duration, platform, within};
    use rumqttc::Transport;
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::{AsyncClient, Event, EventLoop, Incoming, MqttOptions};
    client!();
}

use v4::Rumqttc as V4;
use v5::Rumqttc as V5;

async fn connect<C: Client>() -> C {
    C::connect(&unique("rumqttc"), &platform().secret_access_key).await.unwrap()
}

/// Several of each, so that they are on different Brokers.
async fn messages_reach_every_subscriber<P: Client, S: Client>() {
    let topic = unique("clients");
    let mut publisher = connect::<P>().await;
    let mut subscribers = Vec::new();
    for _ in 0..4 {
        let mut subscriber = connect::<S>().await;
        subscriber.subscribe(&format!("{topic}/+/temperature")).await;
        subscribers.push(subscriber);
    }
    publisher.publish(&format!("{topic}/hall/humidity"), true, "not subscribed").await;
    publisher.publish(&format!("{topic}/hall/temperature"), true, "21").await;
    publisher.publish(&format!("{topic}/cellar/temperature"), false, "9").await;
    for subscriber in &mut subscribers {
        let heard: BTreeSet<_> = [subscriber.message().await, subscriber.message().await].into();
        let wanted = [
            (format!("{topic}/cellar/temperature"), 0, "9".to_owned()),
            (format!("{topic}/hall/temperature"), 1, "21".to_owned()),
        ];
        assert_eq!(heard, BTreeSet::from(wanted));
    }
}

#[tokio::test]
async fn version_3_1_1_reaches_version_3_1_1() {
    messages_reach_every_subscriber::<V4, V4>().await;
}

#[tokio::test]
async fn version_5_reaches_version_5() {
    messages_reach_every_subscriber::<V5, V5>().await;
}

#[tokio::test]
async fn version_3_1_1_reaches_version_5_and_back() {
    messages_reach_every_subscriber::<V4, V5>().await;
    messages_reach_every_subscriber::<V5, V4>().await;
}

/// The client takes its own name over, as after a broken connection, and goes on as a fresh one.
async fn a_client_that_comes_back_replaces_itself<C: Client>() {
    let (client_id, topic) = (unique("rumqttc"), unique("clients"));
    let secret = &platform().secret_access_key;
    let mut publisher = connect::<C>().await;
    let mut first = C::connect(&client_id, secret).await.unwrap();
    first.subscribe(&topic).await;
    for round in ["1", "2", "3"] {
        let mut second = C::connect(&client_id, secret).await.unwrap();
        first.ended().await;
        second.subscribe(&topic).await;
        publisher.publish(&topic, true, round).await;
        assert_eq!(second.message().await, (topic.clone(), 1, round.to_owned()));
        first = second;
    }
}

#[tokio::test]
async fn a_client_of_version_3_1_1_that_comes_back_replaces_itself() {
    a_client_that_comes_back_replaces_itself::<V4>().await;
}

#[tokio::test]
async fn a_client_of_version_5_that_comes_back_replaces_itself() {
    a_client_that_comes_back_replaces_itself::<V5>().await;
}

#[tokio::test]
async fn a_wrong_password_is_refused_in_the_words_of_each_version() {
    let refusal = V4::connect(&unique("rumqttc"), "wrong").await.err().expect("it is accepted");
    assert!(refusal.contains("BadUserNamePassword"), "{refusal}");
    let refusal = V5::connect(&unique("rumqttc"), "wrong").await.err().expect("it is accepted");
    assert!(refusal.contains("BadUserNamePassword"), "{refusal}");
}
