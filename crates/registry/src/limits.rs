//! Limits, in two columns: ours, and AWS's for `COMPAT = "aws"`.

use crate::data::DataLimits;

/// What the registry allows.
///
/// AWS's column is from the service model and from "AWS IoT Core endpoints and quotas" in the AWS General Reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Attributes of a thing that has no thing type.
    pub attributes_without_thing_type: usize,
    /// Attributes of a thing that has one. 50 names of 128 and values of 800 characters are AWS's 47 KB in all.
    pub attributes_with_thing_type: usize,
    /// Characters in an attribute's name.
    pub attribute_name_length: usize,
    /// Characters in an attribute's value.
    pub attribute_value_length: usize,
    /// Things or jobs on a page when `maxResults` is absent.
    pub default_page_size: u32,
    /// The most that `maxResults` may ask for.
    pub max_page_size: u32,
    /// Topic rules on a page when `maxResults` is absent.
    pub default_rule_page_size: u32,
    /// The most topic rules that `maxResults` may ask for.
    pub max_rule_page_size: u32,
    /// Policies attached to one target.
    pub policies_of_target: u32,
    /// Custom authorizers. Each creation counts them, which reads as many rows.
    pub authorizers: u32,
    /// Those of them that are active.
    pub active_authorizers: u32,
    /// Tags of a resource.
    pub tags_of_resource: u32,
    /// How long a thing type must have been deprecated before it can be deleted, in milliseconds.
    pub thing_type_deletion_delay_millis: u64,
    /// Attributes of a thing type that its things can be searched by.
    pub searchable_attributes: usize,
    /// Levels of a hierarchy of thing groups.
    pub thing_group_depth: usize,
    /// Thing groups right below another.
    pub children_of_thing_group: u32,
    /// Attributes of a thing group.
    pub thing_group_attributes: usize,
    /// Thing groups that a thing is in itself.
    pub thing_groups_of_thing: u32,
    /// Whether a thing can be in several thing groups below one root.
    pub several_groups_of_hierarchy: bool,
    /// Whether ListThings takes `attributeName` and `thingTypeName` together.
    pub combined_thing_filters: bool,
    /// What the data plane allows.
    pub data: DataLimits,
}

impl Limits {
    /// The default: what the platform can bear.
    pub const STANDARD: Self = Self {
        attributes_without_thing_type: 50,
        attributes_with_thing_type: 50,
        attribute_name_length: 128,
        attribute_value_length: 800,
        default_page_size: 25,
        max_page_size: 250,
        default_rule_page_size: 100,
        max_rule_page_size: 10_000,
        policies_of_target: 10,
        authorizers: 1_000,
        active_authorizers: 1_000,
        tags_of_resource: 50,
        thing_type_deletion_delay_millis: 0,
        searchable_attributes: 3,
        thing_group_depth: 7,
        children_of_thing_group: 10_000,
        thing_group_attributes: 50,
        thing_groups_of_thing: 100,
        several_groups_of_hierarchy: true,
        combined_thing_filters: true,
        data: DataLimits::STANDARD,
    };

    /// AWS's own limits, for `COMPAT = "aws"`.
    pub const AWS: Self = Self {
        attributes_without_thing_type: 3,
        authorizers: 100,
        active_authorizers: 32,
        thing_type_deletion_delay_millis: 5 * 60 * 1_000,
        children_of_thing_group: 100,
        thing_groups_of_thing: 10,
        several_groups_of_hierarchy: false,
        combined_thing_filters: false,
        data: DataLimits::AWS,
        ..Self::STANDARD
    };
}
