//! What is compared: the names of servers, what they are, and which scenario makes sense on which.

use crate::scenario::{Group, Load, Scenario};
use anyhow::{Result, bail};
use iot_types::Qos;

/// The names, in the order in which they are reported.
pub const TARGETS: [&str; 8] =
    ["umbra", "umbra-accepted", "mosquitto", "rumqttd", "aedes", "floor", "floor-accepted", "floor-each"];

/// What a name stands for.
pub fn describe(target: &str) -> &'static str {
    match target {
        "umbra" => "Umbra",
        "umbra-accepted" => "Umbra, `accept()`",
        "mosquitto" => "mosquitto",
        "rumqttd" => "rumqttd",
        "aedes" => "aedes",
        "floor" => "floor",
        "floor-accepted" => "floor, `accept()`",
        "floor-each" => "floor, not coalesced",
        _ => "",
    }
}

/// The target that has the same sockets and does nothing of a broker.
pub fn floor_of(target: &str) -> Option<&'static str> {
    match target {
        "umbra" | "floor" | "floor-each" => Some("floor"),
        "umbra-accepted" | "floor-accepted" => Some("floor-accepted"),
        _ => None,
    }
}

/// Whether the target can be measured in the scenario, and says something there.
pub fn takes_part(target: &str, scenario: &Scenario) -> bool {
    match target {
        // what a frame out for each message costs is seen in a few scenarios
        "floor-each" => match scenario.load {
            Load::Saturate(traffic) => {
                traffic.payload == 64
                    && traffic.shape.subscribers().max(traffic.shape.publishers()) <= 10
                    && scenario.group != Group::Cross
                    && traffic.qos != Qos::ExactlyOnce
            }
            Load::Paced { .. } | Load::Connects { .. } | Load::Retained { .. } => false,
        },
        // one server that spans no others; mosquitto is there to have a ratio to it
        "rumqttd" | "aedes" => scenario.group != Group::Cross,
        _ => true,
    }
}

/// Those of `all` that are named, in the order of `all`.
///
/// # Errors
/// When a name is none of them.
pub fn parse(all: &[&'static str], text: &str) -> Result<Vec<&'static str>> {
    let wanted: Vec<&str> = text.split(',').collect();
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!("--targets takes names of {}, not {unknown:?}", all.join(", "));
    }
    Ok(all.iter().copied().filter(|name| wanted.contains(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    #[test]
    fn every_target_is_described() {
        assert!(TARGETS.iter().all(|target| !describe(target).is_empty()));
    }

    #[test]
    fn umbra_and_its_floor_take_part_in_every_scenario() {
        for scenario in scenario::all(10) {
            for target in ["umbra", "umbra-accepted"] {
                let floor = floor_of(target).unwrap();
                assert!(takes_part(target, &scenario) && takes_part(floor, &scenario), "{}", scenario.name);
            }
        }
    }

    #[test]
    fn peers_are_not_asked_to_span_brokers() {
        let crossing = scenario::all(10).into_iter().find(|scenario| scenario.group == Group::Cross).unwrap();
        assert_eq!(["mosquitto", "rumqttd"].map(|peer| takes_part(peer, &crossing)), [true, false]);
    }
}
