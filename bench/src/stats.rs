//! Medians, spreads and ratios of the rounds.

use serde::Serialize;

/// What several rounds of the same measurement say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// `None` without a finite value. Of an even number of values the median is the mean of the middle two.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let lower = if sorted.len().is_multiple_of(2) { *sorted.get(middle - 1)? } else { upper };
        Some(Self { median: lower.midpoint(upper), min, max })
    }

    /// Ratios within each round, so that what slowed a whole round cancels out. A round that lacks either side, or whose
    /// divisor is zero, does not count.
    pub fn of_ratios(pairs: impl IntoIterator<Item = (Option<f64>, Option<f64>)>) -> Option<Self> {
        Self::of(pairs.into_iter().filter_map(|(value, base)| Some(value? / base.filter(|base| *base != 0.0)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], expected: Option<(f64, f64, f64)>) {
        let expected = expected.map(|(median, min, max)| Spread { median, min, max });
        assert_eq!(Spread::of(values.iter().copied()), expected, "{values:?}");
    }

    #[test]
    fn the_median_is_the_middle_value_or_the_mean_of_the_middle_two() {
        check(&[3.0], Some((3.0, 3.0, 3.0)));
        check(&[9.0, 1.0, 4.0], Some((4.0, 1.0, 9.0)));
        check(&[9.0, 1.0, 4.0, 5.0], Some((4.5, 1.0, 9.0)));
        check(&[1.0, 1.0, 1.0, 1.0, 100.0], Some((1.0, 1.0, 100.0)));
    }

    #[test]
    fn nothing_and_values_that_are_no_numbers_give_no_spread() {
        check(&[], None);
        check(&[f64::NAN, f64::INFINITY], None);
        check(&[f64::NAN, 2.0], Some((2.0, 2.0, 2.0)));
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_incomplete_rounds_are_left_out() {
        let rounds = [(Some(10.0), Some(20.0)), (Some(1.0), Some(4.0)), (Some(7.0), None), (None, Some(3.0))];
        assert_eq!(Spread::of_ratios(rounds), Some(Spread { median: 0.375, min: 0.25, max: 0.5 }));
        assert_eq!(Spread::of_ratios([(Some(1.0), Some(0.0))]), None);
    }
}
