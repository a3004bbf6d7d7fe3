//! A `Sessions` shard without its storage: claims, and the words to the Brokers that follow from them.

use crate::claims::{Claims, Holder};
use iot_types::{ClientId, UnixMillis};
use messages::address::{Address, BrokerId};
use messages::broker::BrokerRequest;
use messages::channel::{Call, ChannelLimits, Outbox};
use messages::codec::BatchReply;
use messages::sessions::SessionsRequest;
use messages::{Reply, Request};

/// The shard. Its rows are the caller's: each request comes with its client id's row and leaves with a change to it.
#[derive(Debug)]
pub struct SessionsShard {
    claims: Claims,
    outbox: Outbox<Told>,
}

/// For how long a Broker that can't be reached is told again to close a connection, in milliseconds. The newer
/// connection doesn't wait for that, but the client id has two until the word arrives.
const FENCE_ATTEMPTS_MILLIS: u64 = 60_000;

/// What a Broker was told.
#[derive(Clone, Debug)]
enum Told {
    /// To close a connection, since when; then the waiting claim is granted.
    Fence { client_id: ClientId, old: Holder, since: UnixMillis },
    /// What became of its claim.
    Decision,
}

/// What to do with the row of the request's client id, before the reply leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowEffect {
    /// Nothing.
    Keep,
    /// Write it.
    Put(Holder),
    /// Delete it.
    Delete,
}

impl SessionsShard {
    /// A shard whose memory begins at `now`.
    #[must_use]
    pub fn new(address: Address, now: UnixMillis, limits: ChannelLimits) -> Self {
        Self { claims: Claims::default(), outbox: Outbox::new(address, 0, now, limits) }
    }

    /// Applies a Broker's request; `current` is the row of the client id that it names.
    pub fn request(
        &mut self,
        now: UnixMillis,
        (broker, epoch): (&BrokerId, u64),
        request: &SessionsRequest,
        current: Option<Holder>,
    ) -> (RowEffect, Reply) {
        match request {
            SessionsRequest::Claim { client_id, connection } => {
                let before = current.clone();
                let effects = self.claims.claim(client_id, current, (broker.clone(), epoch, *connection), now);
                if let Some(old) = effects.fence {
                    self.fence(client_id.clone(), old, now);
                }
                if let Some(refused) = effects.refuse {
                    let decided = BrokerRequest::ClaimDecided { connection: refused.connection, number: None };
                    self.tell(refused.broker, decided, Told::Decision);
                }
                let row = if before.as_ref() == Some(&effects.store) {
                    RowEffect::Keep
                } else {
                    RowEffect::Put(effects.store)
                };
                (row, Reply::Claim(effects.reply))
            }
            SessionsRequest::Release { number, .. } => {
                let row =
                    if Claims::may_release(current.as_ref(), *number) { RowEffect::Delete } else { RowEffect::Keep };
                (row, Reply::Applied)
            }
        }
    }

    /// The calls to make now.
    pub fn calls(&mut self, now: UnixMillis) -> Vec<Call> {
        for (_, claimant) in self.claims.overdue(now) {
            self.grant(claimant);
        }
        self.outbox.calls(now)
    }

    /// Takes the outcome of a call.
    pub fn answered(&mut self, now: UnixMillis, target: &Address, reply: Option<BatchReply>) {
        for (told, result) in self.outbox.answered(target, reply, now) {
            let Told::Fence { client_id, old, since } = told else { continue };
            if result.is_ok() {
                if let Some(claimant) = self.claims.fenced(&client_id, old.number) {
                    self.grant(claimant);
                }
            } else if now.millis_since(since) < FENCE_ATTEMPTS_MILLIS {
                self.fence(client_id, old, since);
            }
        }
    }

    /// When [`Self::calls`] is due by itself.
    #[must_use]
    pub fn next_timeout(&self) -> Option<UnixMillis> {
        match (self.claims.next_timeout(), self.outbox.next_retry()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether nothing would be lost if the shard forgot its memory now.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.outbox.is_idle() && self.claims.next_timeout().is_none()
    }

    fn fence(&mut self, client_id: ClientId, old: Holder, since: UnixMillis) {
        let fence = BrokerRequest::Fence { connection: old.connection, client_id: client_id.clone() };
        self.tell(old.broker.clone(), fence, Told::Fence { client_id, old, since });
    }

    fn grant(&mut self, claimant: Holder) {
        let decided = BrokerRequest::ClaimDecided { connection: claimant.connection, number: Some(claimant.number) };
        self.tell(claimant.broker, decided, Told::Decision);
    }

    fn tell(&mut self, broker: BrokerId, request: BrokerRequest, told: Told) {
        // A Broker too far behind to be told: its claim times out there, and an unfenced one is overdue here.
        let _ = self.outbox.push(Address::Broker(broker), Request::Broker(request), told);
    }
}
