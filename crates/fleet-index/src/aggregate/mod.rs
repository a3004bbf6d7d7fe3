//! Aggregations: a statement for each partition, and a function that makes one answer of theirs.
//!
//! | | over several partitions |
//! |---|---|
//! | statistics | exact, but for rounding |
//! | cardinality | exact up to [`CARDINALITY_VALUES`] different values in each partition, above that estimated |
//! | percentiles | exact (interpolated between neighbours) up to [`PERCENTILE_BUCKETS`] values in each partition, above that the rank is off by at most a thousandth of each partition's values |
//! | buckets | exact up to [`PARTITION_BUCKETS`] different values in each partition; above that a value that is rare in one partition may be counted too low |
//!
//! On one partition all but percentiles are exact. Of a thing that has several values at a field (an array) each counts.
//! Texts are in lower case, as they are stored in the rows.

mod merge;

pub use merge::{
    Bucket, CardinalityRow, PercentileRow, Statistics, StatisticsRow, TermRow, merge_buckets, merge_cardinality,
    merge_percentiles, merge_statistics,
};

use crate::compile::{Estimates, select};
use crate::configuration::FieldType;
use crate::document::REGISTRY_VERSION;
use crate::error::AggregationError;
use crate::query::{Expression, Query, search_field};
use crate::schema::Index;
use crate::statement::{Parameter, Parameters, Statement};
use crate::terms::is_nameable;

/// The percentiles that are answered when none are asked for.
pub const DEFAULT_PERCENTS: [f64; 7] = [1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0];

/// How many buckets are answered when `maxBuckets` is absent.
pub const DEFAULT_BUCKETS: u32 = 10;

/// How many different values a partition tells for a cardinality.
pub const CARDINALITY_VALUES: u32 = 10_000;

/// In how many parts of equal size a partition tells its values for percentiles.
pub const PERCENTILE_BUCKETS: u32 = 1_000;

/// How many buckets a partition tells when it is not the only one. AWS's greatest `maxBuckets`.
pub const PARTITION_BUCKETS: u32 = 10_000;

/// What is aggregated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregation {
    field: String,
    field_type: FieldType,
}

impl Aggregation {
    /// `aggregationField`, or `registry.version`. `field_type` is that of the configuration:
    /// [`field_type`](crate::configuration::ThingIndexingConfiguration::field_type).
    ///
    /// # Errors
    /// [`AggregationError::UnknownField`]
    pub fn new(
        field: Option<&str>,
        field_type: impl FnOnce(&str) -> Option<FieldType>,
    ) -> Result<Self, AggregationError> {
        let field = field.unwrap_or(REGISTRY_VERSION);
        match field_type(field) {
            Some(field_type) if is_nameable(field) => Ok(Self { field: search_field(field).to_owned(), field_type }),
            _ => Err(AggregationError::UnknownField(field.to_owned())),
        }
    }

    /// As what the field is aggregated.
    #[must_use]
    pub fn field_type(&self) -> FieldType {
        self.field_type
    }
}

/// GetStatistics: one [`StatisticsRow`] for [`merge_statistics`].
#[must_use]
pub fn statistics(index: Index, query: &Query, estimates: &Estimates, aggregation: &Aggregation) -> Statement {
    let mut parameters = Parameters::default();
    let values = values(index, query, estimates, aggregation, &mut parameters);
    let sql = if aggregation.field_type == FieldType::String {
        format!("SELECT count(DISTINCT name) AS count FROM ({values})")
    } else {
        // Squares of differences from the mean: the difference of large squares would be mostly rounding.
        format!(
            "WITH x (name, x) AS MATERIALIZED ({values}), m (mean) AS MATERIALIZED (SELECT avg(x) FROM x) \
             SELECT count(*) AS count, total(x) AS sum, min(x) AS minimum, max(x) AS maximum, \
             total(x * x) AS sum_of_squares, total((x - mean) * (x - mean)) AS squared_deviations FROM x CROSS JOIN m"
        )
    };
    parameters.statement(sql)
}

