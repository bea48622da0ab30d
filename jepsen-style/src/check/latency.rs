//! Quantiles of durations, for reports.

use serde_json::{Value, json};

/// Count, median, tails and maximum of durations in nanoseconds, as milliseconds; null when there are none.
pub(super) fn summary(mut nanoseconds: Vec<u64>) -> Value {
    nanoseconds.sort_unstable();
    let Some(greatest) = nanoseconds.last() else {
        return Value::Null;
    };
    let at = |per_mille: usize| nanoseconds[(nanoseconds.len() - 1) * per_mille / 1_000];
    let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    json!({
        "count": nanoseconds.len(),
        "p50_ms": milliseconds(at(500)),
        "p95_ms": milliseconds(at(950)),
        "p99_ms": milliseconds(at(990)),
        "max_ms": milliseconds(*greatest),
    })
}
