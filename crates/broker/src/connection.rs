//! One socket of the node and what the node knows about it.

use crate::attachment::Attachment;
use bytes::BytesMut;
use device_auth::internal_header::ConnectionGrant;
use iot_types::{ClientId, UnixMillis};
use messages::broker::ConnectionId;
use mqtt_codec::{Decoder, Packet, ProtocolVersion, encode};
use mqtt_session::{Input as SessionInput, Session, SessionSettings};

/// After the dirty mark was cleared, it is cleared again no sooner than this: a busy connection would otherwise
/// write its attachment with every message. In milliseconds.
const CLEAN_INTERVAL_MILLIS: u64 = 1_000;

pub struct Connection {
    pub id: ConnectionId,
    pub grant: ConnectionGrant,
    pub session: Session,
    pub decoder: Decoder,
    /// What is sent is encoded in it.
    version: ProtocolVersion,
    /// The client id while its claim is under way, and whether it was assigned.
    pub claiming: Option<(ClientId, bool)>,
    /// The number that the claim was granted with.
    pub number: Option<u64>,
    /// Publishes given to the node that are not settled.
    pub pending: usize,
    /// Bytes of the same.
    pub pending_bytes: usize,
    sending: BytesMut,
    stale: bool,
    saved_dirty: bool,
    saved_heard: UnixMillis,
    cleaned_at: UnixMillis,
}

impl Connection {
    pub fn new(id: ConnectionId, grant: ConnectionGrant, settings: SessionSettings, now: UnixMillis) -> Self {
        Self {
            id,
            grant,
            session: Session::new(settings, now),
            decoder: Decoder::new(settings.maximum_packet_size),
            version: ProtocolVersion::V3_1_1,
            claiming: None,
            number: None,
            pending: 0,
            pending_bytes: 0,
            sending: BytesMut::new(),
            stale: false,
            saved_dirty: false,
            saved_heard: now,
            cleaned_at: UnixMillis(0),
        }
    }

    /// The connection as it was when its attachment was saved; `None` if it had not got as far as CONNACK.
    pub fn restore(attachment: Attachment, settings: SessionSettings) -> Option<Self> {
        let snapshot = attachment.session?;
        let version = if snapshot.is_v5 { ProtocolVersion::V5 } else { ProtocolVersion::V3_1_1 };
        let (saved_heard, saved_dirty) = (snapshot.last_heard, snapshot.is_dirty);
        Some(Self {
            id: attachment.connection,
            grant: attachment.grant,
            session: Session::restore(settings, snapshot),
            decoder: Decoder::restore(settings.maximum_packet_size, Some(version), bytes::Bytes::new()),
            version,
            claiming: None,
            number: attachment.number,
            pending: 0,
            pending_bytes: 0,
            sending: BytesMut::new(),
            stale: false,
            saved_dirty,
            saved_heard,
            cleaned_at: UnixMillis(0),
        })
    }

    /// What the bytes received so far say next.
    pub fn next_input(&mut self) -> Option<SessionInput> {
        let mut answer_version = None;
        let input = match self.decoder.next_packet() {
            Ok(packet) => SessionInput::Packet(packet?),
            Err(error) => {
                // Whoever asks for a version that isn't spoken here is told so in one that it can read.
                answer_version = error.answer_version();
                SessionInput::Undecodable(error)
            }
        };
        if let Some(version) = self.decoder.version().or(answer_version) {
            self.version = version;
        }
        Some(input)
    }

    /// Whether the client id is the connection's, or will be once the answer to its claim has come.
    pub fn is_of(&self, client_id: &ClientId) -> bool {
        let claiming = self.claiming.as_ref().map(|(client_id, _)| client_id);
        self.session.client_id().or(claiming) == Some(client_id)
    }

    /// Adds a packet to the frame that leaves at the end of the tick.
    pub fn send(&mut self, packet: &Packet) {
        encode(packet, self.version, &mut self.sending);
    }

    /// The frame to send, if there is anything in it.
    pub fn take_frame(&mut self) -> Option<bytes::Bytes> {
        (!self.sending.is_empty()).then(|| self.sending.split().freeze())
    }

    /// The attachment has to be written again: something durable about the session changed.
    pub const fn mark_stale(&mut self) {
        self.stale = true;
    }

    /// Whether nothing about the connection would be lost if the node forgot it now.
    pub fn is_at_rest(&self) -> bool {
        self.session.is_at_rest() && self.decoder.remainder().is_empty() && self.pending == 0
    }

    /// Whether the saved attachment still says that something is under way.
    pub const fn is_marked_dirty(&self) -> bool {
        self.saved_dirty
    }

    /// The attachment to save now, if the saved one would mislead a node that wakes up with it.
    pub fn attachment_to_save(&mut self, epoch: u64, now: UnixMillis) -> Option<Vec<u8>> {
        let mut snapshot = self.session.snapshot()?;
        let dirty = !self.is_at_rest();
        let quarter = u64::from(self.session.keep_alive()) * 250;
        let heard_is_old = quarter > 0 && self.session.last_heard().millis_since(self.saved_heard) > quarter;
        let becomes_dirty = dirty && !self.saved_dirty;
        let may_clean = !dirty && self.saved_dirty && now.millis_since(self.cleaned_at) >= CLEAN_INTERVAL_MILLIS;
        if !(self.stale || heard_is_old || becomes_dirty || may_clean) {
            return None;
        }
        if may_clean {
            self.cleaned_at = now;
        }
        snapshot.is_dirty = dirty;
        self.stale = false;
        self.saved_dirty = dirty;
        self.saved_heard = self.session.last_heard();
        let attachment = Attachment {
            epoch,
            connection: self.id,
            number: self.number,
            grant: self.grant.clone(),
            session: Some(snapshot),
        };
        Some(attachment.encode())
    }
}
