//! A whole run under a swarm of faults, with writes between them: what tests repeat, compare and count.

use std::time::Duration;

use crate::cluster::{Cluster, Failure, in_cluster};
use crate::determinism::Recording;
use crate::faults::Schedule;
use crate::madsim::MadsimWorld;
use crate::options::Options;
use crate::seed::Seed;
use crate::simulator::Simulator;
use crate::trace::Keep;
use crate::turmoil::TurmoilWorld;

/// What the host does in the middle of a run, which must not make a difference.
pub type Meanwhile = fn();

/// A run in some world.
pub type Run = fn(Seed, Keep, Meanwhile) -> Recording;

/// The run in each of the worlds. That they are named here has the node and all that drives it compiled once for both, in this
/// crate: at the dev profile's level rustc lets tests and scenarios share that, which took them minutes each otherwise.
pub static RUNS: [(&str, Run); 2] = [
    (MadsimWorld::NAME, swarm::<MadsimWorld>),
    (TurmoilWorld::NAME, swarm::<TurmoilWorld>),
];

/// How long the cluster may take to come together when everything is well again.
const CONVERGES: Duration = Duration::from_secs(90);

/// Three nodes under the faults that the seed draws; then they heal, and converge.
///
/// # Panics
/// When an invariant is broken, the cluster does not converge, or nothing was written at all.
pub fn swarm<M: Simulator>(seed: Seed, keep: Keep, meanwhile: Meanwhile) -> Recording {
    in_cluster::<M, _>(seed, Options::swarm(3, seed), keep, |cluster| {
        println!("{} seed={seed} {}", M::NAME, cluster.options());
        let nodes = cluster.world().hosts();
        let mut plan = Schedule::new(&cluster.options().clone(), &nodes, seed);
        let acknowledged = suffer_and_write(cluster, &mut plan, 12);
        meanwhile();
        let acknowledged = acknowledged + suffer_and_write(cluster, &mut plan, 12);
        cluster.heal();
        let healed = cluster.converge(CONVERGES);
        println!(
            "acknowledged={acknowledged} fired={:?} told={:?}",
            cluster.world().fired(),
            cluster.world().witness().told()
        );
        cluster.assert_sound();
        if let Err(reason) = healed {
            panic!(
                "not converged: {reason}\n{}\n{}",
                cluster.describe(),
                cluster.world().trace().lines().join("\n")
            );
        }
        assert!(
            acknowledged > 0,
            "a run in which nothing was written has shown nothing"
        );
        Recording::of(cluster.world().trace())
    })
}

/// Lets faults happen in so many rounds and writes after each of them; answers how many writes were acknowledged.
pub fn suffer_and_write<M: Simulator>(
    cluster: &mut Cluster<'_, M>,
    plan: &mut Schedule,
    rounds: u16,
) -> u32 {
    let mut acknowledged = 0;
    for round in 0..rounds {
        cluster.suffer(plan, Duration::from_millis(700));
        for write in 0..3 {
            let number = 1 + (round + write) % 3;
            match cluster.put(number, &format!("key{write}"), &round.to_string()) {
                Ok(_) => acknowledged += 1,
                Err(Failure::Refused(_) | Failure::Unknown) => {}
            }
        }
    }
    acknowledged
}
