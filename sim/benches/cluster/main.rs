//! What a CPU-second buys: simulated time and acknowledged writes of real nodes in both worlds, with mutual TLS between them.
//!
//! `cargo bench -p quorate-sim --bench cluster`, or with names of rows or worlds behind `--`. What each row counts:
//!
//! | row | what runs | figure |
//! |---|---|---|
//! | `idle` | three nodes of which nothing is asked, for five minutes of theirs | simulated seconds in a CPU-second |
//! | `load` | three nodes, half a minute, writes through one after the other, 256 at once | acknowledged writes in a CPU-second |
//! | `faults` | the same under a swarm of faults, for each of three seeds | the same |
//! | `clients` | 64 clients on a machine of their own put through etcd's API for half a minute, under each of those swarms | the same |
//! | `start` | five nodes that were a cluster are powered on, until one leads and all are level | CPU milliseconds |
//! | `form` | five empty machines: one makes the cluster, four join it, all five vote | CPU milliseconds |
//! | `hundred` | a hundred empty machines become a cluster, which then idles for ten seconds | CPU seconds, and as `idle` |
//! | `memory` | three nodes for an hour of theirs with ten writes a minute, in a process of their own | most resident memory |
//!
//! Production's times, real SQLite, a sync of the simulated disk takes a millisecond, a message 0.2 to 2 ms. Writes of `load` and
//! `faults` are the nodes' own commands, without a client's gRPC; those of `clients` are whole, and faults go on between them.
//!
//! CPU time is the thread's. It stands still while others run, but where they share caches and cores the same work takes more
//! of it, by half from one minute to the next. A seed is the same run each time, so the rows but the last two are run
//! [`TURNS`] times, all others in between, and the table says what the quickest turn made and what the slowest: what lies
//! between the two is the machine.
//!
//! TLS cannot be switched off. Its share is computed: the records that the links carried, times what a record of their mean
//! size costs beyond a message without TLS, which is measured first (`records.rs`). `plain` is the figure that would be left
//! without that. Handshakes are not in it.

mod records;
mod table;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use quorate::proto::etcdserverpb::PutRequest;
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::runtime::Runtime;
use quorate_sim::cluster::{Cluster, client_channel, in_cluster};
use quorate_sim::cpu::thread_cpu_time;
use quorate_sim::faults::Schedule;
use quorate_sim::host::HostId;
use quorate_sim::madsim::MadsimWorld;
use quorate_sim::options::Options;
use quorate_sim::runtime::Simulated;
use quorate_sim::seed::Seed;
use quorate_sim::simulation::simulate;
use quorate_sim::simulator::Simulator;
use quorate_sim::trace::Keep;
use quorate_sim::turmoil::TurmoilWorld;
use quorate_sim::world::{Outcome, SimulatedTime, World};

use crate::records::RecordCost;
use crate::table::{Spent, Table, Unit};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Set for a process that only measures its own memory, to the world that it shall have.
const MEMORY_OF: &str = "QUORATE_SIM_MEMORY_OF";
/// Writes that are under way at once, through one node after the other.
const AT_ONCE: u32 = 256;
/// Clients of `clients`, each with one put at a time.
const CLIENTS_AT_ONCE: usize = 64;
/// Their machine.
const CLIENTS: HostId = HostId::new(200);
/// How often each row is run.
const TURNS: usize = 5;
/// How many clusters of five are formed.
const FORMED: u64 = 4;
/// How often each of them is started again.
const STARTED: usize = 5;

fn main() {
    match std::env::var(MEMORY_OF).as_deref() {
        Ok(MadsimWorld::NAME) => return hour::<MadsimWorld>(),
        Ok(_) => return hour::<TurmoilWorld>(),
        Err(_) => {}
    }
    // Cargo itself adds `--bench`.
    let mut wanted: Vec<String> = std::env::args().skip(1).collect();
    wanted.retain(|argument| !argument.starts_with('-'));
    let mut bench = Bench {
        wanted,
        cost: RecordCost::measured(),
        table: Table::default(),
    };
    println!("{}", bench.cost);
    for turn in 1..=TURNS {
        eprintln!("turn {turn} of {TURNS}");
        bench.turn_of::<MadsimWorld>();
        bench.turn_of::<TurmoilWorld>();
    }
    bench.last_rows_of::<MadsimWorld>();
    bench.last_rows_of::<TurmoilWorld>();
    println!("{}", bench.table);
}

