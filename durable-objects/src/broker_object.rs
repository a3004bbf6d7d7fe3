//! `Broker`: an MQTT server node and its WebSockets.
//!
//! **State**: soft. Sessions, subscriptions and messages on their way are in memory; what a sleep must not lose is in
//! the sockets' attachments. The only rows are the epoch, and attachments that are too large for a socket.
//! **Called by**: the Gateway (upgrades), other Brokers, Sessions shards, Things and the API. **Calls**: Routers,
//! Sessions shards, Things, other Brokers, D1 (rules) and the queue of rule outputs, never before it returns.
//! **Why it is atomic**: every export is synchronous; what follows from it is started at the end and never awaited.
//! **Woken by**: frames, calls, the alarm (a client's keep-alive), and a timer while anything is under way: an object
//! with a timer is not put to sleep.

mod authorizations;
mod placement;
mod policies;
mod proofs;

use crate::config::Config;
use crate::custom_authorizer::Authorization;
use crate::fleet;
use crate::host::{Host, log_line};
use crate::outgoing::{from_js, millis, now_millis};
use crate::storage::{self, SqlStorage, StorageError, blob, integer, number};
use authorizations::Said;
use broker::{Attachment, Broker, BrokerSettings, Input, LogEvent, Output, PlacementSettings};
use bytes::Bytes;
use device_auth::access_key::{AccessKeyId, AccessKeys, RootKey, SecretAccessKey};
use device_auth::derived_keys::DerivedKeys;
use device_auth::enhanced::Challenge;
use device_auth::internal_header::{self, ConnectionGrant, InternalKey};
use device_auth::principal::Principal;
use iot_types::UnixMillis;
use js_sys::{Function, Promise, Uint8Array};
use messages::address::BrokerId;
use messages::api::{ApiFailure, BrokerApiReply, BrokerApiRequest};
use messages::broker::ConnectionId;
use messages::channel::Call;
use messages::codec::Batch;
use rustc_hash::FxHashMap;
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::WebSocket;
use worker::{Env, State};

const SCHEMA: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS epoch (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS attachments (connection INTEGER PRIMARY KEY, bytes BLOB NOT NULL)",
];

/// Largest attachment kept with the socket itself: the platform allows 16 384 bytes, and wraps them.
const ATTACHMENT_BYTES: usize = 12 * 1024;
/// In place of an attachment that is a row: this byte, then the connection's number.
const ATTACHMENT_IN_ROW: u8 = 0;
/// How often an object that has something under way looks whether it still has, in milliseconds.
const AWAKE_MILLIS: u64 = 1_000;
/// For how long after something left whatever comes belongs to the same burst, in milliseconds by a clock that shows
/// whole ones.
const BURST_MILLIS: u64 = 2;
/// Connections that may have something to send before it is worth waiting for more.
const WIDE: usize = 4;
/// The label that the key of the internal header is derived with; the Gateway uses the same.
pub const GRANT_KEY_LABEL: &str = "connection grant";
/// The same for the key that encrypts the key of the platform's certificate authority; the API uses it, too.
pub const AUTHORITY_KEY_LABEL: &str = "platform certificate authority";
/// The same for tokens that certificates are claimed with.
const TOKEN_KEY_LABEL: &str = "certificate ownership token";

/// The Rust half of a Broker.
#[wasm_bindgen]
pub struct BrokerObject {
    inner: AssertUnwindSafe<Rc<Inner>>,
}

