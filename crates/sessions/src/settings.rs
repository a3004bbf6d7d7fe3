//! Limits and times of a shard: every number the code compares with.

use messages::address::BrokerId;
use messages::channel::ChannelLimits;
use routing::RegistrarSettings;

/// What a Sessions shard allows and how long it waits.
///
/// AWS publishes no bound of one session's queue, so there is one column; what AWS does bound (session expiry, message
/// expiry) the Broker has applied before it asks the shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSettings {
    /// Of the calls to Brokers and Routers.
    pub channel: ChannelLimits,
    /// Of the registrations with Routers.
    pub registrar: RegistrarSettings,
    /// The region whose Brokers publish wills and presence events when the one that had the connection can't.
    pub region: String,
    /// How many Brokers it has, at least.
    pub brokers: u32,
    /// Whether `a/#` matches `a`; AWS: no.
    pub matches_parent: bool,
    /// Whether a session may be taken up with another version of MQTT than the one it was begun with; AWS: no.
    pub resumes_other_version: bool,
    /// How long an older connection may take to close before the newer one goes on without its word, in milliseconds.
    pub fence_millis: u64,
    /// For how long a Broker that can't be reached is told again to close a connection, in milliseconds: as long as
    /// leases last, after which an instance that is cut off gets no messages any more.
    pub fence_attempts_millis: u64,
    /// How long clients of a Broker that started afresh have to come back before their wills are published, in
    /// milliseconds.
    pub grace_millis: u64,
    /// How long a Broker with wills or durable sessions may be silent before it is asked for its epoch, in milliseconds.
    pub silence_millis: u64,
    /// How long a message of QoS 1 may wait in memory for its acknowledgement before it is stored, in milliseconds.
    pub slow_millis: u64,
    /// Messages of one session that wait or are unacknowledged. Beyond it the newest is dropped.
    pub maximum_messages: usize,
    /// Bytes of the same.
    pub maximum_bytes: usize,
    /// Bytes of storage in the whole shard after which messages are dropped. An object has 10 GB.
    pub maximum_stored_bytes: u64,
    /// Rows of stored messages of one session to read at once, and messages it may have in memory beyond its client's
    /// window.
    pub page_messages: usize,
    /// Bytes of such rows after which no more are read at once.
    pub read_bytes: u64,
    /// Bytes of messages that one online session holds in memory before new ones go to storage only.
    pub page_bytes: usize,
    /// Names of delivered messages of QoS 2 that a session remembers.
    pub recent_messages: usize,
    /// Packet identifiers of QoS 2 that a client may have under way to the server.
    pub maximum_received: usize,
    /// How long a client id without connection and session is remembered, in milliseconds (AWS `GetConnection`: half an
    /// hour; `versionNumber`: about an hour).
    pub forget_millis: u64,
    /// How long to wait before a will or presence event is given to another Broker, in milliseconds.
    pub retry_publish_millis: u64,
    /// How long a Broker that has taken one may say nothing of it before it is given to another, in milliseconds: longer
    /// than a Broker waits for those who are to have it.
    pub announce_millis: u64,
    /// How often one is published that some who want it can't be reached for. The wait doubles each time.
    pub maximum_announcements: u32,
    /// How often at most the shard notes which wills and presence events have been published, in milliseconds.
    pub note_published_millis: u64,
    /// How often while some have not been, in milliseconds; also, how soon a shard that was lost with some is woken.
    pub note_pending_millis: u64,
    /// Presence events under way; beyond it new ones are dropped. Wills never are.
    pub maximum_events: usize,
    /// Retained messages to ask for at once.
    pub retained_page: u32,
    /// Bytes of packets in one request to a Broker.
    pub send_bytes: usize,
    /// Sessions without a connection that are kept in memory.
    pub cached_sessions: usize,
    /// Bytes of rows in one part of a virtual shard that moves, unless one row has more.
    pub move_page_bytes: usize,
    /// Clients or messages in one such part.
    pub move_page_rows: usize,
    /// How long a virtual shard that moves goes on to take messages after the other object does, in milliseconds: those
    /// that were on their way before arrive meanwhile.
    pub move_linger_millis: u64,
    /// By how much the clocks of two objects may differ, in milliseconds. Less than `move_linger_millis`.
    pub clock_margin_millis: u64,
    /// How long a move waits for SUBSCRIBEs and retained messages that are under way, and for calls to Brokers, before it
    /// goes on without them, in milliseconds.
    pub move_patience_millis: u64,
    /// How long clients aren't served because the other object doesn't answer, in milliseconds, as long as they can be
    /// served here again.
    pub move_freeze_millis: u64,
    /// Wait before a part that the other object could not take is sent again, in milliseconds; doubles with each.
    pub move_retry_millis: u64,
    /// The longest such wait, in milliseconds.
    pub move_retry_maximum_millis: u64,
    /// How long subscriptions that have left are remembered, in milliseconds: a message that comes so late for them that
    /// the other object may not have had it is refused, and nothing else is.
    pub move_forget_millis: u64,
}

impl Default for ShardSettings {
    fn default() -> Self {
        Self {
            channel: ChannelLimits::default(),
            registrar: RegistrarSettings::default(),
            region: "home".into(),
            brokers: 1,
            matches_parent: true,
            resumes_other_version: true,
            fence_millis: 2_000,
            fence_attempts_millis: 60_000,
            grace_millis: 30_000,
            silence_millis: 600_000,
            slow_millis: 200,
            maximum_messages: 1_000,
            maximum_bytes: 4 * 1024 * 1024,
            maximum_stored_bytes: 8 * 1024 * 1024 * 1024,
            page_messages: 64,
            read_bytes: 64 * 1024,
            page_bytes: 256 * 1024,
            recent_messages: 256,
            maximum_received: 1_024,
            forget_millis: 3_600_000,
            retry_publish_millis: 5_000,
            announce_millis: 15_000,
            maximum_announcements: 6,
            note_published_millis: 5_000,
            note_pending_millis: 30_000,
            maximum_events: 10_000,
            retained_page: 100,
            send_bytes: 512 * 1024,
            cached_sessions: 1_024,
            move_page_bytes: 256 * 1024,
            move_page_rows: 256,
            move_linger_millis: 1_000,
            clock_margin_millis: 500,
            move_patience_millis: 5_000,
            move_freeze_millis: 10_000,
            move_retry_millis: 100,
            move_retry_maximum_millis: 10_000,
            move_forget_millis: 10_000,
        }
    }
}

impl ShardSettings {
    /// The Broker that publishes for a client at the given attempt, when there is none that has its connection.
    pub(crate) fn publishing_broker(&self, client_id: &str, attempt: usize) -> BrokerId {
        let brokers = messages::address::brokers_by_preference(client_id, &self.region, self.brokers.max(1));
        let at = attempt % brokers.len().max(1);
        brokers.into_iter().nth(at).unwrap_or_else(|| BrokerId { region: self.region.clone(), index: 0 })
    }
}