struct Bench {
    /// Names of rows and worlds; all when there are none.
    wanted: Vec<String>,
    cost: RecordCost,
    table: Table,
}

impl Bench {
    fn wants(&self, world: &str, row: &str) -> bool {
        let named = |name: &str| self.wanted.iter().any(|wanted| wanted == name);
        let worlds = named(MadsimWorld::NAME) || named(TurmoilWorld::NAME);
        let rows = self.wanted.len()
            > usize::from(named(MadsimWorld::NAME)) + usize::from(named(TurmoilWorld::NAME));
        (!worlds || named(world)) && (!rows || named(row))
    }

    /// Every row whose figure has a bar that the machine's speed may decide.
    fn turn_of<M: Simulator>(&mut self) {
        let three = Options::none(3);
        if self.wants(M::NAME, "idle") {
            self.three::<M>("idle", Seed::new(5), three.clone(), |cluster| {
                cluster.advance(Duration::from_secs(300));
                0
            });
        }
        if self.wants(M::NAME, "load") {
            self.three::<M>("load", Seed::new(5), three, |cluster| writes(cluster, None));
        }
        self.swarms::<M>("faults", |cluster, plan| writes(cluster, Some(plan)));
        self.swarms::<M>("clients", puts_of_clients);
        if self.wants(M::NAME, "start") || self.wants(M::NAME, "form") {
            self.five::<M>();
        }
    }

    /// What only has to run, and memory, which is the same on a slow machine: once.
    fn last_rows_of<M: Simulator>(&mut self) {
        if self.wants(M::NAME, "hundred") {
            self.hundred::<M>();
        }
        if self.wants(M::NAME, "memory") {
            let this = std::env::current_exe().expect("a running program has a file");
            let child = Command::new(this).env(MEMORY_OF, M::NAME).status();
            assert!(child.expect("it can be run again").success());
        }
    }

