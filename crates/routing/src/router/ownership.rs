//! Which virtual shards are here, and how one comes and goes.
//!
//! A virtual shard that leaves doesn't change any more: requests about it are refused for the moment. Its rows are sent
//! in parts, all of which may come again; with the last, the receiver owns it, and the sender answers
//! `Refusal::Moved` from then on and deletes the rows. Each move has a version, so that a part that comes late finds that it
//! is over. Nothing here knows what the rows mean, except which virtual shard each belongs to.

use crate::store::{self, MOVABLE, RouterStore, Row, ShardRow, ShardState, StoreError};
use bytes::Bytes;
use iot_types::UnixMillis;
use messages::address::{ShardMap, VIRTUAL_SHARDS};
use messages::{Refusal, Reply};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Keys looked at in one step.
const STEP_KEYS: usize = 2_000;

/// Bytes of one part, unless one row has more.
const PART_BYTES: usize = 256 * 1024;

/// Which virtual shards an object has.
#[derive(Debug)]
pub(crate) struct Ownership {
    /// This object's number.
    number: u32,
    /// As it was when the deployment began.
    initially: ShardMap,
    rows: BTreeMap<u16, ShardRow>,
    /// What is on its way or to be cleaned up.
    work: BTreeMap<u16, Work>,
    /// Virtual shards that are arriving and have been asked for, and whom to tell.
    awaited: BTreeMap<u16, u32>,
    /// Who was told, and not to be told again before when.
    told: BTreeMap<u16, UnixMillis>,
}

/// How far the move of a virtual shard, or the cleaning after it, has come.
#[derive(Debug)]
struct Work {
    cursor: Option<Cursor>,
    started: UnixMillis,
    is_asked: bool,
    not_before: UnixMillis,
}

/// Where reading the tables goes on.
#[derive(Clone, Debug, Default)]
struct Cursor {
    table: usize,
    from: Vec<u8>,
}

/// A part to send to the object that is to have the virtual shard.
#[derive(Debug)]
pub(crate) struct Part {
    pub to: u32,
    pub shard: u16,
    pub version: u64,
    pub rows: Bytes,
    pub is_last: bool,
    /// For how long leases of the virtual shard may still be in use.
    pub leases_millis: u64,
}

/// What to do with a request to hand a virtual shard over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HandOver {
    /// Answer this.
    Answer(Box<Reply>),
    /// It begins now: revoke its leases and forget it in memory.
    Begins,
}

