//! Every scenario on both worlds, from a few seeds.

use std::collections::BTreeSet;

use quorate_reports::Verdict;
use quorate_scenarios::{Faults, WorldName, catalog, run};
use quorate_sim::determinism::same;
use quorate_sim::seed::Seed;
use quorate_sim::trace::Keep;

/// The seeds of a test: few, because a soak is not a test, and such that the faults that the scenario is about do fire on
/// both worlds. With another seed they may not, and then the verdict is unknown, which is no pass.
fn seeds(name: &str) -> &'static [u64] {
    match name {
        // With 5 and 7 sectors are torn.
        "crash" => &[3, 4, 5, 7],
        // With 4 a node that was put back to before it had received a snapshot was believed, with 7 one that was refused until
        // somebody was slow. With 2 an entry is applied when one of its copies has just been destroyed; with 9 and 15 a
        // machine is wiped while it joins; with 10 a standby came up over the image of a spare.
        "damage" => &[1, 2, 4, 5, 6, 7, 9, 10, 15, 27],
        // The history of 1 has many unknown writes in a row.
        "roles" => &[1, 5, 6, 13],
        // With 3 a leader is told to stop, on either world; with 31 on madsim and 156 on turmoil there is trouble while it hands over.
        "restarts" => &[1, 3, 31, 168],
        // With 82 and 111 there is trouble when an heir is chosen.
        "leaders" => &[1, 2, 82, 111],
        // With 4 a version that had not happened yet was added to; with 5 the first node came up over the beginning of its log,
        // in which it was the only voter, and led; with 6 a state differed; with 9 a first member is replaced.
        "rot" => &[4, 5, 6, 9],
        // With 112 and 260 a log lacked what it had promised, after a sync that failed. With 750, a node that had started Raft
        // again and found its memory too old never closed what it had opened. With 1061, a machine that had been paused was
        // paired with connections that others had given up, for ever.
        // The others see what has to be seen: snapshots, full disks, logs that are truncated.
        // With 61914 a leader had no signing key, and nobody could join any more.
        // Of what 10105 draws nothing strikes by itself. With 40025, 41094 and 60371 a follower refused snapshots for ever.
        // With 100016 and 100033 no standbys are wanted, and nobody took the place of a voter; with 100073 a spare became a standby
        // before it had given up its log; with 100149 a spare's disk is replaced; with 105106 a standby never heard that it was one;
        // with 105640 the leader was known as a spare, with 105912 a trouble outlived its cause, with
        // 106169 a new standby met an error of its disk; with 200172 a node that waited for its disk became a spare;
        // with 205506 the first member took its log up anew, at whose beginning it was the only voter; with 203000 and 203640 a
        // new leader looked for a removed member that an old state still named, with 205074 a voter asked voters of yesterday, with
        // 202809 a certificate is renewed by a clock that is ahead. With 201738 nobody is answered for long, and with 205457 a dozen
        // revisions are owned by nobody. With 401055 a reader was answered from what a failed disk had left, and with 404567 a disk
        // could not be read just when the members had changed.
        "swarm" => &[
            11, 112, 242, 260, 400, 750, 1061, 1354, 1449, 3128, 10105, 40025, 41094, 60371, 61914,
            100_016, 100_033, 100_073, 100_149, 105_106, 105_640, 105_912, 106_169, 200_172,
            201_738, 202_809, 203_000, 203_640, 205_074, 205_457, 205_506, 401_055, 404_567,
        ],
        _ => &[1, 2],
    }
}

/// What nodes tell in every run. An invariant over something that nobody tells any more would hold for ever.
const TOLD: &[&str] = &[
    "log-opened",
    "vote-saved",
    "log-flushed",
    "applied",
    "led",
    "configured",
    "members",
    "token-given",
    "token-used",
    "digested",
    "let-in",
];

/// What the seeds of a scenario have to have seen besides, on either world: recovery that never runs is not known to work.
fn recoveries(name: &str) -> &'static [&'static str] {
    match name {
        "swarm" => &[
            "installed",
            "log-purged",
            "log-truncated",
            "raft started again",
            "writes refused by a full disk",
            "writes taken again after a full disk",
        ],
        "roles" => &["shunned", "log-given-up"],
        "restarts" => &["leadership handed over"],
        "damage" => &["shunned", "memory compared and found older"],
        "rot" => &["shunned"],
        _ => &[],
    }
}

/// Which faults the seeds of a scenario have to have shown besides those that mark it.
fn drawn(name: &str) -> &'static [&'static str] {
    match name {
        "partitions" => &["cut-groups", "cut-one-way", "cut-ring", "cut-bridge"],
        "crash" => &["disk-unsynced-lost", "disk-sector-torn"],
        "restarts" => &["buggify/leadership.hand-over"],
        "leaders" => &["buggify/leadership.heir-chosen"],
        _ => &[],
    }
}

fn passes(name: &str, world: WorldName) {
    let scenario = catalog::find(name).expect("it is in the catalog");
    let (mut fired, mut recovered) = (BTreeSet::new(), BTreeSet::new());
    for seed in seeds(name) {
        let report = run(scenario, Seed::new(*seed), world, Keep::Last(1)).report;
        println!("{}", quorate_reports::text::page(&report));
        assert_eq!(
            report.verdict,
            Verdict::Pass,
            "{}\nagain: {}",
            report.reason,
            report.repeat
        );
        fired.extend(report.faults.into_keys());
        recovered.extend(report.recoveries.into_keys());
    }
    for told in TOLD.iter().chain(recoveries(name)) {
        assert!(recovered.contains(*told), "{told} is not in {recovered:?}");
    }
    for fault in drawn(name) {
        assert!(fired.contains(*fault), "{fault} is not in {fired:?}");
    }
    if let Faults::Of { marks, .. } = scenario.faults {
        let all = marks.iter().all(|mark| fired.contains(*mark));
        assert!(
            all,
            "of {marks:?} the seeds of this test have shown {fired:?}"
        );
    }
}

fn repeats(name: &str, world: WorldName) {
    let scenario = catalog::find(name).expect("it is in the catalog");
    let once = || run(scenario, Seed::new(3), world, Keep::All);
    let (first, second) = (once(), once());
    same(&first.recording, &second.recording).unwrap_or_else(|difference| panic!("{difference}"));
    assert_eq!(first.history, second.history);
    assert!(!first.history.is_empty());
}

/// Makes a test of each scenario for each world.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        mod madsim {
            $( #[test] fn $name() { super::passes(stringify!($name), super::WorldName::Madsim); } )*
        }
        mod turmoil {
            $( #[test] fn $name() { super::passes(stringify!($name), super::WorldName::Turmoil); } )*
        }
        #[test]
        fn every_scenario_has_its_tests() {
            let tested = [$( stringify!($name) ),*];
            assert!(catalog::ALL.iter().all(|scenario| tested.contains(&scenario.name)));
        }
    };
}

scenarios![
    smoke, partitions, crash, roles, restarts, leaders, damage, rot, amnesia, swarm
];

/// Those between them have crashes, cuts, members that come and go, machines that are replaced, disks that lie, and what a swarm
/// draws.
const REPEATED: [&str; 6] = ["crash", "partitions", "roles", "damage", "rot", "swarm"];

#[test]
fn same_seed_is_the_same_run_and_the_same_history_on_madsim() {
    for name in REPEATED {
        repeats(name, WorldName::Madsim);
    }
}

#[test]
fn same_seed_is_the_same_run_and_the_same_history_on_turmoil() {
    for name in REPEATED {
        repeats(name, WorldName::Turmoil);
    }
}
