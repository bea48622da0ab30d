//! Where a cluster, a workload, faults, checks and a report meet.
//!
//! | file | noun |
//! |---|---|
//! | [`scenario`] | [`Scenario`], which is data: machines, workload, faults, times |
//! | [`catalog`] | all of them, by name |
//! | [`client`] | a client that speaks etcd's API to one node, and what its answers mean |
//! | [`workload`] | what clients ask: reads, unique writes and transactions on a few registers |
//! | [`soak`] | many runs, one after the other, and what came of them |
//! | [`run`](mod@run) | one run: build, break, heal, converge, judge, report |
//! | [`judge`] | the verdict over a history, what nodes broke, and what never happened |
//! | [`world`] | the worlds by name |
//!
//! A run is (scenario, seed, world): everything else follows, and is printed before the run. Nodes know nothing of any of
//! this: clients reach them over the same failing network through etcd's API, as Kubernetes would.

pub mod catalog;
pub mod client;
pub mod judge;
pub mod run;
pub mod scenario;
pub mod soak;
pub mod workload;
pub mod world;

pub use run::{Run, run};
pub use scenario::{Faults, Scenario};
pub use world::WorldName;
