//! Where objects are opened: the platform places an object for ever where it is called first, near the caller or where
//! a location hint says. So every opening gives the hint.

use messages::address::{Address, BrokerId};
use placement::BrokerRegion;
use wasm_bindgen::prelude::*;
use worker::{Env, Result, Stub};

/// The variable that says where everything is opened which is no region's.
const HOME_REGION: &str = "HOME_REGION";

/// The location hint of an object by its name: a region's Brokers and pool are opened there, everything else where
/// `HOME_REGION` says, if it says anything. Asked by `workers/entry` before it opens a stub.
#[wasm_bindgen]
#[must_use]
pub fn location_hint(name: &str, home_region: Option<String>) -> Option<String> {
    let mut parts = name.split('/');
    let region = match parts.next() {
        Some("broker" | "pool") => parts.next(),
        _ => None,
    };
    hint(region, home_region)
}

/// A stub for an object, from the Worker.
///
/// # Errors
/// When the platform refuses.
pub fn open(env: &Env, target: &Address) -> Result<Stub> {
    let region = match target {
        Address::Broker(BrokerId { region, .. }) | Address::Pool(region) => Some(region.as_str()),
        Address::Router(_) | Address::Sessions(_) | Address::Thing(_) | Address::Job(_) => None,
    };
    let namespace = env.durable_object(target.class().binding())?;
    let id = namespace.id_from_name(&target.to_string())?;
    match hint(region, env.var(HOME_REGION).ok().map(|value| value.to_string())) {
        Some(hint) => id.get_stub_with_location_hint(&hint),
        None => id.get_stub(),
    }
}

fn hint(region: Option<&str>, home_region: Option<String>) -> Option<String> {
    let of_region = region.and_then(BrokerRegion::parse).and_then(BrokerRegion::location_hint).map(str::to_owned);
    of_region.or(home_region).filter(|hint| !hint.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    fn brokers_and_pools_are_opened_in_their_region_and_all_else_at_home() {
        for (name, home, expected) in [
            ("broker/home/0", "", None),
            ("broker/home/0", "weur", Some("weur")),
            ("broker/enam/7", "weur", Some("enam")),
            ("broker/enam/7", "", Some("enam")),
            ("pool/apac", "weur", Some("apac")),
            ("pool/home", "weur", Some("weur")),
            ("router/3", "weur", Some("weur")),
            ("thing/enam", "", None),
            ("thing/broker/enam", "weur", Some("weur")),
            ("job/pool", "", None),
        ] {
            assert_eq!(location_hint(name, Some(home.to_owned())).as_deref(), expected, "{name} {home:?}");
        }
        assert_eq!(location_hint("router/3", None), None);
    }
}
