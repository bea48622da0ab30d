//! Machines under turmoil.

use std::time::Duration;

use super::Turmoil;
use crate::host::HostId;
use crate::seed::Seed;
use crate::simulator::{Simulator, Software};

/// How far one step goes. A message that a machine gets in the same step comes when it is due, and another one with the next step;
/// what a run costs goes with the number of steps.
const TICK: Duration = Duration::from_millis(10);
/// turmoil ends a simulation at some time: never, here.
const NEVER: Duration = Duration::from_secs(1 << 40);

/// A world under turmoil.
pub struct TurmoilWorld {
    simulation: turmoil::Sim<'static>,
}

impl Simulator for TurmoilWorld {
    type Substrate = Turmoil;
    const NAME: &'static str = "turmoil";

    fn new(seed: Seed) -> Self {
        let simulation = turmoil::Builder::new()
            .rng_seed(seed.number())
            .simulation_duration(NEVER)
            .tick_duration(TICK)
            .enable_random_order()
            // Connections are made by a clean and fast network.
            .min_message_latency(Duration::ZERO)
            .max_message_latency(Duration::from_millis(1))
            // Of a hundred machines all may ask one for a connection at once; more than fit would be a panic.
            .tcp_capacity(1 << 16)
            .epoch(std::time::UNIX_EPOCH)
            .build();
        Self { simulation }
    }

    fn plug(&mut self, host: HostId, software: Software) {
        self.simulation.host(host.ip(), move || {
            let running = software();
            async move {
                running.await;
                Ok(())
            }
        });
    }

    fn stop(&mut self, host: HostId) {
        self.simulation.crash(host.ip());
    }

    fn restart(&mut self, host: HostId) {
        self.simulation.bounce(host.ip());
    }

    fn step(&mut self) {
        self.simulation
            .step()
            .expect("no software of ours ends, let alone with an error");
    }

    fn elapsed(&self) -> Duration {
        self.simulation.elapsed()
    }
}
