//! SearchIndex and the aggregations: requests, and answers from what partitions say.

use super::IndexingConfiguration;
use crate::error::ApiError;
use crate::page::{self, List};
use fleet_index::aggregate::{Aggregation, Bucket, DEFAULT_BUCKETS, DEFAULT_PERCENTS, Statistics};
use fleet_index::{AggregationError, Index, Limits, Query, ThingDocument, ThingGroupDocument};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use service_model::Input;

/// A document that was found, as D1 gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct DocumentRow {
    pub name: String,
    pub document: String,
}

/// A valid SearchIndex.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchRequest {
    /// In which index.
    pub index: Index,
    /// What is looked for.
    pub query: Query,
    /// The page begins behind this name.
    pub after: String,
    size: u32,
}

impl SearchRequest {
    /// # Errors
    /// `ResourceNotFoundException`, `IndexNotReadyException`, `InvalidQueryException`; `InvalidRequestException` for a
    /// token that is not ours.
    pub fn of(configuration: &IndexingConfiguration, input: &Input, limits: &Limits) -> Result<Self, ApiError> {
        let index = configuration.ready(input)?;
        let query = query(input, limits)?;
        let token = input.get("nextToken").and_then(Value::as_str).filter(|token| !token.is_empty());
        let after = token.map(|token| page::decode_token(List::Search, token)).transpose()?.unwrap_or_default();
        let size = input.get("maxResults").and_then(Value::as_u64);
        let size = size.map_or(limits.default_page_size, |size| u32::try_from(size).unwrap_or(u32::MAX));
        Ok(Self { index, query, after, size: size.clamp(1, limits.max_page_size) })
    }

    /// How many documents to ask each partition for: one more than the page, to see whether there is another.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.size.saturating_add(1)
    }

    /// SearchIndexResponse, from what all partitions found.
    #[must_use]
    pub fn response(&self, mut rows: Vec<DocumentRow>) -> Vec<u8> {
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        let next = page::cut(&mut rows, self.size, List::Search, |row| row.name.clone());
        let (member, found): (_, Vec<Value>) = match self.index {
            Index::Things => ("things", rows.iter().map(thing).collect()),
            Index::ThingGroups => ("thingGroups", rows.iter().map(thing_group).collect()),
        };
        let mut body = Map::new();
        body.insert(member.to_owned(), found.into());
        body.extend(next.map(|token| ("nextToken".to_owned(), token.into())));
        Value::Object(body).to_string().into_bytes()
    }
}

// A document that is nested too deeply to be read has its name, at least.

fn thing(row: &DocumentRow) -> Value {
    let document = ThingDocument::from_json(&row.document);
    document.map_or_else(|| json!({"thingName": row.name}), |document| document.answer())
}

fn thing_group(row: &DocumentRow) -> Value {
    let document = ThingGroupDocument::from_json(&row.document);
    document.map_or_else(|| json!({"thingGroupName": row.name}), |document| document.answer())
}

fn query(input: &Input, limits: &Limits) -> Result<Query, ApiError> {
    let invalid = |message: String| ApiError::new("InvalidQueryException", 400, message);
    let text = |name| input.get(name).and_then(Value::as_str);
    if let Some(version) = text("queryVersion").filter(|version| *version != Query::VERSION) {
        return Err(invalid(format!("Query version {version} is not supported; the only one is {}", Query::VERSION)));
    }
    Query::parse(text("queryString").unwrap_or_default(), limits).map_err(|error| invalid(error.to_string()))
}

/// A valid GetStatistics, GetCardinality, GetPercentiles or GetBucketsAggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregationRequest {
    /// In which index.
    pub index: Index,
    /// Of which documents.
    pub query: Query,
    /// What of them.
    pub aggregation: Aggregation,
    /// Of GetPercentiles.
    pub percents: Vec<f64>,
    /// Of GetBucketsAggregation.
    pub max_buckets: u32,
}

impl AggregationRequest {
    /// # Errors
    /// `ResourceNotFoundException`, `IndexNotReadyException`, `InvalidQueryException`, `InvalidAggregationException`;
    /// `InvalidRequestException` for buckets of nothing.
    pub fn of(configuration: &IndexingConfiguration, input: &Input, limits: &Limits) -> Result<Self, ApiError> {
        let index = configuration.ready(input)?;
        let query = query(input, limits)?;
        let field = input.get("aggregationField").and_then(Value::as_str);
        let aggregation = Aggregation::new(field, |name| configuration.field_type(index, name));
        let percents = input.get("percents").and_then(Value::as_array);
        let percents = percents.map(|all| all.iter().filter_map(Value::as_f64).collect::<Vec<_>>());
        let max_buckets = match input.get("bucketsAggregationType") {
            None => DEFAULT_BUCKETS,
            Some(kind) => {
                let terms = kind.get("termsAggregation").and_then(Value::as_object);
                let terms = terms.ok_or_else(|| ApiError::invalid_request("termsAggregation is missing"))?;
                terms.get("maxBuckets").and_then(Value::as_u64).map_or(DEFAULT_BUCKETS, |most| {
                    // Too many are refused by the crate that makes the statement.
                    u32::try_from(most).unwrap_or(u32::MAX)
                })
            }
        };
        Ok(Self {
            index,
            query,
            aggregation: aggregation?,
            percents: percents.filter(|all| !all.is_empty()).unwrap_or_else(|| DEFAULT_PERCENTS.to_vec()),
            max_buckets,
        })
    }
}

impl From<AggregationError> for ApiError {
    fn from(error: AggregationError) -> Self {
        match error {
            AggregationError::Percent(_) | AggregationError::Buckets(_) => Self::invalid_request(error.to_string()),
            _ => Self::new("InvalidAggregationException", 400, error.to_string()),
        }
    }
}

/// GetStatisticsResponse.
#[must_use]
pub fn statistics_response(statistics: &Statistics) -> Vec<u8> {
    json!({ "statistics": statistics }).to_string().into_bytes()
}

/// GetCardinalityResponse.
#[must_use]
pub fn cardinality_response(cardinality: u64) -> Vec<u8> {
    json!({ "cardinality": cardinality }).to_string().into_bytes()
}

/// GetPercentilesResponse.
#[must_use]
pub fn percentiles_response(percentiles: &[(f64, f64)]) -> Vec<u8> {
    let all = percentiles.iter().map(|(percent, value)| json!({"percent": percent, "value": value}));
    json!({ "percentiles": all.collect::<Vec<_>>() }).to_string().into_bytes()
}

/// GetBucketsAggregationResponse. `total`: how many documents the query finds.
#[must_use]
pub fn buckets_response(total: u64, buckets: &[Bucket]) -> Vec<u8> {
    json!({ "totalCount": total, "buckets": buckets }).to_string().into_bytes()
}
