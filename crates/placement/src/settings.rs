//! Every number of this crate, with its reason. All are settings; these are the defaults.

/// Of a region's `BrokerPool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Fewest Brokers: `BROKERS`.
    pub minimum: u32,
    /// Most Brokers: `BROKERS_MAXIMUM`. Whatever is reported, there are never more.
    pub maximum: u32,
    /// Connections of a Broker that hasn't reported its capacity: `BROKER_CAPACITY`.
    pub capacity: u32,
    /// Grow when the region is this full, in percent.
    pub grow_at_percent: u32,
    /// Grow to this fullness, in percent.
    pub grow_to_percent: u32,
    /// Least time between two steps of growth, in milliseconds. One step at most doubles the number.
    pub grow_every_millis: u64,
    /// Shrink when the region is emptier than this, in percent.
    pub shrink_at_percent: u32,
    /// No longer think of shrinking when it is this full again, in percent.
    pub shrink_not_at_percent: u32,
    /// For how long it has to be emptier, in milliseconds. One step takes at most a quarter of the Brokers.
    pub shrink_after_millis: u64,
    /// Over how long the clients of a surplus Broker are sent away, in milliseconds.
    pub shrink_over_millis: u64,
    /// A load this old in milliseconds is no reason to grow.
    pub stale_after_millis: u64,
    /// A load this old in milliseconds is no reason against shrinking either.
    pub forget_after_millis: u64,
    /// For how long a new build has to be the latest before Brokers are drained for it, in milliseconds.
    pub settle_millis: u64,
    /// Within which all Brokers are to be drained after a deploy, in milliseconds: what `max_delay` of
    /// `code_update_strategy` says, since after it the platform cuts what is left. At most [`MAXIMUM_DELAY_MILLIS`].
    pub maximum_delay_millis: u64,
    /// Least time to drain one Broker in, in milliseconds. If that is too long for one after the other, several are
    /// drained at once.
    pub drain_at_least_millis: u64,
    /// How long Gateways may not know of a new Broker, in milliseconds: their
    /// [`GatewaySettings::fresh_for_millis`].
    pub view_lag_millis: u64,
    /// How long an emptied Broker is given to come back with new code, in milliseconds.
    pub comeback_millis: u64,
    /// After how long an order is repeated to a Broker that doesn't answer, in milliseconds.
    pub ask_again_millis: u64,
    /// How often it is repeated.
    pub asks: u8,
}

/// The longest that a deploy may be held back, in milliseconds.
pub const MAXIMUM_DELAY_MILLIS: u64 = 86_400_000;

impl PoolSettings {
    /// The defaults.
    pub const STANDARD: Self = Self {
        minimum: 3,
        // A million connections in a region, and 100 reports a second when all change at once.
        maximum: 512,
        capacity: 2_000,
        // Rendezvous hashing leaves the fullest some 7 % above the mean, which is then at 75 %. The rest is for those
        // who come in the 15 s until all Gateways know of the new Broker: 500 for each Broker, 33 a second.
        grow_at_percent: 70,
        // So that a step lasts: a quarter more connections until the next.
        grow_to_percent: 55,
        // A report and a view take about a second; twice the number every 5 s is from 1 to 64 Brokers in half a minute.
        grow_every_millis: 5_000,
        // A quarter fewer Brokers makes 30 % 40 %: far from the 70 % where they would come back.
        shrink_at_percent: 30,
        shrink_not_at_percent: 40,
        // Fleets come back after an outage within minutes. A Broker too many costs nothing while it is idle.
        shrink_after_millis: 600_000,
        shrink_over_millis: 600_000,
        // Four times the refreshing interval of reports: a Broker that was awake would have been heard.
        stale_after_millis: 7_200_000,
        // Longer than the longest keep-alive (18 h): a Broker with clients has woken in this time.
        forget_after_millis: 86_400_000,
        // Old and new code run side by side for some seconds after a deploy.
        settle_millis: 30_000,
        maximum_delay_millis: 300_000,
        // 2 000 clients in 30 s are 67 connects a second for the Broker that takes them, which admits 100.
        drain_at_least_millis: 30_000,
        view_lag_millis: 15_000,
        // An empty Broker restarts itself; the platform's own way takes 10 s.
        comeback_millis: 30_000,
        ask_again_millis: 30_000,
        asks: 4,
    };
}

