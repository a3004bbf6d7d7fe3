//! Aggregations over an index: GetStatistics, GetCardinality, GetPercentiles, GetBucketsAggregation. Each partition is
//! asked, and the crate `fleet-index` makes one answer of theirs.

use super::Call;
use super::error::Failure;
use super::fleet_indexing::{configuration, estimates, partitions, refused};
use fleet_index::aggregate::{
    self, CardinalityRow, PercentileRow, StatisticsRow, TermRow, merge_buckets, merge_cardinality, merge_percentiles,
    merge_statistics,
};
use fleet_index::{AggregationError, Estimates};
use registry::indexing::{
    AggregationRequest, buckets_response, cardinality_response, percentiles_response, statistics_response,
};
use registry::statements::Statement;
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub async fn statistics(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = request(call).await?;
    let AggregationRequest { index, query, aggregation, .. } = &request;
    let told: Vec<Vec<StatisticsRow>> =
        ask(call, &request, |estimates| Ok(aggregate::statistics(*index, query, estimates, aggregation))).await?;
    let rows: Vec<StatisticsRow> = told.into_iter().flatten().collect();
    Ok(statistics_response(&merge_statistics(aggregation, &rows)))
}

pub async fn cardinality(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = request(call).await?;
    let AggregationRequest { index, query, aggregation, .. } = &request;
    let told: Vec<Vec<CardinalityRow>> =
        ask(call, &request, |estimates| Ok(aggregate::cardinality(*index, query, estimates, aggregation))).await?;
    Ok(cardinality_response(merge_cardinality(&told)))
}

pub async fn percentiles(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = request(call).await?;
    let AggregationRequest { index, query, aggregation, percents, .. } = &request;
    let told: Vec<Vec<PercentileRow>> =
        ask(call, &request, |estimates| aggregate::percentiles(*index, query, estimates, aggregation)).await?;
    let rows: Vec<PercentileRow> = told.into_iter().flatten().collect();
    Ok(percentiles_response(&merge_percentiles(percents, &rows).map_err(refused)?))
}

pub async fn buckets(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    #[derive(Deserialize)]
    struct CountRow {
        count: u64,
    }
    let request = request(call).await?;
    let AggregationRequest { index, query, aggregation, max_buckets, .. } = &request;
    let is_only = partitions(call, *index).len() == 1;
    let told: Vec<Vec<TermRow>> = ask(call, &request, |estimates| {
        aggregate::buckets(*index, query, estimates, aggregation, *max_buckets, is_only)
    })
    .await?;
    let counted: Vec<Vec<CountRow>> =
        ask(call, &request, |estimates| Ok(fleet_index::count(*index, query, estimates))).await?;
    let total = counted.iter().flatten().map(|row| row.count).sum();
    Ok(buckets_response(total, &merge_buckets(aggregation, &told, *max_buckets)))
}

async fn request(call: &Call<'_>) -> Result<AggregationRequest, Failure> {
    let configuration = configuration(call).await?;
    Ok(AggregationRequest::of(&configuration, &call.input, &call.deployment.config.index_limits())?)
}

/// What each partition says.
async fn ask<T: DeserializeOwned>(
    call: &Call<'_>,
    request: &AggregationRequest,
    statement: impl Fn(&Estimates) -> Result<fleet_index::Statement, AggregationError>,
) -> Result<Vec<Vec<T>>, Failure> {
    let mut told = Vec::new();
    for partition in partitions(call, request.index) {
        let estimates = estimates(call, partition, request.index, &request.query).await?;
        let statement = Statement::of_index(partition, statement(&estimates).map_err(refused)?);
        told.push(call.deployment.registry().read(statement).await?);
    }
    Ok(told)
}
