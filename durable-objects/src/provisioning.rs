//! Carrying out what a provisioning template asks for (AWS IoT developer guide, "Provisioning templates").
//!
//! Everything is looked up before anything is done, and every step can be repeated: whoever is cut off asks again and gets
//! the same.

use crate::d1;
use crate::issuing::{self, Wanted};
use crate::registration::{random_uuid, record};
use crate::site::{Refusal, Site};
use iot_types::{CertificateId, ThingName};
use policy::PolicyDocument;
use provisioning::merge::{self, ExistingThing, RegisteredStatus, ResourceConflict, ThingChanges};
use provisioning::{AttachedStatus, CertificatePlan, CertificateSource, Plan, PolicySource, ThingPlan};
use registry::billing_group::{self, BillingGroup};
use registry::ca_certificate::CaCertificateRow;
use registry::certificate::{CertificateRow, CertificateStatus};
use registry::policy::{PolicyRow, PolicyTarget};
use registry::registry_event::{Association, Change, RegistryEvent};
use registry::resource::{Resource, ResourceKind, ResourceRow};
use registry::statements::{self, Statement};
use registry::thing::{self, AttributePayload, CreateThingRequest, ThingRecord, ThingRow};
use registry::thing_group::{self, GroupOfThingRow, GroupPath, MemberStateRow, ThingGroup, ThingGroupRow};
use registry::thing_principal::{self, ThingAttachmentRow, ThingPrincipalType};
use registry::thing_type::{self, ThingType};
use registry::{ApiError, Partition};
use std::collections::BTreeSet;
use x509::Certificate;

const P: Partition = Partition::FIRST;

/// What has been provisioned.
pub struct Provisioned {
    /// The thing, if the template has one.
    pub thing_name: Option<ThingName>,
    /// The certificate, if the template has one.
    pub certificate_id: Option<CertificateId>,
    /// The same in PEM.
    pub certificate_pem: Option<String>,
    /// What is to be told of it.
    pub events: Vec<RegistryEvent>,
}

/// Something that the template names can't be had, or can't be as it is wanted.
fn failed(message: impl Into<String>) -> Refusal {
    ApiError::new("ResourceRegistrationFailureException", 400, message).into()
}

fn conflict(conflict: &ResourceConflict) -> Refusal {
    ApiError::new("ConflictingResourceUpdateException", 409, conflict.to_string()).into()
}

/// Carries out a plan. `new_name`: of a thing whose template gives it none.
///
/// # Errors
/// `ResourceRegistrationFailureException`, `ConflictingResourceUpdateException`, `InvalidRequestException`; when D1 fails.
pub async fn carry_out(site: &Site<'_>, plan: &Plan, new_name: &str) -> Result<Provisioned, Refusal> {
    for one in &plan.policies {
        check_policy(site, &one.source).await?;
    }
    let thing = match &plan.thing {
        Some(wanted) => Some(Wish::of(site, wanted, new_name).await?),
        None => None,
    };
    let certificate = match &plan.certificate {
        Some(wanted) => Some(take_certificate(site, wanted).await?),
        None => None,
    };
    let mut events = Vec::new();
    if let Some(wish) = &thing {
        wish.fulfil(site, &mut events).await?;
    }
    if let (Some(wanted), Some(taken)) = (&plan.certificate, &certificate) {
        let target = PolicyTarget::parse(site.scope.certificate_arn(&taken.id).as_str(), site.scope)?;
        attach_policies(site, plan, &target).await?;
        if let Some(wish) = &thing {
            attach(site, &wish.name, &target, wanted.is_exclusive).await?;
        }
        // The last step: until then nobody can use it.
        if let Some(status) = taken.new_status {
            let statement = statements::update_certificate(P, &taken.id, status, &random_uuid(), site.now);
            site.registry().batch(&[statement]).await?;
        }
    }
    Ok(Provisioned {
        thing_name: thing.map(|wish| wish.name),
        certificate_pem: certificate.as_ref().map(|taken| taken.pem.clone()),
        certificate_id: certificate.map(|taken| taken.id),
        events,
    })
}