impl Ownership {
    pub fn load(
        now: UnixMillis,
        number: u32,
        initial_objects: u16,
        store: &mut dyn RouterStore,
    ) -> Result<Self, StoreError> {
        let (from, to) = store::shards_table();
        let mut rows = BTreeMap::new();
        for (key, value) in store.scan(&from, &to, usize::from(VIRTUAL_SHARDS))? {
            if let Some(shard) = store::parse_shard(&key) {
                rows.insert(shard, store::decode::<ShardRow>(&value)?);
            }
        }
        let is_at_work =
            |row: &ShardRow| matches!(row.state, ShardState::Leaving { .. } | ShardState::Gone { is_clean: false, .. });
        let work = rows.iter().filter(|(_, row)| is_at_work(row)).map(|(shard, _)| (*shard, Work::new(now))).collect();
        let (awaited, told) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { number, initially: ShardMap::new(initial_objects), rows, work, awaited, told })
    }

    /// Whether the rows of a virtual shard are here and count.
    pub fn has(&self, shard: u16) -> bool {
        match self.rows.get(&shard).map(|row| row.state) {
            None => self.initially.object(shard) == self.number,
            Some(ShardState::Leaving { .. } | ShardState::Here { .. }) => true,
            Some(ShardState::Gone { .. } | ShardState::Arriving { .. }) => false,
        }
    }

    /// Whether requests about a virtual shard are answered here, and from when on registrations are confirmed.
    pub fn check(&mut self, shard: u16) -> Result<UnixMillis, Refusal> {
        match self.rows.get(&shard).map(|row| row.state) {
            None => match self.initially.object(shard) {
                to if to == self.number => Ok(UnixMillis(0)),
                to => Err(Refusal::Moved { shard, to }),
            },
            Some(ShardState::Here { not_before }) => Ok(not_before),
            Some(ShardState::Gone { to, .. }) => Err(Refusal::Moved { shard, to }),
            Some(ShardState::Leaving { .. }) => Err(Refusal::Unavailable),
            Some(ShardState::Arriving { from }) => {
                self.awaited.insert(shard, from);
                Err(Refusal::Unavailable)
            }
        }
    }

    /// The objects to remind that a virtual shard is waited for: what a restart interrupted there goes on with a call.
    pub fn reminders(&mut self, now: UnixMillis, retry_millis: u64) -> Vec<(u32, u16)> {
        let mut reminders = Vec::new();
        for (shard, from) in core::mem::take(&mut self.awaited) {
            if self.told.get(&shard).is_none_or(|at| *at <= now) {
                self.told.insert(shard, now.plus_millis(retry_millis));
                reminders.push((from, shard));
            }
        }
        reminders
    }

    /// The virtual shards that were here and are elsewhere.
    pub fn given_away(&self) -> Vec<(u16, u32)> {
        let gone = |(shard, row): (&u16, &ShardRow)| match row.state {
            ShardState::Gone { to, .. } => Some((*shard, to)),
            _ => None,
        };
        self.rows.iter().filter_map(gone).collect()
    }

    /// The virtual shards that are leaving.
    pub fn leaving(&self) -> Vec<u16> {
        let is_leaving = |(_, row): &(&u16, &ShardRow)| matches!(row.state, ShardState::Leaving { .. });
        self.rows.iter().filter(is_leaving).map(|(shard, _)| *shard).collect()
    }

    pub fn is_idle(&self) -> bool {
        self.work.is_empty()
    }

    pub fn next_timeout(&self) -> Option<UnixMillis> {
        self.work.values().filter(|work| !work.is_asked).map(|work| work.not_before).min()
    }

    pub fn hand_over(
        &mut self,
        now: UnixMillis,
        shard: u16,
        to: u32,
        store: &mut dyn RouterStore,
    ) -> Result<HandOver, StoreError> {
        if shard >= VIRTUAL_SHARDS {
            return Ok(HandOver::Answer(Box::new(Reply::Refused(Refusal::WrongClass))));
        }
        let row = self.rows.get(&shard).copied();
        let refused = |refusal| Ok(HandOver::Answer(Box::new(Reply::Refused(refusal))));
        match row.map(|row| row.state) {
            Some(ShardState::Leaving { to: at }) if at == to => return Ok(HandOver::Answer(Box::new(Reply::Pending))),
            Some(ShardState::Leaving { .. } | ShardState::Arriving { .. }) => return refused(Refusal::Unavailable),
            Some(ShardState::Gone { to: at, .. }) if at == to => return Ok(HandOver::Answer(Box::new(Reply::Applied))),
            _ => {}
        }
        if to == self.number && self.has(shard) {
            return Ok(HandOver::Answer(Box::new(Reply::Applied)));
        }
        match self.check(shard) {
            Err(refusal) => return refused(refusal),
            // Its leases are known to none but the owner before.
            Ok(not_before) if not_before > now => return refused(Refusal::Unavailable),
            Ok(_) => {}
        }
        let version = row.map_or(0, |row| row.version) + 1;
        self.set(shard, ShardRow { version, state: ShardState::Leaving { to } }, store)?;
        self.work.insert(shard, Work::new(now));
        Ok(HandOver::Begins)
    }

    /// Takes rows of a virtual shard over.
    pub fn take_over(
        &mut self,
        now: UnixMillis,
        from: u32,
        (shard, version): (u16, u64),
        rows: &[u8],
        last: Option<u64>,
        store: &mut dyn RouterStore,
    ) -> Result<Reply, StoreError> {
        let known = self.rows.get(&shard).copied();
        match known.map(|row| (row.state, version.cmp(&row.version))) {
            None if self.initially.object(shard) != self.number => {}
            Some((ShardState::Arriving { .. }, Ordering::Equal | Ordering::Greater)) => {}
            Some((ShardState::Gone { is_clean: true, .. }, Ordering::Greater)) => {}
            // It has been here since, and the sender hasn't heard.
            Some((ShardState::Here { .. }, Ordering::Equal)) => return Ok(Reply::Applied),
            Some((ShardState::Gone { .. } | ShardState::Here { .. } | ShardState::Leaving { .. }, Ordering::Less)) => {
                return Ok(Reply::Applied);
            }
            // It went and comes back before this object has heard that it arrived, or has cleaned up.
            Some((ShardState::Gone { .. } | ShardState::Leaving { .. }, Ordering::Greater)) => {
                return Ok(Reply::Refused(Refusal::Unavailable));
            }
            None | Some(_) => return Ok(Reply::Refused(Refusal::Superseded)),
        }
        if known.is_none_or(|row| row.version != version || row.state != (ShardState::Arriving { from })) {
            self.set(shard, ShardRow { version, state: ShardState::Arriving { from } }, store)?;
        }
        let rows: Vec<Row> = store::decode(rows)?;
        for (key, value) in rows {
            if store::shard_of_key(&key) == Some(shard) {
                store.put(&key, &value)?;
            }
        }
        if let Some(millis) = last {
            let state = ShardState::Here { not_before: now.plus_millis(millis) };
            self.set(shard, ShardRow { version, state }, store)?;
            self.told.remove(&shard);
        }
        Ok(Reply::Applied)
    }

    /// Goes on with what is under way; `leaving_millis` tells for how long leases of a virtual shard may still be used.
    pub fn step(
        &mut self,
        now: UnixMillis,
        move_millis: u64,
        leaving_millis: impl Fn(u16) -> u64,
        store: &mut dyn RouterStore,
    ) -> Result<Vec<Part>, StoreError> {
        let due = |(_, work): &(&u16, &Work)| !work.is_asked && work.not_before <= now;
        let due: Vec<u16> = self.work.iter().filter(due).map(|(shard, _)| *shard).collect();
        let mut parts = Vec::new();
        for shard in due {
            let (Some(row), Some(work)) = (self.rows.get(&shard).copied(), self.work.get_mut(&shard)) else { continue };
            match row.state {
                ShardState::Leaving { to } => {
                    let rows = match work.cursor.take() {
                        Some(cursor) => {
                            let (rows, next) = read(shard, cursor, store)?;
                            work.cursor = next;
                            rows
                        }
                        None => Vec::new(),
                    };
                    let patience = work.started.plus_millis(move_millis);
                    let mut is_last = false;
                    if rows.is_empty() && work.cursor.is_none() {
                        if leaving_millis(shard) > 0 && now < patience {
                            // Looked at again whenever a holder has dropped its leases.
                            work.not_before = patience;
                            continue;
                        }
                        is_last = true;
                    }
                    if !rows.is_empty() || is_last {
                        work.is_asked = true;
                        let rows = store::encode(&rows)?.into();
                        let leases_millis = leaving_millis(shard);
                        parts.push(Part { to, shard, version: row.version, rows, is_last, leases_millis });
                    }
                }
                ShardState::Gone { to, .. } => {
                    let cursor = work.cursor.take().unwrap_or_default();
                    let (keys, next) = keys(shard, cursor, store)?;
                    for key in keys {
                        store.delete(&key)?;
                    }
                    work.cursor = next;
                    if work.cursor.is_none() {
                        self.work.remove(&shard);
                        self.set(shard, ShardRow { state: ShardState::Gone { to, is_clean: true }, ..row }, store)?;
                    }
                }
                ShardState::Arriving { .. } | ShardState::Here { .. } => {
                    self.work.remove(&shard);
                }
            }
        }
        Ok(parts)
    }

    /// A holder has dropped its leases: whatever waits for that is looked at again.
    pub fn wake(&mut self, now: UnixMillis) {
        for work in self.work.values_mut().filter(|work| work.cursor.is_none()) {
            work.not_before = work.not_before.min(now);
        }
    }

    /// The receiver of a part has answered, or could not. Gives whether the virtual shard has left.
    pub fn part_answered(
        &mut self,
        now: UnixMillis,
        retry_millis: u64,
        (shard, version, is_last): (u16, u64, bool),
        is_applied: bool,
        store: &mut dyn RouterStore,
    ) -> Result<bool, StoreError> {
        let Some(row) = self.rows.get(&shard).copied().filter(|row| row.version == version) else { return Ok(false) };
        let (ShardState::Leaving { to }, Some(work)) = (row.state, self.work.get_mut(&shard)) else { return Ok(false) };
        work.is_asked = false;
        work.not_before = now;
        if !is_applied {
            // From the beginning: all parts may come again.
            work.cursor = Some(Cursor::default());
            work.not_before = now.plus_millis(retry_millis);
            return Ok(false);
        }
        if !is_last {
            return Ok(false);
        }
        work.cursor = Some(Cursor::default());
        self.set(shard, ShardRow { version, state: ShardState::Gone { to, is_clean: false } }, store)?;
        Ok(true)
    }

    fn set(&mut self, shard: u16, row: ShardRow, store: &mut dyn RouterStore) -> Result<(), StoreError> {
        store.put(&store::shard_key(shard), &store::encode(&row)?)?;
        self.rows.insert(shard, row);
        Ok(())
    }
}