struct Inner {
    state: State,
    sql: SqlStorage,
    env: Env,
    host: Host,
    access_keys: AccessKeys,
    grant_key: InternalKey,
    /// Encrypts the key of the platform's own certificate authority.
    authority_key: InternalKey,
    /// Encrypts the tokens that certificates are claimed with.
    token_key: InternalKey,
    config: Config,
    settings: BrokerSettings,
    placement: PlacementSettings,
    logs_all_connections: bool,
    node: RefCell<Option<Broker>>,
    sockets: RefCell<FxHashMap<ConnectionId, WebSocket>>,
    next_connection: Cell<u64>,
    /// The upgrade that has been admitted and has no socket yet: it gets one in the same event.
    admitted: RefCell<Option<(ConnectionId, Box<ConnectionGrant>)>>,
    /// Whether this memory began without sockets and no connection has come since: with the next one its epoch is told
    /// to the others.
    is_fresh: Cell<bool>,
    /// Whether the registry was asked for virtual shards that have moved.
    knows_shards: Cell<bool>,
    /// Whether a tick's end is already scheduled: outputs wait for it and leave together.
    is_ticking: Cell<bool>,
    /// When something last left.
    flushed_at: Cell<UnixMillis>,
    /// What was sent last: several clients in a row often get the same.
    last_frame: RefCell<Option<(Bytes, Uint8Array)>>,
    /// Challenges of enhanced authentication whose answer is waited for.
    challenges: RefCell<BTreeMap<ConnectionId, Challenge>>,
    /// Clients that custom authorizers have let in.
    authorizations: RefCell<BTreeMap<ConnectionId, Authorization>>,
    /// Who waits for the outcome of a request, by the number given to it.
    asking: RefCell<BTreeMap<u64, Function>>,
    next_request: Cell<u64>,
    /// The alarm as it is stored, so that it is only written when it has to come earlier.
    alarm_at: Cell<Option<UnixMillis>>,
}

#[wasm_bindgen]
extern "C" {
    /// A server socket with the number that `workers/entry/broker.js` looks for.
    #[wasm_bindgen(extends = WebSocket)]
    type NumberedSocket;
    #[wasm_bindgen(method, setter, js_name = umbraConnection)]
    fn set_connection(this: &NumberedSocket, connection: f64);
    #[wasm_bindgen(method, catch, js_name = serializeAttachment)]
    fn serialize_attachment(this: &NumberedSocket, value: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch, js_name = deserializeAttachment)]
    fn deserialize_attachment(this: &NumberedSocket) -> Result<JsValue, JsValue>;
}

#[wasm_bindgen]
impl BrokerObject {
    /// Called by `workers/entry` on first use.
    ///
    /// # Errors
    /// When the settings are wrong or the object was not opened by a Broker's name.
    #[wasm_bindgen(constructor)]
    pub fn new(state: worker::worker_sys::DurableObjectState, env: Env, host: Host) -> Result<Self, JsError> {
        let state = State::from(state);
        let config = Config::from_env(&env)?;
        let id = state.id().name().as_deref().and_then(broker_id).ok_or(JsError::new("not a Broker's name"))?;
        let secret =
            |name: &str| env.secret(name).map(|value| value.to_string()).map_err(|e| JsError::new(&e.to_string()));
        let root = RootKey {
            access_key_id: AccessKeyId::new(secret("ROOT_ACCESS_KEY_ID")?)?,
            secret: SecretAccessKey::new(secret("ROOT_SECRET_ACCESS_KEY")?)?,
        };
        let inner = Inner {
            sql: SqlStorage::of(&host),
            access_keys: AccessKeys::new(root, DerivedKeys::new(secret("MASTER_SECRET")?.as_bytes())?),
            grant_key: InternalKey::derive(secret("MASTER_SECRET")?.as_bytes(), GRANT_KEY_LABEL)?,
            authority_key: InternalKey::derive(secret("MASTER_SECRET")?.as_bytes(), AUTHORITY_KEY_LABEL)?,
            token_key: InternalKey::derive(secret("MASTER_SECRET")?.as_bytes(), TOKEN_KEY_LABEL)?,
            settings: config.broker_settings(id),
            placement: config.placement_settings(),
            logs_all_connections: config.logs_all_connections,
            config,
            state,
            env,
            host,
            node: RefCell::new(None),
            sockets: RefCell::new(FxHashMap::default()),
            next_connection: Cell::new(1),
            admitted: RefCell::new(None),
            is_fresh: Cell::new(false),
            knows_shards: Cell::new(false),
            is_ticking: Cell::new(false),
            flushed_at: Cell::new(UnixMillis(0)),
            last_frame: RefCell::new(None),
            challenges: RefCell::new(BTreeMap::new()),
            authorizations: RefCell::new(BTreeMap::new()),
            asking: RefCell::new(BTreeMap::new()),
            next_request: Cell::new(1),
            alarm_at: Cell::new(None),
        };
        Ok(Self { inner: AssertUnwindSafe(Rc::new(inner)) })
    }

