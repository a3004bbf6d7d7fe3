//! One connection with MQTT 3.1.1 over WebSocket: packets out and in, and the handshakes.

use crate::servers::single::Single;
use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, SinkExt, StreamExt};
use iot_types::{PacketId, Qos};
use mqtt_codec::{
    ByteString, Connect, ConnectProperties, Decoder, Disconnect, Packet, ProtocolVersion, PubAck, Publish,
    PublishProperties, ReasonCode, Subscribe, SubscribeProperties, SubscriptionRequest, encode,
};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

const VERSION: ProtocolVersion = ProtocolVersion::V3_1_1;
const MAXIMUM_PACKET_SIZE: u32 = 1 << 20;
/// Seconds; longer than any run, so that no PINGREQ is needed.
const KEEP_ALIVE: u16 = 1_200;
/// A handshake that takes longer has failed. A SUBSCRIBE of many filters is work.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What becomes of a session when its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// It ends too, and none of before is taken up.
    Clean,
    /// It goes on.
    Durable,
}

/// An open connection.
pub struct Link {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    decoder: Decoder,
    /// WebSocket messages received.
    frames: u64,
    /// Bytes received since something was sent.
    unanswered: usize,
}

impl Link {
    /// Opens the WebSocket and says nothing.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn dial(url: &str) -> Result<Self> {
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("mqtt"));
        Self::dial_with(request, None).await
    }

    /// The same with a request of one's own.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn dial_with(request: Request, config: Option<WebSocketConfig>) -> Result<Self> {
        let url = request.uri().to_string();
        let dialled = timeout(ANSWER_WITHIN, connect_async_with_config(request, config, true)).await;
        let (socket, _) = dialled.context("the server is too slow to connect to")?.context(url)?;
        let decoder = Decoder::restore(MAXIMUM_PACKET_SIZE, Some(VERSION), Bytes::new());
        Ok(Self { socket, decoder, frames: 0, unanswered: 0 })
    }

    /// Opens the WebSocket and a session; whether there was one is not looked at.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open(server: &Single, client_id: &str, lasting: Lasting) -> Result<Self> {
        let mut link = Self::dial(&server.url).await?;
        link.connect(server.login.clone(), client_id, lasting).await?;
        Ok(link)
    }

    /// CONNECT, and waits for CONNACK. `login`: user name and password. Answers whether there was a session.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect(
        &mut self,
        login: Option<(String, String)>,
        client_id: &str,
        lasting: Lasting,
    ) -> Result<bool> {
        let (username, password) = login.unzip();
        self.say(&Packet::Connect(Box::new(Connect {
            version: VERSION,
            clean_start: lasting == Lasting::Clean,
            keep_alive: KEEP_ALIVE,
            client_id: client_id.into(),
            will: None,
            username: username.map(ByteString::from),
            password: password.map(Bytes::from),
            properties: ConnectProperties::default(),
        })))
        .await?;
        match self.answer().await? {
            Packet::ConnAck(answer) if answer.reason_code == ReasonCode::Success => Ok(answer.session_present),
            other => bail!("CONNECT was answered by {other:?}"),
        }
    }

    /// One SUBSCRIBE, and waits for its SUBACK.
    ///
    /// # Errors
    /// When the server refuses any of them.
    pub async fn subscribe(&mut self, filters: &[String], qos: Qos) -> Result<()> {
        let requests = filters.iter().map(|filter| SubscriptionRequest::new(filter.as_str(), qos));
        self.say(&Packet::Subscribe(Subscribe {
            packet_id: PacketId::FIRST,
            filters: requests.collect(),
            properties: SubscribeProperties::default(),
        }))
        .await?;
        match self.answer().await? {
            Packet::SubAck(answer) => {
                let is_granted = answer.reason_codes.iter().all(|code| code.as_u8() == qos.bits());
                ensure!(
                    is_granted && answer.reason_codes.len() == filters.len(),
                    "SUBSCRIBE was answered by {answer:?}"
                );
                Ok(())
            }
            other => bail!("SUBSCRIBE was answered by {other:?}"),
        }
    }

    /// A PUBLISH into the buffer, with QoS 1 if it has a packet identifier.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn feed_publish(
        &mut self,
        topic: &ByteString,
        packet_id: Option<PacketId>,
        payload: Bytes,
    ) -> Result<()> {
        let qos = if packet_id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce };
        let (topic, properties) = (topic.clone(), PublishProperties::default());
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

    /// A PUBACK into the buffer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn feed_puback(&mut self, packet_id: PacketId) -> Result<()> {
        self.feed(&Packet::PubAck(PubAck::new(packet_id))).await
    }

    /// Puts a packet into the buffer, as a WebSocket message of its own, as most clients do.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn feed(&mut self, packet: &Packet) -> Result<()> {
        let mut bytes = BytesMut::new();
        encode(packet, VERSION, &mut bytes);
        self.unanswered = 0;
        Ok(self.socket.feed(Message::Binary(bytes.freeze())).await?)
    }

    /// Sends what is in the buffer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn flush(&mut self) -> Result<()> {
        Ok(self.socket.flush().await?)
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn say(&mut self, packet: &Packet) -> Result<()> {
        self.feed(packet).await?;
        self.flush().await
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
                    self.unanswered += bytes.len();
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

    /// Bytes received since something was sent.
    pub const fn unanswered(&self) -> usize {
        self.unanswered
    }

    async fn answer(&mut self) -> Result<Packet> {
        timeout(ANSWER_WITHIN, self.next()).await.context("the server does not answer")?
    }

    /// PINGREQ, and waits for its answer; what else comes meanwhile is given to `take`.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn ping(&mut self, mut take: impl FnMut(Packet)) -> Result<()> {
        self.say(&Packet::PingReq).await?;
        loop {
            match self.answer().await? {
                Packet::PingResp => return Ok(()),
                other => take(other),
            }
        }
    }

    /// Says farewell and waits until the server has closed, for a while.
    pub async fn close(mut self) {
        if let Ok(Ok(())) = timeout(CLOSE_WITHIN, self.say(&Packet::Disconnect(Disconnect::default()))).await {
            self.hang_up().await;
        }
    }

    /// The same without a word.
    pub async fn hang_up(mut self) {
        let farewell = async {
            if let Ok(()) | Err(Error::ConnectionClosed) = self.socket.close(None).await {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        // a server that does not answer is left all the same
        let _ = timeout(CLOSE_WITHIN, farewell).await;
    }
}
