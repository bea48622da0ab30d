//! openraft's statistics at the price that they are worth here.
//!
//! openraft counts the sizes of its batches in histograms of the crate `base2histogram`. That crate computes the tables of
//! all its sixteen resolutions when the first histogram is made: 26 MB that stay resident in each node, of which openraft
//! uses 4 KB and this project nothing. The workspace puts this crate in its place: the same names as far as openraft
//! calls them, with one bucket for each power of two. It goes when the original computes its tables one by one.

use std::fmt;
use std::marker::PhantomData;

/// A bucket for each number of significant bits, zero to sixty-four.
const BUCKETS: usize = 65;

/// How often values of each magnitude came. `T` is what the original keeps with periods of time, which nobody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: [u64; BUCKETS],
    periods: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            counts: [0; BUCKETS],
            periods: PhantomData,
        }
    }

    /// Counts a value.
    pub const fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value that came `count` times.
    pub const fn record_n(&mut self, value: u64, count: u64) {
        let bits = (u64::BITS - value.leading_zeros()) as usize;
        self.counts[bits] = self.counts[bits].saturating_add(count);
    }

    /// How many values were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The lower end of the bucket in which this share of the values, 0 to 1, is reached; zero when there are none.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among counts may be off by a rounding"
    )]
    pub fn percentile(&self, share: f64) -> u64 {
        let rank = ((self.total() as f64 * share).ceil() as u64).max(1);
        let mut seen = 0_u64;
        for (bits, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return bits.checked_sub(1).map_or(0, |shift| 1 << shift);
            }
        }
        0
    }

    /// The percentiles that are usually shown.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.percentile(0.001),
            p1: self.percentile(0.01),
            p5: self.percentile(0.05),
            p10: self.percentile(0.1),
            p50: self.percentile(0.5),
            p90: self.percentile(0.9),
            p99: self.percentile(0.99),
            p99_9: self.percentile(0.999),
        }
    }
}

/// What [`Histogram::percentile_stats`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PercentileStats {
    /// Values counted.
    pub samples: u64,
    /// One in a thousand is below.
    pub p0_1: u64,
    /// One in a hundred is below.
    pub p1: u64,
    /// One in twenty is below.
    pub p5: u64,
    /// One in ten is below.
    pub p10: u64,
    /// Half are below.
    pub p50: u64,
    /// Nine in ten are below.
    pub p90: u64,
    /// All but one in a hundred are below.
    pub p99: u64,
    /// All but one in a thousand are below.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "[samples: {}, P0.1: {}, P1: {}, P5: {}, P10: {}, P50: {}, P90: {}, P99: {}, P99.9: {}]",
            self.samples,
            self.p0_1,
            self.p1,
            self.p5,
            self.p10,
            self.p50,
            self.p90,
            self.p99,
            self.p99_9
        )
    }
}

/// Several histograms for people: a line for each.
#[derive(Clone, Debug, Default)]
pub struct AsciiChart(Vec<(String, Histogram)>);

impl AsciiChart {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// With one more.
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> Self {
        self.0.push((name.into(), histogram));
        self
    }

    /// As text.
    #[must_use]
    pub fn detailed(&self) -> String {
        self.0
            .iter()
            .map(|(name, histogram)| format!("{name}: {}\n", histogram.percentile_stats()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_lower_end_of_its_bucket() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile(0.5), 0);
        histogram.record_n(5, 98);
        histogram.record(0);
        histogram.record(u64::MAX);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p0_1, stats.p50), (100, 0, 4));
        assert_eq!((stats.p99, stats.p99_9), (4, 1 << 63));
    }
}
