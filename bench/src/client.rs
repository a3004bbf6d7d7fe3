//! One connection of the load: a [`Link`], or one to a floor, without MQTT's handshakes.

use crate::link::{Lasting, Link};
use anyhow::{Context, Result};
use bytes::Bytes;
use iot_types::{PacketId, Qos};
use mqtt_codec::{
    ByteString, Packet, Publish, PublishProperties, Subscribe, SubscribeProperties, SubscriptionRequest, Unsubscribe,
    UserProperties,
};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// After so many bytes without a word of its own, a client says something: a server may count what it sends to one that
/// is silent, and drop what is too much.
const SPEAK_EVERY: usize = 4 << 20;
/// What Miniflare makes `request.cf` of, from which the platform tells regions.
const CF_HEADER: &str = "mf-cf-blob";
/// Each is another region of `REGIONS` (servers.rs).
pub const CONTINENTS: [&str; 4] = ["EU", "NA", "AS", "OC"];

/// Where a server is and how to talk to it.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// An MQTT server.
    Mqtt {
        url: String,
        /// User name and password.
        login: Option<(String, String)>,
        /// Umbra with a Broker in each of several regions.
        has_regions: bool,
    },
    /// `bench/relay`: all there is to know about a client is in its URL.
    Floor {
        url: String,
        /// `hibernatable` or `accepted`.
        mode: &'static str,
        /// `each` or `coalesced`.
        way: &'static str,
    },
}

impl Endpoint {
    /// The same, but a floor sends each message at once.
    pub fn at_once(&self) -> Self {
        match self.clone() {
            Self::Floor { url, mode, .. } => Self::Floor { url, mode, way: "each" },
            mqtt @ Self::Mqtt { .. } => mqtt,
        }
    }
}

/// What a connection is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Publisher,
    Subscriber(Qos),
}

/// Which of a server's Brokers or objects, if it has several.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Which floor.
    pub floor: &'static str,
    pub broker: u32,
}

/// An open connection, subscribed if it is to be.
pub struct Client {
    link: Link,
    has_handshake: bool,
}

impl Client {
    /// Connects and subscribes. `client_id` has to be unlike any other's.
    ///
    /// # Errors
    /// When the server refuses something.
    pub async fn open(endpoint: &Endpoint, client_id: String, topic: &str, role: Role, place: Place) -> Result<Self> {
        match endpoint {
            Endpoint::Mqtt { url, login, has_regions } => {
                let mut client = Self::dial(url, true, has_regions.then_some(place.broker), None).await?;
                client.link.connect(login.clone(), &client_id, Lasting::Clean).await?;
                if let Role::Subscriber(qos) = role {
                    client.subscribe(topic, qos).await?;
                }
                Ok(client)
            }
            Endpoint::Floor { url, mode, way } => {
                let Place { floor, broker } = place;
                let (topic, role) =
                    (topic.replace('/', "-"), if role == Role::Publisher { "publisher" } else { "subscriber" });
                Self::dial(&format!("{url}/{floor}/{mode}/{way}/{broker}/{topic}/{role}"), false, None, None).await
            }
        }
    }

