//! One system, measured once.

use super::Extent;
use super::figures::Figures;
use super::plan::{self, Case, Kind};
use crate::bench::args::{Keys, Signal};
use crate::bench::load::{failover, get, put, txn};
use crate::bench::report::Report;
use crate::bench::servers::{Cost, Usage};
use crate::bench::settings::Settings;
use crate::exit::{Context, Exit, Failure};
use crate::processes::{Cluster, Program};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const NODES: usize = 3;
const MEGABYTE: f64 = 1e6;
/// Keys that gets draw from.
const GET_KEYS: u64 = 10_000;
/// Keys that the memory of a loaded node is measured with.
const LOADED_KEYS: u64 = 100_000;

/// Measures `program` on fresh directories under `directory`. What takes minutes or does not vary is measured only if
/// this is the `first` round.
pub(super) async fn measure(
    program: &Program,
    directory: &Path,
    extent: &Extent,
    first: bool,
    into: &mut Figures,
) -> Result<(), Failure> {
    start(program, directory, into).await?;
    let mut cluster = Cluster::start(program.clone(), directory, NODES).await?;
    if first && !extent.idle.is_zero() {
        idle(&cluster, extent.idle, into).await?;
    }
    let settings = |duration| Settings {
        server_pids: cluster.pids(),
        ..Settings::usual(cluster.endpoints(), duration)
    };
    for case in plan::cases() {
        let report = run(case, &settings(extent.load)).await?;
        record(case, &report, into);
    }
    if first && !extent.write.is_zero() {
        written(&settings(extent.write), into).await?;
    }
    if first {
        loaded(&settings(extent.load), into).await?;
        for _ in 0..extent.kills {
            outage(&mut cluster, Signal::Kill, plan::KILLED, into).await?;
            outage(&mut cluster, Signal::Term, plan::STOPPED, into).await?;
        }
    }
    cluster.stop_all().await
}

/// One node by itself: from starting the process to its first acknowledged write.
async fn start(program: &Program, directory: &Path, into: &mut Figures) -> Result<(), Failure> {
    let alone = directory.join("alone");
    fs::create_dir_all(&alone).context(Exit::Failed, "making a directory")?;
    let begun = Instant::now();
    let mut cluster = Cluster::start(program.clone(), &alone, 1).await?;
    into.add(plan::START, begun.elapsed().as_secs_f64() * 1e3);
    cluster.stop_all().await
}

/// What the cluster spends when nobody asks anything of it.
async fn idle(cluster: &Cluster, duration: Duration, into: &mut Figures) -> Result<(), Failure> {
    tokio::time::sleep(duration).await;
    let before = Usage::read_all(&cluster.pids())?;
    tokio::time::sleep(duration).await;
    let after = Usage::read_all(&cluster.pids())?;
    let cost = Cost::between(&before, &after, 1, duration.as_secs_f64());
    into.add(plan::IDLE_MEMORY, cost.resident_bytes_max as f64 / MEGABYTE);
    into.add(plan::IDLE_CPU, cost.cpu_share_each * 100.0);
    into.add(plan::IDLE_WRITTEN, cost.written_bytes as f64);
    Ok(())
}

async fn run(case: &Case, settings: &Settings) -> Result<Report, Failure> {
    let settings = Settings {
        value_size: case.value_size,
        ..settings.clone().clients(case.clients)
    };
    match case.kind {
        Kind::Put => put::put(&settings, Keys::Sequential).await,
        Kind::Get(consistency) => {
            let settings = Settings {
                key_space: GET_KEYS,
                ..settings
            };
            put::preload(&settings, GET_KEYS).await?;
            get::get(&settings, consistency).await
        }
        Kind::Txn(kind) => {
            let settings = Settings {
                // Of its own, so that a create meets no key that another load wrote.
                prefix: format!("/txn/{kind:?}/").to_lowercase(),
                key_space: GET_KEYS,
                ..settings
            };
            txn::txn(&settings, kind, txn::Sharing::Apart).await
        }
    }
}

fn record(case: &Case, report: &Report, into: &mut Figures) {
    eprintln!("  {}: {:.0}/s", case.name, report.ops_per_second);
    into.add(case.throughput(), report.ops_per_second);
    into.add(case.p50(), report.latency.p50_us / 1e3);
    into.add(case.p99(), report.latency.p99_us / 1e3);
    if let Some(cost) = &report.servers {
        into.add(case.cpu(), cost.cpu_us_per_op);
    }
    into.add_errors(case.name, report.errors);
}

/// Bytes that reach the disk for a put, over long enough for checkpoints to fall into it.
async fn written(settings: &Settings, into: &mut Figures) -> Result<(), Failure> {
    for (clients, name) in [(1, plan::WRITTEN_SINGLE), (64, plan::WRITTEN_MANY)] {
        let report = put::put(&settings.clone().clients(clients), Keys::Sequential).await?;
        into.add_errors(name, report.errors);
        let bytes = report.servers.map_or(0, |cost| cost.written_bytes);
        into.add(name, bytes as f64 / report.latency.ops.max(1) as f64);
    }
    Ok(())
}

/// The memory of the largest node once the keys are there.
async fn loaded(settings: &Settings, into: &mut Figures) -> Result<(), Failure> {
    let settings = Settings {
        value_size: 1024,
        prefix: "/loaded/".into(),
        ..settings.clone()
    };
    put::preload(&settings, LOADED_KEYS).await?;
    let usage = Usage::read_all(&settings.server_pids)?;
    let cost = Cost::between(&usage, &usage, 1, 1.0);
    into.add(
        plan::LOADED_MEMORY,
        cost.resident_bytes_max as f64 / MEGABYTE,
    );
    Ok(())
}

/// Ends the leader under load, measures how long writes stall, and brings it back.
async fn outage(
    cluster: &mut Cluster,
    signal: Signal,
    name: &str,
    into: &mut Figures,
) -> Result<(), Failure> {
    let leader = cluster.leader().await?;
    let pid = cluster.pid(leader);
    let pid = pid.ok_or_else(|| Failure::new(Exit::Failed, "the leader is not running"))?;
    let mut endpoints = cluster.endpoints();
    endpoints.remove(leader);
    let settings = Settings {
        timeout: Duration::from_secs(5),
        ..Settings::usual(endpoints, Duration::from_secs(20))
    };
    let plan = failover::Plan::check(pid, signal, 500, 5)?;
    let outage = failover::failover(&settings, &plan).await?;
    match outage.length {
        Some(length) => into.add(name, length.as_secs_f64() * 1e3),
        None => into.add_errors(name, 1),
    }
    cluster.stop(leader).await?;
    cluster.spawn(leader)?;
    cluster.ready().await
}
