//! Whose a thing is: AttachThingPrincipal, DetachThingPrincipal, ListThingPrincipals, ListThingPrincipalsV2,
//! ListPrincipalThings, ListPrincipalThingsV2.

use super::error::Failure;
use super::{Call, control};
use durable_objects::d1;
use iot_types::ThingName;
use registry::control::ControlKind;
use registry::policy::PolicyTarget;
use registry::thing::{self, DescribeThingRequest};
use registry::thing_principal::{self as stored, ThingAttachmentRow, ThingPrincipalRow, ThingPrincipalsPage};
use registry::{ApiError, Partition, statements};

const P: Partition = Partition::FIRST;

pub async fn attach(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let (name, principal) = (name(call)?, principal(call)?);
    let kind = stored::attached_type(call.query)?;
    let batch = vec![
        statements::attach_thing_principal(P, &name, &principal, kind),
        statements::select_thing_attachment(P, &name, &principal),
    ];
    let subject = principal.principal_identifier();
    let (_, results) = control::store(call, batch, 0, ControlKind::Principal, subject).await?;
    let after: Vec<ThingAttachmentRow> = d1::rows_at(&results, 1)?;
    stored::settle_attach(&name, &principal, kind, after.into_iter().next())?;
    Ok(b"{}".to_vec())
}

pub async fn detach(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let (name, principal) = (name(call)?, principal(call)?);
    let batch = vec![statements::detach_thing_principal(P, &name, &principal), statements::select_thing(P, &name)];
    let subject = principal.principal_identifier();
    let (changed, _) = control::store(call, batch, 0, ControlKind::Principal, subject).await?;
    if changed == 0 {
        thing::found(&name, super::things::read(call, &name).await?)?;
    }
    Ok(b"{}".to_vec())
}

pub async fn list_principals(call: &Call<'_>, has_types: bool) -> Result<Vec<u8>, Failure> {
    let name = name(call)?;
    let page = ThingPrincipalsPage::of_principals(call.query, &call.deployment.limits())?;
    let statement = statements::list_thing_principals(P, &name, &page);
    let rows: Vec<ThingPrincipalRow> = call.deployment.registry().read(statement).await?;
    if rows.is_empty() {
        thing::found(&name, super::things::read(call, &name).await?)?;
    }
    Ok(page.response(rows, has_types))
}

pub async fn list_things(call: &Call<'_>, has_types: bool) -> Result<Vec<u8>, Failure> {
    let principal = principal(call)?;
    let page = ThingPrincipalsPage::of_things(call.query, &call.deployment.limits())?;
    let statement = statements::list_principal_things(P, &principal, &page);
    let rows: Vec<ThingPrincipalRow> = call.deployment.registry().read(statement).await?;
    Ok(page.response(rows, has_types))
}

fn name(call: &Call<'_>) -> Result<ThingName, ApiError> {
    DescribeThingRequest::parse(call.route.parameter("thingName")).map(|request| request.thing_name)
}

fn principal(call: &Call<'_>) -> Result<PolicyTarget, ApiError> {
    stored::principal(call.header("x-amzn-principal"), &call.deployment.config.scope)
}
