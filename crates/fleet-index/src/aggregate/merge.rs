//! One answer of those of all partitions.

use super::Aggregation;
use crate::configuration::FieldType;
use crate::document::approximate;
use crate::error::AggregationError;
use crate::terms::TermValue;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What a partition says about its values.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct StatisticsRow {
    /// How many.
    pub count: u64,
    /// Their sum; `None` beyond the range of a double.
    pub sum: Option<f64>,
    /// The least; `None` when there is none.
    pub minimum: Option<f64>,
    /// The greatest; `None` when there is none.
    pub maximum: Option<f64>,
    /// The sum of their squares.
    pub sum_of_squares: Option<f64>,
    /// The sum of the squares of their differences from their mean.
    pub squared_deviations: Option<f64>,
}

/// What GetStatistics answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// How many values; of strings, how many documents.
    pub count: u64,
    /// Absent for strings, like all that follow, and without values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average: Option<f64>,
    /// The sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum: Option<f64>,
    /// The least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// The greatest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// The sum of the squares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum_of_squares: Option<f64>,
    /// Of all values, not of a sample of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variance: Option<f64>,
    /// The root of the variance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std_deviation: Option<f64>,
}

/// The answer of [`statistics`](super::statistics).
#[must_use]
pub fn merge_statistics(aggregation: &Aggregation, rows: &[StatisticsRow]) -> Statistics {
    let count = rows.iter().map(|row| row.count).sum();
    if aggregation.field_type == FieldType::String || count == 0 {
        return Statistics { count, ..Statistics::default() };
    }
    let sum_of = |get: fn(&StatisticsRow) -> Option<f64>| rows.iter().filter(|row| row.count > 0).map(get).sum();
    let sum: Option<f64> = sum_of(|row| row.sum);
    let average = sum.map(|sum| sum / approximate(count));
    // Differences within the partitions, and those of the partitions' means from the mean of all.
    let between = |average: f64| -> Option<f64> {
        let rows = rows.iter().filter(|row| row.count > 0);
        rows.map(|row| {
            let difference = row.sum? / approximate(row.count) - average;
            Some(difference * difference * approximate(row.count))
        })
        .sum()
    };
    let within: Option<f64> = sum_of(|row| row.squared_deviations);
    let deviations = average.and_then(between).zip(within).map(|(between, within)| between + within);
    let variance = deviations.map(|deviations| deviations / approximate(count));
    let extreme =
        |get: fn(&StatisticsRow) -> Option<f64>, pick: fn(f64, f64) -> f64| rows.iter().filter_map(get).reduce(pick);
    let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
    Statistics {
        count,
        average: finite(average),
        sum: finite(sum),
        minimum: extreme(|row| row.minimum, f64::min),
        maximum: extreme(|row| row.maximum, f64::max),
        sum_of_squares: finite(sum_of(|row| row.sum_of_squares)),
        variance: finite(variance),
        std_deviation: finite(variance.map(f64::sqrt)),
    }
}

/// One of the least values of a partition.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct CardinalityRow {
    /// The value.
    pub value: TermValue,
    /// How many different values the partition has.
    pub total: u64,
}

/// The answer of [`cardinality`](super::cardinality): how many different values there are.
///
/// Where partitions have more than they told, they are compared up to the value that all told of: what part of the values
/// there is in several partitions is taken for that of all values.
#[must_use]
pub fn merge_cardinality(partitions: &[Vec<CardinalityRow>]) -> u64 {
    let total: u64 = partitions.iter().filter_map(|rows| rows.first()).map(|row| row.total).sum();
    let is_cut = |rows: &&Vec<CardinalityRow>| {
        rows.first().is_some_and(|row| usize::try_from(row.total).is_ok_and(|total| total > rows.len()))
    };
    let bound = partitions.iter().filter(is_cut).filter_map(|rows| rows.last()).map(|row| &row.value).min_by(order);
    let is_known = |row: &&CardinalityRow| bound.is_none_or(|bound| order(&&row.value, &bound) != Ordering::Greater);
    let mut values: Vec<&TermValue> = partitions.iter().flatten().filter(is_known).map(|row| &row.value).collect();
    let told = values.len();
    values.sort_by(order);
    values.dedup();
    if bound.is_none() || told == 0 {
        return count(values.len());
    }
    let different = u128::from(total) * u128::from(count(values.len())) / u128::from(count(told)).max(1);
    u64::try_from(different).unwrap_or(u64::MAX)
}

