//! The deployment's settings, read from the Worker's variables once for each object or request.

use crate::site::Site;
use broker::{BrokerLimits, PlacementSettings};
use device_auth::enhanced;
use device_auth::internal_header::InternalKey;
use iot_types::{AccountId, Region, Scope, UnixMillis};
use messages::address::{Address, BrokerId, ShardMap, VIRTUAL_SHARDS, brokers_by_preference};
use messages::channel::ChannelLimits;
use messages::pool::BuildId;
use mqtt_session::SessionSettings;
use mqtt_topic::TopicLimits;
use placement::{AdmissionSettings, BrokerRegion, GatewaySettings, PoolSettings, Regions, ReportSettings};
use registry::{Limits, Partitions};
use serde::Deserialize;
use worker::Env;

/// Most WebSockets that the platform lets an object have.
const MAXIMUM_SOCKETS: u32 = 32_768;

/// What `wrangler.toml` and the secrets say.
#[derive(Clone, Debug)]
pub struct Config {
    /// Account and region of all ARNs.
    pub scope: Scope,
    /// Whether AWS's restrictions are in force (`COMPAT = "aws"`).
    pub is_aws: bool,
    /// Fewest Brokers of a region.
    pub brokers: u32,
    /// Most Brokers of a region.
    pub maximum_brokers: u32,
    /// Connections of a Broker.
    pub broker_capacity: u32,
    /// Connections that a Broker lets in a second, in the long run; twice as many after a rest.
    pub broker_connects_per_second: u32,
    /// Whether Brokers have sockets that outlive their memory (`SOCKET_MODE = "hibernatable"`).
    pub is_hibernatable: bool,
    /// Whether connections that come and go as they should are logged, too (`LOG_CONNECTIONS = "all"`).
    pub logs_all_connections: bool,
    /// Where there are Brokers.
    pub regions: Regions,
    /// What this runs.
    pub build: BuildId,
    /// Over how many Routers the topic tree is to be spread.
    pub router_shards: u16,
    /// Over how many Sessions objects the client ids are to be spread.
    pub sessions_shards: u16,
}

/// A variable that is missing or wrong: the operator's to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub &'static str);

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the variable {} is missing or invalid", self.0)
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for worker::Error {
    fn from(error: ConfigError) -> Self {
        Self::RustError(error.to_string())
    }
}

