//! The deployment's settings, read from the Worker's variables once for each object or request.

use iot_types::{AccountId, Region, Scope};
use messages::address::{Address, BrokerId, Shards, brokers_by_preference};
use messages::channel::ChannelLimits;
use mqtt_session::SessionSettings;
use mqtt_topic::TopicLimits;
use worker::Env;

/// The region that Brokers are opened in. More of them come with the Broker pool.
pub const HOME: &str = "home";

/// What `wrangler.toml` and the secrets say.
#[derive(Clone, Debug)]
pub struct Config {
    /// Account and region of all ARNs.
    pub scope: Scope,
    /// Whether AWS's restrictions are in force (`COMPAT = "aws"`).
    pub is_aws: bool,
    /// Brokers in the region.
    pub brokers: u32,
    /// Shards of the topic tree.
    pub router_shards: Shards,
    /// Shards of the client ids.
    pub sessions_shards: Shards,
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
        Ok(Self {
            scope: Scope { account_id, region },
            is_aws,
            brokers: count(env, "BROKERS")?,
            router_shards: Shards::new(count(env, "ROUTER_SHARDS")?),
            sessions_shards: Shards::new(count(env, "SESSIONS_SHARDS")?),
        })
    }

    /// The settings of one Broker.
    #[must_use]
    pub fn broker_settings(&self, id: BrokerId) -> broker::BrokerSettings {
        broker::BrokerSettings {
            id,
            broker_count: self.brokers,
            router_shards: self.router_shards,
            sessions_shards: self.sessions_shards,
            scope: self.scope.clone(),
            session: if self.is_aws { SessionSettings::AWS } else { SessionSettings::STANDARD },
            topics: if self.is_aws { TopicLimits::AWS } else { TopicLimits::STANDARD },
            channels: ChannelLimits::default(),
            maximum_connections: 2_000,
            maximum_pending_per_connection: 10_000,
            maximum_pending_bytes_per_connection: 4 * 1024 * 1024,
            maximum_pending_bytes: 24 * 1024 * 1024,
        }
    }

    /// The limits of shadow documents.
    #[must_use]
    pub const fn shadow_limits(&self) -> shadow::Limits {
        if self.is_aws { shadow::Limits::AWS } else { shadow::Limits::STANDARD }
    }

    /// The Brokers for a key, best first.
    #[must_use]
    pub fn brokers_for(&self, key: &str) -> Vec<BrokerId> {
        brokers_by_preference(key, HOME, self.brokers)
    }

    /// The Broker through which somebody who is no client publishes: always the same one for the same key, so that
    /// its messages keep their order.
    #[must_use]
    pub fn publishing_broker(&self, key: &str) -> Address {
        let first = self.brokers_for(key).into_iter().next();
        Address::Broker(first.unwrap_or(BrokerId { region: HOME.to_owned(), index: 0 }))
    }
}

fn text(env: &Env, name: &'static str) -> Result<String, ConfigError> {
    env.var(name).map(|value| value.to_string()).map_err(|_| ConfigError(name))
}

fn count(env: &Env, name: &'static str) -> Result<u32, ConfigError> {
    text(env, name)?.parse().ok().filter(|count| (1..=65_536).contains(count)).ok_or(ConfigError(name))
}
