//! The node's connections: found quickly by their numbers, gone through in their order.

use crate::connection::Connection;
use messages::broker::ConnectionId;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

/// See the module.
#[derive(Default)]
pub struct Connections {
    /// In boxes, as they are large and the table grows.
    by_id: FxHashMap<ConnectionId, Box<Connection>>,
    ids: BTreeSet<ConnectionId>,
}

impl Connections {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub fn get(&self, id: &ConnectionId) -> Option<&Connection> {
        self.by_id.get(id).map(|connection| &**connection)
    }

    pub fn get_mut(&mut self, id: &ConnectionId) -> Option<&mut Connection> {
        self.by_id.get_mut(id).map(|connection| &mut **connection)
    }

    pub fn insert(&mut self, id: ConnectionId, connection: Connection) {
        self.by_id.insert(id, Box::new(connection));
        self.ids.insert(id);
    }

    pub fn remove(&mut self, id: &ConnectionId) -> Option<Connection> {
        self.ids.remove(id);
        self.by_id.remove(id).map(|connection| *connection)
    }

    /// Their numbers, rising.
    pub fn keys(&self) -> impl Iterator<Item = &ConnectionId> {
        self.ids.iter()
    }

    /// In the order of their numbers.
    pub fn values(&self) -> impl Iterator<Item = &Connection> {
        self.ids.iter().filter_map(|id| self.get(id))
    }

    /// In the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&ConnectionId, &Connection)> {
        self.ids.iter().filter_map(|id| Some((id, self.get(id)?)))
    }
}