async fn check_policy(site: &Site<'_>, source: &PolicySource) -> Result<(), Refusal> {
    match source {
        PolicySource::Existing(name) => {
            let rows: Vec<PolicyRow> = site.registry().read(statements::select_policy(P, name)).await?;
            if rows.is_empty() { Err(failed(format!("Policy {} does not exist", name.as_str()))) } else { Ok(()) }
        }
        PolicySource::Document { document, .. } => {
            PolicyDocument::parse(document).map(|_| ()).map_err(|error| failed(error.to_string()))
        }
    }
}

async fn attach_policies(site: &Site<'_>, plan: &Plan, target: &PolicyTarget) -> Result<(), Refusal> {
    let mut batch: Vec<Statement> = Vec::new();
    for one in &plan.policies {
        let name = one.source.name();
        if let PolicySource::Document { name, document } = &one.source {
            batch.push(statements::insert_first_policy_version(P, name, document, site.now));
            batch.push(statements::insert_policy(P, name, site.now));
        }
        batch.push(statements::attach_policy(P, name, target, site.limits.policies_of_target));
        batch.push(statements::select_attachment(P, name, target));
    }
    let results = site.registry().batch(&batch).await?;
    let mut place = 0;
    for one in &plan.policies {
        place += if matches!(one.source, PolicySource::Document { .. }) { 4 } else { 2 };
        let rows = d1::rows_at(&results, place - 1)?;
        registry::policy::settle_attach(one.source.name(), target, rows.into_iter().next())?;
    }
    Ok(())
}

async fn attach(site: &Site<'_>, thing: &ThingName, target: &PolicyTarget, is_exclusive: bool) -> Result<(), Refusal> {
    let kind = if is_exclusive { ThingPrincipalType::Exclusive } else { ThingPrincipalType::NonExclusive };
    let batch = [
        statements::attach_thing_principal(P, thing, target, kind),
        statements::select_thing_attachment(P, thing, target),
    ];
    let results = site.registry().batch(&batch).await?;
    let after: Vec<ThingAttachmentRow> = d1::rows_at(&results, 1)?;
    Ok(thing_principal::settle_attach(thing, target, kind, after.into_iter().next())?)
}

/// A certificate that is there now.
struct Taken {
    id: CertificateId,
    pem: String,
    /// What it becomes at the end.
    new_status: Option<CertificateStatus>,
}

const fn status_of(status: AttachedStatus) -> CertificateStatus {
    match status {
        AttachedStatus::Active => CertificateStatus::Active,
        AttachedStatus::Inactive => CertificateStatus::Inactive,
    }
}

async fn take_certificate(site: &Site<'_>, plan: &CertificatePlan) -> Result<Taken, Refusal> {
    let wanted = status_of(plan.status);
    match &plan.source {
        CertificateSource::SigningRequest(pem) => {
            let issued = issuing::for_request(site, pem, Wanted::lasting(CertificateStatus::Inactive)).await?;
            Ok(Taken { id: issued.certificate_id, pem: issued.pem, new_status: Some(wanted) })
        }
        CertificateSource::Registered(id) => {
            let row = registered(site, id).await?;
            let row = row.ok_or_else(|| failed(format!("Certificate {} does not exist", id.as_str())))?;
            taken(plan, id, row)
        }
        CertificateSource::Pem { certificate, ca_certificate } => {
            let invalid = |error: x509::Error| failed(error.to_string());
            let device = Certificate::from_pem(certificate).map_err(invalid)?;
            let id = device.certificate_id().map_err(invalid)?;
            if let Some(row) = registered(site, &id).await? {
                return taken(plan, &id, row);
            }
            let issuer = issuer(site, &device, ca_certificate.as_deref()).await?;
            let record = record(&device, CertificateStatus::Inactive, Some(issuer), random_uuid(), site.now)?;
            site.registry().batch(&[statements::insert_certificate(P, &record)]).await?;
            Ok(Taken { id, pem: device.to_pem(), new_status: Some(wanted) })
        }
    }
}

async fn registered(site: &Site<'_>, id: &CertificateId) -> Result<Option<CertificateRow>, Refusal> {
    let statement = statements::select_certificate(P, id, site.scope.certificate_arn(id).as_str());
    Ok(site.registry().read::<CertificateRow>(statement).await?.into_iter().next())
}

