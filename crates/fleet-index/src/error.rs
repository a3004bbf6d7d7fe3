//! What can be wrong with a query, an aggregation or a configuration. The caller gives each AWS's exception.

/// Why a query cannot be carried out: the caller answers `InvalidQueryException` with this text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at position {position}")]
pub struct QueryError {
    /// What is wrong.
    pub problem: Problem,
    /// Where, in characters from 0.
    pub position: usize,
}

/// What is wrong with a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Nothing but white space.
    #[error("The query is empty")]
    Empty,
    /// Longer than [`Limits::query_length`](crate::Limits::query_length).
    #[error("The query has more than {0} characters")]
    TooLong(usize),
    /// More terms than [`Limits::query_terms`](crate::Limits::query_terms).
    #[error("The query has more than {0} terms")]
    TooManyTerms(usize),
    /// Deeper than [`Limits::query_nesting`](crate::Limits::query_nesting).
    #[error("The query is nested deeper than {0} levels")]
    TooDeep(usize),
    /// More than [`Limits::leading_wildcards`](crate::Limits::leading_wildcards).
    #[error("More than {0} terms begin with a wildcard")]
    TooManyLeadingWildcards(usize),
    /// Longer than [`Limits::leading_wildcard_query_length`](crate::Limits::leading_wildcard_query_length).
    #[error("A query with a term that begins with a wildcard has more than {0} characters")]
    LeadingWildcardTooLong(usize),
    /// A wildcard that SQLite cannot be asked for: D1 limits a pattern to 50 bytes.
    #[error("The part of a term after its first wildcard is longer than {0} bytes")]
    PatternTooLong(usize),
    /// AND or OR with nothing before or after it, or a parenthesis, bracket or negation that is followed by nothing.
    #[error("A term is expected")]
    TermExpected,
    /// A field with nothing after it.
    #[error("A value is expected after field \"{0}\"")]
    ValueExpected(String),
    /// An opening parenthesis, quote, bracket or brace that is not closed.
    #[error("\"{0}\" is not closed")]
    NotClosed(char),
    /// Something that has no place here.
    #[error("\"{0}\" is unexpected")]
    Unexpected(char),
    /// A range without its two values or the word TO.
    #[error("A range is written [low TO high]")]
    Range,
    /// A backslash as the last character.
    #[error("A backslash is followed by nothing")]
    Escape,
    /// A wildcard in a range, a comparison or the name of a field.
    #[error("A wildcard is not allowed here")]
    Wildcard,
    /// A comparison without a field.
    #[error("A comparison needs a field")]
    FieldExpected,
    /// Something that AWS's grammar has and this index has not, or that it excludes by name.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
}

/// Why a configuration cannot be stored: the caller answers `InvalidRequestException` with this text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// Not JSON of the shape that the service model has.
    #[error("The indexing configuration is not valid: {0}")]
    Malformed(String),
    /// Something is indexed besides the registry, and that is not.
    #[error("{0} needs a thingIndexingMode that is not OFF")]
    NeedsIndexing(&'static str),
    /// Named shadows without names, or names without the mode.
    #[error("namedShadowIndexingMode ON and the filter's namedShadowNames need each other")]
    NamedShadows,
    /// More entries in a list than are allowed.
    #[error("{list} has more than {limit} entries")]
    TooMany {
        /// The member.
        list: &'static str,
        /// How many may be.
        limit: usize,
    },
    /// A custom field that is a managed field, too, or is there twice.
    #[error("Custom field \"{0}\" is a managed field, or is named twice")]
    DuplicateField(String),
    /// A custom field of a part of the document that is not indexed.
    #[error("Custom field \"{0}\" is not indexed in this mode")]
    FieldNotIndexed(String),
    /// The name of a named shadow breaks AWS's pattern.
    #[error("\"{0}\" is not the name of a shadow")]
    ShadowName(String),
}

/// Why an aggregation cannot be carried out: the caller answers `InvalidAggregationException` or
/// `InvalidRequestException` with this text.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AggregationError {
    /// Neither a managed nor a custom field.
    #[error("Field \"{0}\" is neither a managed field nor a custom field of the index")]
    UnknownField(String),
    /// Percentiles of something that is not a number.
    #[error("Field \"{0}\" is not of type Number")]
    NotANumber(String),
    /// Not between 0 and 100.
    #[error("{0} is not a percentage")]
    Percent(f64),
    /// Not between 1 and 10 000.
    #[error("maxBuckets {0} is not between 1 and 10000")]
    Buckets(u32),
}
