//! A virtual shard moves to other objects while its clients are connected and messages come.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::model::{AMPLE, Model};
use iot_types::Qos;
use messages::{Refusal, Reply};
use proptest::prelude::*;

#[test]
fn a_virtual_shard_moves_as_the_operator_asks_while_messages_come() {
    let mut model = Model::new(AMPLE, 2);
    assert_eq!(model.hand_over(0, 1), Some(Reply::Pending));
    let mut refused = 0;
    for round in 0..100 {
        model.publish([Qos::AtLeastOnce, Qos::ExactlyOnce][round % 2]);
        model.heal(1);
        refused += u64::from(model.refused(0, 0) == Some(Refusal::Unavailable));
        if model.hand_over(0, 1) == Some(Reply::Applied) {
            break;
        }
    }
    assert!((1..60).contains(&refused), "{refused}");
    model.wanted = 1;
    model.check();
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_arrives_whatever_fails_and_moves(
        steps in proptest::collection::vec((0..48_u8, any::<u8>(), any::<u8>()), 0..500),
    ) {
        let mut model = Model::new(AMPLE, 3);
        for step in steps {
            model.step(step);
        }
        model.check();
    }
}