/// As SQLite sorts: numbers before texts.
fn order(one: &&TermValue, other: &&TermValue) -> Ordering {
    match (one, other) {
        (TermValue::Number(one), TermValue::Number(other)) => one.total_cmp(other),
        (TermValue::Text(one), TermValue::Text(other)) => one.cmp(other),
        (TermValue::Number(_), TermValue::Text(_)) => Ordering::Less,
        (TermValue::Text(_), TermValue::Number(_)) => Ordering::Greater,
    }
}

/// Neighbouring values of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct PercentileRow {
    /// The least of them.
    pub low: f64,
    /// The greatest.
    pub high: f64,
    /// How many.
    pub count: u64,
}

/// In how many points several values are seen of which only the least and the greatest are known.
const POINTS: u64 = 16;

/// The answer of [`percentiles`](super::percentiles): pairs of a percentage and a value, none when there are no values.
///
/// # Errors
/// [`AggregationError::Percent`]
pub fn merge_percentiles(percents: &[f64], rows: &[PercentileRow]) -> Result<Vec<(f64, f64)>, AggregationError> {
    if let Some(percent) = percents.iter().find(|percent| !(0.0..=100.0).contains(*percent)) {
        return Err(AggregationError::Percent(*percent));
    }
    let mut points: Vec<(f64, u64)> = rows.iter().flat_map(points).collect();
    points.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let total: u64 = points.iter().map(|(_, count)| count).sum();
    let mut end = 0;
    let ends: Vec<(u64, f64)> = points
        .into_iter()
        .map(|(value, count)| {
            end += count;
            (end, value)
        })
        .collect();
    let at = |rank: u64| ends.get(ends.partition_point(|(end, _)| *end <= rank)).map(|(_, value)| *value);
    let value = |percent: f64| {
        let rank = percent / 100.0 * approximate(total.checked_sub(1)?);
        let below = floor(rank);
        let (low, high) = (at(below)?, at(below + 1).or_else(|| at(below))?);
        Some((percent, low + (high - low) * (rank - approximate(below))))
    };
    Ok(percents.iter().filter_map(|percent| value(*percent)).collect())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank: not negative, and small")]
fn floor(rank: f64) -> u64 {
    rank as u64
}

/// Values, each with how many there are of it.
fn points(row: &PercentileRow) -> Vec<(f64, u64)> {
    if row.count < 2 || row.low >= row.high {
        return vec![(row.low, row.count)];
    }
    let points = row.count.min(POINTS);
    let step = (row.high - row.low) / approximate(points - 1);
    let count = |n| (n + 1) * row.count / points - n * row.count / points;
    (0..points).map(|n| (row.low + step * approximate(n), count(n))).collect()
}

/// A value and how many documents have it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TermRow {
    /// The value; of a boolean, 0 or 1.
    pub value: TermValue,
    /// How many.
    pub count: u64,
}

/// A bucket of GetBucketsAggregation's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    /// The value.
    pub key_value: String,
    /// How many documents have it.
    pub count: u64,
}

/// The answer of [`buckets`](super::buckets): those with the most documents first.
#[must_use]
pub fn merge_buckets(aggregation: &Aggregation, partitions: &[Vec<TermRow>], max_buckets: u32) -> Vec<Bucket> {
    let mut counts = BTreeMap::new();
    for row in partitions.iter().flatten() {
        let key = match &row.value {
            TermValue::Text(text) => text.clone(),
            TermValue::Number(number) if aggregation.field_type == FieldType::Boolean => {
                if *number == 0.0 { "false" } else { "true" }.to_owned()
            }
            // without the `.0` that Rust does not write either
            TermValue::Number(number) => number.to_string(),
        };
        let count: &mut u64 = counts.entry(key).or_default();
        *count = count.saturating_add(row.count);
    }
    let mut buckets: Vec<Bucket> = counts.into_iter().map(|(key_value, count)| Bucket { key_value, count }).collect();
    // stable: equal counts stay in the order of their keys
    buckets.sort_by_key(|bucket| std::cmp::Reverse(bucket.count));
    buckets.truncate(usize::try_from(max_buckets).unwrap_or(usize::MAX));
    buckets
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
