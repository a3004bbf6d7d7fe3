//! Moving a virtual shard to another object while its clients are connected.
//!
//! The object that has it drives the move, as the operator asks (`SessionsRequest::HandOver`), part by part
//! (`SessionsRequest::TakeOver`), one under way at a time; where it stands is in the shard's row, so that it goes on after
//! anything. Every part can be repeated, and a part of an earlier move finds that it is over: each move has a version.
//!
//! 1. *Preparing.* Clients are served as ever. The other object gets their subscriptions and registers the filters with
//!    the Routers, which may take long. It answers `Confirm` with `Applied` when all are in force; no client has noticed
//!    anything until then, and none will if the object can't be reached.
//! 2. *Frozen.* Clients are refused (`Refusal::Unavailable`) and sent nothing, but messages for them are still taken and
//!    stored. The other object gets the clients and stores messages for them, too: when it has confirmed once more, all
//!    that is published from then on comes to both. If it doesn't answer, the clients are served again, and the move
//!    begins anew.
//! 3. *Closed.* Messages that were on their way have had time to come, and no more are taken: one that comes so late that
//!    the other object may not have had it is refused, so that its publisher sends it again. The messages are copied.
//! 4. `Open`: the other object serves the clients, this one answers `Refusal::Moved` and forgets them, in steps.
//!
//! **Clients of the virtual shard are refused from the freeze until it is open**: a second for the messages on their way
//! (`move_linger_millis`; none if nobody there has subscribed to anything), and a call for each 256 KiB of clients and
//! messages. That is somewhat more than a second for most; ten or so (`move_freeze_millis`) if the other object can't be
//! reached just then; longer only if it can't be reached after messages have been closed. At most eight virtual shards
//! are frozen for one object at a time, whatever number is asked for. Requests of connections that are refused end these
//! connections; the clients find everything when they connect again, and those that had nothing to say meanwhile go on as
//! they are.
//!
//! Messages that came to both have one row each: those of QoS 2 are told apart by their names, those of QoS 1 may arrive
//! twice.

mod giving;
mod pages;
mod taking;

use super::{LogEvent, SessionsShard, Stored, Told};
use crate::store::SessionStore;
use giving::Task;
use iot_types::{ClientId, UnixMillis};
use messages::address::{ShardMap, VIRTUAL_SHARDS};
use messages::channel::Undelivered;
use messages::{Refusal, Reply};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The shard's own row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardRow {
    /// Whether there may be wills and events above `published_to` that have not been published.
    pub has_unpublished: bool,
    /// Up to here all have been.
    pub published_to: u64,
    pub noted_at: UnixMillis,
    /// When silent Brokers were last asked.
    pub asked_at: UnixMillis,
    pub moves: BTreeMap<u16, Move>,
}

/// What happens to a virtual shard, or has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Move {
    /// It goes to another object.
    Leaving { to: u32, version: u64, stage: Stage },
    /// The other object has it.
    Left {
        to: u32,
        version: u64,
        /// Messages accepted from then on have come to the other object.
        safe_since: UnixMillis,
        /// Whether its rows have been deleted.
        is_clean: bool,
    },
    /// It comes from another object.
    Arriving {
        version: u64,
        /// Whether clients have come that nobody serves any more.
        has_clients: bool,
    },
    /// It came from another object.
    Here {
        version: u64,
        /// Whether all that its clients are waiting for has been begun.
        is_welcomed: bool,
    },
}

/// How far a virtual shard that leaves has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    Preparing,
    Frozen { since: UnixMillis },
    Closed { safe_since: UnixMillis },
}

/// What this memory is doing about a virtual shard.
#[derive(Debug)]
pub(super) struct Work {
    task: Task,
    /// When the task began.
    since: UnixMillis,
    /// The part that the other object is being told, and what comes after it.
    under_way: Option<(u64, Task)>,
    not_before: UnixMillis,
    /// How often in a row the other object could not do what it was asked.
    failures: u32,
}

