//! What drives a simulated world from outside: machines that can be stopped, and time that goes on in steps.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::host::HostId;
use crate::outages::Outages;
use crate::seed::Seed;
use crate::substrate::Substrate;

/// A future of a machine.
pub type MachineFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a machine runs from power on; it never ends by itself.
pub type Software = Arc<dyn Fn() -> MachineFuture + Send + Sync>;

/// A simulator from outside.
pub trait Simulator: Sized + 'static {
    /// The same simulator from inside.
    type Substrate: Substrate;
    /// Its name on command lines and in reports.
    const NAME: &'static str;

    /// A world without machines.
    fn new(seed: Seed) -> Self;

    /// Plugs a machine in; its software runs from now on.
    fn plug(&mut self, host: HostId, software: Software);

    /// Drops all that runs on a machine.
    fn stop(&mut self, host: HostId);

    /// Runs the machine's software anew.
    fn restart(&mut self, host: HostId);

    /// Lets time go on a little.
    fn step(&mut self);

    /// Lets time go on until the world has run for so long or a machine's power went.
    fn run(&mut self, until: Duration, outages: &Outages) {
        while self.elapsed() < until && !outages.take() {
            self.step();
        }
    }

    /// How long the world has run.
    fn elapsed(&self) -> Duration;
}