    /// Whether an upgrade may come in: returns the number for its connection, or in words why not, for the Gateway.
    ///
    /// # Errors
    /// When the grant is no good, which only a programming error can cause.
    pub fn admit(&self, grant: &str, now: f64) -> Result<JsValue, JsError> {
        let now = from_js(now);
        let grant = Box::new(internal_header::open(&self.inner.grant_key, grant, now)?);
        let admitted = self.inner.with_node(now, |inner, node| {
            if let Err(refusal) = node.admit(now) {
                return Ok(Err(refusal));
            }
            if inner.is_fresh.replace(false) {
                node.begin_epoch(inner.stored_epoch()?);
            }
            let connection = inner.next_connection.get();
            inner.next_connection.set(connection + 1);
            Ok(Ok(connection))
        })?;
        Ok(match admitted {
            Ok(connection) => {
                self.inner.admitted.replace(Some((ConnectionId(connection), grant)));
                JsValue::from_f64(millis(connection))
            }
            Err(refusal) => {
                self.inner.after_event(now);
                JsValue::from_str(&refusal.to_string())
            }
        })
    }

    /// The socket of the upgrade that has just been admitted.
    ///
    /// # Errors
    /// When it has not been, which only a programming error can cause.
    pub fn opened(&self, connection: f64, socket: WebSocket, now: f64) -> Result<(), JsError> {
        let now = from_js(now);
        let connection = ConnectionId(from_js(connection).0);
        let admitted = self.inner.admitted.take().filter(|(admitted, _)| *admitted == connection);
        let Some((_, grant)) = admitted else { return Err(JsError::new("the upgrade was not admitted")) };
        self.inner.sockets.borrow_mut().insert(connection, socket);
        self.inner.handle(now, Input::Opened { connection, grant })
    }

    /// A binary frame.
    ///
    /// # Errors
    /// When the object can't be restored from its storage.
    pub fn receive(&self, connection: f64, bytes: Vec<u8>, now: f64) -> Result<(), JsError> {
        let connection = ConnectionId(from_js(connection).0);
        self.inner.handle(from_js(now), Input::Received { connection, bytes: Bytes::from(bytes) })
    }

    /// A text frame.
    ///
    /// # Errors
    /// When the object can't be restored from its storage.
    pub fn receive_text(&self, connection: f64, now: f64) -> Result<(), JsError> {
        let connection = ConnectionId(from_js(connection).0);
        self.inner.handle(from_js(now), Input::ReceivedText { connection })
    }

    /// The socket is gone.
    ///
    /// # Errors
    /// When the object can't be restored from its storage.
    pub fn lost(&self, connection: f64, now: f64) -> Result<(), JsError> {
        let connection = ConnectionId(from_js(connection).0);
        self.inner.sockets.borrow_mut().remove(&connection);
        self.inner.challenges.borrow_mut().remove(&connection);
        self.inner.forget_authorization(connection);
        self.inner.handle(from_js(now), Input::Lost { connection })
    }

    /// Makes sure that the sockets carry their numbers again after a sleep.
    ///
    /// # Errors
    /// When the object can't be restored from its storage.
    pub fn wake(&self, now: f64) -> Result<(), JsError> {
        self.inner.with_node(from_js(now), |_, _| Ok(()))?;
        self.inner.after_event(from_js(now));
        Ok(())
    }

    /// Applies a packed batch.
    ///
    /// # Errors
    /// When the batch is unreadable or the object can't be restored: the caller tries again.
    pub fn call(&self, batch: &[u8], now: f64) -> Result<Vec<u8>, JsError> {
        let batch = Batch::decode(batch)?;
        let now = from_js(now);
        let reply = self.inner.with_node(now, |_, node| Ok(node.call(now, batch)))?;
        // Whoever calls has waited for the end of a tick already.
        if !self.inner.is_ticking.get() {
            self.inner.flush(now);
        }
        Ok(reply.encode()?)
    }

    /// Publishes for somebody who is no client; the promise is kept when the outcome is known.
    ///
    /// # Errors
    /// When the request is unreadable or the object can't be restored.
    pub fn publish(&self, request: &[u8], now: f64) -> Result<Promise, JsError> {
        let asked = BrokerApiRequest::decode(request)?;
        let request = self.inner.next_request.get();
        self.inner.next_request.set(request + 1);
        let promise = Promise::new(&mut |resolve, _| {
            self.inner.asking.borrow_mut().insert(request, resolve);
        });
        let input = match asked {
            BrokerApiRequest::Publish(publication) => Input::PublishRequest { request, publication },
            BrokerApiRequest::Direct { connection, client_id, publication, confirmation, timeout_millis } => {
                Input::DirectRequest { request, connection, client_id, publication, confirmation, timeout_millis }
            }
        };
        self.inner.handle(from_js(now), input)?;
        Ok(promise)
    }

