//! Events about the registry, on topics that clients can subscribe to (AWS IoT developer guide, "Registry events").

use crate::resource::Resource;
use crate::thing::ThingRecord;
use crate::thing_group::{GroupPath, ThingGroup};
use crate::thing_type::ThingType;
use iot_types::{Scope, ThingName, UnixMillis};
use serde_json::{Value, json};

/// What happened to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Change {
    Created,
    Updated,
    Deleted,
}

/// What happened to an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Association {
    Added,
    Removed,
}

impl Change {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Updated => "UPDATED",
            Self::Deleted => "DELETED",
        }
    }
}

impl Association {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Removed => "REMOVED",
        }
    }
}

/// Whose document in a fleet index an event may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// This thing's.
    Thing(String),
    /// This thing group's.
    ThingGroup {
        /// The group.
        name: String,
        /// Whether it is no more: then those of its things, too.
        is_deleted: bool,
    },
    /// Nobody's.
    Nothing,
}

/// An event, told if its type is switched on.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryEvent {
    /// The key in the event configurations.
    pub event_type: &'static str,
    /// Where it is told.
    pub topic: String,
    /// Whom fleet indexing has to look at again.
    pub about: About,
    /// What is told, without `eventId`, `timestamp` and `accountId`, which every event has.
    body: Value,
}

impl RegistryEvent {
    /// For tests of what follows from an event.
    #[cfg(test)]
    pub(crate) const fn of(about: About) -> Self {
        Self { event_type: "", topic: String::new(), about, body: Value::Null }
    }

    /// The payload. `event_id` is a fresh UUID.
    #[must_use]
    pub fn payload(&self, scope: &Scope, event_id: &str, now: UnixMillis) -> Vec<u8> {
        let mut body = self.body.clone();
        if let Some(body) = body.as_object_mut() {
            body.insert("eventId".to_owned(), event_id.into());
            body.insert("timestamp".to_owned(), now.0.into());
            body.insert("accountId".to_owned(), scope.account_id.as_str().into());
        }
        body.to_string().into_bytes()
    }

    /// A thing was created, changed or deleted.
    #[must_use]
    pub fn thing(change: Change, thing: &ThingRecord) -> Self {
        let operation = change.as_str();
        Self {
            event_type: "THING",
            topic: format!("$aws/events/thing/{}/{}", thing.thing_name, operation.to_ascii_lowercase()),
            about: About::Thing(thing.thing_name.as_str().to_owned()),
            body: json!({
                "eventType": "THING_EVENT",
                "operation": operation,
                "thingId": thing.thing_id,
                "thingName": thing.thing_name.as_str(),
                "versionNumber": thing.version,
                "thingTypeName": thing.thing_type_name,
                "billingGroupName": thing.billing_group_name,
                "attributes": thing.attributes,
            }),
        }
    }

    /// A thing type was created, changed, deprecated or deleted.
    #[must_use]
    pub fn thing_type(change: Change, thing_type: &Resource<ThingType>) -> Self {
        let (operation, document) = (change.as_str(), &thing_type.document);
        let configuration = document.properties.mqtt5_configuration.clone().unwrap_or_default();
        Self {
            event_type: "THING_TYPE",
            topic: format!("$aws/events/thingType/{}/{}", thing_type.name, operation.to_ascii_lowercase()),
            about: About::Nothing,
            body: json!({
                "eventType": "THING_TYPE_EVENT",
                "operation": operation,
                "thingTypeId": document.thing_type_id,
                "thingTypeName": thing_type.name,
                "isDeprecated": document.deprecated_at.is_some(),
                "deprecationDate": document.deprecated_at.map(|at| at.0),
                "searchableAttributes": document.properties.searchable_attributes.clone().unwrap_or_default(),
                "propagatingAttributes": configuration.propagating_attributes,
                "description": document.properties.thing_type_description,
            }),
        }
    }

    /// A thing got or lost its type.
    #[must_use]
    pub fn thing_type_association(association: Association, thing: &ThingRecord, thing_type_name: &str) -> Self {
        let (operation, name) = (association.as_str(), &thing.thing_name);
        Self {
            event_type: "THING_TYPE_ASSOCIATION",
            topic: format!(
                "$aws/events/thingTypeAssociation/thing/{name}/thingType/{thing_type_name}/{}",
                operation.to_ascii_lowercase()
            ),
            about: About::Thing(name.as_str().to_owned()),
            body: json!({
                "eventType": "THING_TYPE_ASSOCIATION_EVENT",
                "operation": operation,
                "thingId": thing.thing_id,
                "thingName": name.as_str(),
                "thingTypeName": thing_type_name,
            }),
        }
    }

