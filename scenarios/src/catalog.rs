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
        reserve: 0,
        faults: Faults::None,
        workload: USUAL,
        suffers: secs(5),
        calm: secs(1),
        converges: secs(30),
    },
    Scenario {
        name: "partitions",
        story: "links are cut in every shape, and no reader is sent back in time",
        // With fewer a ring cuts nothing.
        nodes: 5,
        reserve: 0,
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
        reserve: 0,
        faults: Faults::Of {
            kinds: &[Kind::CrashAtWrite, Kind::Crash, Kind::CrashAll],
            every: Duration::from_millis(1500),
            lasts: Duration::from_millis(700),
            marks: &["disk-fuse-blown", "crash"],
        },
        workload: USUAL,
        suffers: secs(12),
        calm: secs(3),
        converges: secs(60),
    },
    Scenario {
        name: "roles",
        story: "voters are gone for longer than the cluster waits, machines join, members leave and are removed",
        nodes: 4,
        reserve: 2,
        faults: Faults::Of {
            kinds: &[
                Kind::Kill,
                Kind::Crash,
                Kind::Join,
                Kind::Join,
                Kind::Leave,
                Kind::Remove,
            ],
            every: secs(5),
            lasts: secs(12),
            marks: &[
                ROLE_CHANGED,
                "member-joined",
                "member-left",
                "member-removed",
            ],
        },
        workload: USUAL,
        suffers: secs(80),
        calm: secs(10),
        converges: secs(120),
    },
    Scenario {
        name: "restarts",
        story: "nodes are stopped in order and started again, over links that are slow, and leadership changes hands",
        nodes: 3,
        reserve: 0,
        faults: Faults::Of {
            kinds: &[Kind::Restart, Kind::Restart, Kind::Delay, Kind::Pause],
            every: Duration::from_millis(1500),
            lasts: secs(1),
            marks: &["restarted"],
        },
        workload: USUAL,
        suffers: secs(15),
        calm: secs(3),
        converges: secs(60),
    },
    Scenario {
        name: "leaders",
        story: "an operator has now one node lead and now another, over links that are slow and past nodes that stand still",
        nodes: 3,
        reserve: 0,
        faults: Faults::Of {
            kinds: &[Kind::Lead, Kind::Lead, Kind::Lead, Kind::Delay, Kind::Pause],
            every: secs(1),
            lasts: secs(1),
            marks: &["asked-to-lead"],
        },
        workload: USUAL,
        suffers: secs(15),
        calm: secs(3),
        converges: secs(60),
    },
    Scenario {
        name: "damage",
        story: "disks are replaced by empty ones and put back to older states, as many as the cluster can spare",
        nodes: 3,
        reserve: 0,
        faults: Faults::Of {
            kinds: &[Kind::Wipe, Kind::StaleImage, Kind::StaleImage, Kind::Delay],
            every: secs(4),
            lasts: secs(3),
            marks: &["wiped-in-use", "disk-stale-image"],
        },
        workload: USUAL,
        suffers: secs(20),
        calm: secs(5),
        converges: secs(120),
    },
    Scenario {
        name: "rot",
        story: "bits rot, writes are lost or land elsewhere, on as many disks as the cluster can spare, and no answer is wrong",
        nodes: 3,
        reserve: 0,
        faults: Faults::Of {
            kinds: &[
                Kind::BitRot,
                Kind::BitRot,
                Kind::LostWrites,
                Kind::MisdirectedWrites,
            ],
            every: secs(3),
            lasts: Duration::from_millis(1500),
            marks: &[
                "disk-bit-rot",
                "disk-lost-write",
                "disk-misdirected-write",
                "damage-found",
            ],
        },
        workload: USUAL,
        suffers: secs(20),
        calm: secs(5),
        converges: secs(120),
    },
    Scenario {
        name: "amnesia",
        story: "most nodes forget what they promised, and the cluster refuses to serve rather than to answer from yesterday",
        nodes: 3,
        reserve: 0,
        faults: Faults::Amnesia,
        workload: USUAL,
        suffers: secs(8),
        calm: secs(5),
        converges: secs(20),
    },
    Scenario {
        name: "swarm",
        story: "whatever the seed draws of all faults that three, four or five nodes have to survive",
        nodes: 3,
        reserve: 0,
        faults: Faults::Swarm,
        workload: USUAL,
        suffers: secs(12),
        calm: secs(3),
        converges: secs(90),
    },
];

/// Scenarios that do not pass, for whoever wants to see what that looks like. They are found by name and not listed.
pub const HIDDEN: &[Scenario] = &[
    Scenario {
        name: "lying-disks",
        story: "no disk does what it says it has synced, and the power goes: this must be found",
        nodes: 3,
        reserve: 0,
        faults: Faults::Lies,
        workload: USUAL,
        suffers: secs(5),
        calm: secs(1),
        converges: secs(5),
    },
    Scenario {
        name: "nothing-fires",
        story: "a fault is waited for that never comes: nothing is shown by that",
        nodes: 3,
        reserve: 0,
        faults: Faults::Of {
            kinds: &[],
            every: secs(1),
            lasts: secs(1),
            marks: &["never"],
        },
        workload: USUAL,
        suffers: secs(2),
        calm: secs(1),
        converges: secs(30),
    },
];

/// The scenario of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    let mut all = ALL.iter().chain(HIDDEN);
    all.find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use quorate_sim::seed::Seed;

    use super::*;

    #[test]
    fn names_are_distinct_and_found() {
        let all = || ALL.iter().chain(HIDDEN);
        let names: BTreeSet<&str> = all().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all().count());
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
