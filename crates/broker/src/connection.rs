//! One socket of the node and what the node knows about it.

use crate::attachment::Attachment;
use crate::frames::{Chain, Frames};
use crate::permissions::{Permissions, PermissionsRecord, Receipt};
use bytes::{Bytes, BytesMut};
use device_auth::internal_header::ConnectionGrant;
use iot_types::{ClientId, Qos, UnixMillis};
use messages::broker::ConnectionId;
use messages::publication::MessageId;
use messages::session::{Acknowledgement, Claim, Outgoing};
use mqtt_codec::{Decoder, Packet, ProtocolVersion, Publish, PublishTemplate, encode};
use mqtt_session::{Input as SessionInput, Session, SessionSettings};
use std::collections::{BTreeSet, VecDeque};

/// After the dirty mark was cleared, it is cleared again no sooner than this: a busy connection would otherwise
/// write its attachment with every message. In milliseconds.
const CLEAN_INTERVAL_MILLIS: u64 = 1_000;

pub struct Connection {
    pub id: ConnectionId,
    pub grant: ConnectionGrant,
    /// What the client may do; nothing until that is known.
    pub permissions: Option<Box<Permissions>>,
    pub session: Session,
    decoder: Decoder,
    /// Frames that the decoder has not had yet: it copies what it is given before it has finished.
    frames: VecDeque<Bytes>,
    frame_bytes: usize,
    /// What of [`Connection::backlog_bytes`] the node has counted.
    pub counted_backlog: usize,
    /// The socket is gone; what it sent before is still worked on.
    pub is_lost: bool,
    /// What is sent is encoded in it.
    version: ProtocolVersion,
    /// Whose it is, once the claim is granted; also after its session has ended.
    pub client_id: Option<ClientId>,
    /// Whether its session outlives it; also after it has ended: what the client sent before is still worked on.
    pub is_durable: bool,
    /// Between CONNECT and CONNACK.
    pub claiming: Option<Box<Claiming>>,
    /// The number that the claim was granted with.
    pub number: Option<u64>,
    /// Publishes given to the node that are not settled.
    pub pending: usize,
    /// How many of them only wait for other Brokers: nothing has to come before what follows them.
    pub forwarded: usize,
    /// Bytes of all that are pending.
    pub pending_bytes: usize,
    /// What the client acknowledged, for the Sessions shard that sent it, in this tick.
    pub acknowledgements: Vec<Acknowledgement>,
    /// How many times the Sessions shard was told of some and has not answered.
    pub acknowledging: usize,
    /// The filters of a session that outlives its connection. The session forgets what is unsubscribed before the
    /// Sessions shard has been asked.
    pub durable_filters: BTreeSet<String>,
    /// Whether its end is to be told at once: with it comes a will, or the packets of its session go elsewhere.
    pub is_ending_urgent: bool,
    /// Whether the Will Message is not to be published, whatever the ending.
    pub prevents_will: bool,
    /// The last message of QoS 2 that was given a name.
    last_message: u64,
    /// Bytes sent since the client was last heard.
    unheard_bytes: usize,
    /// What the client is sent at the end of the tick and shares with others; `None` while there is some of its own.
    shared: Chain,
    /// The same, of its own.
    sending: BytesMut,
    stale: bool,
    saved_dirty: bool,
    saved_heard: UnixMillis,
    cleaned_at: UnixMillis,
}

/// A CONNECT on its way to CONNACK.
pub struct Claiming {
    pub client_id: ClientId,
    /// Whether the client id was assigned ([MQTT-3.1.3-6]).
    pub is_assigned: bool,
    pub claim: Claim,
    /// Whether CONNECT had a password.
    pub has_password: bool,
    /// Authentication Data for the CONNACK.
    pub authentication_data: Option<Bytes>,
    /// Whether the Sessions shard has been asked: from then on there is something to give back.
    pub is_asked: bool,
    /// Packets that the Sessions shard sent before its grant, with the number they were sent for.
    early: Vec<(u64, Vec<Outgoing>)>,
    early_bytes: usize,
}

impl Claiming {
    pub const fn new(client_id: ClientId, is_assigned: bool, claim: Claim) -> Self {
        Self {
            client_id,
            is_assigned,
            claim,
            has_password: false,
            authentication_data: None,
            is_asked: false,
            early: Vec::new(),
            early_bytes: 0,
        }
    }

