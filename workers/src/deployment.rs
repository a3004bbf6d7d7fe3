//! What every request needs to know about the deployment.

use device_auth::access_key::{AccessKeyId, AccessKeys, RootKey, SecretAccessKey};
use device_auth::internal_header::InternalKey;
use durable_objects::d1::Registry;
use durable_objects::{Config, GRANT_KEY_LABEL, log_line};
use registry::control::DeploymentRow;
use registry::statements::{fix_deployment_value, select_deployment};
use registry::{Limits, Partition, Partitions};
use serde_json::json;
use std::cell::Cell;
use worker::{Env, Error, Result};

thread_local! {
    static IS_CHECKED: Cell<bool> = const { Cell::new(false) };
}

/// Settings, keys and bindings.
pub struct Deployment {
    pub env: Env,
    pub config: Config,
    pub access_keys: AccessKeys,
    pub grant_key: InternalKey,
}

impl Deployment {
    /// # Errors
    /// When a variable or secret is missing: nothing is open without credentials.
    pub fn from_env(env: Env) -> Result<Self> {
        let secret = |name: &str| env.secret(name).map(|value| value.to_string());
        let configuration = |error: device_auth::AuthError| Error::RustError(error.to_string());
        let root = RootKey {
            access_key_id: AccessKeyId::new(secret("ROOT_ACCESS_KEY_ID")?).map_err(configuration)?,
            secret: SecretAccessKey::new(secret("ROOT_SECRET_ACCESS_KEY")?).map_err(configuration)?,
        };
        let grant_key =
            InternalKey::derive(secret("MASTER_SECRET")?.as_bytes(), GRANT_KEY_LABEL).map_err(configuration)?;
        Ok(Self { config: Config::from_env(&env)?, access_keys: AccessKeys::new(root), grant_key, env })
    }

    /// Compares the numbers of shards with those of the first deploy, which are recorded in D1: with others, what is
    /// stored would be looked for elsewhere. Asked once in the life of an isolate.
    ///
    /// # Errors
    /// When they differ. That D1 can't be asked now is no reason to turn devices away.
    pub async fn check_shards(&self) -> Result<()> {
        if IS_CHECKED.get() {
            return Ok(());
        }
        let fixed = match self.fixed_values().await {
            Ok(fixed) => fixed,
            Err(error) => {
                log_line(&json!({"level": "error", "event": "shards_unchecked", "reason": error.to_string()}));
                return Ok(());
            }
        };
        for (key, value) in self.shard_counts() {
            if let Some(row) = fixed.iter().find(|row| row.key == key && row.value != value) {
                let variable = key.to_ascii_uppercase();
                log_line(
                    &json!({"level": "error", "event": "shards_changed", "variable": variable, "first": row.value, "now": value}),
                );
                return Err(Error::RustError(format!("{variable} must stay {}", row.value)));
            }
        }
        IS_CHECKED.set(true);
        Ok(())
    }

    fn shard_counts(&self) -> [(&'static str, String); 2] {
        [
            ("router_shards", self.config.router_shards.count().to_string()),
            ("sessions_shards", self.config.sessions_shards.count().to_string()),
        ]
    }

    /// What the first deploy fixed; on the first deploy itself, what is fixed now.
    async fn fixed_values(&self) -> Result<Vec<DeploymentRow>> {
        let registry = self.registry();
        let fixed: Vec<DeploymentRow> = registry.read(select_deployment(Partition::FIRST)).await?;
        let counts = self.shard_counts();
        if counts.iter().all(|(key, _)| fixed.iter().any(|row| row.key == *key)) {
            return Ok(fixed);
        }
        let statements = counts.each_ref().map(|(key, value)| fix_deployment_value(Partition::FIRST, key, value));
        registry.batch(&statements).await?;
        registry.read(select_deployment(Partition::FIRST)).await
    }

    pub fn registry(&self) -> Registry {
        Registry::new(self.env.clone())
    }

    pub const fn limits(&self) -> Limits {
        if self.config.is_aws { Limits::AWS } else { Limits::STANDARD }
    }

    /// One database until a registry outgrows it.
    #[allow(clippy::unused_self)]
    pub const fn partitions(&self) -> Partitions {
        Partitions::ONE
    }
}
