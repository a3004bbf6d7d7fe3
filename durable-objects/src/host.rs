//! The JavaScript half of an object, as Rust sees it, and calls to other objects.

use crate::location::open;
use js_sys::{Array, Promise, Uint8Array};
use messages::address::Address;
use messages::api::{BrokerApiReply, BrokerApiRequest};
use messages::codec::{Batch, BatchReply};
use wasm_bindgen::closure::ScopedClosure;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

#[wasm_bindgen]
extern "C" {
    /// What `workers/entry/object.js` gives to each object.
    #[derive(Clone)]
    pub type Host;

    /// Asks for `tick` after a delay in milliseconds; the earliest wish counts. A pending timer keeps the object awake.
    #[wasm_bindgen(method)]
    pub fn schedule(this: &Host, delay_millis: f64);

    /// Calls an object by its binding and name.
    #[wasm_bindgen(method, catch)]
    pub fn call(this: &Host, binding: &str, name: &str, batch: Uint8Array) -> Result<Promise, JsValue>;

    /// Sets the object's alarm, in milliseconds since the epoch.
    #[wasm_bindgen(method, catch, js_name = setAlarm)]
    pub fn set_alarm(this: &Host, at: f64) -> Result<Promise, JsValue>;

    /// Runs `act` in a transaction of the object's storage, which is rolled back unless it returns true.
    #[wasm_bindgen(method, catch, js_name = transaction)]
    fn transaction(this: &Host, act: &ScopedClosure<dyn FnMut() -> bool>) -> Result<(), JsValue>;

    /// Runs a query and packs its rows (`workers/entry/rows.js`), at least one, until `limit` bytes are reached.
    #[wasm_bindgen(method, catch)]
    pub fn rows(this: &Host, statement: &str, bindings: Array, limit: f64) -> Result<Vec<u8>, JsValue>;

    /// Runs a statement without rows.
    #[wasm_bindgen(method, catch)]
    pub fn run(this: &Host, statement: &str, bindings: Array) -> Result<(), JsValue>;

    /// How large the object's database is, in bytes.
    #[wasm_bindgen(method, js_name = databaseSize)]
    pub fn database_size(this: &Host) -> f64;

    /// Sends bytes to a queue by its binding.
    #[wasm_bindgen(method, catch)]
    pub fn enqueue(this: &Host, binding: &str, body: Uint8Array) -> Result<Promise, JsValue>;

    /// A Durable Object stub whose class has our RPC method.
    pub type ObjectStub;

    /// The RPC method.
    #[wasm_bindgen(method, catch, js_name = call)]
    pub fn call_rpc(this: &ObjectStub, batch: Uint8Array) -> Result<Promise, JsValue>;

    /// A Broker's other RPC method, which answers when the outcome is known.
    #[wasm_bindgen(method, catch, js_name = publish)]
    pub fn publish_rpc(this: &ObjectStub, request: Uint8Array) -> Result<Promise, JsValue>;

    #[wasm_bindgen(js_namespace = console, js_name = log)]
    fn console_log(line: &str);
}

impl Host {
    /// Calls an object with a packed batch; `None` when the call failed, however it did.
    pub async fn call_batch(&self, target: &Address, batch: &Batch) -> Option<BatchReply> {
        let bytes = Uint8Array::from(batch.encode().ok()?.as_slice());
        let promise = self.call(target.class().binding(), &target.to_string(), bytes).ok()?;
        decode(JsFuture::from(promise).await)
    }

    /// Runs `act` in a transaction of the object's storage, which is rolled back unless it returns true. Whether it has
    /// been committed.
    pub fn in_transaction(&self, mut act: impl FnMut() -> bool) -> bool {
        // A panic within rolls back, and whoever owns what `act` has changed drops it.
        self.transaction(&ScopedClosure::borrow_mut_assert_unwind_safe(&mut act)).is_ok()
    }

    /// Sends a queue message; whether it has been taken.
    pub async fn send_to_queue(&self, binding: &str, body: &[u8]) -> bool {
        match self.enqueue(binding, Uint8Array::from(body)) {
            Ok(promise) => JsFuture::from(promise).await.is_ok(),
            Err(_) => false,
        }
    }
}

/// Calls an object from the Worker, which keeps no channel; `None` when the call failed.
pub async fn call_object(env: &Env, target: &Address, batch: &Batch) -> Option<BatchReply> {
    let stub: ObjectStub = open(env, target).ok()?.into_rpc();
    let bytes = Uint8Array::from(batch.encode().ok()?.as_slice());
    decode(JsFuture::from(stub.call_rpc(bytes).ok()?).await)
}

