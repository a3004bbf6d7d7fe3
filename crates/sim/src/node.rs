//! A Broker's object: its memory, its sockets with their attachments, its one row, its timer and its alarm.

use crate::client::ClientKey;
use broker::{Attachment, Broker, BrokerSettings};
use iot_types::UnixMillis;
use messages::address::BrokerId;
use messages::broker::ConnectionId;
use std::collections::BTreeMap;

/// The server's end of a WebSocket.
#[derive(Debug)]
pub struct Socket {
    pub client: ClientKey,
    pub attachment: Option<Vec<u8>>,
}

pub struct Node {
    settings: BrokerSettings,
    pub memory: Option<Broker>,
    /// Counts the memories, so that an answer meant for an earlier one finds nobody.
    pub life: u64,
    /// The row.
    epoch: u64,
    pub sockets: BTreeMap<ConnectionId, Socket>,
    next_connection: u64,
    is_fresh: bool,
    pub is_ticking: bool,
    /// Rows written: its epoch, and attachments too large for their sockets.
    pub rows_written: u64,
    /// Queue messages that have no answer yet.
    pub enqueuing: u64,
    /// The timer that counts; earlier ones are void.
    pub timer: u64,
    pub alarm_at: Option<UnixMillis>,
    born_at: UnixMillis,
    /// Whether another instance has taken its name: its storage is not its own any more, so it has no rows to come back
    /// from and no alarm.
    pub is_zombie: bool,
}

impl Node {
    pub const fn new(settings: BrokerSettings) -> Self {
        Self {
            settings,
            memory: None,
            life: 0,
            epoch: 0,
            sockets: BTreeMap::new(),
            next_connection: 0,
            is_fresh: false,
            is_ticking: false,
            rows_written: 0,
            enqueuing: 0,
            timer: 0,
            alarm_at: None,
            born_at: UnixMillis(0),
            is_zombie: false,
        }
    }

    /// Whose instance it is.
    pub const fn broker_id(&self) -> &BrokerId {
        &self.settings.id
    }

    /// The instance that takes this one's name and storage. This one goes on with its memory and its sockets.
    pub fn replaced(&mut self) -> Self {
        self.is_zombie = true;
        self.alarm_at = None;
        let mut successor = Self::new(self.settings.clone());
        successor.epoch = self.epoch;
        successor.rows_written = self.rows_written;
        successor.born_at = self.born_at;
        successor
    }

    /// Whether it could lose its memory without anybody noticing.
    pub fn is_at_rest(&self) -> bool {
        !self.is_ticking && self.memory.as_ref().is_none_or(Broker::is_at_rest)
    }

    /// Builds the memory from what is stored, if there is none. Sockets that had not got as far as CONNACK are given
    /// back, to be closed.
    pub fn wake(&mut self, now: UnixMillis, keeps_epoch: bool) -> Vec<Socket> {
        if self.memory.is_some() || self.is_zombie {
            return Vec::new();
        }
        // Two memories never begin at the same moment: loading a module takes longer than a millisecond.
        self.born_at = now.max(self.born_at.plus_millis(1));
        // A number never comes back, not even in a later epoch: words from Sessions shards name connections by it.
        self.next_connection = self.born_at.0 * 1_000;
        let (mut woken, mut lost) = (Vec::new(), Vec::new());
        for (id, socket) in core::mem::take(&mut self.sockets) {
            match socket.attachment.as_deref().filter(|bytes| Attachment::decode(bytes).is_ok()) {
                Some(bytes) => {
                    woken.push((id, bytes.to_vec()));
                    self.sockets.insert(id, socket);
                }
                None => lost.push(socket),
            }
        }
        self.is_fresh = woken.is_empty();
        if self.is_fresh {
            // Whoever asks learns that the instance before is over; the others are told with the first connection.
            self.epoch += u64::from(!keeps_epoch || self.epoch == 0);
        }
        let mut memory = Broker::new(self.settings.clone(), self.epoch, self.born_at);
        memory.wake(now, woken);
        self.memory = Some(memory);
        lost
    }

    /// Takes a socket in. The memory must be there.
    pub fn admit(&mut self, client: ClientKey) -> ConnectionId {
        if core::mem::take(&mut self.is_fresh)
            && let Some(memory) = &mut self.memory
        {
            memory.begin_epoch(self.epoch);
        }
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.sockets.insert(id, Socket { client, attachment: None });
        id
    }

    /// The memory goes; sockets, rows and the alarm stay.
    pub fn forget(&mut self) {
        self.memory = None;
        self.life += 1;
        self.timer += 1;
        self.is_ticking = false;
        self.enqueuing = 0;
    }
}
