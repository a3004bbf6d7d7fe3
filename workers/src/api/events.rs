//! Registry events of what a request has changed.

use super::Call;
use durable_objects::events;
use registry::registry_event::RegistryEvent;

/// Tells of what has happened, in this order, if it is switched on.
pub async fn tell(call: &Call<'_>, told: Vec<RegistryEvent>) {
    let deployment = call.deployment;
    events::tell(&deployment.site(call.now), &deployment.config, call.route.operation.name(), told).await;
}
