//! Machines under madsim.

use std::collections::BTreeMap;
use std::time::Duration;

use madsim::runtime::Runtime;
use madsim::task::NodeId;

use super::Madsim;
use crate::host::HostId;
use crate::seed::Seed;
use crate::simulator::{Simulator, Software};
use crate::substrate::Time;

/// How far one step goes.
const TICK: Duration = Duration::from_millis(5);
/// madsim remembers every task that ever was until it is asked for their number.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// A world under madsim.
pub struct MadsimWorld {
    runtime: Runtime,
    nodes: BTreeMap<HostId, NodeId>,
    elapsed: Duration,
    /// When tasks that had ended were forgotten last.
    forgotten: Duration,
}

impl Simulator for MadsimWorld {
    type Substrate = Madsim;
    const NAME: &'static str = "madsim";

    fn new(seed: Seed) -> Self {
        let mut config = madsim::Config::default();
        // The network below ours is clean and fast.
        config.net.send_latency = Duration::ZERO..Duration::from_micros(1);
        let runtime = Runtime::with_seed_and_config(seed.number(), config);
        Self {
            runtime,
            nodes: BTreeMap::new(),
            elapsed: Duration::ZERO,
            forgotten: Duration::ZERO,
        }
    }

    fn plug(&mut self, host: HostId, software: Software) {
        let ip = host.ip().parse().expect("an address of ours is one");
        let node = self
            .runtime
            .create_node()
            .name(host.to_string())
            .ip(ip)
            .init(move || software())
            .build();
        self.nodes.insert(host, node.id());
    }

    fn stop(&mut self, host: HostId) {
        let (handle, node) = (self.runtime.handle().clone(), self.nodes[&host]);
        self.runtime.block_on(async move { handle.kill(node) });
    }

    fn restart(&mut self, host: HostId) {
        let (handle, node) = (self.runtime.handle().clone(), self.nodes[&host]);
        self.runtime.block_on(async move { handle.restart(node) });
    }

    fn step(&mut self) {
        self.run(self.elapsed, || true);
    }

    /// All of it is one task of madsim's, which remembers for good that each has been.
    fn run(&mut self, until: Duration, mut stop: impl FnMut() -> bool) {
        let (mut elapsed, mut forgotten) = (self.elapsed, self.forgotten);
        let metrics = self.runtime.handle().metrics();
        (self.elapsed, self.forgotten) = self.runtime.block_on(async move {
            loop {
                let left = (elapsed + TICK).saturating_sub(Madsim::elapsed());
                if !left.is_zero() {
                    Madsim::wait(left).await;
                }
                elapsed = Madsim::elapsed();
                if elapsed >= forgotten + FORGET_EVERY {
                    // Counting the tasks of the machines forgets those that have ended.
                    let _ = metrics.num_tasks();
                    forgotten = elapsed;
                }
                if elapsed >= until || stop() {
                    return (elapsed, forgotten);
                }
            }
        });
    }

    fn elapsed(&self) -> Duration {
        self.elapsed
    }
}
