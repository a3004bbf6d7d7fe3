//! Custom authorizers: a function of the operator's is asked who a client is and what it may do. It is a web server, or a
//! Worker behind a service binding.

use crate::authorizer_call;
use crate::d1::Registry;
use crate::outgoing::now_millis;
use authorizer::{Answer, Authorized, Event, Http, Invocation, Mqtt, check_token};
use broker::{PolicySource, StoredAuthority};
use device_auth::internal_header::Lease;
use device_auth::principal::Principal;
use iot_types::{AuthorizerName, UnixMillis};
use policy::{Facts, PolicyDocument};
use registry::authorizer::AuthorizerRow;
use registry::{Partition, statements};
use serde::{Deserialize, Serialize};
use worker::Env;

/// What a client has shown.
pub struct Presented<'a> {
    /// What of it is meant for an authorizer.
    pub invocation: &'a Invocation,
    /// The name that it asked for in TLS.
    pub server_name: &'a str,
    /// Whether headers and query of its HTTP request are told.
    pub has_http: bool,
    /// What it said in CONNECT.
    pub mqtt: Option<Mqtt<'a>>,
    /// The connection, or the request: for the function's log.
    pub connection_id: &'a str,
}

/// Who was let in, and how to ask about it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Authorization {
    /// Which authorizer has let it in.
    pub authorizer_name: String,
    /// What the function was told, as JSON: it is told the same again.
    event: String,
    authorized: Authorized,
    /// How long the answer is good.
    pub lease: Lease,
    /// Whether requests over HTTPS that bring the same may have the same answer until then.
    pub is_cacheable: bool,
}

impl Authorization {
    /// Who it is.
    #[must_use]
    pub fn principal(&self) -> Principal {
        Principal::Authorized {
            authorizer_name: self.authorizer_name.clone(),
            principal_id: self.authorized.principal_id.clone(),
        }
    }

    /// What it may do.
    #[must_use]
    pub fn authority(&self) -> StoredAuthority {
        let documents = self.authorized.policy_documents.iter().enumerate();
        let policies = documents.map(|(number, document)| PolicySource {
            name: format!("{}#{number}", self.authorizer_name),
            document: document.clone(),
        });
        StoredAuthority { policies: policies.collect(), facts: Facts::default(), lease: Some(self.lease) }
    }

    /// Asks again; the connection's end stays where it is.
    ///
    /// # Errors
    /// Why it is not let in any more, for the log.
    pub async fn refresh(&self, env: &Env) -> Result<Self, String> {
        let name = AuthorizerName::new(self.authorizer_name.clone()).map_err(|error| error.to_string())?;
        let row = read(env, Some(&name)).await?;
        let authorized = ask(env, &row, self.event.as_bytes()).await?;
        if authorized.principal_id != self.authorized.principal_id {
            return Err("the authorizer says it is somebody else now".to_owned());
        }
        let refresh_at = now_millis().plus_secs(u64::from(authorized.refresh_after_secs));
        let lease = Lease { refresh_at, ends_at: self.lease.ends_at };
        Ok(Self { authorized, lease, ..self.clone() })
    }
}

/// The authorizer that a client means: the one that it names, or the default one. `None`: it means none, and there is no
/// default one.
///
/// # Errors
/// Why it can't be asked, for the log.
pub async fn meant(env: &Env, invocation: &Invocation) -> Result<Option<AuthorizerRow>, String> {
    let named = invocation.authorizer_name();
    if named.is_none() && !invocation.is_explicit() {
        return default(env).await;
    }
    let name = named.map(AuthorizerName::new).transpose().map_err(|error| error.to_string())?;
    read(env, name.as_ref()).await.map(Some)
}

async fn default(env: &Env) -> Result<Option<AuthorizerRow>, String> {
    let statement = statements::select_default_authorizer(Partition::FIRST);
    let rows: Vec<AuthorizerRow> =
        Registry::new(env.clone()).read(statement).await.map_err(|error| error.to_string())?;
    Ok(rows.into_iter().next())
}

/// The authorizer of this name, or the default one.
async fn read(env: &Env, name: Option<&AuthorizerName>) -> Result<AuthorizerRow, String> {
    let row = match name {
        None => default(env).await?,
        Some(name) => {
            let statement = statements::select_authorizer(Partition::FIRST, name);
            let rows: Vec<AuthorizerRow> =
                Registry::new(env.clone()).read(statement).await.map_err(|error| error.to_string())?;
            rows.into_iter().next()
        }
    };
    let row = row.ok_or("there is no such authorizer")?;
    if row.is_active() { Ok(row) } else { Err("the authorizer is not active".to_owned()) }
}

/// Asks an authorizer whether a client may come in.
///
/// # Errors
/// Why not, for the log.
pub async fn authorize(env: &Env, row: AuthorizerRow, presented: &Presented<'_>) -> Result<Authorization, String> {
    if !row.is_active() {
        return Err("the authorizer is not active".to_owned());
    }
    let event = event(&row, presented)?;
    let authorized = ask(env, &row, &event).await?;
    let now = now_millis();
    let after = |secs: u32| -> UnixMillis { now.plus_secs(u64::from(secs)) };
    let lease =
        Lease { refresh_at: after(authorized.refresh_after_secs), ends_at: after(authorized.disconnect_after_secs) };
    let event = String::from_utf8(event).map_err(|error| error.to_string())?;
    let is_cacheable = row.enable_caching_for_http != 0;
    Ok(Authorization { authorizer_name: row.authorizer_name, event, authorized, lease, is_cacheable })
}

/// What the function is told, if the token's signature is good.
fn event(row: &AuthorizerRow, presented: &Presented<'_>) -> Result<Vec<u8>, String> {
    let invocation = presented.invocation;
    let signing = row.signing_policy().map_err(|error| error.to_string())?;
    let token = row.token_key_name.as_deref().and_then(|name| invocation.token(name));
    let checked = check_token(token, invocation.signature().as_deref(), &signing).map_err(|error| error.to_string())?;
    let query = invocation.query_string();
    let http =
        Http { headers: Some(invocation.headers()), query_string: (!query.is_empty()).then_some(query.as_str()) };
    let event = Event {
        token: checked.token.as_deref(),
        is_signature_verified: checked.is_signature_verified,
        server_name: (!presented.server_name.is_empty()).then_some(presented.server_name),
        http: presented.has_http.then_some(http),
        mqtt: presented.mqtt.clone(),
        connection_id: presented.connection_id,
    };
    Ok(event.to_json())
}

async fn ask(env: &Env, row: &AuthorizerRow, event: &[u8]) -> Result<Authorized, String> {
    let answer = authorizer_call::invoke(env, row, event).await.map_err(|error| error.to_string())?;
    match Answer::parse(&answer, PolicyDocument::parse).map_err(|error| error.to_string())? {
        Answer::Authorized(authorized) => Ok(authorized),
        Answer::Denied => Err("the authorizer does not let it in".to_owned()),
    }
}