    /// Connects as everybody does, with a CONNECT, to a floor too.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open_and_connect(endpoint: &Endpoint, client_id: String) -> Result<Self> {
        let (mut client, login) = match endpoint {
            Endpoint::Mqtt { url, login, .. } => (Self::dial(url, true, None, None).await?, login.clone()),
            Endpoint::Floor { url, mode, way } => {
                (Self::dial(&format!("{url}/connect/{mode}/{way}/0/-/-"), true, None, None).await?, None)
            }
        };
        client.link.connect(login, &client_id, Lasting::Clean).await?;
        Ok(client)
    }

    /// Connects and does nothing more, with buffers as small as that needs. To a floor it subscribes to its own name,
    /// in the object of this number.
    ///
    /// # Errors
    /// When the server refuses something.
    pub async fn open_idle(endpoint: &Endpoint, object: usize, name: &str) -> Result<Self> {
        let small = WebSocketConfig::default().read_buffer_size(1_024).write_buffer_size(0);
        match endpoint {
            Endpoint::Mqtt { url, login, .. } => {
                let mut client = Self::dial(url, true, None, Some(small)).await?;
                client.link.connect(login.clone(), name, Lasting::Clean).await?;
                Ok(client)
            }
            Endpoint::Floor { url, mode, way } => {
                let url = format!("{url}/one/{mode}/{way}/{object}/{name}/subscriber");
                Self::dial(&url, false, None, Some(small)).await
            }
        }
    }

    /// Whether the server answers: a PINGREQ, or what is published to the connection's own topic at a floor.
    pub async fn is_alive(&mut self) -> bool {
        if self.has_handshake {
            self.link.say(&Packet::PingReq).await.is_ok() && matches!(self.next().await, Ok(Packet::PingResp))
        } else {
            let sent = self.feed_publish("own".into(), None, Qos::AtMostOnce, Bytes::new()).await;
            sent.is_ok() && self.flush().await.is_ok() && matches!(self.next().await, Ok(Packet::Publish(_)))
        }
    }

    async fn dial(
        url: &str,
        has_handshake: bool,
        region: Option<u32>,
        config: Option<WebSocketConfig>,
    ) -> Result<Self> {
        let mut request = url.into_client_request()?;
        if has_handshake {
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("mqtt"));
        }
        if let Some(region) = region {
            let continent = CONTINENTS.get(region as usize).context("no such region")?;
            let about = HeaderValue::try_from(format!(r#"{{"continent":"{continent}"}}"#))?;
            request.headers_mut().insert(CF_HEADER, about);
        }
        Ok(Self { link: Link::dial_with(request, config).await?, has_handshake })
    }

    /// Subscribes and waits for the SUBACK.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn subscribe(&mut self, topic: &str, qos: Qos) -> Result<()> {
        self.link.subscribe(&[topic.to_owned()], qos).await
    }

    /// A SUBSCRIBE into the buffer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn feed_subscribe(&mut self, filter: &str, qos: Qos) -> Result<()> {
        self.feed(&Packet::Subscribe(Subscribe {
            packet_id: PacketId::FIRST,
            filters: [SubscriptionRequest::new(filter, qos)].into(),
            properties: SubscribeProperties::default(),
        }))
        .await
    }

    /// An UNSUBSCRIBE into the buffer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn feed_unsubscribe(&mut self, filter: &str) -> Result<()> {
        self.feed(&Packet::Unsubscribe(Unsubscribe {
            packet_id: PacketId::FIRST,
            filters: [filter.into()].into(),
            user_properties: UserProperties::default(),
        }))
        .await
    }

    /// A retained PUBLISH with QoS 1 into the buffer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn feed_retained(&mut self, topic: ByteString, packet_id: PacketId, payload: Bytes) -> Result<()> {
        self.feed(&Packet::Publish(Publish {
            dup: false,
            qos: Qos::AtLeastOnce,
            retain: true,
            topic,
            packet_id: Some(packet_id),
            properties: PublishProperties::default().into(),
            payload,
        }))
        .await
    }

    /// Puts a packet into the buffer, as a WebSocket message of its own, as most clients do.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn feed(&mut self, packet: &Packet) -> Result<()> {
        self.link.feed(packet).await
    }

    /// Sends what is in the buffer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn flush(&mut self) -> Result<()> {
        self.link.flush().await
    }

    /// A PUBLISH into the buffer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn feed_publish(
        &mut self,
        topic: ByteString,
        packet_id: Option<PacketId>,
        qos: Qos,
        payload: Bytes,
    ) -> Result<()> {
        let properties = PublishProperties::default();
        self.feed(&Packet::Publish(Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id,
            properties: properties.into(),
            payload,
        }))
        .await
    }

    /// Says something if it has been silent for too long. Answers whether there is something to flush.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn speak(&mut self) -> Result<bool> {
        let is_due = self.has_handshake && self.link.unanswered() >= SPEAK_EVERY;
        if is_due {
            self.feed(&Packet::PingReq).await?;
        }
        Ok(is_due)
    }

    /// The next packet. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When the connection ends or something else than MQTT comes.
    pub async fn next(&mut self) -> Result<Packet> {
        self.link.next().await
    }

    /// The next packet, if it has arrived.
    ///
    /// # Errors
    /// Those of [`Self::next`].
    pub fn next_if_ready(&mut self) -> Result<Option<Packet>> {
        self.link.next_if_ready()
    }

    /// How many WebSocket messages have come since this was asked last.
    pub fn take_frames(&mut self) -> u64 {
        self.link.take_frames()
    }

    /// Says farewell and waits until the server has closed.
    pub async fn close(self) {
        if self.has_handshake { self.link.close().await } else { self.link.hang_up().await }
    }
}

/// How long to wait, if the server has told the client to come again.
pub fn retry_after(error: &anyhow::Error) -> Option<Duration> {
    let Some(Error::Http(response)) = error.downcast_ref() else { return None };
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