impl Work {
    const fn new(task: Task, now: UnixMillis) -> Self {
        Self { task, since: now, under_way: None, not_before: now, failures: 0 }
    }

    const fn is_due(&self, now: UnixMillis) -> bool {
        self.under_way.is_none() && self.not_before.0 <= now.0
    }
}

/// Steps of moves in one turn. Each reads or writes a few hundred rows at most.
const STEPS: usize = 4;

/// How long messages may be on their way to an object, in milliseconds, with room to spare.
const LATE_MILLIS: u64 = 60_000;

/// By how many milliseconds at least the version of a move is above that of the one before, whatever the clocks say.
const VERSION_STEP: u64 = 1_000;

/// How often a sleeping object is woken while it moves something, in milliseconds.
const ALARM_MILLIS: u64 = 10_000;

impl Move {
    const fn version(self) -> u64 {
        match self {
            Self::Leaving { version, .. }
            | Self::Left { version, .. }
            | Self::Arriving { version, .. }
            | Self::Here { version, .. } => version,
        }
    }

    /// Whether there are rows of it here that aren't served here.
    const fn has_foreign_rows(self) -> bool {
        match self {
            Self::Leaving { stage, .. } => !matches!(stage, Stage::Preparing),
            Self::Left { is_clean, .. } => !is_clean,
            Self::Arriving { .. } => true,
            Self::Here { .. } => false,
        }
    }
}

pub(super) fn shard_of(client_id: &ClientId) -> u16 {
    ShardMap::virtual_shard(client_id.as_str().as_bytes())
}

/// Where the sequences begin of messages that a virtual shard's new object takes before it has those of the old one:
/// above all of theirs, as no session gets a thousand messages in a millisecond.
const fn first_sequence(version: u64) -> u64 {
    version << 10
}

impl SessionsShard {
    fn move_of(&self, client_id: &ClientId) -> Option<Move> {
        if self.row.moves.is_empty() { None } else { self.row.moves.get(&shard_of(client_id)).copied() }
    }

    /// Why a request about this client id can't be answered here.
    pub(super) fn is_elsewhere(&self, client_id: &ClientId) -> Option<Refusal> {
        let shard = shard_of(client_id);
        match self.row.moves.get(&shard) {
            Some(Move::Leaving { stage: Stage::Preparing, .. }) => {
                self.is_paused(shard).then_some(Refusal::Unavailable)
            }
            Some(Move::Leaving { .. } | Move::Arriving { .. }) => Some(Refusal::Unavailable),
            Some(Move::Left { to, .. }) => Some(Refusal::Moved { shard, to: *to }),
            Some(Move::Here { .. }) => None,
            None => {
                let to = self.initially.object(shard);
                (to != self.number).then_some(Refusal::Moved { shard, to })
            }
        }
    }

    /// Whether nothing may be sent to the client now.
    pub(super) fn is_frozen(&self, client_id: &ClientId) -> bool {
        !self.row.moves.is_empty() && self.is_elsewhere(client_id).is_some()
    }

    /// Whether another object has, had or will have what is stored of the client, so that it is not to be changed here;
    /// messages may be added.
    pub(super) fn is_fixed(&self, client_id: &ClientId) -> bool {
        self.move_of(client_id).is_some_and(Move::has_foreign_rows)
    }

    /// The virtual shards whose rows are here and not served here.
    pub(super) fn foreign(&self) -> Vec<u16> {
        let foreign = self.row.moves.iter().filter(|(_, state)| state.has_foreign_rows());
        foreign.map(|(shard, _)| *shard).collect()
    }

    /// Since when messages accepted for the client reach its other object, if none are taken here any more.
    pub(super) fn closed_since(&self, client_id: &ClientId) -> Option<UnixMillis> {
        match self.move_of(client_id)? {
            Move::Leaving { stage: Stage::Closed { safe_since }, .. } | Move::Left { safe_since, .. } => {
                Some(safe_since)
            }
            Move::Leaving { .. } | Move::Arriving { .. } | Move::Here { .. } => None,
        }
    }