fn taken(plan: &CertificatePlan, id: &CertificateId, row: CertificateRow) -> Result<Taken, Refusal> {
    let existing = match row.status.as_str() {
        "PENDING_ACTIVATION" => RegisteredStatus::PendingActivation,
        "ACTIVE" => RegisteredStatus::Settled(AttachedStatus::Active),
        "INACTIVE" => RegisteredStatus::Settled(AttachedStatus::Inactive),
        _ => RegisteredStatus::Other,
    };
    let status = merge::certificate_status(plan, existing).map_err(|error| conflict(&error))?;
    Ok(Taken { id: id.clone(), pem: row.pem, new_status: status.map(status_of) })
}

/// The registered authority that has signed a device's certificate.
async fn issuer(site: &Site<'_>, device: &Certificate, named: Option<&str>) -> Result<CertificateId, Refusal> {
    let invalid = |error: x509::Error| failed(error.to_string());
    let named = named.map(|pem| Certificate::from_pem(pem)?.certificate_id()).transpose().map_err(invalid)?;
    let statement = statements::select_ca_certificates_of_subject(P, &device.issuer().digest());
    for row in site.registry().read::<CaCertificateRow>(statement).await? {
        let is_named = named.as_ref().is_none_or(|named| named.as_str() == row.ca_certificate_id);
        if is_named && row.status == "ACTIVE" {
            let authority = Certificate::from_pem(&row.pem)?;
            if device.verify_issued_by(&authority).is_ok() {
                return Ok(authority.certificate_id()?);
            }
        }
    }
    Err(failed("The certificate's authority is not registered and active"))
}

/// A thing as it is to be, and what there is of it.
struct Wish {
    name: ThingName,
    stored: Option<ThingRecord>,
    created: Option<ThingRecord>,
    changes: ThingChanges,
    joins: Vec<ThingGroup>,
    leaves: Vec<ThingGroup>,
}

impl Wish {
    /// Looks everything up that the plan names.
    async fn of(site: &Site<'_>, plan: &ThingPlan, new_name: &str) -> Result<Self, Refusal> {
        let name = match &plan.name {
            Some(name) => name.clone(),
            None => ThingName::new(new_name).map_err(|_| failed("The template gives the thing no name"))?,
        };
        let partition = site.partitions.of(&name);
        let batch = [
            statements::select_thing(partition, &name),
            statements::select_groups_of_things(partition, &[name.as_str()]),
        ];
        let results = site.registry().batch(&batch).await?;
        let stored = d1::rows_at::<ThingRow>(&results, 0)?.into_iter().next().map(ThingRecord::try_from).transpose()?;
        let groups = d1::rows_at::<GroupOfThingRow>(&results, 1)?;
        let is_in = groups.iter().filter(|row| row.is_dynamic == 0).filter_map(|row| GroupPath::parse(&row.path));
        let is_in: BTreeSet<String> = is_in.map(|path| path.name().to_owned()).collect();
        let (created, changes) = match &stored {
            Some(thing) => {
                let existing = ExistingThing {
                    attributes: thing.attributes.clone(),
                    thing_type: thing.thing_type_name.clone(),
                    groups: is_in,
                    billing_group: thing.billing_group_name.clone(),
                };
                (None, merge::thing_changes(plan, &existing).map_err(|error| conflict(&error))?)
            }
            None => {
                let payload =
                    AttributePayload { attributes: plan.attributes.clone().unwrap_or_default(), merge: false };
                let request = CreateThingRequest::new(
                    name.clone(),
                    plan.thing_type.clone(),
                    payload,
                    plan.billing_group.clone(),
                    &site.limits,
                )?;
                let changes =
                    ThingChanges { joins: plan.groups.clone().unwrap_or_default(), ..ThingChanges::default() };
                (Some(thing::create(&request, random_uuid(), site.now)), changes)
            }
        };
        check_names(site, created.as_ref(), &changes).await?;
        let joins = groups_of(site, &changes.joins).await?;
        let leaves = groups_of(site, &changes.leaves).await?;
        Ok(Self { name, stored, created, changes, joins, leaves })
    }