/// Of a Broker's reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportSettings {
    /// Report when the connections changed by this much, in percent of the capacity.
    pub change_percent: u32,
    /// Least time between two reports, in milliseconds.
    pub every_millis: u64,
    /// Least time between two reports while clients are refused because it is full, in milliseconds.
    pub urgent_every_millis: u64,
    /// Report again after this time, in milliseconds, if the Broker is awake anyway and not nearly empty.
    pub refresh_millis: u64,
}

impl ReportSettings {
    /// The defaults.
    pub const STANDARD: Self = Self {
        // Half of what lies between growing and the fullness after it.
        change_percent: 10,
        // As often as the pool can act on it.
        every_millis: 5_000,
        urgent_every_millis: 2_000,
        // 1 440 calls and rows a month for each Broker with clients: a sixth of a cent.
        refresh_millis: 1_800_000,
    };
}

/// Of a Gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewaySettings {
    /// Fewest Brokers of a region, which exist even when the pool can't be reached.
    pub minimum: u32,
    /// A view this young in milliseconds is used without asking.
    pub fresh_for_millis: u64,
    /// An older one is used while another is fetched; one older than this, in milliseconds, isn't used unless the pool
    /// can't be reached.
    pub usable_for_millis: u64,
    /// Least time between two views when a Broker refused for a reason that the view should have told, in milliseconds.
    pub early_refresh_millis: u64,
    /// How long a fetch of a view may take before another is begun, in milliseconds.
    pub refresh_timeout_millis: u64,
    /// Brokers to try before the client is told to come again.
    pub tries: usize,
    /// Clients that are told to come again are spread over at least this time, in milliseconds.
    pub spread_millis: u64,
    /// The longest `Retry-After`, in seconds.
    pub longest_retry_secs: u32,
}

impl GatewaySettings {
    /// The defaults.
    pub const STANDARD: Self = Self {
        minimum: PoolSettings::STANDARD.minimum,
        // A call for each isolate in use every quarter of a minute: 1 000 isolates make 67 a second.
        fresh_for_millis: 15_000,
        usable_for_millis: 600_000,
        early_refresh_millis: 5_000,
        refresh_timeout_millis: 5_000,
        tries: 3,
        // In which a Broker admits as many as it has room for: 2 000 at 100 a second.
        spread_millis: 20_000,
        longest_retry_secs: 120,
    };
}

/// Of what a Broker lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// Connections, `BROKER_CAPACITY`.
    pub capacity: u32,
    /// Upgrades a second, in the long run, `BROKER_CONNECTS_PER_SECOND`.
    pub connects_per_second: u32,
    /// Upgrades at once, after a rest.
    pub connect_burst: u32,
    /// The longest `Retry-After` that the backlog makes, in seconds.
    pub longest_retry_secs: u32,
    /// `Retry-After` of a Broker that is full, in seconds.
    pub full_retry_secs: u32,
    /// Refused upgrades a second that are no burden. Above it, Gateways are told to hold back for longer.
    pub bearable_refusals_per_second: u32,
    /// For how long a Gateway doesn't ask again after a refusal, in milliseconds: least and most.
    pub hold_millis: (u32, u32),
}

impl AdmissionSettings {
    /// The defaults.
    pub const STANDARD: Self = Self {
        capacity: PoolSettings::STANDARD.capacity,
        // A connect is an upgrade, a CONNECT, a claim and its answer, some 3 ms together: a third of an object's time,
        // so that those who are connected don't notice. 2 000 are back in 20 s.
        connects_per_second: 100,
        connect_burst: 200,
        longest_retry_secs: 120,
        // The pool grows in 5 s, and Gateways know it 5 s later.
        full_retry_secs: 10,
        // With 100 that are admitted, a third of the platform's soft limit of 1 000 requests a second.
        bearable_refusals_per_second: 200,
        hold_millis: (1_000, 10_000),
    };
}
