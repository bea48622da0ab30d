//! The loads, one file each. A load opens its connections, does what must be done before the clock runs, drives its
//! workers and gives a report.
//!
//! * `put`, `get`, `range` single requests
//! * `txn` creates and updates, made of the transactions in `guarded`
//! * `mixed` what a Kubernetes API server sends
//! * `watch` fan-out of events; `lease` keep-alives
//! * `failover` the outage when a process is ended

pub(super) mod failover;
pub(super) mod get;
pub(super) mod guarded;
mod lease;
mod mixed;
pub(super) mod put;
mod range;
pub(super) mod txn;
mod watch;

use super::args::Load;
use super::report::Report;
use super::servers::{Cost, Usage};
use super::settings::Settings;
use crate::exit::Failure;

/// How a read is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consistency {
    /// With everything that was acknowledged before it began.
    Linearizable,
    /// With what the contacted node has.
    Serializable,
}

impl Consistency {
    fn from_flag(serializable: bool) -> Self {
        if serializable {
            Self::Serializable
        } else {
            Self::Linearizable
        }
    }
}

/// Runs the load that the user named and adds what the servers spent on it.
pub(super) async fn run(load: &Load, settings: &Settings) -> Result<Report, Failure> {
    match load {
        Load::Put { keys, .. } => put::put(settings, *keys).await,
        Load::Get {
            serializable,
            preload,
            ..
        } => {
            put::preload(settings, *preload).await?;
            get::get(settings, Consistency::from_flag(*serializable)).await
        }
        Load::Range {
            serializable,
            limit,
            preload,
            ..
        } => {
            put::preload(settings, *preload).await?;
            range::range(settings, Consistency::from_flag(*serializable), *limit).await
        }
        Load::Txn { kind, contend, .. } => {
            let sharing = if *contend {
                txn::Sharing::Contended
            } else {
                txn::Sharing::Apart
            };
            txn::txn(settings, *kind, sharing).await
        }
        Load::Mixed {
            objects,
            watches,
            limit,
            ..
        } => mixed::mixed(settings, *objects, *watches, *limit).await,
        Load::Watch { watchers, rate, .. } => watch::watch(settings, *watchers, *rate).await,
        Load::Lease { ttl, .. } => lease::lease(settings, *ttl).await,
        Load::Failover {
            kill_pid,
            signal,
            kill_after_ms,
            probe_ms,
            ..
        } => {
            let plan = failover::Plan::check(*kill_pid, *signal, *kill_after_ms, *probe_ms)?;
            let outage = failover::failover(settings, &plan).await?;
            Ok(outage.report(settings))
        }
    }
}

/// Runs the measured part of a load between two readings of the server processes.
pub(super) async fn costed(
    settings: &Settings,
    measured: impl Future<Output = Result<Report, Failure>>,
) -> Result<Report, Failure> {
    let before = Usage::read_all(&settings.server_pids)?;
    let start = std::time::Instant::now();
    let mut report = measured.await?;
    if !before.is_empty() {
        let after = Usage::read_all(&settings.server_pids)?;
        let seconds = start.elapsed().as_secs_f64();
        report.servers = Some(Cost::between(&before, &after, report.latency.ops, seconds));
    }
    Ok(report)
}