    /// Makes it so.
    async fn fulfil(&self, site: &Site<'_>, events: &mut Vec<RegistryEvent>) -> Result<(), Refusal> {
        let partition = site.partitions.of(&self.name);
        let mut batch = Vec::new();
        if let Some(thing) = &self.created {
            batch.push(statements::insert_thing(partition, thing));
        } else if let Some(stored) = &self.stored {
            let mut changed = stored.clone();
            changed.version = stored.version.saturating_add(1);
            if let Some(attributes) = &self.changes.attributes {
                changed.attributes.clone_from(attributes);
            }
            if self.changes.thing_type.is_some() {
                changed.thing_type_name.clone_from(&self.changes.thing_type);
            }
            if (&changed.attributes, &changed.thing_type_name) != (&stored.attributes, &stored.thing_type_name) {
                batch.push(statements::update_thing(partition, stored, &changed));
                events.push(RegistryEvent::thing(Change::Updated, &changed));
            }
            if let Some(group) = &self.changes.billing_group {
                batch.push(statements::set_billing_group(partition, &self.name, Some(group), None));
            }
        }
        for group in &self.leaves {
            batch.push(statements::delete_member(partition, &group.path, &self.name));
        }
        let first_join = batch.len();
        for group in &self.joins {
            batch.push(statements::insert_member(partition, &group.path, &self.name, false, &site.limits, site.now));
            batch.push(statements::select_member_state(partition, &group.path, &self.name));
        }
        let results = site.registry().batch(&batch).await?;
        let is_new = self.created.is_some() && d1::changes_at(&results, 0)? > 0;
        if let Some(thing) = self.created.as_ref().filter(|_| is_new) {
            events.push(RegistryEvent::thing(Change::Created, thing));
            let thing_type = thing.thing_type_name.as_deref();
            events
                .extend(thing_type.map(|name| RegistryEvent::thing_type_association(Association::Added, thing, name)));
        }
        for (n, group) in self.joins.iter().enumerate() {
            let place = first_join + 2 * n;
            let state = d1::rows_at::<MemberStateRow>(&results, place + 1)?.into_iter().next();
            thing_group::settle_add(&self.name, &group.path, state.as_ref(), &site.limits)?;
            if d1::changes_at(&results, place)? > 0 {
                let thing_id = state.and_then(|state| state.thing_id).unwrap_or_default();
                let group_id = &group.thing_group_id;
                let (path, name) = (&group.path, &self.name);
                let added = Association::Added;
                events.push(RegistryEvent::membership(site.scope, added, path, group_id, name, &thing_id));
            }
        }
        Ok(())
    }
}

/// Whether the thing type and the billing group are there.
async fn check_names(site: &Site<'_>, created: Option<&ThingRecord>, changes: &ThingChanges) -> Result<(), Refusal> {
    let thing_type = created.and_then(|thing| thing.thing_type_name.as_deref()).or(changes.thing_type.as_deref());
    let group = created.and_then(|thing| thing.billing_group_name.as_deref()).or(changes.billing_group.as_deref());
    if thing_type.is_none() && group.is_none() {
        return Ok(());
    }
    let batch = [
        statements::select_resource(P, ResourceKind::ThingType, thing_type.unwrap_or_default()),
        statements::select_resource(P, ResourceKind::BillingGroup, group.unwrap_or_default()),
    ];
    let results = site.registry().batch(&batch).await?;
    let row = |place| -> worker::Result<Option<ResourceRow>> { Ok(d1::rows_at(&results, place)?.into_iter().next()) };
    let stored_type = row(0)?.map(Resource::<ThingType>::try_from).transpose()?;
    let stored_group = row(1)?.map(Resource::<BillingGroup>::try_from).transpose()?;
    if let Some(name) = thing_type {
        let use_of_it = thing_type::check_use(name, stored_type.as_ref(), created.is_some());
        use_of_it.map_err(|error| failed(error.message()))?;
    }
    match (group, stored_group) {
        (Some(name), None) => Err(failed(billing_group::missing(name))),
        _ => Ok(()),
    }
}

async fn groups_of(site: &Site<'_>, names: &BTreeSet<String>) -> Result<Vec<ThingGroup>, Refusal> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let rows: Vec<ThingGroupRow> = site.registry().read(statements::select_thing_groups(P, &wanted)).await?;
    let groups: Vec<ThingGroup> = rows.into_iter().map(ThingGroup::try_from).collect::<Result<_, _>>()?;
    for name in names {
        let group = groups.iter().find(|group| group.thing_group_name == *name);
        thing_group::found(name, group, false).map_err(|error| failed(error.message()))?;
    }
    Ok(groups)
}
