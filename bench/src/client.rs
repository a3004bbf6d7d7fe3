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
                let mut client = Self::dial(url, true).await?;
                client.handshake(login.clone(), client_id, topic, role).await?;
                Ok(client)
            }
            Endpoint::Relay { url } => {
                let role = if role == Role::Publisher { "publisher" } else { "subscriber" };
                Self::dial(&format!("{url}/{}/{role}", topic.replace('/', "-")), false).await
            }
        }
    }

    async fn dial(url: &str, has_handshake: bool) -> Result<Self> {
        let mut request = url.into_client_request()?;
        if has_handshake {
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("mqtt"));
        }
        let (socket, _) = connect_async_with_config(request, None, true).await.with_context(|| url.to_owned())?;
        let decoder = Decoder::restore(MAXIMUM_PACKET_SIZE, Some(VERSION), Bytes::new());
        Ok(Self { socket, decoder, has_handshake, frames: 0 })
    }

    async fn handshake(
        &mut self,
        login: Option<(String, String)>,
        client_id: String,
        topic: &str,
        role: Role,
    ) -> Result<()> {
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
            Packet::ConnAck(answer) if answer.reason_code == ReasonCode::Success => {}
            other => bail!("CONNECT was answered by {other:?}"),
        }
        let Role::Subscriber(qos) = role else { return Ok(()) };
        self.send(&Packet::Subscribe(Subscribe {
            packet_id: PacketId::FIRST,
            filters: vec![SubscriptionRequest::new(topic, qos)],
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