    /// Whether a message may have been for somebody who has left and is forgotten here, and have missed the other object.
    /// They are forgotten in steps, and a memory that begins in between doesn't know whom of them it doesn't know.
    pub(super) fn may_have_missed(&self, accepted_at: UnixMillis, now: UnixMillis) -> bool {
        if self.late_until <= now {
            return false;
        }
        self.row.moves.values().any(|state| match state {
            Move::Left { safe_since, is_clean, .. } => {
                let may_be_forgotten = *is_clean || now >= safe_since.plus_millis(self.settings.move_forget_millis);
                may_be_forgotten && accepted_at < *safe_since && now < safe_since.plus_millis(LATE_MILLIS)
            }
            _ => false,
        })
    }

    /// The least sequence of a message that comes now.
    pub(super) fn first_sequence_of(&self, client_id: &ClientId) -> u64 {
        match self.move_of(client_id) {
            Some(Move::Arriving { version, .. }) => first_sequence(version),
            _ => 0,
        }
    }

    /// What a memory before this one was doing.
    pub(super) fn load_moves(&mut self, now: UnixMillis) {
        for (shard, state) in self.row.moves.clone() {
            let mut work = Work::new(Task::Open, now);
            work.task = match state {
                Move::Leaving { stage: Stage::Preparing, .. } => Task::Subscriptions { after: None },
                Move::Leaving { stage: Stage::Frozen { .. }, .. } => Task::Clients { after: None },
                Move::Leaving { stage: Stage::Closed { .. }, .. } => Task::FIRST_MESSAGES,
                Move::Left { is_clean: false, safe_since, .. } => {
                    work.not_before = safe_since.plus_millis(self.settings.move_forget_millis);
                    Task::FIRST_FORGOTTEN
                }
                Move::Here { is_welcomed: false, .. } => Task::FIRST_WELCOMED,
                Move::Left { .. } | Move::Arriving { .. } | Move::Here { .. } => continue,
            };
            self.works.insert(shard, work);
        }
        self.note_late();
    }

    fn note_late(&mut self) {
        let left = self.row.moves.values().filter_map(|state| match state {
            Move::Left { safe_since, .. } => Some(safe_since.plus_millis(LATE_MILLIS)),
            _ => None,
        });
        self.late_until = left.max().unwrap_or_default();
    }

    fn set_move(&mut self, shard: u16, state: Move) {
        self.row.moves.insert(shard, state);
        self.is_row_dirty = true;
        self.note_late();
    }

    /// The version of a move that begins.
    fn next_version(&self, shard: u16, now: UnixMillis) -> u64 {
        let before = self.row.moves.get(&shard).map_or(0, |state| state.version() + VERSION_STEP);
        before.max(now.0)
    }

    /// The operator wants a virtual shard to be elsewhere.
    pub(super) fn hand_over(&mut self, shard: u16, to: u32, now: UnixMillis) -> Reply {
        if shard >= VIRTUAL_SHARDS {
            return Reply::Refused(Refusal::WrongClass);
        }
        match self.row.moves.get(&shard).copied() {
            Some(Move::Leaving { to: at, .. }) if at == to => return Reply::Pending,
            Some(Move::Left { to: at, .. }) if at == to => return Reply::Applied,
            Some(Move::Left { to, .. }) => return Reply::Refused(Refusal::Moved { shard, to }),
            Some(Move::Leaving { .. } | Move::Arriving { .. }) => return Reply::Refused(Refusal::Unavailable),
            Some(Move::Here { .. }) | None if to == self.number && self.has(shard) => return Reply::Applied,
            Some(Move::Here { is_welcomed: false, .. }) => return Reply::Refused(Refusal::Unavailable),
            Some(Move::Here { .. }) => {}
            None => match self.initially.object(shard) {
                at if at == self.number => {}
                to => return Reply::Refused(Refusal::Moved { shard, to }),
            },
        }
        let version = self.next_version(shard, now);
        self.set_move(shard, Move::Leaving { to, version, stage: Stage::Preparing });
        self.works.insert(shard, Work::new(Task::Subscriptions { after: None }, now));
        Reply::Pending
    }

