//! A scenario as data.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_sim::faults::Kind;
use quorate_sim::options::Options;
use quorate_sim::seed::Seed;

/// What is built, asked, broken and expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// What it is called on command lines and in reports.
    pub name: &'static str,
    /// What it shows, in one sentence.
    pub story: &'static str,
    /// How many nodes there are.
    pub nodes: u16,
    /// How many machines stand by that may join them.
    pub reserve: u16,
    /// What happens to them.
    pub faults: Faults,
    /// What clients ask.
    pub workload: Workload,
    /// How long faults come.
    pub suffers: Duration,
    /// How long clients go on after everything was healed.
    pub calm: Duration,
    /// How soon the cluster must have come together after that.
    pub converges: Duration,
}

/// What happens to nodes. Speeds of disks and links are drawn from the seed in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Faults {
    /// Nothing.
    None,
    /// Some of these, equally often.
    Of {
        /// Which kinds there are.
        kinds: &'static [Kind],
        /// The mean time between two.
        every: Duration,
        /// The mean time that one lasts.
        lasts: Duration,
        /// Counts of which at least one must have been seen, or the run has shown nothing.
        marks: &'static [&'static str],
    },
    /// The disks of more followers than the cluster can spare are put back to an older state at once: more than any cluster
    /// can survive. It has to refuse to serve.
    Amnesia,
    /// Disks that sync nothing, and losses of power: more than any cluster can survive.
    Lies,
    /// Whichever the seed draws of all that the cluster has to survive, as hard as it says, on as many nodes as it says.
    Swarm,
}

/// What clients ask: reads, writes and transactions on registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// How many clients there are at a time.
    pub clients: u32,
    /// On how many registers.
    pub registers: u64,
    /// The mean pause between two requests, over all clients.
    pub pause: Duration,
}

impl Scenario {
    /// Everything that a run of this scenario varies.
    #[must_use]
    pub fn options(&self, seed: Seed) -> Options {
        if self.faults == Faults::Swarm {
            return Options::wide_swarm(seed);
        }
        let swarm = Options {
            reserve: self.reserve,
            ..Options::swarm(self.nodes, seed)
        };
        match self.faults {
            Faults::Swarm => swarm,
            Faults::None | Faults::Amnesia => Options {
                faults: Vec::new(),
                drift_per_million: 0,
                buggify: false,
                ..swarm
            },
            Faults::Lies => Options {
                faults: vec![(Kind::CrashAll, 1)],
                fault_every: Duration::from_secs(1),
                fault_lasts: Duration::from_millis(500),
                drift_per_million: 0,
                ..swarm
            },
            Faults::Of {
                kinds,
                every,
                lasts,
                ..
            } => Options {
                faults: kinds.iter().map(|kind| (*kind, 1)).collect(),
                fault_every: every,
                fault_lasts: lasts,
                drift_per_million: 0,
                ..swarm
            },
        }
    }

    /// Whether what fired is enough for the run of this seed to have shown something.
    ///
    /// Of a scenario's marks any will do: that one seed sees all of them in a short run is luck. That a sample of seeds sees
    /// each is asked by the test of the catalogue.
    #[must_use]
    pub fn is_shown_by(&self, seed: Seed, fired: &BTreeMap<String, u64>) -> bool {
        let has_fired = |mark: &str| fired.get(mark).is_some_and(|times| *times > 0);
        match self.faults {
            Faults::None | Faults::Lies => true,
            Faults::Amnesia => has_fired("disk-stale-image"),
            // A seed may draw no fault at all, and says so in the options.
            Faults::Swarm => {
                let options = self.options(seed);
                options.faults.is_empty() || options.strikes().any(has_fired)
            }
            Faults::Of { marks, .. } => marks.iter().any(|mark| has_fired(mark)),
        }
    }
}
