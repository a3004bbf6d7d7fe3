//! What a plan changes in what is there already ("Override settings" in "Provisioning templates").
//!
//! The guide does not say what holds when a template has no setting for a property. Here an existing thing stays as it
//! is, as with `DO_NOTHING`, so that a device which is provisioned again gets its new certificate whatever became of its
//! thing meanwhile; and a certificate gets the template's status, as templates that name a registered one are there to
//! activate it.
//!
//! `FAIL` is about a property that is *different*. A request that is made twice asks for what is there, and so is
//! answered twice alike.

use crate::plan::{AttachedStatus, CertificatePlan, Override, ThingPlan};
use std::collections::{BTreeMap, BTreeSet};

/// A thing that is there already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExistingThing {
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Its thing type.
    pub thing_type: Option<String>,
    /// The static thing groups that it is in.
    pub groups: BTreeSet<String>,
    /// Its billing group.
    pub billing_group: Option<String>,
}

/// What has to be changed in a thing; what is `None` or empty stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThingChanges {
    /// All attributes that the thing is to have.
    pub attributes: Option<BTreeMap<String, String>>,
    /// The thing type that it is to have.
    pub thing_type: Option<String>,
    /// Groups to add it to.
    pub joins: BTreeSet<String>,
    /// Groups to remove it from.
    pub leaves: BTreeSet<String>,
    /// The billing group to add it to.
    pub billing_group: Option<String>,
}

impl ThingChanges {
    /// Whether nothing has to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A property differs, and the template says `FAIL`: `ResourceConflictsException` in the guide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Resource {logical_name} exists with another {property}")]
pub struct ResourceConflict {
    /// The resource's name in the template.
    pub logical_name: String,
    /// Its property.
    pub property: &'static str,
}

/// What has to be done to a thing that exists.
///
/// # Errors
/// [`ResourceConflict`].
pub fn thing_changes(plan: &ThingPlan, existing: &ExistingThing) -> Result<ThingChanges, ResourceConflict> {
    let mut changes = ThingChanges::default();
    let decide = |setting: Option<Override>, property: &'static str| match setting {
        None => Ok(Override::DoNothing),
        Some(Override::Fail) => Err(ResourceConflict { logical_name: plan.logical_name.clone(), property }),
        Some(setting) => Ok(setting),
    };
    if let Some(wanted) = plan.attributes.as_ref().filter(|wanted| **wanted != existing.attributes) {
        let merged = || {
            let mut all = existing.attributes.clone();
            all.extend(wanted.iter().map(|(name, value)| (name.clone(), value.clone())));
            all
        };
        changes.attributes = match decide(plan.overrides.attributes, "AttributePayload")? {
            Override::Replace => Some(wanted.clone()),
            Override::Merge => Some(merged()).filter(|all| *all != existing.attributes),
            Override::DoNothing | Override::Fail => None,
        };
    }
    if let Some(wanted) = plan.thing_type.as_ref().filter(|wanted| existing.thing_type.as_ref() != Some(*wanted))
        && decide(plan.overrides.thing_type, "ThingTypeName")? == Override::Replace
    {
        changes.thing_type = Some(wanted.clone());
    }
    if let Some(wanted) = plan.groups.as_ref().filter(|wanted| **wanted != existing.groups) {
        let setting = decide(plan.overrides.groups, "ThingGroups")?;
        if matches!(setting, Override::Replace | Override::Merge) {
            changes.joins = wanted.difference(&existing.groups).cloned().collect();
        }
        if setting == Override::Replace {
            changes.leaves = existing.groups.difference(wanted).cloned().collect();
        }
    }
    // There is no setting for it, and a thing that is in one would have to leave it.
    if existing.billing_group.is_none() {
        changes.billing_group.clone_from(&plan.billing_group);
    }
    Ok(changes)
}

/// The status of a certificate that is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisteredStatus {
    /// `PENDING_ACTIVATION`: it waits to be provisioned.
    PendingActivation,
    /// `ACTIVE` or `INACTIVE`.
    Settled(AttachedStatus),
    /// `REVOKED`, or on its way to another account, which is for the registry to refuse.
    Other,
}

