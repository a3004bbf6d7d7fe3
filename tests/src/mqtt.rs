//! MQTT over a WebSocket, byte for byte: a client that may break every rule.

use crate::platform::Contract;
use crate::within;
use futures_util::{SinkExt as _, StreamExt as _};
use std::collections::VecDeque;
use std::fmt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};

/// The two versions, by their protocol level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V4 = 4,
    /// MQTT 5.0.
    V5 = 5,
}

/// What a client hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// One packet, whole.
    Packet(Vec<u8>),
    /// The WebSocket ended, with this close code if any.
    Closed(Option<u16>),
}

impl Heard {
    /// `connack 84`, `suback 80`, `disconnect 81`, `closed 1002`: the kind, then its reason codes.
    #[must_use]
    pub fn describe(&self, version: Version) -> String {
        let packet = match self {
            Self::Closed(code) => return code.map_or("closed".into(), |code| format!("closed {code}")),
            Self::Packet(packet) => packet,
        };
        let is_v5 = version == Version::V5;
        let body = &packet[packet.iter().skip(1).position(|byte| byte & 0x80 == 0).unwrap() + 2..];
        let (kind, codes): (&str, &[u8]) = match packet[0] >> 4 {
            2 => ("connack", &body[1..2]),
            3 => ("publish", &[]),
            // a Reason Code of 0 may be left out
            kind @ 4..=7 => {
                let name = ["puback", "pubrec", "pubrel", "pubcomp"][usize::from(kind) - 4];
                (name, if is_v5 { body.get(2..3).unwrap_or(&[0]) } else { &[] })
            }
            9 if is_v5 => ("suback", &body[3 + usize::from(body[2])..]),
            9 => ("suback", &body[2..]),
            11 if is_v5 => ("unsuback", &body[3 + usize::from(body[2])..]),
            11 => ("unsuback", &[]),
            13 => ("pingresp", &[]),
            14 => ("disconnect", body.get(..1).unwrap_or(&[0])),
            _ => return format!("packet {packet:02x?}"),
        };
        codes.iter().fold(kind.to_owned(), |text, code| format!("{text} {code:02x}"))
    }
}

/// A WebSocket on which a test says exactly what it wants.
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    bytes: Vec<u8>,
    heard: VecDeque<Heard>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl Socket {
    /// Opens one, with headers of the test's own, or says with which HTTP status it was refused.
    ///
    /// # Errors
    /// The status of a refusal.
    ///
    /// # Panics
    /// When the platform does not answer.
    pub async fn open(contract: &Contract, url: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let mut request = url.into_client_request().unwrap();
        for (name, value) in [("sec-websocket-protocol", "mqtt")].iter().chain(headers) {
            let name: tungstenite::http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(contract.authority()).await.expect("the platform does not listen");
        match within("the upgrade", tokio_tungstenite::client_async(request, stream)).await {
            Ok((stream, _)) => Ok(Self { stream, bytes: Vec::new(), heard: VecDeque::new() }),
            Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends one binary frame. That the other side has closed is no failure: what was heard says so.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.send(Message::binary(bytes.to_vec())).await;
    }

    /// Sends one text frame.
    pub async fn send_text(&mut self, text: &str) {
        let _ = self.stream.send(Message::text(text)).await;
    }

    /// The next packet, or the end.
    ///
    /// # Panics
    /// When neither comes in time.
    pub async fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            match within("an answer", self.stream.next()).await {
                Some(Ok(Message::Binary(bytes))) => {
                    self.bytes.extend_from_slice(&bytes);
                    while let Some(length) = packet_length(&self.bytes) {
                        let rest = self.bytes.split_off(length);
                        self.heard.push_back(Heard::Packet(std::mem::replace(&mut self.bytes, rest)));
                    }
                }
                Some(Ok(Message::Close(frame))) => return Heard::Closed(frame.map(|frame| frame.code.into())),
                Some(Ok(Message::Text(text))) => panic!("a text frame from the platform: {text}"),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Heard::Closed(None),
            }
        }
    }
}

/// How long the first packet is, if it is whole.
fn packet_length(bytes: &[u8]) -> Option<usize> {
    let mut remaining = 0;
    for (index, byte) in bytes.iter().skip(1).take(4).enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let length = index + 2 + remaining;
            return (bytes.len() >= length).then_some(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_described_by_its_kind_and_reason_codes() {
        use Version::{V4, V5};
        for (version, packet, described) in [
            (V4, vec![0x20, 2, 0, 5], "connack 05"),
            (V5, vec![0x20, 3, 0, 0x84, 0], "connack 84"),
            (V4, vec![0x90, 4, 0, 1, 0x80, 1], "suback 80 01"),
            (V5, vec![0x90, 5, 0, 1, 0, 0x8F, 1], "suback 8f 01"),
            (V4, vec![0x40, 2, 0, 1], "puback"),
            (V5, vec![0x40, 2, 0, 1], "puback 00"),
            (V5, vec![0x40, 4, 0, 1, 0x90, 0], "puback 90"),
            (V5, vec![0xE0, 2, 0x82, 0], "disconnect 82"),
            (V4, vec![0xD0, 0], "pingresp"),
        ] {
            assert_eq!(packet_length(&packet), Some(packet.len()));
            assert_eq!(Heard::Packet(packet).describe(version), described);
        }
        assert_eq!(Heard::Closed(Some(1002)).describe(V4), "closed 1002");
    }
}