    /// A group was created, changed or deleted. `above`: those above it that are known, for their identifiers.
    #[must_use]
    pub fn thing_group(scope: &Scope, change: Change, group: &ThingGroup, above: &[ThingGroup]) -> Self {
        let operation = change.as_str();
        let ancestors = group.path.ancestors();
        let id_of = |name: &str| above.iter().find(|one| one.thing_group_name == name).map(|one| &one.thing_group_id);
        let root_to_parent: Vec<Value> = ancestors
            .iter()
            .map(|name| json!({"groupArn": scope.thing_group_arn(name).as_str(), "groupId": id_of(name)}))
            .collect();
        let parent = ancestors.last().copied();
        Self {
            event_type: "THING_GROUP",
            topic: format!("$aws/events/thingGroup/{}/{}", group.thing_group_name, operation.to_ascii_lowercase()),
            about: About::ThingGroup { name: group.thing_group_name.clone(), is_deleted: change == Change::Deleted },
            body: json!({
                "eventType": "THING_GROUP_EVENT",
                "operation": operation,
                "thingGroupId": group.thing_group_id,
                "thingGroupName": group.thing_group_name,
                "versionNumber": group.version,
                "parentGroupName": parent,
                "parentGroupId": parent.and_then(id_of),
                "description": group.document.description,
                "rootToParentThingGroups": root_to_parent,
                "attributes": group.document.attributes,
                "dynamicGroupMappingId": group.document.query.as_ref().map(|_| &group.thing_group_id),
            }),
        }
    }

    /// A thing came into a group or left it.
    #[must_use]
    pub fn membership(
        scope: &Scope,
        association: Association,
        path: &GroupPath,
        group_id: &str,
        thing: &ThingName,
        thing_id: &str,
    ) -> Self {
        let (operation, group) = (association.as_str(), path.name());
        Self {
            event_type: "THING_GROUP_MEMBERSHIP",
            topic: format!(
                "$aws/events/thingGroupMembership/thingGroup/{group}/thing/{thing}/{}",
                operation.to_ascii_lowercase()
            ),
            about: About::Thing(thing.as_str().to_owned()),
            body: json!({
                "eventType": "THING_GROUP_MEMBERSHIP_EVENT",
                "operation": operation,
                "groupArn": scope.thing_group_arn(group).as_str(),
                "groupId": group_id,
                "thingArn": scope.thing_arn(thing).as_str(),
                "thingId": thing_id,
                // The same while the thing is in the group, and another when it comes again to another group of the name.
                "membershipId": format!("{group_id}/{thing_id}"),
            }),
        }
    }

    /// A group came below another, or is there no more.
    #[must_use]
    pub fn hierarchy(association: Association, parent: &ThingGroup, child: &ThingGroup) -> Self {
        let operation = association.as_str();
        Self {
            event_type: "THING_GROUP_HIERARCHY",
            topic: format!(
                "$aws/events/thingGroupHierarchy/thingGroup/{}/childThingGroup/{}/{}",
                parent.thing_group_name,
                child.thing_group_name,
                operation.to_ascii_lowercase()
            ),
            about: About::Nothing,
            body: json!({
                "eventType": "THING_GROUP_HIERARCHY_EVENT",
                "operation": operation,
                "thingGroupId": parent.thing_group_id,
                "thingGroupName": parent.thing_group_name,
                "childGroupId": child.thing_group_id,
                "childGroupName": child.thing_group_name,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::{AccountId, Region};
    use std::collections::BTreeMap;

    #[test]
    fn a_thing_event_reads_as_awss_page_has_it() {
        let scope =
            Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() };
        let thing = ThingRecord {
            thing_name: ThingName::new("MyThing").unwrap(),
            thing_id: "b604f69c-aa9a-4d4a-829e-c480e958a0b5".to_owned(),
            version: 1,
            attributes: BTreeMap::from([("attribute1".to_owned(), "value1".to_owned())]),
            thing_type_name: None,
            billing_group_name: None,
            created_at: UnixMillis(0),
        };
        let event = RegistryEvent::thing(Change::Created, &thing);
        assert_eq!((event.event_type, event.topic.as_str()), ("THING", "$aws/events/thing/MyThing/created"));
        let payload: Value =
            serde_json::from_slice(&event.payload(&scope, "id", UnixMillis(1_234_567_890_123))).unwrap();
        let expected = json!({
            "eventType": "THING_EVENT", "eventId": "id", "timestamp": 1_234_567_890_123_u64, "operation": "CREATED",
            "accountId": "123456789012", "thingId": "b604f69c-aa9a-4d4a-829e-c480e958a0b5", "thingName": "MyThing",
            "versionNumber": 1, "thingTypeName": null, "billingGroupName": null, "attributes": {"attribute1": "value1"},
        });
        assert_eq!(payload, expected);
    }
}
