//! Carries out the calls of a machine that has an outbox, and feeds the answers back.

use crate::host::Host;
use iot_types::UnixMillis;
use messages::address::Address;
use messages::channel::Call;
use messages::codec::BatchReply;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

/// A machine that calls other objects.
pub trait Caller: 'static {
    /// The calls to make now.
    fn calls(&self, now: UnixMillis) -> Vec<Call>;
    /// Takes the outcome of one of them.
    fn answered(&self, now: UnixMillis, target: &Address, reply: Option<BatchReply>);
    /// When there will be something to call again by itself.
    fn next_timeout(&self) -> Option<UnixMillis>;
    /// The JavaScript half.
    fn host(&self) -> &Host;
}

/// Starts all calls that may start, without waiting for any, and asks for a tick when something is due later.
pub fn pump<C: Caller>(caller: &Rc<C>, now: UnixMillis) {
    for call in caller.calls(now) {
        let caller = Rc::clone(caller);
        wasm_bindgen_futures::spawn_local(AssertUnwindSafe(async move {
            let reply = caller.host().call_batch(&call.target, &call.batch).await;
            let now = now_millis();
            caller.answered(now, &call.target, reply);
            pump(&caller, now);
        }));
    }
    if let Some(at) = caller.next_timeout() {
        caller.host().schedule(millis(at.millis_since(now)));
    }
}

/// The platform's clock, which stands still while a handler runs.
pub fn now_millis() -> UnixMillis {
    from_js(js_sys::Date::now())
}

/// A JavaScript time as ours.
pub fn from_js(millis: f64) -> UnixMillis {
    // Date.now() is a whole number of milliseconds far below 2^53.
    UnixMillis(if millis.is_finite() && millis > 0.0 { millis as u64 } else { 0 })
}

/// A number of milliseconds for JavaScript.
pub fn millis(value: u64) -> f64 {
    value as f64
}
