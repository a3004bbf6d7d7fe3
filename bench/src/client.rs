//! One connection to a server, with MQTT 3.1.1 over WebSocket or, to the relay, without its handshakes.

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, SinkExt, StreamExt};
use iot_types::{PacketId, Qos};
use mqtt_codec::{
    ByteString, Connect, ConnectProperties, Decoder, Disconnect, Packet, ProtocolVersion, PubAck, Publish,
    PublishProperties, ReasonCode, Subscribe, SubscribeProperties, SubscriptionRequest, encode,
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

const VERSION: ProtocolVersion = ProtocolVersion::V3_1_1;
const MAXIMUM_PACKET_SIZE: u32 = 1 << 20;
/// Seconds; longer than any measurement, so that no PINGREQ is needed.
const KEEP_ALIVE: u16 = 600;

/// Where a server is and how to talk to it.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// An MQTT server.
    Mqtt {
        url: String,
        /// User name and password.
        login: Option<(String, String)>,
    },
    /// `bench/relay`: the role and the topic are in the URL, there is no handshake.
    Relay {
        /// Up to and including the way of sending.
        url: String,
    },
}

impl Endpoint {
    /// The same, but where the way of sending names the relay's object, one of several.
    pub fn of_object(&self, index: usize) -> Self {
        match self {
            Self::Relay { url } => Self::Relay { url: format!("{url}-{index}") },
            mqtt @ Self::Mqtt { .. } => mqtt.clone(),
        }
    }
}

/// What a connection is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Publisher,
    Subscriber(Qos),
}

/// An open connection, subscribed if it is to be.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    decoder: Decoder,
    has_handshake: bool,
    /// WebSocket messages received.
    frames: u64,
}

impl Client {
    /// Connects and subscribes. `client_id` has to be unlike any other's.
    ///
    /// # Errors
    /// When the server refuses something.
    pub async fn open(endpoint: &Endpoint, client_id: String, topic: &str, role: Role) -> Result<Self> {
        match endpoint {
            Endpoint::Mqtt { url, login } => {
                let mut client = Self::dial(url, true, None).await?;
                client.connect(login.clone(), client_id).await?;
                if let Role::Subscriber(qos) = role {
                    client.subscribe(topic, qos).await?;
                }
                Ok(client)
            }
            Endpoint::Relay { url } => {
                let role = if role == Role::Publisher { "publisher" } else { "subscriber" };
                Self::dial(&format!("{url}/{}/{role}", topic.replace('/', "-")), false, None).await
            }
        }
    }

    /// Connects and does nothing more, with buffers as small as that needs. To the relay it subscribes to its own name.
    ///
    /// # Errors
    /// When the server refuses something.
    pub async fn open_idle(endpoint: &Endpoint, name: &str) -> Result<Self> {
        let small = WebSocketConfig::default().read_buffer_size(1_024).write_buffer_size(0);
        match endpoint {
            Endpoint::Mqtt { url, login } => {
                let mut client = Self::dial(url, true, Some(small)).await?;
                client.connect(login.clone(), name.to_owned()).await?;
                Ok(client)
            }
            Endpoint::Relay { url } => Self::dial(&format!("{url}/{name}/subscriber"), false, Some(small)).await,
        }
    }

    /// Whether the server answers: a PINGREQ, or what is published to the connection's own topic at the relay.
    pub async fn is_alive(&mut self) -> bool {
        if self.has_handshake {
            self.send(&Packet::PingReq).await.is_ok() && matches!(self.next().await, Ok(Packet::PingResp))
        } else {
            let sent = self.feed_publish("own".into(), None, Bytes::new()).await;
            sent.is_ok() && self.flush().await.is_ok() && matches!(self.next().await, Ok(Packet::Publish(_)))
        }
    }

