//! What clients may do, as the registry has it: one read for all that a Broker asks for at once.

use crate::config::Config;
use crate::d1::{self, Registry};
use crate::host::log_line;
use crate::outgoing::now_millis;
use crate::registration;
use broker::{AuthorityRequest, PolicySource, StoredAuthority};
use device_auth::enhanced::{Answer, Credential};
use device_auth::jwt::{Expected, Token};
use device_auth::principal::Principal;
use iot_types::{CertificateId, Scope};
use messages::broker::ConnectionId;
use policy::{Facts, ThingFacts};
use registry::api_key::ApiKeyInUseRow;
use registry::certificate::{CertificateInUseRow, CertificateRow};
use registry::control::ControlHead;
use registry::policy::PolicyOfTargetRow;
use registry::resource::{Resource, ResourceKind, ResourceRow};
use registry::thing_group::{GroupOfThingRow, GroupPath};
use registry::thing_principal::ThingOfPrincipalRow;
use registry::thing_type::{ThingType, propagated};
use registry::{Partition, statements};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use worker::{Env, Result};
use x509::Certificate;

/// For each connection what was found.
pub type Found = Vec<(ConnectionId, Option<StoredAuthority>)>;

/// Whose authority is asked for.
pub struct Asked<'a> {
    /// Who it is.
    pub principal: &'a Principal,
    /// The thing of this name is meant, if the principal has it.
    pub client_id: &'a str,
}

/// What Brokers ask for. Those whose certificate may not be used are registered, if their authority says so.
///
/// # Errors
/// When D1 fails, or holds what can't be read.
pub async fn load(env: &Env, config: &Config, requests: Vec<AuthorityRequest>) -> Result<(u64, Found)> {
    let asked: Vec<Asked<'_>> =
        requests.iter().map(|request| Asked { principal: &request.principal, client_id: &request.client_id }).collect();
    let (sequence, stored) = read(env, &config.scope, &asked).await?;
    let now = now_millis();
    for (request, _) in requests.iter().zip(&stored).filter(|(_, stored)| stored.is_none()) {
        if let Some(Ok(certificate)) = request.certificate.as_deref().map(Certificate::from_der) {
            registration::register_on_connect(env, config, &certificate, now).await?;
        }
    }
    Ok((sequence, requests.into_iter().map(|request| request.connection).zip(stored).collect()))
}

