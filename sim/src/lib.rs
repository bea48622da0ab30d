//! Whole clusters of the production code, unchanged, in one thread and simulated time.
//!
//! Three layers. At the bottom, a *simulator* gives time, tasks and connections: `madsim` (random scheduling) or
//! `turmoil` (real tokio), two independent ones, so that a bug in one of them is not taken for a bug of ours. In the
//! middle, everything that fails is our own and the same over both: machines with their clocks, the disk under SQLite,
//! the links. On top, a *world* that a test or a scenario drives. Same seed, same run, bit for bit.
//!
//! | file | what it holds |
//! |---|---|
//! | `seed.rs` | [`Seed`](seed::Seed): the one number, and its labelled streams |
//! | `host.rs`, `sync.rs` | machines by number; the one way to take a lock |
//! | `disk/` | a disk that tears, forgets, lies and stalls, and SQLite's way to it |
//! | `net/` | rules about links, and streams that keep them |
//! | `clock.rs`, `machine.rs` | clocks that are wrong; machines, and the tasks that live on them |
//! | `substrate.rs`, `simulator.rs` | what a simulator has to give, from inside and from outside |
//! | `madsim/`, `turmoil/` | the two that give it |
//! | `runtime.rs` | core's `Runtime` over either |
//! | `outages.rs` | how the world hears that a machine's power went |
//! | `world.rs` | what can be done to machines and links, and time |
//! | `simulation.rs` | all of that, done to machines of ours over a simulator |
//! | `faults/` | faults as values, what a cluster has to survive, and the plan of a run |
//! | `buggify.rs` | trouble at the named points of core |
//! | `options.rs` | everything that a run varies, from the seed, in one line |
//! | `invariants/` | what must hold at every moment, checked as it happens |
//! | `cluster/` | a cluster of real nodes, driven in prose |
//! | `liveness.rs` | whether a cluster has come together, or the first reason why not |
//! | `determinism.rs` | two runs of one seed, compared |
//! | `cpu.rs` | what a run costs |
//! | `prelude.rs` | what most tests of clusters need |
//! | `trace.rs` | what happened, and its digest |

#[cfg(not(madsim))]
compile_error!(
    "quorate-sim needs `--cfg madsim`, which .cargo/config.toml sets; an environment variable RUSTFLAGS replaces that \
     setting: unset it, or add the flag to it"
);

pub mod buggify;
pub mod clock;
pub mod cluster;
pub mod cpu;
pub mod determinism;
pub mod disk;
pub mod faults;
pub mod host;
pub mod invariants;
pub mod liveness;
pub mod machine;
pub mod madsim;
pub mod net;
pub mod options;
pub mod outages;
pub mod prelude;
pub mod runtime;
pub mod seed;
pub mod simulation;
pub mod simulator;
pub mod substrate;
mod sync;
pub mod trace;
pub mod turmoil;
pub mod world;

/// The README's test compiles as it is shown.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
