//! Changes that Brokers must know of: logged with the change, then told.

use super::Call;
use super::error::Failure;
use crate::announce::tell_brokers;
use durable_objects::d1;
use iot_types::ThingName;
use messages::broker::{AuthoritySubject, BrokerRequest};
use registry::control::{ControlChange, ControlHead, ControlKind};
use registry::statements::Statement;
use registry::{Partition, statements};
use worker::D1Result;

/// Makes a change, logs it in the same transaction, then tells the Brokers of it. `decisive` is the one of the
/// statements whose changed rows say whether anything has changed: nothing is told otherwise, and a row too many in the
/// log does no harm. Gives that number, and the results of the statements.
pub async fn store(
    call: &Call<'_>,
    batch: Vec<Statement>,
    decisive: usize,
    kind: ControlKind,
    subject: &str,
) -> Result<(u64, Vec<D1Result>), Failure> {
    let logged = ControlChange { kind, subject: subject.to_owned(), at: call.now };
    log_and_tell(call, batch, Some(decisive), logged).await
}

/// `decisive`: `None` when there is something to tell in any case.
async fn log_and_tell(
    call: &Call<'_>,
    mut batch: Vec<Statement>,
    decisive: Option<usize>,
    logged: ControlChange,
) -> Result<(u64, Vec<D1Result>), Failure> {
    batch.push(statements::append_control_log(Partition::FIRST, &logged));
    batch.push(statements::control_head(Partition::FIRST));
    let results = call.deployment.registry().batch(&batch).await?;
    let rows_changed = decisive.map_or(Ok(1), |decisive| d1::changes_at(&results, decisive))?;
    let heads: Vec<ControlHead> = d1::rows_at(&results, batch.len() - 1)?;
    let sequence = heads.first().map_or(0, |head| head.sequence);
    announce(call, sequence, if rows_changed > 0 { Some(logged.kind) } else { None }, &logged.subject).await;
    Ok((rows_changed, results))
}

/// Logs and tells that what a thing's client may do has changed, once the change is made. Whoever has no principal is
/// nobody's client: then there is nothing to tell.
pub async fn thing_changed(call: &Call<'_>, thing: &ThingName, has_principals: bool) -> Result<(), Failure> {
    if has_principals {
        let logged = ControlChange { kind: ControlKind::Thing, subject: thing.as_str().to_owned(), at: call.now };
        log_and_tell(call, Vec::new(), None, logged).await?;
    }
    Ok(())
}

/// Logs and tells that something has changed, once the change is made.
pub async fn changed(call: &Call<'_>, kind: ControlKind, subject: &str) -> Result<(), Failure> {
    let logged = ControlChange { kind, subject: subject.to_owned(), at: call.now };
    log_and_tell(call, Vec::new(), None, logged).await.map(|_| ())
}

/// A hint to every Broker: with the response rules are in force, and what clients may do is being read again. A Broker
/// that misses it finds the gap with the next one; without one, rules are read again within a minute of use, and the cron
/// trigger tells the rest.
/// `kind`: `None` when nothing has changed but the number.
async fn announce(call: &Call<'_>, sequence: u64, kind: Option<ControlKind>, subject: &str) {
    let request = match kind {
        Some(ControlKind::TopicRule) => BrokerRequest::RulesChanged { sequence },
        Some(ControlKind::Policy) => {
            BrokerRequest::AuthoritiesChanged { sequence, subject: AuthoritySubject::Policy(subject.to_owned()) }
        }
        Some(ControlKind::Principal) => {
            BrokerRequest::AuthoritiesChanged { sequence, subject: AuthoritySubject::Principal(subject.to_owned()) }
        }
        Some(ControlKind::Thing) => {
            BrokerRequest::AuthoritiesChanged { sequence, subject: AuthoritySubject::Thing(subject.to_owned()) }
        }
        Some(ControlKind::ThingGroup) => {
            BrokerRequest::AuthoritiesChanged { sequence, subject: AuthoritySubject::ThingGroup(subject.to_owned()) }
        }
        None => BrokerRequest::AuthoritiesChanged { sequence, subject: AuthoritySubject::Nobody },
    };
    tell_brokers(call.deployment, request, sequence).await;
}
