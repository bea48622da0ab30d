//! Machines under madsim.

use std::collections::BTreeMap;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use madsim::runtime::Runtime;
use madsim::task::NodeId;
use madsim::time::TimeHandle;

use super::Madsim;
use super::substrate::{Wait, keep_time};
use crate::host::HostId;
use crate::outages::Outages;
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
        // Connections are made by a clean and fast network.
        config.net.send_latency = Duration::ZERO..Duration::from_micros(1);
        let runtime = Runtime::with_seed_and_config(seed.number(), config);
        keep_time(runtime.block_on(async { TimeHandle::current() }));
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
        self.run(self.elapsed + TICK, &Outages::default());
    }

    /// All of it is one task of madsim's, which remembers for good that each has been. It sleeps to the end: looking around every
    /// few milliseconds would cost as much as a node.
    fn run(&mut self, until: Duration, outages: &Outages) {
        let (mut forgotten, outages) = (self.forgotten, outages.clone());
        let metrics = self.runtime.handle().metrics();
        (self.elapsed, self.forgotten) = self.runtime.block_on(async move {
            loop {
                let next = until.min(forgotten + FORGET_EVERY);
                let left = next.saturating_sub(Madsim::elapsed());
                let outage = is_cut_short(&outages, Madsim::wait(left)).await;
                let elapsed = Madsim::elapsed();
                if elapsed >= forgotten + FORGET_EVERY {
                    // Counting the tasks of the machines forgets those that have ended.
                    let _ = metrics.num_tasks();
                    forgotten = elapsed;
                }
                if outage || elapsed >= until {
                    return (elapsed, forgotten);
                }
            }
        });
    }

    fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

/// Waits; answers whether a machine's power went before it was over.
async fn is_cut_short(outages: &Outages, wait: Wait) -> bool {
    let mut wait = pin!(wait);
    poll_fn(|context| match outages.poll(context) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending => wait.as_mut().poll(context).map(|()| false),
    })
    .await
}
