//! Messages to queues from the Worker and from objects without a `Host`: bytes, perhaps with a delay.

use js_sys::{Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::Env;

#[wasm_bindgen]
extern "C" {
    type BytesQueue;
    #[wasm_bindgen(method, catch)]
    fn send(this: &BytesQueue, body: &Uint8Array, options: &Object) -> Result<Promise, JsValue>;
}

/// Sends bytes to a queue by its binding; they are there once this returns.
///
/// # Errors
/// When there is no such binding, or the queue does not take the message.
pub async fn send(env: &Env, binding: &str, body: &[u8], delay_secs: u32) -> Result<(), JsValue> {
    let queue: BytesQueue = Reflect::get(env, &binding.into())?.unchecked_into();
    let options = Object::new();
    Reflect::set(&options, &"contentType".into(), &"bytes".into())?;
    Reflect::set(&options, &"delaySeconds".into(), &JsValue::from_f64(f64::from(delay_secs)))?;
    JsFuture::from(queue.send(&Uint8Array::from(body), &options)?).await?;
    Ok(())
}
