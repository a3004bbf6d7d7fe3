//! Cloudflare's ceilings: an ordinary run stays below all of them, and exceeding any is a violation with its name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{connected, subscribed};
use iot_types::{Qos, RuleName};
use messages::address::Address;
use mqtt_codec::ReasonCode;
use rules::{Program, SqlVersion};
use sim::{Ceilings, ClientOptions, Faults, World, WorldSettings, model};

/// A bit of everything, with these ceilings; what was exceeded.
fn exceeded(ceilings: Ceilings) -> (World, Vec<String>) {
    let faults = Faults { minimum_delay: 5, maximum_delay: 5, ..Faults::NONE };
    let mut world = World::new(WorldSettings { seed: 42, ceilings, faults, ..WorldSettings::default() });
    world.set_rules(
        1,
        vec![broker::StoredRule {
            rule_name: RuleName::new("all").unwrap(),
            program: Program::compile("SELECT * FROM 't/#'", SqlVersion::V2016).unwrap().encode(),
            actions: vec!["{}".to_owned()],
        }],
    );
    let away = subscribed(&mut world, ClientOptions::new("away", 1).durable(), "#", Qos::ExactlyOnce);
    subscribed(&mut world, ClientOptions::new("here", 1), "t/#", Qos::AtLeastOnce);
    world.lose(away);
    world.run_for(100);
    let publisher = connected(&mut world, ClientOptions::new("p", 0));
    for number in 0..20 {
        world.publish_retained(publisher, &format!("t/{number}"), Qos::AtLeastOnce, false);
        world.publish_payload(publisher, "t/large", Qos::AtLeastOnce, "x".repeat(1_000));
        world.run_for(20);
    }
    world.run_for(5_000);
    assert!(world.published().iter().all(|publish| matches!(publish.acknowledged, Some((_, ReasonCode::Success)))));
    world.settle(60_000);
    let found = model::violations(&world);
    (world, found)
}

#[test]
fn an_ordinary_run_stays_below_all_ceilings() {
    let (world, found) = exceeded(Ceilings::default());
    assert_eq!(found, Vec::<String>::new());
    let load = world.load(&Address::Sessions(world.sessions_of("away").1));
    assert!(load.largest_row > 1_000 && load.largest_message > 1_000 && load.most_subrequests > 0, "{load:?}");
}

#[test]
fn each_ceiling_that_is_exceeded_is_named_with_the_seed() {
    let all = Ceilings::default();
    let rows = [
        ("calls", Ceilings { calls: 5, ..all }),
        ("rows", Ceilings { rows: 5, ..all }),
        ("row bytes", Ceilings { row_bytes: 1_000, ..all }),
        ("stored bytes", Ceilings { stored_bytes: 1_000, ..all }),
        ("message bytes", Ceilings { message_bytes: 1_000, ..all }),
        ("subrequests", Ceilings { subrequests: 1, ..all }),
        ("connections", Ceilings { connections: 0, ..all }),
        ("frame bytes", Ceilings { frame_bytes: 1_000, ..all }),
        ("attachment bytes", Ceilings { attachment_bytes: 10, ..all }),
        ("sockets", Ceilings { sockets: 0, ..all }),
        ("queue message bytes", Ceilings { queue_message_bytes: 1_000, ..all }),
        ("queue rate", Ceilings { queue_rate: 0, ..all }),
    ];
    for (name, ceilings) in rows {
        let (_, found) = exceeded(ceilings);
        let named = |violation: &String| {
            violation.starts_with(&format!("ceiling \"{name}\" exceeded by ")) && violation.ends_with("(seed 42)")
        };
        assert!(!found.is_empty() && found.iter().all(named), "{name}: {found:?}");
    }
}
