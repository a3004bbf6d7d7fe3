//! What the scenarios share.

#![allow(dead_code, reason = "not every test needs everything")]

use iot_types::Qos;
use mqtt_codec::ReasonCode;
use sim::{ClientKey, ClientOptions, World, WorldSettings, model};

pub fn world(brokers: u32) -> World {
    World::new(WorldSettings { brokers, ..WorldSettings::default() })
}

pub fn connected(world: &mut World, options: ClientOptions) -> ClientKey {
    let client = world.connect(options);
    let mut waited = 0;
    while world.client(client).connack.is_none() && waited < 1_000 {
        world.run_for(10);
        waited += 10;
    }
    assert!(world.client(client).is_connected());
    client
}

pub fn subscribed(world: &mut World, options: ClientOptions, filter: &str, qos: Qos) -> ClientKey {
    let client = connected(world, options);
    world.subscribe(client, &[filter], qos);
    world.run_for(100);
    assert!(granted(world, client).is_some_and(|code| !code.is_error()));
    client
}

pub fn granted(world: &World, client: ClientKey) -> Option<ReasonCode> {
    world.client(client).subscriptions.last()?.answered.map(|(_, code)| code)
}

pub fn acknowledged(world: &World, number: usize) -> Option<ReasonCode> {
    world.published()[number].acknowledged.map(|(_, code)| code)
}

/// Everything ends well: it becomes quiet, and the model agrees with all that happened.
pub fn ends_well(world: &mut World) {
    assert!(world.settle(120_000), "something never ends");
    let violations = model::violations(world);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

/// What all connections of a client id got, in order.
pub fn payloads(world: &World, client_id: &str) -> Vec<String> {
    let connections = world.clients().filter(|(_, client)| client.options.client_id == client_id);
    connections.flat_map(|(_, client)| client.payloads()).map(str::to_owned).collect()
}

pub fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("m{number}")).collect()
}
