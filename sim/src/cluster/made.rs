//! The code of a whole node in both worlds, as part of this library.
//!
//! What is built without much optimisation uses what a library has made of generic code. So tests and scenarios need not make
//! it anew, each of them for minutes.

use super::Cluster;
use crate::madsim::MadsimWorld;
use crate::options::Options;
use crate::simulation::Simulation;
use crate::turmoil::TurmoilWorld;

/// What makes a cluster in a world, and its nodes with it.
type Plug<M> = fn(&'static mut Simulation<M>, Options) -> Cluster<'static, M>;

/// Nobody calls them by this name: being named is what has them made.
pub static MADE: (Plug<MadsimWorld>, Plug<TurmoilWorld>) = (Cluster::plug, Cluster::plug);
