//! Latencies, counted in buckets that grow with the value.
//!
//! A nanosecond count falls into a bucket by its highest seven bits below the leading one, so a percentile is off by
//! less than one part in a hundred at any magnitude and a histogram has a fixed, small size however long a run is.

use serde::Serialize;
use std::time::Duration;

/// Bits of a value that its bucket keeps below the leading one.
const PRECISION: u32 = 7;
const PER_POWER: usize = 1 << PRECISION;
/// 2^37 ns is 137 seconds, longer than any request may take; what is longer counts as that.
const POWERS: usize = 37 - PRECISION as usize;
const BUCKETS: usize = (POWERS + 1) * PER_POWER;

/// The latencies of one kind of operation.
#[derive(Clone)]
pub(super) struct Latency {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

/// What is printed of them, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Percentiles {
    pub(super) ops: u64,
    pub(super) p50_us: f64,
    pub(super) p90_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    pub(super) max_us: f64,
}

impl Latency {
    pub(super) fn new() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
            max: 0,
        }
    }

    pub(super) fn record(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanoseconds)] += 1;
        self.count += 1;
        self.max = self.max.max(nanoseconds);
    }

    pub(super) fn merge(&mut self, other: &Latency) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let microseconds = |nanoseconds: u64| (nanoseconds as f64 / 100.0).round() / 10.0;
        let at = |share: f64| microseconds(self.quantile(share));
        Percentiles {
            ops: self.count,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: microseconds(self.max),
        }
    }

    /// The highest value of the bucket that holds the operation at `share` of all, in order of latency.
    fn quantile(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return highest(index).min(self.max);
            }
        }
        0
    }
}

fn bucket(value: u64) -> usize {
    let power = value.max(1).ilog2();
    if power <= PRECISION {
        // The first two powers' worth of buckets hold a single value each.
        return value as usize;
    }
    let shift = power - PRECISION;
    let index = (shift as usize) * PER_POWER + (value >> shift) as usize;
    index.min(BUCKETS - 1)
}

/// The highest value that falls into a bucket.
fn highest(index: usize) -> u64 {
    let shift = (index / PER_POWER).saturating_sub(1);
    let kept = (index - shift * PER_POWER) as u64;
    ((kept + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_hundred_values_give_their_percentiles() {
        let mut latency = Latency::new();
        for millisecond in 1..=100 {
            latency.record(Duration::from_millis(millisecond));
        }
        let percentiles = latency.percentiles();
        let near = |got: f64, want: f64| (got / want - 1.0).abs() < 0.01;
        assert!(near(percentiles.p50_us, 50_000.0), "{percentiles:?}");
        assert!(near(percentiles.p99_us, 99_000.0), "{percentiles:?}");
        assert_eq!(percentiles.max_us, 100_000.0);
        assert_eq!(percentiles.ops, 100);
    }

    #[test]
    fn no_values_give_zeros() {
        assert_eq!(Latency::new().percentiles(), Percentiles::default());
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_value_within_one_part_in_a_hundred(value in 0u64..1 << 37) {
            let top = highest(bucket(value));
            prop_assert!(top >= value, "{} < {}", top, value);
            prop_assert!(top - value <= value / 100, "{} for {}", top, value);
        }

        #[test]
        fn buckets_are_in_order(value in 0u64..1 << 36) {
            prop_assert!(bucket(value) <= bucket(value + 1));
        }

        #[test]
        fn merged_halves_equal_the_whole(values in proptest::collection::vec(0u64..1 << 36, 0..50), cut in 0usize..50) {
            let all = |values: &[u64]| {
                let mut latency = Latency::new();
                values.iter().for_each(|&v| latency.record(Duration::from_nanos(v)));
                latency
            };
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = all(left);
            merged.merge(&all(right));
            prop_assert_eq!(merged.percentiles(), all(&values).percentiles());
        }
    }
}