    /// A client may have been silent for too long.
    ///
    /// # Errors
    /// When the object can't be restored from its storage; the platform calls again.
    pub fn alarm(&self, now: f64) -> Result<(), JsError> {
        self.inner.alarm_at.set(None);
        self.inner.handle(from_js(now), Input::Tick)
    }

    /// Panics with the state borrowed, for the system tests; `workers/entry` calls it only with `TEST_HOOKS`.
    #[allow(clippy::panic)]
    pub fn panic_for_test(&self) {
        let _borrowed = self.inner.node.borrow_mut();
        panic!("forced by a test");
    }

    /// Traps, as a stack overflow does, for the system tests; `workers/entry` calls it only with `TEST_HOOKS`.
    pub fn trap_for_test(&self) {
        core::arch::wasm32::unreachable()
    }

    /// The end of a tick, or a time that was asked for.
    ///
    /// # Errors
    /// When the object can't be restored from its storage.
    pub fn tick(&self, now: f64) -> Result<(), JsError> {
        let now = from_js(now);
        self.inner.is_ticking.set(false);
        self.inner.with_node(now, |_, node| {
            node.handle(now, Input::Tick);
            Ok(())
        })?;
        self.inner.flush(now);
        Ok(())
    }
}

fn broker_id(name: &str) -> Option<BrokerId> {
    let (region, index) = name.strip_prefix("broker/")?.rsplit_once('/')?;
    Some(BrokerId { region: region.to_owned(), index: index.parse().ok()? })
}

impl Inner {
    /// Runs `act` on the node, which is built first if this memory has none.
    fn with_node<T>(
        &self,
        now: UnixMillis,
        act: impl FnOnce(&Self, &mut Broker) -> Result<T, StorageError>,
    ) -> Result<T, JsError> {
        let mut node = self.node.borrow_mut();
        if node.is_none() {
            *node = Some(self.restore(now).map_err(|error| JsError::new(&error.0))?);
        }
        let Some(node) = node.as_mut() else { return Err(JsError::new("the node could not be built")) };
        act(self, node).map_err(|error| JsError::new(&error.0))
    }

    fn handle(self: &Rc<Self>, now: UnixMillis, input: Input) -> Result<(), JsError> {
        self.with_node(now, |_, node| {
            node.handle(now, input);
            Ok(())
        })?;
        self.after_event(now);
        Ok(())
    }

    /// The first outputs of a burst leave at once; what follows until the end of the tick leaves together. A burst has
    /// begun if something left just now, or if so many get something that waiting for more takes less time than telling
    /// them twice.
    fn after_event(self: &Rc<Self>, now: UnixMillis) {
        if self.is_ticking.get() {
            return;
        }
        let is_wide = self.node.borrow().as_ref().is_some_and(|node| node.touched_connections() > WIDE);
        if is_wide || now.millis_since(self.flushed_at.get()) < BURST_MILLIS {
            self.is_ticking.set(true);
            self.host.schedule(0.0);
            return;
        }
        self.flush(now);
    }

    fn flush(self: &Rc<Self>, now: UnixMillis) {
        let (outputs, deadline) = {
            let mut node = self.node.borrow_mut();
            let Some(node) = node.as_mut() else { return };
            let outputs = node.flush(now);
            if let Err(error) = placement::store_told(&self.sql, node) {
                // At worst the pool is told once more.
                log_line(&json!({"level": "warn", "event": "report_not_stored", "reason": error.0}));
            }
            if !outputs.is_empty() {
                self.flushed_at.set(now);
            }
            if let Some(at) = node.next_retry() {
                self.host.schedule(millis(at.millis_since(now)));
            } else if !node.is_at_rest() {
                self.host.schedule(millis(AWAKE_MILLIS));
            }
            (outputs, node.next_timeout())
        };
        for output in outputs {
            self.carry_out(output);
        }
        self.last_frame.take();
        self.arm(now, deadline);
    }

