//! A session in memory: what is stored of it in numbers, and, while it is connected, what is under way.

use crate::store::{
    Changes, MessageRow, MessageState, MessagesSummary, Phase, Received, StoreError, append, decode_next, encode,
    without_version,
};
use iot_types::{ClientId, PacketId, Qos, UnixMillis};
use messages::address::BrokerId;
use messages::broker::ConnectionId;
use messages::publication::{MessageId, Publication};
use messages::session::Outgoing;
use mqtt_session::{Delivery, Entry, Outbound, Phase as OutboundPhase, Sending};
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
    /// The row of the last message that is only stored: one that follows in the same transaction joins it.
    pub open_row: Option<u64>,
    /// The names of messages for QoS 2: those that wait, are under way, or are among the last.
    pub message_ids: BTreeSet<MessageId>,
    /// The last messages of QoS 2 that were delivered, with their sequences.
    pub recent: VecDeque<(u64, MessageId)>,
    /// While the session is connected.
    pub online: Option<Box<Online>>,
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
    pub client_id: Rc<ClientId>,
    pub broker: BrokerId,
    pub epoch: u64,
    pub connection: ConnectionId,
    pub number: u64,
    pub outbound: Outbound,
    /// What is in `outbound`, by sequence.
    pub facts: BTreeMap<u64, Fact>,
    /// The rows of what is in `facts`, by the sequences of the rows.
    pub rows: BTreeMap<u64, StoredRow>,
    /// Those of them that have to be written; perhaps some twice.
    pub dirty_rows: Vec<u64>,
    /// The row that was begun last: a message that follows in the same transaction joins it.
    pub open_row: Option<u64>,
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
    pub state: MessageState,
    /// The row that it is in, and what that says of it; `None` if it has no row.
    pub stored: Option<(u64, MessageState)>,
    /// The publisher's part that waits for it.
    pub wait: Option<u64>,
}

impl Fact {
    pub fn is_stored_as_it_is(&self) -> bool {
        self.stored.is_some_and(|(_, state)| state == self.state)
    }
}

/// What a row says of its messages.
#[derive(Debug, Default)]
pub(crate) struct StoredRow {
    pub states: Vec<Option<MessageState>>,
    pub weight: u64,
}

impl StoredRow {
    pub fn of(row: &MessageRow) -> Self {
        Self { states: row.states.clone(), weight: row.weight }
    }

    /// The row of this first sequence says `state` of a message, or that it is gone.
    pub fn note(&mut self, first: u64, sequence: u64, state: Option<MessageState>, weight: u64) {
        let place = usize::try_from(sequence.saturating_sub(first)).unwrap_or(usize::MAX);
        if let Some(noted) = self.states.get_mut(place) {
            if state.is_none_or(|state| state.phase == Phase::Done) {
                self.weight = self.weight.saturating_sub(weight);
            }
            *noted = state;
        }
    }
}

/// A message in the bytes of a row.
#[derive(Debug, Deserialize)]
struct Stored {
    qos: Qos,
    retain: bool,
    subscription_identifiers: Vec<u32>,
    publication: Publication,
}

/// The same, to be written.
#[derive(Debug, Serialize)]
struct Storing<'a> {
    qos: Qos,
    retain: bool,
    subscription_identifiers: &'a [u32],
    publication: &'a Publication,
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
    /// What a row says of a message changes.
    pub fn note(&mut self, row: u64, sequence: u64, state: Option<MessageState>, weight: u64) {
        if let Some(stored) = self.rows.get_mut(&row) {
            stored.note(row, sequence, state, weight);
            if self.dirty_rows.last() != Some(&row) {
                self.dirty_rows.push(row);
            }
        }
    }

    /// Takes messages of a row into memory.
    pub fn restore(
        &mut self,
        row: &MessageRow,
        is_wanted: impl Fn(u64, MessageState) -> bool,
    ) -> Result<(), StoreError> {
        self.rows.entry(row.sequence).or_insert_with(|| StoredRow::of(row));
        let mut rest = without_version(&row.bytes)?;
        for (sequence, state) in (row.sequence..).zip(&row.states) {
            let message: Stored = decode_next(&mut rest)?;
            let Some(state) = state.filter(|state| is_wanted(sequence, *state)) else { continue };
            let Stored { qos, retain, subscription_identifiers, publication } = message;
            let fact = Fact {
                weight: publication.weight() as u64,
                message_id: row.message_id,
                qos,
                state,
                stored: Some((row.sequence, state)),
                wait: None,
            };
            self.facts.insert(sequence, fact);
            let phase = match state.phase {
                Phase::Waiting => OutboundPhase::Waiting,
                Phase::Published => OutboundPhase::Published,
                Phase::Released | Phase::Done => OutboundPhase::Released,
            };
            let delivery = Delivery { publication: Rc::new(publication), qos, retain, subscription_identifiers };
            self.outbound.restore_entry(Entry { sequence, packet_id: state.packet_id, phase, delivery });
        }
        Ok(())
    }

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

/// Inserts a message, into the row `joining` if that has been begun in the same transaction and ends right before it.
/// Gives the sequence of its row.
pub(crate) fn put_message(
    changes: &mut Changes,
    client_id: &ClientId,
    sequence: u64,
    state: MessageState,
    delivery: &Delivery,
    joining: Option<u64>,
) -> Result<u64, StoreError> {
    let publication = &*delivery.publication;
    let interval = publication.properties.as_ref().and_then(|properties| properties.message_expiry_interval);
    let message_id = name_of(delivery);
    let weight = publication.weight() as u64;
    let storing = Storing {
        qos: delivery.qos,
        retain: delivery.retain,
        subscription_identifiers: &delivery.subscription_identifiers,
        publication,
    };
    if interval.is_none()
        && delivery.qos == Qos::AtLeastOnce
        && let Some(joining) = joining
        && let Some(row) = changes.joinable(client_id, joining, sequence)
    {
        append(&mut row.bytes, &storing)?;
        row.states.push(Some(state));
        row.weight += weight;
        return Ok(joining);
    }
    changes.put_row(MessageRow {
        client_id: client_id.clone(),
        sequence,
        states: vec![Some(state)],
        message_id,
        weight,
        expires_at: interval.map(|secs| publication.accepted_at.plus_secs(secs.into())),
        bytes: encode(&storing)?,
    });
    Ok(sequence)
}

/// The packet for a message.
pub(crate) fn publish(sending: Sending) -> Outgoing {
    let Delivery { publication, qos, retain, subscription_identifiers } = sending.delivery;
    Outgoing::Publish {
        packet_id: sending.packet_id,
        dup: sending.dup,
        qos,
        retain,
        subscription_identifiers,
        publication: Rc::unwrap_or_clone(publication),
    }
}