    fn has(&self, shard: u16) -> bool {
        match self.row.moves.get(&shard) {
            None => self.initially.object(shard) == self.number,
            Some(Move::Leaving { .. } | Move::Here { .. }) => true,
            Some(Move::Left { .. } | Move::Arriving { .. }) => false,
        }
    }

    /// Goes on with whatever is on the move.
    pub(super) fn moves_due(&mut self, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        for _ in 0..STEPS {
            let Some(shard) = self.works.iter().find(|(_, work)| work.is_due(now)).map(|(shard, _)| *shard) else {
                break;
            };
            self.commit(store)?;
            self.move_step(shard, now, store)?;
        }
        Ok(())
    }

    /// When [`Self::moves_due`] has something to do by itself.
    pub(super) fn next_step(&self) -> Option<UnixMillis> {
        self.works.values().filter(|work| work.under_way.is_none()).map(|work| work.not_before).min()
    }

    /// When an object is to be woken that has lost its timers.
    pub(super) fn next_move_alarm(&self) -> Option<UnixMillis> {
        (!self.works.is_empty()).then(|| self.now.plus_millis(ALARM_MILLIS))
    }

    fn go_to(&mut self, shard: u16, task: Task, now: UnixMillis) {
        if let Some(work) = self.works.get_mut(&shard) {
            *work = Work::new(task, now);
        }
    }

    fn wait(&mut self, shard: u16, until: UnixMillis) {
        if let Some(work) = self.works.get_mut(&shard) {
            work.not_before = until;
        }
    }

    /// The other object could not do what it was asked: waits longer each time, but no longer than this.
    fn back_off(&mut self, shard: u16, now: UnixMillis, maximum_millis: u64) {
        let (first, maximum) = (self.settings.move_retry_millis, self.settings.move_retry_maximum_millis);
        if let Some(work) = self.works.get_mut(&shard) {
            let millis = first << work.failures.min(16);
            work.not_before = now.plus_millis(millis.min(maximum).min(maximum_millis));
            work.failures += 1;
        }
    }

    /// The other object has answered a part, or could not.
    pub(super) fn part_answered(
        &mut self,
        shard: u16,
        part: u64,
        result: &Result<Reply, Undelivered>,
        now: UnixMillis,
    ) {
        /// How long to wait for what the other object is at work on, in milliseconds.
        const PENDING_MILLIS: u64 = 1_000;
        let Some(work) = self.works.get_mut(&shard) else { return };
        let Some((_, next)) = work.under_way.take_if(|(of, _)| *of == part) else { return };
        match result {
            Ok(Reply::Applied) => match self.row.moves.get(&shard).copied() {
                Some(Move::Leaving { to, version, stage: Stage::Closed { safe_since } }) if work.task == Task::Open => {
                    self.set_move(shard, Move::Left { to, version, safe_since, is_clean: false });
                    self.go_to(shard, Task::FIRST_FORGOTTEN, now);
                    self.wait(shard, safe_since.plus_millis(self.settings.move_forget_millis));
                    self.note(LogEvent::Moved { shard, to });
                }
                _ => self.go_to(shard, next, now),
            },
            Ok(Reply::Pending) => self.back_off(shard, now, PENDING_MILLIS),
            Err(Undelivered::Unreachable) => self.back_off(shard, now, u64::MAX),
            // It can't now, or has lost what came before.
            Ok(_) | Err(_) => {
                work.task = match self.row.moves.get(&shard) {
                    Some(Move::Leaving { stage: Stage::Preparing, .. }) => Task::Subscriptions { after: None },
                    _ => Task::Clients { after: None },
                };
                self.back_off(shard, now, u64::MAX);
            }
        }
    }
}