/// The status that a registered certificate is to get; `None` if it keeps the one that it has.
///
/// One that waits gets the template's whatever the setting: the guide's example for just-in-time provisioning says
/// `DO_NOTHING`, and "update the certificate status to ACTIVE" is the last thing that is done. One that was revoked is
/// brought back by an explicit `REPLACE` only.
///
/// # Errors
/// [`ResourceConflict`].
pub fn certificate_status(
    plan: &CertificatePlan,
    existing: RegisteredStatus,
) -> Result<Option<AttachedStatus>, ResourceConflict> {
    match (existing, plan.status_override) {
        (RegisteredStatus::PendingActivation, _) => Ok(Some(plan.status)),
        (RegisteredStatus::Settled(status), _) if status == plan.status => Ok(None),
        (_, Some(Override::Fail)) => {
            Err(ResourceConflict { logical_name: plan.logical_name.clone(), property: "Status" })
        }
        (_, Some(Override::Replace)) | (RegisteredStatus::Settled(_), None) => Ok(Some(plan.status)),
        (_, Some(Override::DoNothing | Override::Merge)) | (RegisteredStatus::Other, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{CertificateSource, ThingOverrides};

    const SETTINGS: [Option<Override>; 5] =
        [None, Some(Override::DoNothing), Some(Override::Replace), Some(Override::Fail), Some(Override::Merge)];

    fn map(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn set(text: &str) -> BTreeSet<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn plan(setting: Option<Override>) -> ThingPlan {
        let overrides = ThingOverrides { attributes: setting, thing_type: setting, groups: setting };
        ThingPlan { logical_name: "thing".to_owned(), overrides, ..ThingPlan::default() }
    }

    fn conflict(property: &'static str) -> ResourceConflict {
        ResourceConflict { logical_name: "thing".to_owned(), property }
    }

    #[test]
    fn attributes_become_what_the_setting_says() {
        use Override::{DoNothing, Fail, Merge, Replace};
        for (existing, wanted, setting, expected) in [
            ("a=1", "a=2 b=3", None, Ok(None)),
            ("a=1", "a=2 b=3", Some(DoNothing), Ok(None)),
            ("a=1 c=4", "a=2 b=3", Some(Replace), Ok(Some("a=2 b=3"))),
            ("a=1 c=4", "a=2 b=3", Some(Merge), Ok(Some("a=2 b=3 c=4"))),
            ("a=1 c=4", "a=1", Some(Merge), Ok(None)),
            ("a=1", "", Some(Replace), Ok(Some(""))),
            ("", "a=1", Some(Fail), Err("AttributePayload")),
            ("a=1", "a=2", Some(Fail), Err("AttributePayload")),
            ("a=1", "a=1", Some(Fail), Ok(None)),
            ("a=1", "a=1", Some(Replace), Ok(None)),
        ] {
            let plan = ThingPlan { attributes: Some(map(wanted)), ..plan(setting) };
            let existing_thing = ExistingThing { attributes: map(existing), ..ExistingThing::default() };
            let changes = thing_changes(&plan, &existing_thing).map(|changes| changes.attributes);
            assert_eq!(changes, expected.map(|all| all.map(map)).map_err(conflict), "{existing} {wanted} {setting:?}");
        }
    }

    #[test]
    fn a_thing_type_becomes_what_the_setting_says() {
        for (existing, setting, expected) in [
            (None, None, Ok(None)),
            (Some("old"), Some(Override::DoNothing), Ok(None)),
            (None, Some(Override::Replace), Ok(Some("new"))),
            (Some("old"), Some(Override::Replace), Ok(Some("new"))),
            (Some("new"), Some(Override::Replace), Ok(None)),
            (Some("old"), Some(Override::Fail), Err("ThingTypeName")),
            (None, Some(Override::Fail), Err("ThingTypeName")),
            (Some("new"), Some(Override::Fail), Ok(None)),
        ] {
            let plan = ThingPlan { thing_type: Some("new".to_owned()), ..plan(setting) };
            let existing_thing = ExistingThing { thing_type: existing.map(str::to_owned), ..ExistingThing::default() };
            let changes = thing_changes(&plan, &existing_thing).map(|changes| changes.thing_type);
            assert_eq!(changes, expected.map(|to| to.map(str::to_owned)).map_err(conflict), "{existing:?} {setting:?}");
        }
    }

    #[test]
    fn groups_are_joined_and_left_as_the_setting_says() {
        use Override::{DoNothing, Fail, Merge, Replace};
        for (existing, wanted, setting, expected) in [
            ("a b", "b c", None, Ok(("", ""))),
            ("a b", "b c", Some(DoNothing), Ok(("", ""))),
            ("a b", "b c", Some(Replace), Ok(("c", "a"))),
            ("a b", "b c", Some(Merge), Ok(("c", ""))),
            ("a b", "", Some(Replace), Ok(("", "a b"))),
            ("a b", "b c", Some(Fail), Err("ThingGroups")),
            ("a b", "a b", Some(Fail), Ok(("", ""))),
        ] {
            let plan = ThingPlan { groups: Some(set(wanted)), ..plan(setting) };
            let existing_thing = ExistingThing { groups: set(existing), ..ExistingThing::default() };
            let changes = thing_changes(&plan, &existing_thing).map(|changes| (changes.joins, changes.leaves));
            let expected = expected.map(|(joins, leaves)| (set(joins), set(leaves))).map_err(conflict);
            assert_eq!(changes, expected, "{existing} {wanted} {setting:?}");
        }
    }

    #[test]
    fn a_billing_group_is_joined_and_never_left() {
        for (existing, expected) in [(None, Some("new".to_owned())), (Some("old".to_owned()), None)] {
            let plan = ThingPlan { billing_group: Some("new".to_owned()), ..plan(None) };
            let existing = ExistingThing { billing_group: existing, ..ExistingThing::default() };
            assert_eq!(thing_changes(&plan, &existing).unwrap().billing_group, expected);
        }
    }

    #[test]
    fn what_a_template_leaves_out_stays_whatever_the_settings() {
        let existing = ExistingThing {
            attributes: map("a=1"),
            thing_type: Some("type".to_owned()),
            groups: set("g"),
            billing_group: Some("billing".to_owned()),
        };
        for setting in SETTINGS {
            assert!(thing_changes(&plan(setting), &existing).unwrap().is_empty(), "{setting:?}");
        }
    }

    #[test]
    fn changes_made_once_are_not_asked_for_again() {
        for setting in SETTINGS {
            let plan = ThingPlan {
                attributes: Some(map("a=1 b=2")),
                thing_type: Some("type".to_owned()),
                groups: Some(set("g h")),
                ..plan(setting)
            };
            let mut thing =
                ExistingThing { attributes: map("a=0 c=3"), thing_type: None, groups: set("g i"), billing_group: None };
            let Ok(changes) = thing_changes(&plan, &thing) else { continue };
            thing.attributes = changes.attributes.unwrap_or(thing.attributes);
            thing.thing_type = changes.thing_type.or(thing.thing_type);
            thing.groups.extend(changes.joins);
            thing.groups.retain(|group| !changes.leaves.contains(group));
            assert!(thing_changes(&plan, &thing).unwrap().is_empty(), "{setting:?}");
        }
    }

    #[test]
    fn a_status_becomes_what_the_setting_says() {
        use AttachedStatus::{Active, Inactive};
        use Override::{DoNothing, Fail, Replace};
        use RegisteredStatus::{Other, PendingActivation, Settled};
        for (existing, wanted, setting, expected) in [
            (PendingActivation, Active, None, Ok(Some(Active))),
            (PendingActivation, Inactive, Some(DoNothing), Ok(Some(Inactive))),
            (PendingActivation, Active, Some(Fail), Ok(Some(Active))),
            (Settled(Inactive), Active, None, Ok(Some(Active))),
            (Settled(Inactive), Active, Some(DoNothing), Ok(None)),
            (Settled(Inactive), Active, Some(Replace), Ok(Some(Active))),
            (Settled(Active), Inactive, Some(Fail), Err("Status")),
            (Settled(Active), Active, Some(Fail), Ok(None)),
            (Settled(Active), Active, None, Ok(None)),
            (Other, Active, None, Ok(None)),
            (Other, Active, Some(DoNothing), Ok(None)),
            (Other, Active, Some(Replace), Ok(Some(Active))),
            (Other, Active, Some(Fail), Err("Status")),
        ] {
            let plan = CertificatePlan {
                logical_name: "thing".to_owned(),
                source: CertificateSource::SigningRequest(String::new()),
                status: wanted,
                status_override: setting,
                is_exclusive: false,
            };
            let outcome = certificate_status(&plan, existing);
            assert_eq!(outcome, expected.map_err(conflict), "{existing:?} {wanted:?} {setting:?}");
        }
    }
}