    async fn dial(url: &str, has_handshake: bool, config: Option<WebSocketConfig>) -> Result<Self> {
        let mut request = url.into_client_request()?;
        if has_handshake {
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("mqtt"));
        }
        let (socket, _) = connect_async_with_config(request, config, true).await.with_context(|| url.to_owned())?;
        let decoder = Decoder::restore(MAXIMUM_PACKET_SIZE, Some(VERSION), Bytes::new());
        Ok(Self { socket, decoder, has_handshake, frames: 0 })
    }

    async fn connect(&mut self, login: Option<(String, String)>, client_id: String) -> Result<()> {
        let (username, password) = login.unzip();
        self.send(&Packet::Connect(Connect {
            version: VERSION,
            clean_start: true,
            keep_alive: KEEP_ALIVE,
            client_id: client_id.into(),
            will: None,
            username: username.map(ByteString::from),
            password: password.map(Bytes::from),
            properties: ConnectProperties::default(),
        }))
        .await?;
        match self.next().await? {
            Packet::ConnAck(answer) if answer.reason_code == ReasonCode::Success => Ok(()),
            other => bail!("CONNECT was answered by {other:?}"),
        }
    }

    /// Subscribes and waits for the SUBACK.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn subscribe(&mut self, topic: &str, qos: Qos) -> Result<()> {
        self.send(&Packet::Subscribe(Subscribe {
            packet_id: PacketId::FIRST,
            filters: [SubscriptionRequest::new(topic, qos)].into(),
            properties: SubscribeProperties::default(),
        }))
        .await?;
        match self.next().await? {
            Packet::SubAck(answer) if answer.reason_codes.iter().all(|code| code.as_u8() == qos.bits()) => Ok(()),
            other => bail!("SUBSCRIBE was answered by {other:?}"),
        }
    }

    /// Puts a packet into the buffer, as a WebSocket message of its own, as most clients do.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn feed(&mut self, packet: &Packet) -> Result<()> {
        let mut bytes = BytesMut::new();
        encode(packet, VERSION, &mut bytes);
        Ok(self.socket.feed(Message::Binary(bytes.freeze())).await?)
    }

    /// Sends what is in the buffer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn flush(&mut self) -> Result<()> {
        Ok(self.socket.flush().await?)
    }

    async fn send(&mut self, packet: &Packet) -> Result<()> {
        self.feed(packet).await?;
        self.flush().await
    }

    /// A PUBLISH into the buffer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn feed_publish(&mut self, topic: ByteString, packet_id: Option<PacketId>, payload: Bytes) -> Result<()> {
        let qos = if packet_id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce };
        let properties = PublishProperties::default();
        self.feed(&Packet::Publish(Publish { dup: false, qos, retain: false, topic, packet_id, properties, payload }))
            .await
    }

    /// A PUBACK into the buffer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn feed_puback(&mut self, packet_id: PacketId) -> Result<()> {
        self.feed(&Packet::PubAck(PubAck::new(packet_id))).await
    }

    /// The next packet. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When the connection ends or something else than MQTT comes.
    pub async fn next(&mut self) -> Result<Packet> {
        loop {
            if let Some(packet) = self.decoder.next_packet()? {
                return Ok(packet);
            }
            match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) => {
                    self.frames += 1;
                    self.decoder.push(bytes);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => bail!("the server sent {other:?}"),
                Some(Err(error)) => return Err(error.into()),
                None => bail!("the server closed the connection"),
            }
        }
    }

    /// The next packet, if it has arrived.
    ///
    /// # Errors
    /// Those of [`Self::next`].
    pub fn next_if_ready(&mut self) -> Result<Option<Packet>> {
        self.next().now_or_never().transpose()
    }

    /// How many WebSocket messages have come since this was asked last.
    pub fn take_frames(&mut self) -> u64 {
        std::mem::take(&mut self.frames)
    }

    /// Says farewell and waits until the server has closed.
    pub async fn close(mut self) {
        if self.has_handshake && self.send(&Packet::Disconnect(Disconnect::default())).await.is_err() {
            return;
        }
        if let Ok(()) | Err(Error::ConnectionClosed) = self.socket.close(None).await {
            while let Some(Ok(_)) = self.socket.next().await {}
        }
    }
}