    fn arm(&self, now: UnixMillis, deadline: Option<UnixMillis>) {
        let Some(deadline) = deadline else { return };
        if self.alarm_at.get().is_some_and(|at| at <= deadline) {
            return;
        }
        // Never at once: the deadline is only ever too early, and an alarm costs a row.
        let at = deadline.max(now.plus_millis(AWAKE_MILLIS));
        if self.host.set_alarm(millis(at.0)).is_ok() {
            self.alarm_at.set(Some(at));
        }
    }

    fn carry_out(self: &Rc<Self>, output: Output) {
        match output {
            Output::Send { connection, bytes } => {
                if let Some(socket) = self.sockets.borrow().get(&connection) {
                    // A socket that is closing takes nothing more; its close event follows.
                    let _ = socket.send_with_js_u8_array(&self.in_javascript(bytes));
                }
            }
            Output::Close { connection, code, reason } => {
                if let Some(socket) = self.sockets.borrow_mut().remove(&connection) {
                    let _ = socket.close_with_code_and_reason(code, reason);
                }
                self.challenges.borrow_mut().remove(&connection);
                self.forget_authorization(connection);
                self.forget_attachment(connection);
            }
            Output::SaveAttachment { connection, bytes } => self.save_attachment(connection, &bytes),
            Output::Authenticate { connection, client_id, host, source_ip, username, password, invocation } => {
                self.authenticate(Said { connection, client_id, host, source_ip, username, password }, invocation);
            }
            Output::Call(call) => self.call(call),
            Output::Enqueue { body } => {
                let inner = Rc::clone(self);
                self.spawn(async move {
                    let accepted = inner.host.send_to_queue("RULE_ACTIONS", &body).await;
                    inner.answer(Input::Enqueued { accepted });
                });
            }
            Output::LoadRules => {
                let inner = Rc::clone(self);
                self.spawn(async move {
                    inner.load_shards().await;
                    let input = match crate::rules::load(&inner.env).await {
                        Ok((sequence, rules)) => Input::RulesLoaded { sequence, rules },
                        Err(error) => {
                            log_line(
                                &json!({"level": "error", "event": "rules_unavailable", "reason": error.to_string()}),
                            );
                            Input::RulesUnavailable
                        }
                    };
                    inner.answer(input);
                });
            }
            Output::AuthenticateEnhanced { connection, client_id, host, method: _, data } => {
                let inner = Rc::clone(self);
                self.spawn(async move {
                    let step = inner.challenge(connection, &client_id, &host, &data.unwrap_or_default()).await;
                    inner.answer(Input::EnhancedAuthenticated { connection, step });
                });
            }
            Output::LoadAuthorities { requests } => self.load_authorities(requests),
            Output::SavePolicies { number, bytes } => {
                // Without them a sleep ends the connections that have them.
                self.note_failure("policies_not_saved", policies::save(&self.sql, number, bytes));
            }
            Output::ForgetPolicies { number } => {
                self.note_failure("policies_not_forgotten", policies::forget(&self.sql, number));
            }
            Output::Provision { ticket, client_id, principal, topic, payload } => {
                let inner = Rc::clone(self);
                self.spawn(async move {
                    let answer = inner.provision(&client_id, principal.as_deref(), &topic, &payload).await;
                    inner.answer(Input::Provisioned { ticket, answer: Some(answer) });
                });
            }
            Output::Published { request, outcome } => self.published(request, outcome),
            Output::Fence => self.fence(),
            Output::Stop => self.stop(),
            Output::Log(event) if event.is_routine() && !self.logs_all_connections => {}
            Output::Log(event) => {
                log_event(&event);
                self.note_denied(event);
            }
        }
    }

    /// Copied out of the module's memory, as a send that waits for storage is read after this frees it; once for all who
    /// get the same memory.
    fn in_javascript(&self, bytes: Bytes) -> Uint8Array {
        let mut last = self.last_frame.borrow_mut();
        match &*last {
            Some((known, copy)) if known.as_ptr() == bytes.as_ptr() && known.len() == bytes.len() => copy.clone(),
            _ => {
                let copy = Uint8Array::from(&*bytes);
                *last = Some((bytes, copy.clone()));
                copy
            }
        }
    }

    fn note_failure(&self, event: &str, result: Result<(), StorageError>) {
        if let Err(error) = result {
            log_line(&json!({"level": "warn", "event": event, "node": self.settings.id.index, "reason": error.0}));
        }
    }

