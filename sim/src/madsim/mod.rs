//! The world of madsim: one queue of ready tasks over all machines, of which a random one is polled next.

mod substrate;
mod world;

pub use substrate::Madsim;
pub use world::MadsimWorld;

/// Core's runtime over madsim.
pub type MadsimRuntime = crate::runtime::Simulated<Madsim>;
