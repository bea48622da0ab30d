//! What a CPU-second buys: simulated time and acknowledged writes of real nodes on both worlds, with mutual TLS between them.
//!
//! `cargo bench -p quorate-sim --bench cluster`. Three nodes idle, under writes, and under writes with a swarm of faults; five
//! nodes from nothing to a formed cluster; the memory of three nodes over an hour of their time; a hundred nodes.

use std::process::Command;
use std::time::Duration;

use quorate_sim::cluster::{Cluster, in_cluster};
use quorate_sim::cpu::thread_cpu_time;
use quorate_sim::faults::Schedule;
use quorate_sim::madsim::MadsimWorld;
use quorate_sim::options::Options;
use quorate_sim::seed::Seed;
use quorate_sim::simulator::Simulator;
use quorate_sim::trace::Keep;
use quorate_sim::turmoil::TurmoilWorld;
use quorate_sim::world::{SimulatedTime, simulate};

/// Set for a process that only measures its own memory, to the world that it shall have.
const MEMORY_OF: &str = "QUORATE_SIM_MEMORY_OF";
/// Writes that are under way at once, through one node after the other.
const AT_ONCE: u32 = 256;

fn main() {
    match std::env::var(MEMORY_OF).as_deref() {
        Ok(MadsimWorld::NAME) => return hour::<MadsimWorld>(),
        Ok(_) => return hour::<TurmoilWorld>(),
        Err(_) => {}
    }
    println!(
        "{:<8} {:<22} {:>8} {:>12} {:>13}",
        "world", "load", "CPU s", "sim s/CPU s", "writes/CPU s"
    );
    for_world::<MadsimWorld>();
    for_world::<TurmoilWorld>();
}

fn for_world<M: Simulator>() {
    row::<M>("idle", Options::none(3), |cluster| {
        cluster.advance(Duration::from_secs(120));
        0
    });
    row::<M>("writes", Options::none(3), |cluster| writes(cluster, None));
    for seed in [5, 6, 7] {
        let seed = Seed::new(seed);
        let load = format!("writes, swarm of seed {seed}");
        row::<M>(&load, Options::swarm(3, seed), |cluster| {
            let nodes = cluster.world().hosts();
            let plan = Schedule::new(&cluster.options().clone(), &nodes, seed);
            writes(cluster, Some(plan))
        });
    }
    let cpu = formed::<M>(5, 20, |_| ());
    println!("{:<8} five nodes form: {:.1} CPU ms", M::NAME, cpu * 1e3);
    let cpu = formed::<M>(100, 1, |cluster| {
        let cpu = cpu_seconds();
        cluster.advance(Duration::from_secs(10));
        let speed = 10.0 / (cpu_seconds() - cpu);
        println!(
            "{:<8} a hundred nodes idle: {speed:.1} sim s/CPU s",
            M::NAME
        );
    });
    println!("{:<8} a hundred nodes form: {cpu:.1} CPU s", M::NAME);
    let this = std::env::current_exe().expect("a running program has a file");
    let child = Command::new(this).env(MEMORY_OF, M::NAME).status();
    assert!(child.expect("it can be run again").success());
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
            "{:<8} {load:<22} {cpu:>8.2} {speed:>12.0} {rate:>13.0}",
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
        acknowledged += cluster.put_many(1 + round % 3, AT_ONCE);
    }
    acknowledged
}

/// The CPU seconds, on average, that it takes so many nodes to become a cluster.
fn formed<M: Simulator>(nodes: u16, times: u32, then: impl Fn(&mut Cluster<'_, M>) + Sync) -> f64 {
    let mut all = 0.0;
    for seed in 0..times {
        all += simulate::<M, f64>(Seed::new(seed.into()), Keep::Last(1), |world| {
            let before = cpu_seconds();
            let mut cluster = Cluster::plug(world, Options::none(nodes));
            let formed = cluster.form(Duration::from_secs(1_800));
            let cpu = cpu_seconds() - before;
            if let Err(reason) = formed {
                println!("{:<8} {nodes} nodes do not form: {reason}", M::NAME);
            }
            then(&mut cluster);
            cpu
        });
    }
    all / f64::from(times)
}

/// An hour of three nodes with a few writes a minute, and what it takes at most.
fn hour<M: Simulator>() {
    in_cluster::<M, _>(Seed::new(5), Options::none(3), Keep::Last(100), |cluster| {
        for minute in 0..60 {
            cluster.advance(Duration::from_secs(60));
            let _ = cluster.put_many(1 + minute % 3, 10);
        }
    });
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let most = most.map_or("unknown", str::trim);
    println!("{:<8} an hour of three nodes: {most} at most", M::NAME);
}

/// What this thread has used, as the kernel counts it.
fn cpu_seconds() -> f64 {
    thread_cpu_time().as_secs_f64()
}
