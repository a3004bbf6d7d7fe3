//! The shard among Brokers, clients and publishers, while everything fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::model::{AMPLE, Model, client_id};
use iot_types::{PacketId, Qos};
use messages::publication::MessageId;
use messages::sessions::{ReceivedState, SessionsRequest};
use messages::{Reply, Request};
use proptest::prelude::*;
use sessions::Failing;

#[test]
fn without_faults_fast_subscribers_cost_no_rows() {
    let mut model = Model::new(AMPLE, 1);
    model.publish(Qos::AtLeastOnce);
    for _ in 0..700 {
        model.heal(1);
    }
    let rows = model.objects[0].store.rows_written();
    for _ in 0..300 {
        model.publish(Qos::AtLeastOnce);
        model.heal(2);
    }
    assert_eq!(model.objects[0].store.rows_written(), rows);
    model.check();
}

#[test]
fn a_received_message_of_qos_2_has_one_name_whatever_fails() {
    let mut model = Model::new(AMPLE, 1);
    let (at, connection) = model.clients[0].connection.unwrap();
    let number = model.brokers[at].connections[&connection].number.unwrap();
    for (origin, failing, expected) in [
        (1, Failing::Before, None),
        (2, Failing::After, None),
        (3, Failing::Never, Some(2)),
        (4, Failing::Never, Some(2)),
    ] {
        let message_id = MessageId { origin, number: 1 };
        let packet_id = PacketId::FIRST;
        let request = SessionsRequest::Receive { client_id: client_id(0), number, packet_id, message_id };
        let batch = messages::codec::Batch { sender: None, requests: vec![Request::Sessions(request)] };
        model.objects[0].store.fail_next(failing);
        let state = model.call(0, &batch).map(|reply| match reply.replies[0] {
            Reply::Received(ReceivedState { message_id, .. }) => message_id.origin,
            ref other => panic!("{other:?}"),
        });
        assert_eq!(state, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_arrives_whatever_fails(
        steps in proptest::collection::vec((0..39_u8, any::<u8>(), any::<u8>()), 0..400),
    ) {
        let mut model = Model::new(AMPLE, 1);
        for step in steps {
            model.step(step);
        }
        model.check();
    }

    #[test]
    fn small_queues_stay_small_and_hold_nobody_back_whatever_fails(
        steps in proptest::collection::vec((0..39_u8, any::<u8>(), any::<u8>()), 0..300),
    ) {
        let mut model = Model::new(6, 1);
        for step in steps {
            model.step(step);
        }
        model.check();
    }
}
