//! What most tests of clusters need.

pub use std::time::Duration;

pub use crate::cluster::{Cluster, in_cluster};
pub use crate::determinism::{Recording, same, twice};
pub use crate::host::HostId;
pub use crate::madsim::MadsimWorld;
pub use crate::options::Options;
pub use crate::seed::Seed;
pub use crate::trace::Keep;
pub use crate::turmoil::TurmoilWorld;
pub use crate::world::{SimulatedTime, World};