    /// Keeps packets until the grant comes; `false` when there are too many.
    pub fn keep_early(&mut self, number: u64, packets: Vec<Outgoing>, maximum_bytes: usize) -> bool {
        let bytes: usize = packets
            .iter()
            .map(|packet| match packet {
                Outgoing::Publish { publication, .. } => publication.weight(),
                Outgoing::PubRel { .. } => 8,
            })
            .sum();
        if self.early_bytes > 0 && self.early_bytes + bytes > maximum_bytes {
            return false;
        }
        self.early_bytes += bytes;
        self.early.push((number, packets));
        true
    }

    /// What came early for this number.
    pub fn take_early(&mut self, number: u64) -> Vec<Outgoing> {
        core::mem::take(&mut self.early).into_iter().filter(|(of, _)| *of == number).flat_map(|(_, p)| p).collect()
    }
}

impl Connection {
    /// When something is due because of this client.
    pub fn next_timeout(&self) -> Option<UnixMillis> {
        let lease = self.grant.lease.map(|lease| lease.refresh_at.min(lease.ends_at));
        self.session.next_timeout().into_iter().chain(lease).min()
    }

    pub fn new(id: ConnectionId, grant: ConnectionGrant, settings: SessionSettings, now: UnixMillis) -> Self {
        let decoder = Decoder::new(settings.maximum_packet_size);
        Self::with(id, grant, Session::new(settings, now), decoder, now)
    }

    fn with(id: ConnectionId, grant: ConnectionGrant, session: Session, decoder: Decoder, now: UnixMillis) -> Self {
        Self {
            id,
            grant,
            permissions: None,
            session,
            version: decoder.version().unwrap_or(ProtocolVersion::V3_1_1),
            decoder,
            frames: VecDeque::new(),
            frame_bytes: 0,
            counted_backlog: 0,
            is_lost: false,
            client_id: None,
            is_durable: false,
            claiming: None,
            number: None,
            pending: 0,
            forwarded: 0,
            pending_bytes: 0,
            acknowledgements: Vec::new(),
            acknowledging: 0,
            durable_filters: BTreeSet::new(),
            is_ending_urgent: true,
            prevents_will: false,
            last_message: 0,
            unheard_bytes: 0,
            shared: None,
            sending: BytesMut::new(),
            stale: false,
            saved_dirty: false,
            saved_heard: now,
            cleaned_at: UnixMillis(0),
        }
    }

    /// The connection as it was when its attachment was saved; `None` if it had not got as far as CONNACK, or if it is
    /// not known any more what it may do.
    pub fn restore(
        attachment: Attachment,
        settings: SessionSettings,
        now: UnixMillis,
        permissions: impl FnOnce(PermissionsRecord) -> Option<Permissions>,
    ) -> Option<Self> {
        let permissions = permissions(attachment.permissions?)?;
        let snapshot = attachment.session?;
        let version = if snapshot.is_v5 { ProtocolVersion::V5 } else { ProtocolVersion::V3_1_1 };
        let (saved_heard, saved_dirty) = (snapshot.last_heard, snapshot.is_dirty);
        let decoder = Decoder::restore(settings.maximum_packet_size, Some(version), Bytes::new());
        let session = Session::restore(settings, snapshot);
        let mut connection = Self::with(attachment.connection, attachment.grant, session, decoder, now);
        connection.permissions = Some(Box::new(permissions));
        connection.client_id = connection.session.client_id().cloned();
        connection.number = attachment.number;
        connection.is_durable = connection.session.is_durable();
        if connection.is_durable {
            let filters = connection.session.subscriptions().map(|(filter, _)| filter.to_owned()).collect();
            connection.durable_filters = filters;
        }
        connection.saved_dirty = saved_dirty;
        connection.saved_heard = saved_heard;
        Some(connection)
    }

    /// Takes a frame, to be worked on by and by.
    pub fn push(&mut self, bytes: Bytes) {
        self.frame_bytes += bytes.len();
        self.frames.push_back(bytes);
    }

