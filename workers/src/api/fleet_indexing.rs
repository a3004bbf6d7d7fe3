//! Fleet indexing: GetIndexingConfiguration, UpdateIndexingConfiguration, DescribeIndex, ListIndices, SearchIndex. What
//! keeps the indexes up is in `consumers/fleet_index.rs`, aggregations are in `index_aggregations.rs`.

use super::error::Failure;
use super::{Call, resources};
use crate::http::random_uuid;
use durable_objects::indexing;
use fleet_index::{Estimates, Index, Query};
use registry::indexing::{DocumentRow, IndexingConfiguration, SearchRequest, WALK_DELAY_SECS, Walk, Work};
use registry::resource::{Resource, ResourceKind};
use registry::setting::Setting;
use registry::statements::Statement;
use registry::{ApiError, Partition};
use std::collections::BTreeMap;

const KIND: ResourceKind = ResourceKind::Setting;
const NAME: &str = Setting::IndexingConfiguration.as_str();

pub async fn get_configuration(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    Ok(configuration(call).await?.response())
}

pub async fn update_configuration(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let (limits, walk) = (call.deployment.config.index_limits(), random_uuid());
    let updated = |stored: &IndexingConfiguration| stored.updated(&call.input, &walk, &limits);
    // A configuration that is refused leaves nothing behind.
    updated(&configuration(call).await?)?;
    resources::create(call, KIND, &Resource::new(NAME, IndexingConfiguration::default(), call.now)).await?;
    let mut walks: Vec<Walk> = Vec::new();
    for attempt in 1..=resources::TRIES {
        let stored: Option<Resource<IndexingConfiguration>> = resources::read(call, KIND, NAME).await?;
        let stored = stored.ok_or_else(resources::busy)?;
        let (document, begun) = updated(&stored.document)?;
        let changed = stored.changed(document, call.now);
        let statement = registry::statements::update_resource(Partition::FIRST, KIND, &stored, &changed);
        if resources::is_changed(call, statement).await? {
            walks = begun;
            break;
        }
        if attempt == resources::TRIES {
            return Err(resources::busy().into());
        }
    }
    let work: Vec<Work> = walks.into_iter().map(Work::Walk).collect();
    if indexing::send(&call.deployment.env, &work, WALK_DELAY_SECS).await {
        return Ok(b"{}".to_vec());
    }
    // The same request once more begins the walk again.
    Err(Failure::Platform("the walk through the registry could not be begun".to_owned()))
}

pub async fn describe(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    Ok(configuration(call).await?.describe_response(call.route.parameter("indexName"))?)
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    Ok(configuration(call).await?.list_response(&call.input, &call.deployment.limits())?)
}

pub async fn search(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let configuration = configuration(call).await?;
    let request = SearchRequest::of(&configuration, &call.input, &call.deployment.config.index_limits())?;
    let mut found: Vec<DocumentRow> = Vec::new();
    for partition in partitions(call, request.index) {
        let estimates = estimates(call, partition, request.index, &request.query).await?;
        let statement = fleet_index::search(request.index, &request.query, &estimates, &request.after, request.limit());
        let statement = Statement::of_index(partition, statement);
        found.extend(call.deployment.registry().read::<DocumentRow>(statement).await?);
    }
    Ok(request.response(found))
}

/// What is configured; nothing is, until somebody says so.
pub async fn configuration(call: &Call<'_>) -> Result<IndexingConfiguration, Failure> {
    let stored: Option<Resource<IndexingConfiguration>> = resources::read(call, KIND, NAME).await?;
    Ok(stored.map(|stored| stored.document).unwrap_or_default())
}

/// Where an index is: things are in their partitions, thing groups in the first.
pub fn partitions(call: &Call<'_>, index: Index) -> Vec<Partition> {
    match index {
        Index::Things => call.deployment.partitions().all().collect(),
        Index::ThingGroups => vec![Partition::FIRST],
    }
}

/// How many documents of a partition each term of a query finds.
pub async fn estimates(
    call: &Call<'_>,
    partition: Partition,
    index: Index,
    query: &Query,
) -> Result<Estimates, Failure> {
    let Some(statement) = fleet_index::estimate(index, query) else { return Ok(Estimates::default()) };
    let statement = Statement::of_index(partition, statement);
    let rows: Vec<BTreeMap<String, u32>> = call.deployment.registry().read(statement).await?;
    let row = rows.into_iter().next().unwrap_or_default();
    let count = |term| row.get(&format!("t{term}")).copied();
    let counts: Option<Vec<u32>> = (0..query.terms()).map(count).collect();
    Ok(counts.map(Estimates::new).unwrap_or_default())
}

/// A parameter that the crate `fleet-index` refuses.
pub fn refused(error: fleet_index::AggregationError) -> Failure {
    ApiError::from(error).into()
}