/// Asks a Broker for something whose outcome the Worker waits for; `None` when it could not be asked or told nothing:
/// then it may have been done or not.
pub async fn call_broker_api(env: &Env, target: &Address, request: &BrokerApiRequest) -> Option<BrokerApiReply> {
    let stub: ObjectStub = open(env, target).ok()?.into_rpc();
    let bytes = Uint8Array::from(request.encode().ok()?.as_slice());
    let reply = JsFuture::from(stub.publish_rpc(bytes).ok()?).await.ok()?;
    BrokerApiReply::decode(&Uint8Array::new(&reply).to_vec()).ok()
}

fn decode(result: Result<JsValue, JsValue>) -> Option<BatchReply> {
    BatchReply::decode(&Uint8Array::new(&result.ok()?).to_vec()).ok()
}

/// Writes one line of JSON to the log.
pub fn log_line(value: &serde_json::Value) {
    console_log(&value.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::ThingName;
    use wasm_bindgen_test::wasm_bindgen_test;

    /// A host whose methods are written in JavaScript; `seen` on it is what they noted.
    fn host(methods: &str) -> Host {
        js_sys::eval(&format!("({{ seen: [], {methods} }})")).unwrap().unchecked_into()
    }

    fn seen(host: &Host) -> String {
        let seen = js_sys::Reflect::get(host.as_ref(), &"seen".into()).unwrap();
        js_sys::JSON::stringify(&seen).unwrap().into()
    }

    fn lamp() -> Address {
        Address::Thing(ThingName::new("lamp").unwrap())
    }

    fn reply() -> BatchReply {
        BatchReply { epoch: 7, replies: Vec::new() }
    }

    fn batch() -> Batch {
        Batch { sender: None, requests: Vec::new() }
    }

    #[wasm_bindgen_test]
    async fn a_call_names_binding_and_object_and_carries_the_batch() {
        let bytes: Vec<String> = reply().encode().unwrap().iter().map(u8::to_string).collect();
        let host = host(&format!(
            "call(binding, name, bytes) {{
                this.seen.push(binding, name, Array.from(bytes));
                return Promise.resolve(new Uint8Array([{}]));
            }}",
            bytes.join(",")
        ));
        assert_eq!(host.call_batch(&lamp(), &batch()).await, Some(reply()));
        let bytes = batch().encode().unwrap();
        assert_eq!(seen(&host), format!(r#"["THING","thing/lamp",{}]"#, serde_json::to_string(&bytes).unwrap()));
    }

    #[wasm_bindgen_test]
    async fn a_call_that_fails_in_any_way_has_no_reply() {
        for call in [
            "throw new Error('thrown')",
            "return Promise.reject(new Error('rejected'))",
            "return Promise.resolve(undefined)",
            "return Promise.resolve(new Uint8Array([255, 255, 255]))",
            "return Promise.resolve('text')",
        ] {
            let host = host(&format!("call() {{ {call}; }}"));
            assert_eq!(host.call_batch(&lamp(), &batch()).await, None, "{call}");
        }
    }

    #[wasm_bindgen_test]
    async fn a_queue_takes_every_byte_or_says_that_it_did_not() {
        let taking =
            host("enqueue(binding, bytes) { this.seen.push(binding, Array.from(bytes)); return Promise.resolve(); }");
        assert!(taking.send_to_queue("RULE_ACTIONS", &[0, 127, 128, 255]).await);
        assert_eq!(seen(&taking), r#"["RULE_ACTIONS",[0,127,128,255]]"#);
        for enqueue in ["throw new Error('thrown')", "return Promise.reject(new Error('too large'))"] {
            let refusing = host(&format!("enqueue() {{ {enqueue}; }}"));
            assert!(!refusing.send_to_queue("RULE_ACTIONS", b"x").await, "{enqueue}");
        }
    }

    #[wasm_bindgen_test]
    fn delays_and_alarms_are_numbers_of_milliseconds() {
        let host = host(
            "schedule(delay) { this.seen.push(delay); }, setAlarm(at) { this.seen.push(at); return Promise.resolve(); }",
        );
        host.schedule(0.0);
        let _ = host.set_alarm(1_785_000_000_000.0).unwrap();
        assert_eq!(seen(&host), "[0,1785000000000]");
    }
}