/// GetCardinality: [`CardinalityRow`]s for [`merge_cardinality`].
#[must_use]
pub fn cardinality(index: Index, query: &Query, estimates: &Estimates, aggregation: &Aggregation) -> Statement {
    let mut parameters = Parameters::default();
    let values = values(index, query, estimates, aggregation, &mut parameters);
    let limit = parameters.bind(Parameter::Integer(CARDINALITY_VALUES.into()));
    let sql = format!(
        "SELECT x AS value, count(*) OVER () AS total FROM (SELECT DISTINCT x FROM ({values})) ORDER BY x LIMIT {limit}"
    );
    parameters.statement(sql)
}

/// GetPercentiles: [`PercentileRow`]s for [`merge_percentiles`].
///
/// # Errors
/// [`AggregationError::NotANumber`]
pub fn percentiles(
    index: Index,
    query: &Query,
    estimates: &Estimates,
    aggregation: &Aggregation,
) -> Result<Statement, AggregationError> {
    if aggregation.field_type != FieldType::Number {
        return Err(AggregationError::NotANumber(aggregation.field.clone()));
    }
    let mut parameters = Parameters::default();
    let values = values(index, query, estimates, aggregation, &mut parameters);
    let buckets = parameters.bind(Parameter::Integer(PERCENTILE_BUCKETS.into()));
    let sql = format!(
        "SELECT min(x) AS low, max(x) AS high, count(*) AS count FROM (SELECT x, row_number() OVER (ORDER BY x) - 1 AS r, \
         count(*) OVER () AS n FROM ({values})) GROUP BY CAST(r * {buckets} / max(n, {buckets}) AS INTEGER)"
    );
    Ok(parameters.statement(sql))
}

/// GetBucketsAggregation: [`TermRow`]s for [`merge_buckets`]. `totalCount` is the sum of [`count`](crate::count).
///
/// # Errors
/// [`AggregationError::Buckets`]
pub fn buckets(
    index: Index,
    query: &Query,
    estimates: &Estimates,
    aggregation: &Aggregation,
    max_buckets: u32,
    is_only_partition: bool,
) -> Result<Statement, AggregationError> {
    if !(1..=PARTITION_BUCKETS).contains(&max_buckets) {
        return Err(AggregationError::Buckets(max_buckets));
    }
    let mut parameters = Parameters::default();
    let values = values(index, query, estimates, aggregation, &mut parameters);
    let limit = if is_only_partition { max_buckets } else { PARTITION_BUCKETS };
    let limit = parameters.bind(Parameter::Integer(limit.into()));
    let sql = format!(
        "SELECT x AS value, count(*) AS count FROM ({values}) GROUP BY x ORDER BY count(*) DESC, x LIMIT {limit}"
    );
    Ok(parameters.statement(sql))
}

/// `name` and `x` of every value. Of all documents they are read from the rows, of some from those documents.
fn values(
    index: Index,
    query: &Query,
    estimates: &Estimates,
    aggregation: &Aggregation,
    parameters: &mut Parameters,
) -> String {
    let field = &aggregation.field;
    // A version has no rows, except the registry's.
    let has_rows = !field.ends_with(".version") || field == REGISTRY_VERSION;
    if query.root == Expression::All && has_rows {
        let (x, condition) = match aggregation.field_type {
            FieldType::Number => ("t.value", "t.value < ''"),
            FieldType::String => ("t.value", "t.value >= '' AND t.kind = 0"),
            FieldType::Boolean => ("t.value = 'true'", "t.value IN ('true', 'false') AND t.kind = 0"),
        };
        let field = parameters.bind(field.as_str());
        return format!(
            "SELECT t.name AS name, {x} AS x FROM {} t WHERE t.field = {field} AND {condition}",
            index.terms()
        );
    }
    let selection = select(index, query, estimates, None, parameters);
    let path = parameters.bind(format!("\"{field}\""));
    let (x, sections, condition) = match aggregation.field_type {
        FieldType::Number => ("v.value", r#"["v","n","a"]"#, "v.value < ''"),
        FieldType::String => ("v.value", r#"["v"]"#, "v.value >= ''"),
        FieldType::Boolean => ("v.value = 'true'", r#"["v"]"#, "v.value IN ('true', 'false')"),
    };
    let (from, condition) = (selection.from(), selection.condition(Some(condition.to_owned())));
    format!(
        "SELECT d.name AS name, {x} AS x FROM {from} CROSS JOIN json_each('{sections}') s \
         CROSS JOIN json_each(d.terms, '$.' || s.value || '.' || {path}) v{condition}"
    )
}
