//! A session in memory: what is stored of it in numbers, and, while it is connected, what is under way.

use crate::store::{MessageRow, MessagesSummary, Phase, Received, StoreError, decode, encode};
use iot_types::{ClientId, PacketId, Qos, UnixMillis};
use messages::address::BrokerId;
use messages::broker::ConnectionId;
use messages::publication::{MessageId, Publication};
use messages::session::Outgoing;
use mqtt_session::{Delivery, Outbound, Sending};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// A session in memory.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub next_sequence: u64,
    /// Messages that wait or are unacknowledged, stored or not.
    pub messages: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// The names of messages for QoS 2: those that wait, are under way, or are among the last.
    pub message_ids: BTreeSet<MessageId>,
    /// The last messages of QoS 2 that were delivered, with their sequences.
    pub recent: VecDeque<(u64, MessageId)>,
    /// While the session is connected.
    pub online: Option<Online>,
    /// What the client publishes with QoS 2, once it has been read.
    pub received: Option<BTreeMap<PacketId, Received>>,
    /// Whether the last message was dropped for want of room.
    pub is_dropping: bool,
    /// When expired messages were last looked for.
    pub expired_at: UnixMillis,
}

/// The connected half.
#[derive(Debug)]
pub(crate) struct Online {
    pub broker: BrokerId,
    pub epoch: u64,
    pub connection: ConnectionId,
    pub number: u64,
    pub outbound: Outbound,
    /// What is in `outbound`, by sequence.
    pub facts: BTreeMap<u64, Fact>,
    /// Stored messages after this sequence wait and are not in `outbound`; `None` if there are none. Those up to it
    /// all are. New ones are stored behind them, so that nothing overtakes.
    pub backlog_after: Option<u64>,
    /// Where the block of packet identifiers begins that is in use, once there is one.
    pub packet_ids_from: Option<u16>,
    /// Packets for the client that aren't on their way.
    pub outgoing: Vec<Outgoing>,
    pub outgoing_bytes: usize,
}

/// What is known of a message that waits or is under way.
#[derive(Debug)]
pub(crate) struct Fact {
    pub weight: u64,
    /// If it is for QoS 2.
    pub message_id: Option<MessageId>,
    pub qos: Qos,
    pub packet_id: Option<PacketId>,
    pub phase: Phase,
    /// What its row says of the packet identifier and phase; `None` if it has no row.
    pub stored: Option<(Option<PacketId>, Phase)>,
    /// The publisher's part that waits for it.
    pub wait: Option<u64>,
}

impl Fact {
    pub fn is_stored_as_it_is(&self) -> bool {
        self.stored == Some((self.packet_id, self.phase))
    }
}

/// The bytes of a message's row.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    qos: Qos,
    retain: bool,
    subscription_identifiers: Vec<u32>,
    publication: Publication,
}

impl Live {
    pub fn of_summary(summary: MessagesSummary) -> Self {
        let recent =
            summary.message_ids.iter().filter(|(.., is_done)| *is_done).map(|(sequence, id, _)| (*sequence, *id));
        Self {
            next_sequence: summary.last_sequence.saturating_add(1),
            messages: summary.messages,
            bytes: summary.bytes,
            recent: recent.collect(),
            message_ids: summary.message_ids.into_iter().map(|(_, id, _)| id).collect(),
            ..Self::default()
        }
    }
}

impl Online {
    /// Adds packets for the client.
    pub fn say(&mut self, packet: Outgoing) {
        self.outgoing_bytes += match &packet {
            Outgoing::Publish { publication, .. } => publication.weight(),
            Outgoing::PubRel { .. } => 8,
        };
        self.outgoing.push(packet);
    }

    /// Takes the packets that fit into one request, one at least.
    pub fn take_outgoing(&mut self, maximum_bytes: usize) -> Vec<Outgoing> {
        let mut bytes = 0;
        let count = self.outgoing.iter().position(|packet| {
            let Outgoing::Publish { publication, .. } = packet else { return false };
            bytes += publication.weight();
            bytes > maximum_bytes
        });
        let rest = count.map_or_else(Vec::new, |count| self.outgoing.split_off(count.max(1)));
        if rest.is_empty() {
            self.outgoing_bytes = 0;
        }
        std::mem::replace(&mut self.outgoing, rest)
    }
}

/// The name of a message that must arrive once.
pub(crate) fn name_of(delivery: &Delivery) -> Option<MessageId> {
    delivery.publication.message_id.filter(|_| delivery.qos == Qos::ExactlyOnce)
}

pub(crate) fn row_of(
    client_id: &ClientId,
    sequence: u64,
    (packet_id, phase): (Option<PacketId>, Phase),
    delivery: &Delivery,
) -> Result<MessageRow, StoreError> {
    let publication = &delivery.publication;
    let interval = publication.properties.as_ref().and_then(|properties| properties.message_expiry_interval);
    let stored = Stored {
        qos: delivery.qos,
        retain: delivery.retain,
        subscription_identifiers: delivery.subscription_identifiers.clone(),
        publication: Publication::clone(publication),
    };
    Ok(MessageRow {
        client_id: client_id.clone(),
        sequence,
        packet_id,
        phase,
        message_id: name_of(delivery),
        weight: publication.weight() as u64,
        expires_at: interval.map(|secs| publication.accepted_at.plus_secs(secs.into())),
        bytes: encode(&stored)?,
    })
}

pub(crate) fn delivery_of(row: &MessageRow) -> Result<Delivery, StoreError> {
    let Stored { qos, retain, subscription_identifiers, publication } = decode(&row.bytes)?;
    Ok(Delivery { publication: Rc::new(publication), qos, retain, subscription_identifiers })
}

/// The packet for a message.
pub(crate) fn publish(sending: &Sending) -> Outgoing {
    let delivery = &sending.delivery;
    Outgoing::Publish {
        packet_id: sending.packet_id,
        dup: sending.dup,
        qos: delivery.qos,
        retain: delivery.retain,
        subscription_identifiers: delivery.subscription_identifiers.clone(),
        publication: Publication::clone(&delivery.publication),
    }
}