impl Config {
    /// Reads the variables.
    ///
    /// # Errors
    /// [`ConfigError`] names the first one that is missing or makes no sense.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let account_id = AccountId::new(text(env, "ACCOUNT_ID")?).map_err(|_| ConfigError("ACCOUNT_ID"))?;
        let region = Region::new(text(env, "REGION")?).map_err(|_| ConfigError("REGION"))?;
        let is_aws = match text(env, "COMPAT")?.as_str() {
            "aws" => true,
            "standard" => false,
            _ => return Err(ConfigError("COMPAT")),
        };
        let is_hibernatable = match text(env, "SOCKET_MODE")?.as_str() {
            "hibernatable" => true,
            "accepted" => false,
            _ => return Err(ConfigError("SOCKET_MODE")),
        };
        let logs_all_connections = match text(env, "LOG_CONNECTIONS")?.as_str() {
            "all" => true,
            "failures" => false,
            _ => return Err(ConfigError("LOG_CONNECTIONS")),
        };
        let home_region = text(env, "HOME_REGION")?;
        if !home_region.is_empty() && BrokerRegion::parse(&home_region).is_none() {
            return Err(ConfigError("HOME_REGION"));
        }
        let brokers = count(env, "BROKERS")?;
        let maximum_brokers = count(env, "BROKERS_MAXIMUM")?;
        if maximum_brokers < brokers {
            return Err(ConfigError("BROKERS_MAXIMUM"));
        }
        let broker_capacity = count(env, "BROKER_CAPACITY")?;
        if broker_capacity > MAXIMUM_SOCKETS {
            return Err(ConfigError("BROKER_CAPACITY"));
        }
        Ok(Self {
            scope: Scope { account_id, region },
            is_aws,
            brokers,
            maximum_brokers,
            broker_capacity,
            broker_connects_per_second: count(env, "BROKER_CONNECTS_PER_SECOND")?,
            is_hibernatable,
            logs_all_connections,
            regions: Regions::parse(&text(env, "REGIONS")?).map_err(|_| ConfigError("REGIONS"))?,
            build: build(env),
            router_shards: shards(env, "ROUTER_SHARDS")?,
            sessions_shards: shards(env, "SESSIONS_SHARDS")?,
        })
    }

    /// The settings of one Broker.
    #[must_use]
    pub fn broker_settings(&self, id: BrokerId) -> broker::BrokerSettings {
        let limits = if self.is_aws { BrokerLimits::AWS } else { BrokerLimits::STANDARD };
        broker::BrokerSettings {
            id,
            router_shards: ShardMap::initial(),
            sessions_shards: ShardMap::initial(),
            scope: self.scope.clone(),
            session: if self.is_aws {
                SessionSettings::AWS
            } else {
                SessionSettings { has_enhanced_authentication: true, ..SessionSettings::STANDARD }
            },
            topics: if self.is_aws { TopicLimits::AWS } else { TopicLimits::STANDARD },
            channels: ChannelLimits::default(),
            limits: BrokerLimits {
                maximum_connections: self.broker_capacity as usize,
                // What is admitted isn't refused afterwards.
                connects_per_second: limits
                    .connects_per_second
                    .map(|rate| rate.max(2 * self.broker_connects_per_second)),
                ..limits
            },
            // AWS has no enhanced authentication.
            authentication_methods: if self.is_aws { Vec::new() } else { vec![enhanced::METHOD.to_owned()] },
            sockets_outlive_memory: self.is_hibernatable,
        }
    }

    /// How a Broker takes part in its region's pool.
    #[must_use]
    pub const fn placement_settings(&self) -> PlacementSettings {
        PlacementSettings {
            admission: AdmissionSettings {
                capacity: self.broker_capacity,
                connects_per_second: self.broker_connects_per_second,
                connect_burst: 2 * self.broker_connects_per_second,
                ..AdmissionSettings::STANDARD
            },
            reports: ReportSettings::STANDARD,
            drain_at_least_millis: PoolSettings::STANDARD.drain_at_least_millis,
            build: self.build,
        }
    }

    /// The settings of a region's pool.
    #[must_use]
    pub const fn pool_settings(&self) -> PoolSettings {
        PoolSettings {
            minimum: self.brokers,
            maximum: self.maximum_brokers,
            capacity: self.broker_capacity,
            ..PoolSettings::STANDARD
        }
    }

    /// The settings of a Gateway.
    #[must_use]
    pub const fn gateway_settings(&self) -> GatewaySettings {
        GatewaySettings { minimum: self.brokers, ..GatewaySettings::STANDARD }
    }

    /// The settings of one Router.
    #[must_use]
    pub fn router_settings(&self) -> routing::RouterSettings {
        routing::RouterSettings {
            retained_expire: !self.is_aws,
            matches_parent: !self.is_aws,
            ..routing::RouterSettings::default()
        }
    }

    /// The settings of one Sessions shard.
    #[must_use]
    pub fn shard_settings(&self) -> sessions::ShardSettings {
        sessions::ShardSettings {
            region: self.home().to_owned(),
            brokers: self.brokers,
            matches_parent: !self.is_aws,
            resumes_other_version: !self.is_aws,
            ..sessions::ShardSettings::default()
        }
    }

    /// The limits of shadow documents.
    #[must_use]
    pub const fn shadow_limits(&self) -> shadow::Limits {
        if self.is_aws { shadow::Limits::AWS } else { shadow::Limits::STANDARD }
    }

    /// The region whose Brokers publish for those who are no clients: the first.
    fn home(&self) -> &'static str {
        self.regions.all().next().unwrap_or(BrokerRegion::Home).as_str()
    }

    /// The Broker through which somebody who is no client publishes: always the same one for the same key, so that
    /// What the registry allows.
    #[must_use]
    pub const fn registry_limits(&self) -> Limits {
        if self.is_aws { Limits::AWS } else { Limits::STANDARD }
    }

    /// What fleet indexing allows.
    #[must_use]
    pub const fn index_limits(&self) -> fleet_index::Limits {
        if self.is_aws { fleet_index::Limits::AWS } else { fleet_index::Limits::STANDARD }
    }

    /// One database until a registry outgrows it.
    #[must_use]
    #[allow(clippy::unused_self)]
    pub const fn partitions(&self) -> Partitions {
        Partitions::ONE
    }

    /// What work outside of any one object needs.
    #[must_use]
    pub const fn site<'a>(&'a self, env: &'a Env, authority_key: &'a InternalKey, now: UnixMillis) -> Site<'a> {
        let (limits, partitions) = (self.registry_limits(), self.partitions());
        Site { env, scope: &self.scope, limits, partitions, authority_key, now }
    }

    /// its messages keep their order. One of the fewest that there are, whether its pool uses it or not.
    #[must_use]
    pub fn publishing_broker(&self, key: &str) -> Address {
        let first = brokers_by_preference(key, self.home(), self.brokers).into_iter().next();
        Address::Broker(first.unwrap_or(BrokerId { region: self.home().to_owned(), index: 0 }))
    }
}

/// What the platform says of the version that runs.
#[derive(Deserialize)]
struct VersionMetadata {
    id: String,
}

/// Without the binding, all versions count as one, and no Broker is drained for a deploy.
fn build(env: &Env) -> BuildId {
    let version: Result<VersionMetadata, _> = env.object_var("CF_VERSION_METADATA");
    version.map_or(BuildId::default(), |version| BuildId::of(&version.id))
}

fn text(env: &Env, name: &'static str) -> Result<String, ConfigError> {
    env.var(name).map(|value| value.to_string()).map_err(|_| ConfigError(name))
}

fn shards(env: &Env, name: &'static str) -> Result<u16, ConfigError> {
    let count = count(env, name)?;
    u16::try_from(count).ok().filter(|count| *count <= VIRTUAL_SHARDS).ok_or(ConfigError(name))
}

fn count(env: &Env, name: &'static str) -> Result<u32, ConfigError> {
    text(env, name)?.parse().ok().filter(|count| (1..=65_536).contains(count)).ok_or(ConfigError(name))
}
