//! What a run leaves behind: one line of JSON.

use super::latency::Percentiles;
use super::servers::Cost;
use super::settings::Settings;
use super::tally::Tally;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The result of one load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    load: &'static str,
    clients: usize,
    /// A number of bytes, or the span of them.
    pub(super) value_size: Value,
    seconds: f64,
    pub(super) ops_per_second: f64,
    #[serde(flatten)]
    pub(super) latency: Percentiles,
    pub(super) errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_error: Option<String>,
    conflicts: u64,
    /// What only this load has to say.
    #[serde(flatten)]
    pub(super) particulars: BTreeMap<&'static str, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    kinds: BTreeMap<&'static str, Percentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) servers: Option<Cost>,
}

impl Report {
    pub(super) fn new(
        load: &'static str,
        settings: &Settings,
        tally: &Tally,
        wall: Duration,
    ) -> Self {
        let latency = tally.all();
        let kinds = tally
            .by_kind()
            .map(|(kind, latency)| (kind, latency.percentiles()));
        Self {
            load,
            clients: settings.clients,
            value_size: settings.value_size.into(),
            seconds: (wall.as_secs_f64() * 1e3).round() / 1e3,
            ops_per_second: (latency.count() as f64 / wall.as_secs_f64()).round(),
            latency: latency.percentiles(),
            errors: tally.errors,
            first_error: tally.first_error.clone(),
            conflicts: tally.conflicts,
            particulars: BTreeMap::new(),
            kinds: kinds.collect(),
            servers: None,
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.particulars.insert(name, value.into());
        self
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a report has only string keys and finite numbers")
    }
}
