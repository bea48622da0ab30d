//! All scenarios, by name.
//!
//! Each is small enough for a test. What makes a scenario large is the number of seeds.

use std::time::Duration;

use quorate_sim::faults::Kind;

use crate::run::ROLE_CHANGED;
use crate::scenario::{Faults, Scenario, Workload};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Eight clients on three registers, twenty requests a second.
const USUAL: Workload = Workload {
    clients: 8,
    registers: 3,
    pause: Duration::from_millis(50),
};

/// Every scenario, simplest first.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "smoke",
        story: "nothing fails, and every read sees the last write",
        nodes: 3,
        faults: Faults::None,
        workload: USUAL,
        suffers: secs(5),
        calm: secs(1),
        converges: secs(30),
    },
    Scenario {
        name: "partitions",
        story: "links are cut in every shape, and no reader is sent back in time",
        nodes: 3,
        faults: Faults::Of {
            kinds: &[
                Kind::Partition,
                Kind::OneWay,
                Kind::Ring,
                Kind::Bridge,
                Kind::Clog,
            ],
            every: Duration::from_millis(1500),
            lasts: secs(2),
            marks: &["link-blocked"],
        },
        workload: USUAL,
        suffers: secs(12),
        calm: secs(3),
        converges: secs(60),
    },
    Scenario {
        name: "crash",
        story: "power goes at any write, on one node or on all, and nothing acknowledged is lost",
        nodes: 3,
        faults: Faults::Of {
            kinds: &[Kind::CrashAtWrite, Kind::Crash, Kind::CrashAll],
            every: Duration::from_millis(1500),
            lasts: Duration::from_millis(700),
            marks: &["power-lost"],
        },
        workload: USUAL,
        suffers: secs(12),
        calm: secs(3),
        converges: secs(60),
    },
    Scenario {
        name: "roles",
        story: "voters are gone for longer than the cluster waits, standbys take their place, and come back",
        nodes: 4,
        faults: Faults::Of {
            kinds: &[Kind::Kill, Kind::Crash],
            every: secs(9),
            lasts: secs(12),
            marks: &[ROLE_CHANGED],
        },
        workload: USUAL,
        suffers: secs(50),
        calm: secs(10),
        converges: secs(90),
    },
    Scenario {
        name: "swarm",
        story: "whatever the seed draws of all faults that three nodes have to survive",
        nodes: 3,
        faults: Faults::Swarm,
        workload: USUAL,
        suffers: secs(12),
        calm: secs(3),
        converges: secs(90),
    },
];

/// The scenario of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use quorate_sim::seed::Seed;

    use super::*;

    #[test]
    fn names_are_distinct_and_found() {
        let names: BTreeSet<&str> = ALL.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(names.iter().all(|name| find(name).is_some()));
        assert_eq!(find("peace"), None);
    }

    #[test]
    fn options_have_the_faults_that_are_asked_for_and_no_other() {
        let faults = |name, seed| {
            find(name)
                .expect("it is in the list")
                .options(Seed::new(seed))
                .faults
        };
        assert_eq!(faults("smoke", 1), []);
        assert_eq!(faults("crash", 1).len(), 3);
        assert_ne!(faults("swarm", 1), faults("swarm", 2));
    }
}
