//! How much simulated time, and how many acknowledged writes, a CPU-second buys: three real nodes on both worlds.
//!
//! `cargo bench -p quorate-sim --bench cluster`. The wire is plain; a row for a world idle and a row under load with a
//! swarm of faults.

use std::time::Duration;

use quorate_sim::cluster::{Cluster, in_cluster};
use quorate_sim::faults::Schedule;
use quorate_sim::madsim::MadsimWorld;
use quorate_sim::options::Options;
use quorate_sim::seed::Seed;
use quorate_sim::simulator::Simulator;
use quorate_sim::trace::Keep;
use quorate_sim::turmoil::TurmoilWorld;
use quorate_sim::world::SimulatedTime;

fn main() {
    println!(
        "{:<8} {:<16} {:>10} {:>12} {:>14}",
        "world", "load", "CPU s", "sim s/CPU-s", "writes/CPU-s"
    );
    for_world::<MadsimWorld>();
    for_world::<TurmoilWorld>();
}

fn for_world<M: Simulator>() {
    row::<M>("idle", Options::none(3), |cluster| {
        cluster.advance(Duration::from_secs(60));
        0
    });
    row::<M>("writes", Options::none(3), |cluster| writes(cluster, None));
    let seed = Seed::new(5);
    row::<M>("writes, faults", Options::swarm(3, seed), |cluster| {
        let nodes = cluster.world().hosts();
        let plan = Schedule::new(&cluster.options().clone(), &nodes, seed);
        writes(cluster, Some(plan))
    });
}

fn row<M: Simulator>(
    load: &str,
    options: Options,
    body: impl Fn(&mut Cluster<'_, M>) -> u32 + Send + Sync,
) {
    in_cluster::<M, _>(Seed::new(5), options, Keep::Last(1), |cluster| {
        let (cpu, time) = (cpu_seconds(), cluster.world().now());
        let acknowledged = body(cluster);
        let (cpu, time) = (
            cpu_seconds() - cpu,
            (cluster.world().now() - time).as_secs_f64(),
        );
        let (speed, rate) = (time / cpu, f64::from(acknowledged) / cpu);
        println!(
            "{:<8} {load:<16} {cpu:>10.2} {speed:>12.0} {rate:>14.0}",
            M::NAME
        );
    });
}

/// Writes through all nodes in turn for half a simulated minute.
fn writes<M: Simulator>(cluster: &mut Cluster<'_, M>, mut plan: Option<Schedule>) -> u32 {
    let end = cluster.world().now() + Duration::from_secs(30);
    let (mut acknowledged, mut round) = (0, 0);
    while cluster.world().now() < end {
        if let Some(plan) = &mut plan {
            cluster.suffer(plan, Duration::from_millis(200));
        }
        round += 1;
        acknowledged += cluster.put_many(1 + round % 3, 32);
    }
    acknowledged
}

/// What this thread has used, as the kernel counts it.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")
        .expect("Linux tells the time of a thread");
    let nanos: f64 = text
        .split(' ')
        .next()
        .and_then(|field| field.parse().ok())
        .expect("nanoseconds come first");
    nanos / 1e9
}
