//! Virtual shards that move to other objects while everything goes on, as an operator moves them.

use super::World;
use crate::shards::{Router, Sessions};
use messages::address::Address;
use messages::codec::Batch;
use messages::router::RouterRequest;
use messages::{Reply, Request};
use sessions::ExportedPage;

impl World {
    /// One more Router, which has nothing yet: its number.
    pub fn add_router(&mut self) -> u32 {
        let number = u32::try_from(self.routers.len()).unwrap_or(u32::MAX);
        self.routers.push(Router::new(number, self.settings.router_shards(), self.settings.router_settings()));
        number
    }

    /// One more Sessions object, which has nothing yet: its number.
    pub fn add_sessions(&mut self) -> u32 {
        let number = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        let (shards, routers) = (self.settings.sessions_shards(), self.settings.router_shards());
        let (settings, sabotage) = (self.settings.shard_settings(), self.settings.sabotage);
        self.sessions.push(Sessions::new(number, shards, routers, settings, sabotage));
        number
    }

    /// Asks a Router to hand a virtual shard over. Whether it has done so; to be asked again until then.
    pub fn hand_over(&mut self, shard: u16, from: u32, to: u32) -> bool {
        let now = self.now();
        self.note(|| format!("hand_over {shard} from {from} to {to}"));
        let requests = vec![Request::Router(RouterRequest::HandOver { shard, to })];
        let Some(router) = self.routers.get_mut(from as usize) else { return false };
        let reply = router.call(now, Batch { sender: None, requests }, None);
        self.pump_router(from);
        reply.is_some_and(|reply| reply.replies == [Reply::Applied])
    }

    /// Moves a virtual shard of client ids, step by step, while time passes. Whether it has moved; a step that failed can
    /// be taken again by moving it again.
    pub fn move_clients(&mut self, shard: u16, from: u32, to: u32) -> bool {
        let started =
            self.at_sessions(from, |sessions, now| sessions.with(now, |s, rows| s.start_move(now, shard, to, rows)));
        if started.is_none() || !self.copy_clients(shard, from, to) {
            return false;
        }
        for _ in 0..1_000 {
            if self.sessions.get(to as usize).is_some_and(|sessions| sessions.is_imported(shard)) {
                break;
            }
            self.run_for(100);
        }
        if !self.sessions.get(to as usize).is_some_and(|sessions| sessions.is_imported(shard)) {
            return false;
        }
        let finished =
            self.at_sessions(from, |sessions, now| sessions.with(now, |s, rows| s.finish_move(now, shard, rows)));
        if finished.is_none() || !self.copy_clients(shard, from, to) {
            return false;
        }
        let here =
            self.at_sessions(to, |sessions, now| sessions.with(now, |s, rows| s.finish_import(now, shard, rows)));
        let gone =
            self.at_sessions(from, |sessions, now| sessions.with(now, |s, rows| s.forget_moved(now, shard, rows)));
        here.is_some() && gone.is_some()
    }

    fn copy_clients(&mut self, shard: u16, from: u32, to: u32) -> bool {
        let mut after = None;
        loop {
            let page = self.at_sessions(from, |sessions, now| {
                sessions.with(now, |s, rows| s.export(now, shard, after.as_ref(), rows))
            });
            let page = page.and_then(|page| ExportedPage::decode(&page.encode().ok()?).ok());
            let Some(page) = page else { return false };
            self.run_for(10);
            let taken = self.at_sessions(to, |sessions, now| sessions.with(now, |s, rows| s.import(now, &page, rows)));
            if taken.is_none() {
                return false;
            }
            after = page.next;
            if after.is_none() {
                return true;
            }
        }
    }

    fn at_sessions<T>(
        &mut self,
        number: u32,
        act: impl FnOnce(&mut Sessions, iot_types::UnixMillis) -> Option<T>,
    ) -> Option<T> {
        let now = self.now();
        let result = act(self.sessions.get_mut(number as usize)?, now);
        self.pump(number);
        result
    }

    /// The object that a client id's shard was at in the beginning.
    #[must_use]
    pub fn sessions_of(&self, client_id: &str) -> (u16, u32) {
        let shards = self.settings.sessions_shards();
        let shard = messages::address::ShardMap::virtual_shard(client_id.as_bytes());
        (shard, shards.object(shard))
    }

    /// The Router that a filter's virtual shard was at in the beginning.
    #[must_use]
    pub fn router_of(&self, filter: &str) -> (u16, u32) {
        let shards = self.settings.router_shards();
        let node = mqtt_topic::node::node_of(filter);
        let shard = messages::address::ShardMap::virtual_shard(node.as_bytes());
        (shard, shards.object(shard))
    }

    /// Calls and frames that have reached all Routers so far.
    #[must_use]
    pub fn router_calls(&self) -> u64 {
        (0..self.routers.len())
            .map(|n| self.load(&Address::Router(u32::try_from(n).unwrap_or(u32::MAX))).all_calls)
            .sum()
    }
}