impl Work {
    fn new(now: UnixMillis) -> Self {
        Self { cursor: Some(Cursor::default()), started: now, is_asked: false, not_before: now }
    }
}

/// Keys of a virtual shard's rows from a place on, and where to go on; `None` at the end. All are of one table.
fn keys(
    shard: u16,
    mut cursor: Cursor,
    store: &mut dyn RouterStore,
) -> Result<(Vec<Vec<u8>>, Option<Cursor>), StoreError> {
    while let Some(tag) = MOVABLE.get(cursor.table) {
        let (start, to) = store::table(*tag);
        let from = if cursor.from.is_empty() { start } else { cursor.from };
        let mut keys = store.scan_keys(&from, &to, STEP_KEYS)?;
        if keys.len() == STEP_KEYS
            && let Some(last) = keys.last()
        {
            let next = Cursor { table: cursor.table, from: store::after(last) };
            keys.retain(|key| store::shard_of_key(key) == Some(shard));
            return Ok((keys, Some(next)));
        }
        keys.retain(|key| store::shard_of_key(key) == Some(shard));
        cursor = Cursor { table: cursor.table + 1, from: Vec::new() };
        if !keys.is_empty() {
            return Ok((keys, Some(cursor)));
        }
    }
    Ok((Vec::new(), None))
}

/// Rows of a virtual shard for one part, and where to go on.
fn read(shard: u16, cursor: Cursor, store: &mut dyn RouterStore) -> Result<(Vec<Row>, Option<Cursor>), StoreError> {
    let (keys, mut next) = keys(shard, cursor, store)?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for key in keys {
        if bytes >= PART_BYTES {
            let table = MOVABLE.iter().position(|tag| key.first() == Some(tag)).unwrap_or_default();
            next = Some(Cursor { table, from: key });
            break;
        }
        if let Some(value) = store.get(&key)? {
            bytes += key.len() + value.len();
            rows.push((key, value));
        }
    }
    Ok((rows, next))
}
