//! Limits, in two columns: ours, and AWS's for `COMPAT = "aws"`.

/// What a query and a document may be.
///
/// AWS's column is from "AWS IoT Device Management endpoints and quotas" and from the developer guide's "Query syntax".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Characters of a query.
    pub query_length: usize,
    /// Terms of a query: words, phrases, patterns, comparisons and ranges. D1 takes 100 parameters, and a term may need
    /// five of them.
    pub query_terms: usize,
    /// Terms of a query that makes a dynamic thing group.
    pub dynamic_group_terms: usize,
    /// Parentheses and negations inside one another. Each costs SQLite one level of its expression, of which D1 allows
    /// 100, and the parser one of its stack.
    pub query_nesting: usize,
    /// Terms that begin with a wildcard: each reads all values of its field.
    pub leading_wildcards: usize,
    /// Characters of a query with such a term.
    pub leading_wildcard_query_length: usize,
    /// Bounds of an indexed document.
    pub document: DocumentLimits,
    /// Custom fields in an indexing configuration.
    pub custom_fields: usize,
    /// Named shadows in an indexing configuration.
    pub named_shadows: usize,
    /// Geolocation targets in an indexing configuration.
    pub geo_locations: usize,
    /// Results on a page when `maxResults` is absent.
    pub default_page_size: u32,
    /// The most that `maxResults` may ask for.
    pub max_page_size: u32,
}

/// What of a document is searchable. The document itself is stored whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentLimits {
    /// Rows that a document may have in the index. Each is billed when it is written.
    pub terms: usize,
    /// Bytes of a value, the rest of which is not searchable.
    pub text_length: usize,
    /// Bytes of a field's name; a longer field is not searchable.
    pub field_length: usize,
    /// Objects and arrays inside one another; what is deeper is not searchable.
    pub nesting: usize,
    /// Whether `shadow.metadata` is searchable. Every update of a shadow changes its timestamps, and each of them would
    /// be a row.
    pub metadata: bool,
}

impl Limits {
    /// The default: what the platform can bear.
    pub const STANDARD: Self = Self {
        query_length: 2_000,
        query_terms: 16,
        dynamic_group_terms: 16,
        query_nesting: 16,
        leading_wildcards: 16,
        leading_wildcard_query_length: 2_000,
        document: DocumentLimits::STANDARD,
        custom_fields: 50,
        named_shadows: 50,
        geo_locations: 5,
        default_page_size: 100,
        max_page_size: 500,
    };

    /// AWS's own limits, for `COMPAT = "aws"`.
    pub const AWS: Self = Self {
        query_length: 1_000,
        query_terms: 12,
        dynamic_group_terms: 5,
        leading_wildcards: 1,
        leading_wildcard_query_length: 100,
        custom_fields: 5,
        named_shadows: 10,
        geo_locations: 1,
        ..Self::STANDARD
    };
}

impl DocumentLimits {
    /// The default: what the platform can bear. AWS publishes no such figures.
    pub const STANDARD: Self =
        Self { terms: 1_000, text_length: 1_024, field_length: 512, nesting: 32, metadata: false };
}
