//! What every request needs to know about the deployment.

use device_auth::access_key::{AccessKeyId, AccessKeys, RootKey, SecretAccessKey};
use device_auth::derived_keys::DerivedKeys;
use device_auth::internal_header::InternalKey;
use device_auth::relay_header::RELAY_KEY_LABEL;
use durable_objects::d1::Registry;
use durable_objects::site::Site;
use durable_objects::{AUTHORITY_KEY_LABEL, Config, GRANT_KEY_LABEL};
use iot_types::UnixMillis;
use registry::{Limits, Partitions};
use std::cell::RefCell;
use std::rc::Rc;
use worker::{Env, Error, Result};

thread_local! {
    /// Variables and secrets never change within an isolate: they are read and checked with its first request.
    static KNOWN: RefCell<Option<Rc<Deployment>>> = const { RefCell::new(None) };
}

/// Settings, keys and bindings.
pub struct Deployment {
    pub env: Env,
    pub config: Config,
    pub access_keys: AccessKeys,
    pub grant_key: InternalKey,
    /// Encrypts the key of the platform's own certificate authority.
    pub authority_key: InternalKey,
    /// What relays seal their headers with, where there are any (secret `RELAY_SECRET`).
    pub relay_key: Option<InternalKey>,
    /// Only on a local platform, where anybody can say what Cloudflare says in production: who knows this may say which
    /// client certificate was verified.
    pub local_tls_secret: Option<String>,
}

impl Deployment {
    /// # Errors
    /// When a variable or secret is missing: nothing is open without credentials.
    pub fn of(env: Env) -> Result<Rc<Self>> {
        let known = KNOWN.with_borrow(Clone::clone);
        if let Some(known) = known.filter(|known| js_sys::Object::is(known.env.as_ref(), env.as_ref())) {
            return Ok(known);
        }
        let deployment = Rc::new(Self::from_env(env)?);
        KNOWN.set(Some(Rc::clone(&deployment)));
        Ok(deployment)
    }

    fn from_env(env: Env) -> Result<Self> {
        let secret = |name: &str| env.secret(name).map(|value| value.to_string());
        let configuration = |error: device_auth::AuthError| Error::RustError(error.to_string());
        let root = RootKey {
            access_key_id: AccessKeyId::new(secret("ROOT_ACCESS_KEY_ID")?).map_err(configuration)?,
            secret: SecretAccessKey::new(secret("ROOT_SECRET_ACCESS_KEY")?).map_err(configuration)?,
        };
        let master = secret("MASTER_SECRET")?;
        let derive = |label| InternalKey::derive(master.as_bytes(), label).map_err(configuration);
        let derived = DerivedKeys::new(master.as_bytes()).map_err(configuration)?;
        let (grant_key, authority_key) = (derive(GRANT_KEY_LABEL)?, derive(AUTHORITY_KEY_LABEL)?);
        let relay_secret = env.secret("RELAY_SECRET").ok().map(|value| value.to_string());
        let relay_key = relay_secret
            .map(|secret| InternalKey::derive(secret.as_bytes(), RELAY_KEY_LABEL).map_err(configuration))
            .transpose()?;
        let local_tls_secret = env.secret("LOCAL_TLS_SECRET").ok().map(|value| value.to_string());
        let config = Config::from_env(&env)?;
        Ok(Self {
            config,
            access_keys: AccessKeys::new(root, derived),
            grant_key,
            authority_key,
            relay_key,
            local_tls_secret,
            env,
        })
    }

    /// What work outside of the API's own handlers needs.
    pub fn site(&self, now: UnixMillis) -> Site<'_> {
        self.config.site(&self.env, &self.authority_key, now)
    }

    pub fn registry(&self) -> Registry {
        Registry::new(self.env.clone())
    }

    /// Whether this runs on a developer's own machine: only the local host makes the secret.
    pub const fn is_local(&self) -> bool {
        self.local_tls_secret.is_some()
    }

    pub const fn limits(&self) -> Limits {
        self.config.registry_limits()
    }

    /// One database until a registry outgrows it.
    pub const fn partitions(&self) -> Partitions {
        self.config.partitions()
    }
}
