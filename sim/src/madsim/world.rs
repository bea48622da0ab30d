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

/// A world under madsim.
pub struct MadsimWorld {
    runtime: Runtime,
    nodes: BTreeMap<HostId, NodeId>,
    elapsed: Duration,
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
        let target = self.elapsed + TICK;
        self.elapsed = self.runtime.block_on(async move {
            let left = target.saturating_sub(Madsim::elapsed());
            if !left.is_zero() {
                Madsim::wait(left).await;
            }
            Madsim::elapsed()
        });
    }

    fn elapsed(&self) -> Duration {
        self.elapsed
    }
}