    /// What the bytes received so far say next.
    pub fn next_input(&mut self) -> Option<SessionInput> {
        let mut answer_version = None;
        let input = loop {
            match self.decoder.next_packet() {
                Ok(Some(packet)) => break SessionInput::Packet(packet),
                Ok(None) => {
                    let frame = self.frames.pop_front()?;
                    self.frame_bytes = self.frame_bytes.saturating_sub(frame.len());
                    self.decoder.push(frame);
                }
                Err(error) => {
                    // Whoever asks for a version that isn't spoken here is told so in one that it can read.
                    answer_version = error.answer_version();
                    break SessionInput::Undecodable(error);
                }
            }
        };
        if let Some(version) = self.decoder.version().or(answer_version) {
            self.version = version;
        }
        Some(input)
    }

    /// Bytes received and not yet worked on, the beginning of a packet included.
    pub fn backlog_bytes(&self) -> usize {
        self.frame_bytes + self.decoder.remainder().len()
    }

    /// The client said something.
    pub const fn heard(&mut self) {
        self.unheard_bytes = 0;
    }

    /// Bytes sent since the client was last heard.
    pub const fn unheard_bytes(&self) -> usize {
        self.unheard_bytes
    }

    /// Counts bytes that were not sent, because too many were before them.
    pub const fn note_unheard(&mut self, bytes: usize) {
        self.unheard_bytes = self.unheard_bytes.saturating_add(bytes);
    }

    /// Whether the client id is the connection's, or will be once the answer to its claim has come.
    pub fn is_of(&self, client_id: &ClientId) -> bool {
        let claiming = self.claiming.as_ref().map(|claiming| &claiming.client_id);
        self.session.client_id().or(claiming) == Some(client_id)
    }

    /// A name for a message of QoS 2 that this connection publishes, unlike any other's.
    ///
    /// Numbers of different clients may be the same, so the client id's hash is part of it; the rest counts, and begins
    /// ahead of whatever was counted before a sleep: sixteen a millisecond, which is more than any connection publishes
    /// over the time that it takes to fall asleep.
    pub fn next_message_id(&mut self, now: UnixMillis) -> Option<MessageId> {
        const COUNTER_BITS: u32 = 44;
        let origin = self.number?;
        let mut hash =
            self.client_id.as_ref()?.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        // Short ids leave the upper bits almost alone.
        hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let since = now.0.saturating_sub(origin).saturating_mul(16) & ((1 << COUNTER_BITS) - 1);
        self.last_message = since.max(self.last_message + 1);
        Some(MessageId { origin, number: (hash >> COUNTER_BITS) << COUNTER_BITS | self.last_message })
    }

    /// The protocol version that the client is spoken to in.
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Adds a packet to the frame that leaves at the end of the tick.
    pub fn send(&mut self, packet: &Packet, frames: &mut Frames) {
        self.unshare(frames);
        let before = self.sending.len();
        encode(packet, self.version, &mut self.sending);
        self.unheard_bytes += self.sending.len() - before;
    }

    /// The same with a PUBLISH, written with QoS 0 if it has no packet identifier.
    pub fn send_publish(&mut self, publish: &Publish, frames: &mut Frames) {
        self.unshare(frames);
        let before = self.sending.len();
        publish.encode(self.version, &mut self.sending);
        self.unheard_bytes += self.sending.len() - before;
    }

    /// The same with a packet of which others get the most, too.
    pub fn send_template(
        &mut self,
        template: &PublishTemplate,
        delivery: &mqtt_codec::Delivery<'_>,
        frames: &mut Frames,
    ) {
        self.unshare(frames);
        let before = self.sending.len();
        template.encode(delivery, &mut self.sending);
        self.unheard_bytes += self.sending.len() - before;
    }

    /// The same with a packet that others get, too, in this client's protocol version.
    pub fn send_shared(&mut self, packet: &Bytes, frames: &mut Frames) {
        self.unheard_bytes += packet.len();
        if self.sending.is_empty() {
            self.shared = frames.with(self.shared, packet);
        } else {
            self.sending.extend_from_slice(packet);
        }
    }

    /// Whether there is a frame for the end of the tick.
    pub fn has_frame(&self) -> bool {
        self.shared.is_some() || !self.sending.is_empty()
    }

    fn unshare(&mut self, frames: &mut Frames) {
        if self.shared.is_some() {
            self.sending.extend_from_slice(&frames.frame(self.shared.take()));
        }
    }