    /// A row for each of three swarms of faults; `body` answers how many writes were acknowledged.
    fn swarms<M: Simulator>(&mut self, name: &str, body: fn(&mut Cluster<'_, M>, Schedule) -> u32) {
        if !self.wants(M::NAME, name) {
            return;
        }
        for seed in [5, 6, 7] {
            let (row, seed) = (format!("{name}, seed {seed}"), Seed::new(seed));
            self.three::<M>(&row, seed, Options::swarm(3, seed), |cluster| {
                let nodes = cluster.world().hosts();
                let plan = Schedule::new(&cluster.options().clone(), &nodes, seed);
                body(cluster, plan)
            });
        }
    }

    /// A row of three nodes, once they are a cluster; `body` answers how many writes were acknowledged.
    fn three<M: Simulator>(
        &mut self,
        row: &str,
        seed: Seed,
        options: Options,
        body: impl Fn(&mut Cluster<'_, M>) -> u32 + Send + Sync,
    ) {
        let cost = &self.cost;
        let (spent, acknowledged) = in_cluster::<M, _>(seed, options, Keep::Last(1), |cluster| {
            let done = spent(cost, cluster, |cluster| body(cluster));
            cluster.assert_sound();
            done
        });
        let unit = match acknowledged {
            0 => Unit::SimulatedSeconds,
            writes => Unit::Writes(writes),
        };
        self.table.note(M::NAME, row, unit, spent);
    }

    fn five<M: Simulator>(&mut self) {
        let cost = &self.cost;
        let (mut formed, mut started) = (Vec::new(), Vec::new());
        for seed in 0..FORMED {
            simulate::<M, ()>(Seed::new(seed), Keep::Last(1), |world| {
                let mut cluster = Cluster::plug(world, Options::none(5));
                formed.push(form(cost, &mut cluster));
                for _ in 0..STARTED {
                    for number in 1..=5 {
                        let _ = cluster.node(number).kill();
                    }
                    cluster.advance(Duration::from_secs(1));
                    started.push(form(cost, &mut cluster));
                }
            });
        }
        for (row, all) in [("form", formed), ("start", started)] {
            let mean = |of: fn(&Spent) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
            let spent = Spent {
                cpu: mean(|spent| spent.cpu),
                simulated: mean(|spent| spent.simulated),
                tls: mean(|spent| spent.tls),
            };
            self.table.note(M::NAME, row, Unit::CpuMillis, spent);
        }
    }

    fn hundred<M: Simulator>(&mut self) {
        let cost = &self.cost;
        let (formed, idle) = simulate::<M, _>(Seed::new(0), Keep::Last(1), |world| {
            let mut cluster = Cluster::plug(world, Options::none(100));
            let formed = form(cost, &mut cluster);
            let idle = |cluster: &mut Cluster<'_, M>| cluster.advance(Duration::from_secs(10));
            (formed, spent(cost, &mut cluster, idle).0)
        });
        self.table
            .note(M::NAME, "hundred form", Unit::CpuSeconds, formed);
        self.table
            .note(M::NAME, "hundred idle", Unit::SimulatedSeconds, idle);
    }
}

/// What `body` takes of a world, and what it answers.
fn spent<M: Simulator, T>(
    cost: &RecordCost,
    cluster: &mut Cluster<'_, M>,
    body: impl FnOnce(&mut Cluster<'_, M>) -> T,
) -> (Spent, T) {
    let carried = cluster.world().network().carried();
    let (cpu, time) = (cpu_seconds(), cluster.world().now());
    let value = body(cluster);
    let (cpu, time) = (cpu_seconds() - cpu, cluster.world().now() - time);
    let carried = cluster.world().network().carried() - carried;
    let spent = Spent {
        cpu,
        simulated: time.as_secs_f64(),
        tls: cost.of(carried.messages, carried.bytes),
    };
    (spent, value)
}

/// Starts what is down of a cluster and waits until it is one.
///
/// # Panics
/// When it does not become one.
fn form<M: Simulator>(cost: &RecordCost, cluster: &mut Cluster<'_, M>) -> Spent {
    let (spent, formed) = spent(cost, cluster, |cluster| {
        cluster.form(Duration::from_secs(1_800))
    });
    if let Err(reason) = formed {
        panic!("{}: it does not form: {reason}", M::NAME);
    }
    spent
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

/// Clients put under faults for half a simulated minute, each again as soon as it is answered.
fn puts_of_clients<M: Simulator>(cluster: &mut Cluster<'_, M>, mut plan: Schedule) -> u32 {
    let (nodes, world) = (cluster.world().hosts(), cluster.world());
    world.plug(CLIENTS, Arc::new(|| Box::pin(async {})));
    assert_eq!(world.start(CLIENTS), Outcome::Installed);
    let putting = put_for::<Simulated<M::Substrate>>(nodes, Duration::from_secs(30));
    let answer = world.spawn(CLIENTS, putting);
    loop {
        cluster.suffer(&mut plan, Duration::from_millis(200));
        if let Some(acknowledged) = answer.take() {
            return acknowledged;
        }
    }
}

/// How many puts were acknowledged to the clients of all nodes.
async fn put_for<R: Runtime>(nodes: Vec<HostId>, time: Duration) -> u32 {
    let end = R::now() + time;
    let channel = |node| client_channel::<R>(node, Duration::from_secs(3));
    let channels: Vec<_> = nodes.into_iter().map(channel).collect();
    let client = |number: usize| {
        let mut kv = KvClient::new(channels[number % channels.len()].clone());
        R::spawn(async move {
            let mut acknowledged = 0;
            while R::now() < end {
                let put = PutRequest {
                    key: format!("client{number}").into(),
                    value: "value".into(),
                    ..PutRequest::default()
                };
                match kv.put(put).await {
                    Ok(_) => acknowledged += 1,
                    Err(_) => R::sleep(Duration::from_millis(50)).await,
                }
            }
            acknowledged
        })
    };
    let clients: Vec<_> = (0..CLIENTS_AT_ONCE).map(client).collect();
    let mut acknowledged = 0;
    for client in clients {
        acknowledged += client.await.unwrap_or(0);
    }
    acknowledged
}

/// An hour of three nodes with a few writes a minute, and what it takes at most.
fn hour<M: Simulator>() {
    in_cluster::<M, _>(Seed::new(5), Options::none(3), Keep::Last(100), |cluster| {
        let cpu = cpu_seconds();
        for minute in 0..60 {
            cluster.advance(Duration::from_secs(60));
            let _ = cluster.put_many(1 + minute % 3, 10);
        }
        let cpu = cpu_seconds() - cpu;
        #[expect(
            clippy::disallowed_methods,
            reason = "an answer of the system in the form of a file"
        )]
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let most = most.map_or("unknown", str::trim);
        let speed = 3_600.0 / cpu;
        println!(
            "{:<8} memory         {cpu:>8.3}     3600.0        600 at most {most}; {speed:.0} sim s / CPU s",
            M::NAME
        );
    });
}

/// What this thread has used, as the kernel counts it.
fn cpu_seconds() -> f64 {
    thread_cpu_time().as_secs_f64()
}