/// Reads the policies of principals, whether they may still come, and the things that they are; and the control log's
/// head as it is in the same moment. For each, in the order asked: `None` for one that may not come.
///
/// # Errors
/// When D1 fails, or holds what can't be read.
pub async fn read(env: &Env, scope: &Scope, asked: &[Asked<'_>]) -> Result<(u64, Vec<Option<StoredAuthority>>)> {
    let targets: Vec<Option<String>> = asked.iter().map(|asked| asked.principal.policy_target(scope)).collect();
    let arns: BTreeSet<&str> = targets.iter().flatten().map(String::as_str).collect();
    let certificates: BTreeSet<&str> =
        asked.iter().filter_map(|asked| Some(asked.principal.certificate_id()?.as_str())).collect();
    let api_keys: BTreeSet<&str> = asked
        .iter()
        .filter_map(|asked| match asked.principal {
            Principal::ApiKey { access_key_id } => Some(access_key_id.as_str()),
            _ => None,
        })
        .collect();
    let holders: Vec<Option<(String, &str)>> = asked.iter().map(|asked| asked.holder(scope)).collect();
    let pairs: Vec<(&str, &str)> = holders.iter().flatten().map(|(arn, name)| (arn.as_str(), *name)).collect();
    let api_keys: Vec<&str> = api_keys.into_iter().collect();
    let arns: Vec<&str> = arns.into_iter().collect();
    let certificates: Vec<&str> = certificates.into_iter().collect();
    // One transaction: what is read belongs together.
    let batch = [
        statements::control_head(Partition::FIRST),
        statements::select_policies_of_targets(Partition::FIRST, &arns),
        statements::select_certificates_in_use(Partition::FIRST, &certificates),
        statements::select_things_of_principals(Partition::FIRST, &pairs),
        statements::select_api_keys_in_use(Partition::FIRST, &api_keys),
    ];
    let results = Registry::new(env.clone()).batch(&batch).await?;
    let heads: Vec<ControlHead> = d1::rows_at(&results, 0)?;
    let mut sources: BTreeMap<String, Vec<PolicySource>> = BTreeMap::new();
    for row in d1::rows_at::<PolicyOfTargetRow>(&results, 1)? {
        let source = PolicySource { name: row.policy_name, document: row.document };
        sources.entry(row.target).or_default().push(source);
    }
    let now = now_millis();
    let mut usable = BTreeMap::new();
    for row in d1::rows_at::<CertificateInUseRow>(&results, 2)? {
        match row.usable(now) {
            Ok(attributes) => usable.extend(attributes.map(|attributes| (row.certificate_id, attributes))),
            // Its holder is refused, and nobody else.
            Err(error) => log_line(
                &json!({"level": "error", "event": "certificate_unreadable", "certificate_id": row.certificate_id, "reason": error.to_string()}),
            ),
        }
    }
    let things: Vec<ThingOfPrincipalRow> = d1::rows_at(&results, 3)?;
    let inherited = Inherited::read(env, scope, &things, &mut sources).await?;
    let api_keys: BTreeSet<String> =
        d1::rows_at::<ApiKeyInUseRow>(&results, 4)?.into_iter().map(|row| row.access_key_id).collect();
    let stored = asked.iter().zip(&targets).zip(&holders).map(|((asked, target), holder)| {
        let certificate = match asked.principal.certificate_id() {
            Some(id) => usable.get(id.as_str())?.clone(),
            None => BTreeMap::new(),
        };
        let thing = holder.as_ref().and_then(|(arn, name)| inherited.thing_of(&things, arn, name));
        let facts = match asked.principal {
            Principal::Certificate { .. } => Facts { certificate, thing: thing.clone(), ..Facts::default() },
            Principal::ApiKey { access_key_id } if api_keys.contains(access_key_id.as_str()) => Facts::default(),
            Principal::RoleSession { certificate_id, thing_name, .. } => {
                let other = facts_of_session(certificate_id, thing_name.as_deref(), thing.as_ref());
                Facts { other, ..Facts::default() }
            }
            // Nobody asks for those: they may do everything, or say themselves what they may do.
            Principal::ApiKey { .. } | Principal::RootKey { .. } | Principal::Authorized { .. } => return None,
        };
        let groups = thing.iter().flat_map(|thing| &thing.groups).map(|name| scope.thing_group_arn(name).to_string());
        let mut policies: Vec<PolicySource> =
            target.iter().cloned().chain(groups).filter_map(|target| sources.get(&target)).flatten().cloned().collect();
        // A policy may come in several ways, and is one.
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        policies.dedup_by(|a, b| a.name == b.name);
        Some(StoredAuthority { policies, facts, lease: None })
    });
    Ok((heads.first().map_or(0, |head| head.sequence), stored.collect()))
}

impl<'a> Asked<'a> {
    /// Whose things count, and the name of the one that is meant.
    fn holder(&self, scope: &Scope) -> Option<(String, &'a str)> {
        let name = match self.principal {
            Principal::RoleSession { thing_name, .. } => thing_name.as_deref()?,
            _ => self.client_id,
        };
        Some((scope.certificate_arn(self.principal.certificate_id()?).to_string(), name))
    }
}

/// The condition keys of temporary credentials (AWS IoT developer guide, credential provider).
fn facts_of_session(
    certificate_id: &CertificateId,
    thing_name: Option<&str>,
    thing: Option<&ThingFacts>,
) -> BTreeMap<String, Vec<String>> {
    let thing_type = thing.and_then(|thing| thing.thing_type.as_deref());
    [("thingname", thing_name), ("thingtypename", thing_type), ("awscertificateid", Some(certificate_id.as_str()))]
        .into_iter()
        .filter_map(|(key, value)| Some((format!("credentials-iot:{key}"), vec![value?.to_owned()])))
        .collect()
}

/// What things have from elsewhere: the groups that they are in, with those above them, and their types.
struct Inherited {
    /// By the thing's name.
    groups: BTreeMap<String, BTreeSet<String>>,
    /// By name.
    types: BTreeMap<String, ThingType>,
}

impl Inherited {
    /// Reads it, and the policies of the groups into `sources`. Nothing is asked about things that are in no group and
    /// have no type.
    async fn read(
        env: &Env,
        scope: &Scope,
        things: &[ThingOfPrincipalRow],
        sources: &mut BTreeMap<String, Vec<PolicySource>>,
    ) -> Result<Self> {
        let mut found = Self { groups: BTreeMap::new(), types: BTreeMap::new() };
        if things.is_empty() {
            return Ok(found);
        }
        let registry = Registry::new(env.clone());
        let names: Vec<&str> = things.iter().map(|row| row.thing_name.as_str()).collect();
        let types: Vec<&str> = things.iter().filter_map(|row| row.thing_type_name.as_deref()).collect();
        let batch = [
            statements::select_groups_of_things(Partition::FIRST, &names),
            statements::select_resources(Partition::FIRST, ResourceKind::ThingType, &types),
        ];
        let results = registry.batch(&batch).await?;
        for row in d1::rows_at::<GroupOfThingRow>(&results, 0)? {
            let path = GroupPath::parse(&row.path).ok_or("a group's path can't be read")?;
            found.groups.entry(row.thing_name).or_default().extend(path.names().map(str::to_owned));
        }
        for row in d1::rows_at::<ResourceRow>(&results, 1)? {
            let stored: core::result::Result<Resource<ThingType>, _> = row.try_into();
            found.types.extend(stored.map(|stored| (stored.name, stored.document)));
        }
        let targets: BTreeSet<String> =
            found.groups.values().flatten().map(|name| scope.thing_group_arn(name).to_string()).collect();
        if !targets.is_empty() {
            let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
            let statement = statements::select_policies_of_targets(Partition::FIRST, &targets);
            for row in registry.read::<PolicyOfTargetRow>(statement).await? {
                let source = PolicySource { name: row.policy_name, document: row.document };
                sources.entry(row.target).or_default().push(source);
            }
        }
        Ok(found)
    }

    /// The thing that a connection is: the one that has the principal to itself, else the one of the client's name.
    fn thing_of(&self, rows: &[ThingOfPrincipalRow], principal: &str, client_id: &str) -> Option<ThingFacts> {
        let row = rows.iter().find(|row| row.principal == principal && row.client_id == client_id)?;
        let (name, attributes) = (&row.thing_name, row.attributes().unwrap_or_default());
        let thing_type = row.thing_type_name.as_ref().and_then(|name| self.types.get(name));
        Some(ThingFacts {
            name: name.clone(),
            thing_type: row.thing_type_name.clone(),
            is_attached: true,
            groups: self.groups.get(name).into_iter().flatten().cloned().collect(),
            propagated: thing_type.map(|one| propagated(one, &attributes, client_id, name)).unwrap_or_default(),
            attributes,
        })
    }
}

/// Who has signed a token.
///
/// # Errors
/// Why nobody is believed to have, for the log.
pub async fn of_token(
    env: &Env,
    scope: &Scope,
    token: &Token,
    expected: &Expected<'_>,
) -> core::result::Result<Principal, String> {
    let certificate = registered(env, scope, token.certificate_id()).await?;
    let verified = token.verify(&certificate, expected).map_err(|error| error.to_string())?;
    if let Some((once, until)) = verified.use_of_it() {
        // Uses of one token may come to any Broker.
        let batch = [
            statements::forget_tokens(Partition::FIRST, expected.now),
            statements::use_token(Partition::FIRST, &verified.certificate_id, &once, until),
        ];
        let results = Registry::new(env.clone()).batch(&batch).await.map_err(|error| error.to_string())?;
        if d1::changes_at(&results, 1).map_err(|error| error.to_string())? == 0 {
            return Err("the token has been used, or too many tokens with a `jti` have been of late".to_owned());
        }
    }
    Ok(verified.into_principal())
}

/// Who has answered a challenge.
///
/// # Errors
/// Why nobody is believed to have, for the log.
pub async fn of_answer(
    env: &Env,
    config: &Config,
    answer: &Answer,
) -> core::result::Result<(Principal, Option<Vec<u8>>), String> {
    let text = |error: device_auth::AuthError| error.to_string();
    match answer.credential() {
        Credential::Id(id) => {
            let certificate = registered(env, &config.scope, id).await?;
            let certificate_id = answer.verify(&certificate).map_err(text)?;
            Ok((Principal::Certificate { certificate_id }, None))
        }
        // Whether it is registered is asked when it is known what it allows, and it may have to be registered first.
        Credential::Certificate(certificate) => {
            let certificate_id = answer.verify(certificate).map_err(text)?;
            Ok((Principal::Certificate { certificate_id }, Some(certificate.der().to_vec())))
        }
    }
}

/// A certificate as it was registered. Whether it may be used is asked when it is known what it allows.
async fn registered(env: &Env, scope: &Scope, id: &CertificateId) -> core::result::Result<Certificate, String> {
    let statement = statements::select_certificate(Partition::FIRST, id, scope.certificate_arn(id).as_str());
    let rows: Vec<CertificateRow> =
        Registry::new(env.clone()).read(statement).await.map_err(|error| error.to_string())?;
    let row = rows.first().ok_or("the certificate is not registered")?;
    Certificate::from_pem(&row.pem).map_err(|error| error.to_string())
}
