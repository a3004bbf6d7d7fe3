//! Brokers: their epochs, and what becomes of the connections they lose.

use super::{Known, LogEvent, SessionsShard, Stored, Told};
use crate::claims::Holder;
use crate::store::{BrokerRow, SessionStore};
use iot_types::{ClientId, UnixMillis};
use messages::address::BrokerId;
use messages::broker::BrokerRequest;
use messages::session::{DisconnectReason, Ending};

/// Clients to deal with in one transaction.
pub(super) const PAGE: usize = 256;

impl SessionsShard {
    /// Something came from a Broker. `false` if it is of an epoch that is over.
    pub(super) fn hear(
        &mut self,
        broker: &BrokerId,
        epoch: u64,
        instance: Option<u64>,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<bool> {
        let known = self.brokers.get(broker).copied();
        let row = known.map_or_else(BrokerRow::default, |known| known.row);
        if epoch < row.epoch {
            return Ok(false);
        }
        let before = known.map_or(0, |known| known.instance);
        let is_watched = known.is_some_and(|known| known.is_watched);
        let mut next = Known { row, heard_at: now, instance: instance.unwrap_or(before), is_watched };
        if epoch > row.epoch {
            self.commit(store)?;
            next.row.epoch = epoch;
            if !store.clients_of_epochs_before(broker, epoch, 1, &self.foreign())?.is_empty() {
                next.row.lost_at = Some(now);
                self.note(LogEvent::BrokerLost { broker: broker.clone(), epoch });
            }
            self.changes.brokers.insert(broker.clone(), next.row);
        }
        self.brokers.insert(broker.clone(), next);
        if epoch > row.epoch {
            let lost: Vec<ClientId> = self
                .lives
                .iter()
                .filter(|(_, live)| live.online.as_ref().is_some_and(|on| on.broker == *broker && on.epoch < epoch))
                .map(|(client_id, _)| client_id.clone())
                .collect();
            for client_id in lost {
                self.go_offline(&client_id)?;
            }
        }
        if instance.is_some_and(|instance| instance > before) {
            // Its memory is new and knows nothing of what it waited for: another's tickets may have the same numbers.
            let instance = next.instance;
            self.waits.retain(|_, wait| *wait.broker != *broker || wait.instance >= instance);
            self.settled.remove(broker);
        }
        Ok(true)
    }

    /// Whether a Broker has lost a connection with an earlier epoch.
    pub(super) fn is_gone(&self, holder: &Holder) -> bool {
        self.brokers.get(&holder.broker).is_some_and(|known| holder.epoch < known.row.epoch)
    }

    /// Ends the connections of Brokers that lost them, once their clients have had time to come back; asks Brokers that
    /// have been silent for long.
    pub(super) fn brokers_due(&mut self, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        let grace = self.settings.grace_millis;
        let lost = self.brokers.iter().filter_map(|(broker, known)| {
            let at = known.row.lost_at.filter(|at| at.plus_millis(grace) <= now)?;
            Some((broker.clone(), known.row.epoch, at))
        });
        for (broker, epoch, lost_at) in lost.collect::<Vec<_>>() {
            loop {
                self.commit(store)?;
                // The object that others move to hears of the Broker itself.
                let clients = store.clients_of_epochs_before(&broker, epoch, PAGE, &self.foreign())?;
                if clients.is_empty() {
                    break;
                }
                for client_id in clients {
                    self.end_lost(&client_id, lost_at, now, store)?;
                }
            }
            if let Some(known) = self.brokers.get_mut(&broker) {
                known.row.lost_at = None;
                self.changes.brokers.insert(broker, known.row);
            }
        }
        if self.next_question().is_some_and(|at| at <= now) {
            self.ask_silent(now, store)?;
        }
        Ok(())
    }

    fn end_lost(
        &mut self,
        client_id: &ClientId,
        lost_at: UnixMillis,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<()> {
        if !self.load_client(client_id, store)? {
            return Ok(());
        }
        let Some(connection) = self.change(client_id).current.take() else { return Ok(()) };
        if connection.is_granted {
            let ending = Ending { reason: DisconnectReason::ServerError, publishes_will: true, session_expiry: None };
            self.end(client_id, connection, &ending, (lost_at, now), None)?;
        }
        Ok(())
    }

    /// When the Broker that has been silent longest is to be asked, among those with wills or durable sessions.
    pub(super) fn next_question(&self) -> Option<UnixMillis> {
        let watched = self.brokers.values().filter(|known| known.is_watched);
        watched.map(|known| known.heard_at.plus_millis(self.settings.silence_millis)).min()
    }

    /// A connection of the Broker has a will or a durable session.
    pub(super) fn watch(&mut self, broker: &BrokerId) {
        if let Some(known) = self.brokers.get_mut(broker) {
            known.is_watched = true;
        }
    }

    /// An answer is all that is wanted: it carries the epoch. One that doesn't come is asked for again later.
    fn ask_silent(&mut self, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        self.commit(store)?;
        let watched = store.watched_brokers()?;
        // A memory after this one asks from here on.
        self.row.asked_at = now;
        self.is_row_dirty = true;
        let mut silent = Vec::new();
        for (broker, known) in &mut self.brokers {
            known.is_watched = watched.contains(broker);
            if known.is_watched && known.heard_at.plus_millis(self.settings.silence_millis) <= now {
                known.heard_at = now;
                silent.push(broker.clone());
            }
        }
        for broker in silent {
            self.tell(broker, BrokerRequest::Settled { tickets: Vec::new() }, Told::Epoch);
        }
        Ok(())
    }
}
