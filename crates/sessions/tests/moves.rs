//! A virtual shard moves to another object while its client is connected and messages come.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{World, at_most, durable, id, message, once, short};
use iot_types::Qos;
use messages::address::{Address, ShardMap};
use messages::broker::BrokerRequest;
use messages::codec::{Batch, BatchReply, Sender};
use messages::session::AcknowledgementKind::{PubAck, PubRec};
use messages::session::DisconnectReason;
use messages::sessions::SessionsRequest;
use messages::{Refusal, Reply, Request};
use sessions::{ExportedPage, MemoryStore, SessionsShard, ShardSettings};

/// The object that the virtual shard goes to.
struct Target {
    shard: SessionsShard,
    store: MemoryStore,
    packets: Vec<String>,
    numbers: u64,
}

impl Target {
    fn new(world: &World) -> Self {
        let shard = SessionsShard::new(1, world.now, ShardSettings::default(), ShardMap::new(1), ShardMap::new(1));
        Self { shard, store: MemoryStore::default(), packets: Vec::new(), numbers: 0 }
    }

    fn restart(&mut self, world: &mut World) {
        world.now = world.now.plus_millis(1);
        self.shard = Self::new(world).shard;
    }

    fn ask(&mut self, world: &World, index: u32, request: SessionsRequest) -> Reply {
        self.numbers += 1;
        let sender =
            Sender { address: Address::Broker(common::broker(index)), epoch: 1, instance: 1, number: self.numbers };
        let batch = Batch { sender: Some(sender), requests: vec![Request::Sessions(request)] };
        let reply = self.shard.call(world.now, &batch, &mut self.store).unwrap().replies.remove(0);
        self.run(world);
        reply
    }

    fn run(&mut self, world: &World) {
        for _ in 0..100 {
            for call in self.shard.calls(world.now, &mut self.store).unwrap() {
                for request in &call.batch.requests {
                    if let Request::Broker(BrokerRequest::Send { packets, .. }) = request {
                        self.packets.extend(packets.iter().map(short));
                    }
                }
                let replies = vec![Reply::Applied; call.batch.requests.len()];
                let epoch = u64::from(matches!(call.target, Address::Broker(_)));
                let reply = Some(BatchReply { epoch, replies });
                self.shard.answered(world.now, &call.target, reply, &mut self.store).unwrap();
            }
        }
    }
}

fn copy(world: &mut World, target: &mut Target, shard: u16) {
    let mut after = None;
    loop {
        let page = world.shard.export(world.now, shard, after.as_ref(), &mut world.store).unwrap();
        let page = ExportedPage::decode(&page.encode().unwrap()).unwrap();
        target.shard.import(world.now, &page, &mut target.store).unwrap();
        // Each step may be repeated.
        target.shard.import(world.now, &page, &mut target.store).unwrap();
        target.run(world);
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

#[test]
fn a_connected_session_moves_and_misses_nothing() {
    for restarts in [false, true] {
        let mut world = World::new();
        let number = world.subscriber("c", Qos::ExactlyOnce);
        let shard = ShardMap::virtual_shard(b"c");
        world.deliver(once("1", 1), 1);
        world.deliver(message("2", Qos::AtLeastOnce), 2);
        world.acknowledge(0, "c", number, &[(1, PubRec)]);
        world.told.clear();

        world.shard.start_move(world.now, shard, 1, &mut world.store).unwrap();
        world.run();
        assert_eq!(world.settled(), [(2, true)]);
        assert_eq!(world.deliver(once("3", 3), 3), Reply::Applied);
        assert_eq!(world.packets(), Vec::<String>::new());
        assert_eq!(world.acknowledge(0, "c", number, &[(2, PubAck)]), Reply::Refused(Refusal::Unavailable));

        let mut target = Target::new(&world);
        copy(&mut world, &mut target, shard);
        if restarts {
            world.restart();
            target.restart(&mut world);
            target.run(&world);
        }
        assert!(target.shard.is_imported(shard));
        // Both hear of new messages.
        for (text, name) in [("4", 4), ("5", 5)] {
            assert_eq!(world.deliver(once(text, name), name), Reply::Applied);
            let deliver = SessionsRequest::Deliver { publication: once(text, name), ticket: Some(name) };
            assert_eq!(target.ask(&world, 7, deliver), Reply::Applied);
        }
        let claim = SessionsRequest::Claim {
            client_id: id("c"),
            connection: messages::broker::ConnectionId(8),
            claim: Box::new(durable()),
        };
        assert_eq!(target.ask(&world, 0, claim), Reply::Refused(Refusal::Unavailable));

        world.shard.finish_move(world.now, shard, &mut world.store).unwrap();
        world.run();
        assert_eq!(world.deliver(once("6", 6), 6), Reply::Applied);
        let deliver = SessionsRequest::Deliver { publication: once("6", 6), ticket: Some(6) };
        assert_eq!(target.ask(&world, 7, deliver), Reply::Applied);
        copy(&mut world, &mut target, shard);
        target.shard.finish_import(world.now, shard, &mut target.store).unwrap();
        world.shard.forget_moved(world.now, shard, &mut world.store).unwrap();
        world.run();
        target.run(&world);
        let moved = Reply::Refused(Refusal::Moved { shard, to: 1 });
        assert_eq!(world.acknowledge(0, "c", number, &[(2, PubAck)]), moved);
        let texts: Vec<&str> = target.packets.iter().map(|packet| packet.split(' ').next().unwrap()).collect();
        assert_eq!(texts, ["pubrel", "2", "3", "4", "5", "6"], "what had not left, perhaps");
        assert_eq!(world.store.stored_messages(), 0);

        // The connection goes on, and its next one finds everything.
        let release = SessionsRequest::Release {
            client_id: id("c"),
            number,
            ending: common::ending(DisconnectReason::ConnectionLost),
        };
        target.ask(&world, 0, release);
        target.packets.clear();
        let claim = SessionsRequest::Claim {
            client_id: id("c"),
            connection: messages::broker::ConnectionId(9),
            claim: Box::new(durable()),
        };
        target.ask(&world, 0, claim);
        let texts: Vec<&str> = target.packets.iter().map(|packet| packet.split(' ').next().unwrap()).collect();
        assert_eq!(texts, ["pubrel", "2", "3", "4", "5", "6"]);
        let number = 1;
        let filters = vec![("z".to_owned(), at_most(Qos::AtLeastOnce), false)];
        let stale = SessionsRequest::Subscribe { client_id: id("c"), number, packet_id: common::packet(1), filters };
        assert_eq!(target.ask(&world, 0, stale), Reply::Refused(Refusal::Superseded));
    }
}

#[test]
fn another_objects_client_ids_are_refused_with_its_number() {
    let mut world = World::new();
    world.shard = SessionsShard::new(0, world.now, ShardSettings::default(), ShardMap::new(2), ShardMap::new(1));
    let map = ShardMap::new(2);
    for client in 0..20 {
        let client = id(&format!("client-{client}"));
        let shard = ShardMap::virtual_shard(client.as_str().as_bytes());
        let reply = world.ask_api(SessionsRequest::Describe { client_id: client });
        let expected = match map.object(shard) {
            0 => Reply::Client(None),
            to => Reply::Refused(Refusal::Moved { shard, to }),
        };
        assert_eq!(reply, expected);
    }
}
