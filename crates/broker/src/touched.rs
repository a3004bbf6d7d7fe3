//! The connections that the end of the tick has to look at, each once, in the order in which they came into it.

use messages::broker::ConnectionId;
use rustc_hash::FxHashSet;

/// See the module.
#[derive(Default)]
pub struct Touched {
    order: Vec<ConnectionId>,
    known: FxHashSet<ConnectionId>,
}

impl Touched {
    /// Adds a connection, unless it is there.
    pub fn insert(&mut self, id: ConnectionId) {
        // The same one mostly comes several times in a row.
        if self.order.last() != Some(&id) && self.known.insert(id) {
            self.order.push(id);
        }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Takes all of them out.
    pub fn take(&mut self) -> Vec<ConnectionId> {
        self.known.clear();
        core::mem::take(&mut self.order)
    }

    /// Gives back the memory of what was taken out.
    pub fn reuse(&mut self, mut order: Vec<ConnectionId>) {
        if self.order.is_empty() {
            order.clear();
            self.order = order;
        }
    }
}

impl Extend<ConnectionId> for Touched {
    fn extend<T: IntoIterator<Item = ConnectionId>>(&mut self, ids: T) {
        ids.into_iter().for_each(|id| self.insert(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_once_and_in_the_order_of_its_first_time() {
        let mut touched = Touched::default();
        touched.extend([3, 1, 3, 2, 1, 1].map(ConnectionId));
        assert_eq!((touched.len(), touched.is_empty()), (3, false));
        assert_eq!(touched.take(), [3, 1, 2].map(ConnectionId));
        assert!(touched.is_empty());
        touched.insert(ConnectionId(2));
        assert_eq!(touched.take(), [ConnectionId(2)], "what was taken may come again");
    }
}
