//! Virtual shards that move to other objects while everything goes on, as an operator moves them.

use super::World;
use crate::shards::{Router, Sessions};
use messages::address::Address;
use messages::codec::Batch;
use messages::router::RouterRequest;
use messages::sessions::SessionsRequest;
use messages::{Reply, Request};

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

    /// Asks a Sessions object to hand a virtual shard over. Whether it has done so; to be asked again until then.
    pub fn move_clients(&mut self, shard: u16, from: u32, to: u32) -> bool {
        let now = self.now();
        self.note(|| format!("move_clients {shard} from {from} to {to}"));
        let requests = vec![Request::Sessions(SessionsRequest::HandOver { shard, to })];
        let Some(sessions) = self.sessions.get_mut(from as usize) else { return false };
        let reply = sessions.call(now, &Batch { sender: None, requests });
        self.pump(from);
        reply.is_some_and(|reply| reply.replies == [Reply::Applied])
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