    /// The output gate holds back all that leaves after this write until it is durable. Should it fail, the platform ends
    /// this instance.
    fn fence(&self) {
        if let Err(error) = storage::run(&self.sql, "UPDATE epoch SET epoch = epoch WHERE id = 0", vec![]) {
            log_line(&json!({"level": "error", "event": "fence_failed", "reason": error.0}));
            self.stop();
        }
    }

    fn published(&self, request: u64, outcome: BrokerApiReply) {
        let Some(resolve) = self.asking.borrow_mut().remove(&request) else { return };
        // A reply of two bytes always fits; without one the asker would take it as unknown, which it may be told.
        let bytes = outcome.encode().unwrap_or_default();
        let _ = resolve.call1(&JsValue::UNDEFINED, &Uint8Array::from(bytes.as_slice()));
    }

    /// A later instance has this object's name: this one ends what it has, so that the clients come to the other.
    fn stop(&self) {
        log_line(&json!({"level": "warn", "event": "node_superseded", "node": self.settings.id.index}));
        for (_, socket) in core::mem::take(&mut *self.sockets.borrow_mut()) {
            let _ = socket.close_with_code_and_reason(1012, "please connect again");
        }
        let asking: Vec<u64> = self.asking.borrow().keys().copied().collect();
        for request in asking {
            self.published(request, BrokerApiReply::Failed(ApiFailure::NotSafe));
        }
    }

    fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        wasm_bindgen_futures::spawn_local(AssertUnwindSafe(future));
    }

    fn answer(self: &Rc<Self>, input: Input) {
        if self.handle(now_millis(), input).is_err() {
            log_line(&json!({"level": "error", "event": "answer_lost"}));
        }
    }

    async fn provision(
        &self,
        client_id: &str,
        principal: Option<&Principal>,
        topic: &str,
        payload: &[u8],
    ) -> (String, Bytes) {
        let site = self.config.site(&self.env, &self.authority_key, now_millis());
        let device = fleet::Device { client_id, principal };
        fleet::answer(&site, &self.config, &self.token_key, &device, topic, payload).await
    }

    fn call(self: &Rc<Self>, call: Call) {
        let inner = Rc::clone(self);
        self.spawn(async move {
            let reply = inner.host.call_batch(&call.target, &call.batch).await;
            inner.answer(Input::Answered { target: call.target, reply });
        });
    }

    /// Once for each memory: after that the objects themselves tell what moves.
    async fn load_shards(self: &Rc<Self>) {
        if self.knows_shards.replace(true) {
            return;
        }
        match crate::rules::load_shards(&self.env).await {
            Ok([routers, sessions]) => self.answer(Input::ShardsKnown { routers, sessions }),
            Err(error) => {
                self.knows_shards.set(false);
                log_line(&json!({"level": "warn", "event": "shards_unknown", "reason": error.to_string()}));
            }
        }
    }

    // --- what outlives the memory -------------------------------------------------------------------------------

    /// Builds the node from what is stored: with sockets this is a wake-up, without them a start.
    fn restore(&self, now: UnixMillis) -> Result<Broker, StorageError> {
        for statement in SCHEMA {
            storage::run(&self.sql, statement, vec![])?;
        }
        // Numbers never come back, whatever this memory has forgotten: they begin ahead of all that came before, and
        // stay below 2^53.
        self.next_connection.set(now.0.saturating_mul(1_000));
        let mut woken = Vec::new();
        for socket in self.state.get_websockets() {
            let socket: NumberedSocket = AsRef::<WebSocket>::as_ref(&socket).clone().unchecked_into();
            match self.attachment(&socket)? {
                Some((connection, bytes)) => {
                    socket.set_connection(millis(connection.0));
                    self.next_connection.set(self.next_connection.get().max(connection.0 + 1));
                    self.sockets.borrow_mut().insert(connection, socket.into());
                    woken.push((connection, bytes));
                }
                // It had not got as far as CONNACK.
                None => drop(socket.close_with_code_and_reason(1012, "please connect again")),
            }
        }
        let has_slept = !woken.is_empty();
        // An instance without sockets begins an epoch at once, so that whoever asks it learns that the one before is
        // over; the others are told with the first connection.
        let epoch = if has_slept { self.stored_epoch()? } else { self.store_next_epoch()? };
        self.is_fresh.set(!has_slept);
        let mut node = Broker::new(self.settings.clone(), epoch, now);
        if has_slept {
            policies::restore(&self.sql, &mut node)?;
            self.authorizations.replace(authorizations::restore(&self.sql)?);
        } else {
            policies::clear(&self.sql)?;
            authorizations::clear(&self.sql)?;
        }
        placement::join_pool(&self.sql, self.placement, &mut node, now)?;
        let event = if has_slept { "node_woken" } else { "node_started" };
        log_line(
            &json!({"level": "info", "event": event, "node": self.settings.id.index, "epoch": epoch, "connections": woken.len()}),
        );
        node.wake(now, woken);
        if has_slept {
            // An alarm for the first of these is stored: writing it with every wake would make a row of each PINGREQ.
            self.alarm_at.set(node.next_timeout());
        }
        Ok(node)
    }

    fn stored_epoch(&self) -> Result<u64, StorageError> {
        let rows = storage::rows(&self.sql, "SELECT epoch FROM epoch WHERE id = 0", vec![])?;
        Ok(rows.first().map(|row| number(row, 0)).transpose()?.unwrap_or_default())
    }

    fn store_next_epoch(&self) -> Result<u64, StorageError> {
        let statement = "INSERT INTO epoch (id, epoch) VALUES (0, 1)
                         ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1 RETURNING epoch";
        let rows = storage::rows(&self.sql, statement, vec![])?;
        // Attachments too large for their sockets belonged to sockets that are gone.
        storage::run(&self.sql, "DELETE FROM attachments", vec![])?;
        rows.first().map_or_else(|| Err(StorageError("no epoch".into())), |row| number(row, 0))
    }

    fn attachment(&self, socket: &NumberedSocket) -> Result<Option<(ConnectionId, Vec<u8>)>, StorageError> {
        let Ok(value) = socket.deserialize_attachment() else { return Ok(None) };
        if value.is_null() || value.is_undefined() {
            return Ok(None);
        }
        let mut bytes = Uint8Array::new(&value).to_vec();
        if let Some((&ATTACHMENT_IN_ROW, place)) = bytes.split_first() {
            let connection = place.try_into().map(u64::from_be_bytes).unwrap_or_default();
            let statement = "SELECT bytes FROM attachments WHERE connection = ?";
            let rows = storage::rows(&self.sql, statement, vec![integer(connection)])?;
            let Some(row) = rows.first() else { return Ok(None) };
            bytes = blob(row, 0)?.to_vec();
        }
        Ok(Attachment::decode(&bytes).ok().map(|attachment| (attachment.connection, bytes)))
    }

    fn save_attachment(&self, connection: ConnectionId, bytes: &[u8]) {
        let sockets = self.sockets.borrow();
        let Some(socket) = sockets.get(&connection) else { return };
        let socket: &NumberedSocket = socket.unchecked_ref();
        let saved = if bytes.len() <= ATTACHMENT_BYTES {
            socket.serialize_attachment(&Uint8Array::from(bytes)).is_ok()
        } else {
            let statement = "INSERT OR REPLACE INTO attachments (connection, bytes) VALUES (?, ?)";
            let stored = storage::run(&self.sql, statement, vec![integer(connection.0), bytes.to_vec().into()]);
            let mut place = vec![ATTACHMENT_IN_ROW];
            place.extend_from_slice(&connection.0.to_be_bytes());
            stored.is_ok() && socket.serialize_attachment(&Uint8Array::from(place.as_slice())).is_ok()
        };
        if !saved {
            log_line(&json!({"level": "warn", "event": "attachment_not_saved", "connection": connection.0}));
        }
    }

    fn forget_attachment(&self, connection: ConnectionId) {
        if !self.settings.sockets_outlive_memory {
            return;
        }
        // A delete that finds no row writes none.
        let statement = "DELETE FROM attachments WHERE connection = ?";
        let _ = storage::run(&self.sql, statement, vec![integer(connection.0)]);
    }
}

fn log_event(event: &LogEvent) {
    let level = match event.event {
        "connected" | "disconnected" | "node_draining" | "node_serving" => "info",
        _ => "warn",
    };
    log_line(&json!({
        "level": level,
        "event": event.event,
        "trace_id": event.trace_id,
        "client_id": event.client_id,
        "principal": event.principal,
        "source_ip": event.source_ip,
        "topic": event.topic,
        "reason": event.reason,
        "reason_code": event.reason_code,
    }));
}