    /// The frame to send, if there is anything in it.
    pub fn take_frame(&mut self, frames: &mut Frames) -> Option<Bytes> {
        if self.shared.is_some() {
            return Some(frames.frame(self.shared.take()));
        }
        (!self.sending.is_empty()).then(|| self.sending.split().freeze())
    }

    /// The number of the policies that say what the client may do; `None` if none do, or none are known.
    pub fn set_number(&self) -> Option<u64> {
        self.permissions.as_ref().and_then(|permissions| permissions.set_number())
    }

    /// Whether the client may publish to a topic.
    pub fn may_publish(&mut self, now: UnixMillis, topic: &str, is_retained: bool) -> bool {
        self.permissions.as_mut().is_some_and(|permissions| permissions.may_publish(now, topic, is_retained))
    }

    /// Whether the client may subscribe to a filter.
    pub fn may_subscribe(&self, now: UnixMillis, filter: &str) -> bool {
        self.permissions.as_ref().is_some_and(|permissions| permissions.may_subscribe(now, filter))
    }

    /// Whether the client may receive messages of a topic.
    pub fn may_receive(&self, now: UnixMillis, topic: &str) -> Receipt {
        let nothing = Receipt { is_allowed: false, is_lasting: true };
        self.permissions.as_ref().map_or(nothing, |permissions| permissions.may_receive(now, topic))
    }

    /// Whether a message would at least be queued.
    pub fn can_take(&self, qos: Qos, weight: usize) -> bool {
        qos == Qos::AtMostOnce || self.session.can_take(weight)
    }

    /// Whether a message would be sent to the client at once.
    pub fn has_room(&self, qos: Qos) -> bool {
        qos == Qos::AtMostOnce || self.session.has_room()
    }

    /// The attachment has to be written again: something durable about the session changed.
    pub const fn mark_stale(&mut self) {
        self.stale = true;
    }

    /// Whether the Sessions shard may not know all that the client has acknowledged.
    pub const fn is_acknowledging(&self) -> bool {
        !self.acknowledgements.is_empty() || self.acknowledging > 0
    }

    /// Whether nothing about the connection would be lost if the node forgot it now.
    pub fn is_at_rest(&self) -> bool {
        self.session.is_at_rest() && self.backlog_bytes() == 0 && self.pending == 0 && !self.is_acknowledging()
    }

    /// Whether the saved attachment still says that something is under way.
    pub const fn is_marked_dirty(&self) -> bool {
        self.saved_dirty
    }

    /// The attachment to save now, if the saved one would mislead a node that wakes up with it.
    pub fn attachment_to_save(&mut self, epoch: u64, now: UnixMillis) -> Option<Vec<u8>> {
        self.stale |= self.session.take_changed();
        let dirty = !self.is_at_rest();
        let quarter = u64::from(self.session.keep_alive()) * 250;
        let heard_is_old = quarter > 0 && self.session.last_heard().millis_since(self.saved_heard) > quarter;
        let becomes_dirty = dirty && !self.saved_dirty;
        let may_clean = !dirty && self.saved_dirty && now.millis_since(self.cleaned_at) >= CLEAN_INTERVAL_MILLIS;
        if !(self.stale || heard_is_old || becomes_dirty || may_clean) {
            return None;
        }
        let mut snapshot = self.session.snapshot()?;
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
            permissions: self.permissions.as_ref().map(|permissions| permissions.record()),
            session: Some(snapshot),
        };
        Some(attachment.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_session::SessionSettings;

    fn opened() -> Connection {
        let grant = ConnectionGrant {
            principal: None,
            source_ip: None,
            trace_id: "t".into(),
            host: "h".into(),
            ..ConnectionGrant::default()
        };
        Connection::new(ConnectionId(1), grant, SessionSettings::STANDARD, UnixMillis(1))
    }

    #[test]
    fn frames_wait_outside_the_decoder_and_count_until_they_are_read() {
        let mut connection = opened();
        for byte in [0x10, 0x00] {
            connection.push(Bytes::copy_from_slice(&[byte]));
        }
        assert_eq!(connection.backlog_bytes(), 2);
        assert!(matches!(connection.next_input(), Some(SessionInput::Undecodable(_))), "a CONNECT without a body");
        assert!(!connection.is_at_rest(), "before CONNACK nothing is");
    }
}
