//! The world of turmoil: a real tokio runtime for each machine, its clock paused, the machines ticked in a random order.

mod substrate;
mod world;

pub use substrate::Turmoil;
pub use world::TurmoilWorld;

/// Core's runtime over turmoil.
pub type TurmoilRuntime = crate::runtime::Simulated<Turmoil>;
