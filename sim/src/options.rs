//! Everything that a run varies, derived from the seed in one place and printed before the run.
//!
//! A *swarm* run does not have every fault at a little of each: which faults exist at all is drawn first, and how hard
//! each is second. Runs without partitions find what partitions hide, and the other way round. Speeds of disks and links
//! are no faults; they are drawn as well, because several bugs show only when one disk is slower than the rest, or one link.
//! So is how soon a log is cut short: at production's length no run would ever see a snapshot.

use std::fmt;
use std::time::Duration;

use quorate::membership::Policy;
use quorate::raft::config::{DEFAULT_HEARTBEAT, Trimming};
use rand::RngExt;
use rand::rngs::SmallRng;

use crate::buggify::POINTS;
use crate::clock::ClockError;
use crate::disk::DiskSpeed;
use crate::faults::Kind;
use crate::seed::Seed;

/// What a run varies.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How many nodes there are.
    pub nodes: u16,
    /// How many machines stand by that may join them.
    pub reserve: u16,
    /// The speed of each node's disk, in the order of nodes.
    pub disks: Vec<DiskSpeed>,
    /// How wrong each node's clocks are by themselves, in the order of nodes; none where all are right.
    pub clocks: Vec<ClockError>,
    /// A message between machines takes at least this long.
    pub delay_least: Duration,
    /// And at most this long.
    pub delay_most: Duration,
    /// Between these two machines so much longer, both ways.
    pub long_link: Option<(u16, u16, Duration)>,
    /// How many standbys the cluster wants; members beyond them and the voters are spares.
    pub standbys: usize,
    /// Raft's times follow from it.
    pub heartbeat: Duration,
    /// When logs are cut short.
    pub trimming: Trimming,
    /// Which faults exist, each with its weight against the others.
    pub faults: Vec<(Kind, u32)>,
    /// The mean time between two faults.
    pub fault_every: Duration,
    /// The mean time that a fault lasts.
    pub fault_lasts: Duration,
    /// How far a clock drifts at most, in millionths.
    pub drift_per_million: i32,
    /// Whether the named points of core make trouble.
    pub buggify: bool,
}

impl Options {
    /// A cluster of equal machines on a good network, without a fault.
    #[must_use]
    pub fn none(nodes: u16) -> Self {
        Self {
            nodes,
            reserve: 0,
            clocks: Vec::new(),
            disks: vec![DiskSpeed::syncing_in(Duration::from_millis(1)); nodes.into()],
            delay_least: Duration::from_micros(200),
            delay_most: Duration::from_millis(2),
            long_link: None,
            standbys: Policy::production().standbys,
            heartbeat: DEFAULT_HEARTBEAT,
            trimming: Trimming::PRODUCTION,
            faults: Vec::new(),
            fault_every: Duration::from_secs(3600),
            fault_lasts: Duration::ZERO,
            drift_per_million: 0,
            buggify: false,
        }
    }

    /// The same on a cluster whose size the seed draws as well, for some with machines in reserve and members that come and go, for
    /// some with disks that are replaced.
    #[must_use]
    pub fn wide_swarm(seed: Seed) -> Self {
        let mut rng = seed.labelled("shape").rng();
        let nodes = [3, 3, 3, 4, 5][rng.random_range(0..5)];
        let reserve = [0, 0, 0, 1, 2][rng.random_range(0..5)];
        let mut options = Self {
            reserve,
            ..Self::swarm(nodes, seed)
        };
        if reserve > 0 {
            let changes = [Kind::Join, Kind::Leave, Kind::Remove];
            let weighed = changes.map(|kind| (kind, rng.random_range(1..=8)));
            options.faults.extend(weighed);
        } else {
            options.faults.extend(Self::wipes(seed));
        }
        options
    }

    /// In some clusters machines get empty disks, where nobody leaves: members that are gone spare nobody any more. Of a stream of
    /// its own, so that the other options stay; a schedule with one more kind is another one.
    fn wipes(seed: Seed) -> Option<(Kind, u32)> {
        let mut rng = seed.labelled("wipes").rng();
        rng.random_bool(0.3)
            .then(|| (Kind::Wipe, rng.random_range(1..=4)))
    }

    /// Any of the faults that the cluster has to survive, as hard as the seed says.
    #[must_use]
    pub fn swarm(nodes: u16, seed: Seed) -> Self {
        let mut rng = seed.labelled("options").rng();
        let mut faults: Vec<(Kind, u32)> = Vec::new();
        for kind in Kind::SURVIVABLE {
            // Each is drawn whether or not it is taken, so that a kind added at the end changes none before it.
            let (taken, weight) = (rng.random_bool(0.5), rng.random_range(1..=8));
            if taken {
                faults.push((kind, weight));
            }
        }
        let every = Duration::from_millis(rng.random_range(300..5000));
        let lasts = Duration::from_millis(rng.random_range(100..6000));
        let drift = if rng.random_bool(0.3) {
            rng.random_range(0..50_000)
        } else {
            0
        };
        Self {
            faults,
            fault_every: every,
            fault_lasts: lasts,
            drift_per_million: drift,
            // Of streams of their own: what was drawn before them stays.
            clocks: Self::clocks(nodes, seed),
            standbys: [0, 1, 3][seed.labelled("standbys").rng().random_range(0..3)],
            buggify: seed.labelled("buggify").rng().random_bool(0.75),
            ..Self::drawn(nodes, &mut rng)
        }
    }

    /// How far a drifting clock drifts at most, in millionths: no less than what shows.
    #[must_use]
    pub fn drift(&self) -> i32 {
        self.drift_per_million.max(1_000)
    }

    /// What is counted when any of the run's faults has struck, or a named point.
    pub fn strikes(&self) -> impl Iterator<Item = &'static str> {
        let kinds = self.faults.iter().flat_map(|(kind, _)| kind.strikes());
        let points = POINTS.iter().filter(|_| self.buggify);
        kinds.chain(points).copied()
    }

    /// Half of all clusters have clocks that are up to twenty minutes off, so that two of them are less than the hour apart for
    /// which certificates are back-dated, and drift as quartz does.
    fn clocks(nodes: u16, seed: Seed) -> Vec<ClockError> {
        let mut rng = seed.labelled("clocks").rng();
        if rng.random_bool(0.5) {
            return Vec::new();
        }
        let error = |_| ClockError {
            millis: rng.random_range(-1_200_000..=1_200_000),
            per_million: rng.random_range(-100..=100),
        };
        (0..nodes).map(error).collect()
    }

    /// Machines and links of drawn speeds, no fault.
    fn drawn(nodes: u16, rng: &mut SmallRng) -> Self {
        let usual = Duration::from_micros(rng.random_range(100..4000));
        let slow_one = rng.random_bool(0.4).then(|| rng.random_range(0..nodes));
        let disk = |node| {
            let speed = DiskSpeed::syncing_in(usual);
            if Some(node) == slow_one {
                speed.slower(6)
            } else {
                speed
            }
        };
        let delay_least = Duration::from_micros(rng.random_range(50..2000));
        let delay_most = delay_least + Duration::from_micros(rng.random_range(100..15_000));
        let long_link = (nodes > 1 && rng.random_bool(0.3)).then(|| {
            let one = rng.random_range(1..nodes);
            let other = rng.random_range(one + 1..=nodes);
            (one, other, Duration::from_millis(rng.random_range(2..12)))
        });
        let trimming = if rng.random_bool(0.6) {
            Trimming {
                snapshot_every: rng.random_range(20..150),
                keep: rng.random_range(0..40),
            }
        } else {
            Trimming::PRODUCTION
        };
        Self {
            disks: (0..nodes).map(disk).collect(),
            delay_least,
            delay_most,
            long_link,
            heartbeat: DEFAULT_HEARTBEAT,
            trimming,
            ..Self::none(nodes)
        }
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nodes={} reserve={} syncs=", self.nodes, self.reserve)?;
        for (index, disk) in self.disks.iter().enumerate() {
            write!(f, "{}{:?}", if index == 0 { "" } else { "," }, disk.sync)?;
        }
        for (index, clock) in self.clocks.iter().enumerate() {
            let before = if index == 0 { " clocks=" } else { "," };
            write!(f, "{before}{}ms{:+}ppm", clock.millis, clock.per_million)?;
        }
        write!(f, " delay={:?}..{:?} ", self.delay_least, self.delay_most)?;
        if let Some((one, other, longer)) = self.long_link {
            write!(f, "long={one}-{other}:{longer:?} ")?;
        }
        let Trimming {
            snapshot_every,
            keep,
        } = self.trimming;
        let heartbeat = self.heartbeat;
        write!(
            f,
            "standbys={} heartbeat={heartbeat:?} snapshots={snapshot_every} keep={keep} faults=",
            self.standbys
        )?;
        for (index, (kind, weight)) in self.faults.iter().enumerate() {
            write!(
                f,
                "{}{}:{weight}",
                if index == 0 { "" } else { "," },
                kind.name()
            )?;
        }
        let (every, lasts, drift) = (self.fault_every, self.fault_lasts, self.drift());
        let buggify = if self.buggify { "on" } else { "off" };
        write!(
            f,
            " every={every:?} lasts={lasts:?} drift={drift}ppm buggify={buggify}"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn options_follow_from_the_seed_and_are_printed_in_full() {
        let options = Options::swarm(5, Seed::new(3));
        assert_eq!(options, Options::swarm(5, Seed::new(3)));
        assert_ne!(options, Options::swarm(5, Seed::new(4)));
        let printed = options.to_string();
        assert!(
            options
                .faults
                .iter()
                .all(|(kind, _)| printed.contains(kind.name())),
            "{printed}"
        );
        assert_eq!(printed.lines().count(), 1);
    }

    #[test]
    fn seeds_choose_different_sets_of_faults_and_some_choose_few() {
        let all: Vec<Options> = (0..200)
            .map(|seed| Options::swarm(3, Seed::new(seed)))
            .collect();
        let sets: BTreeSet<Vec<Kind>> = all
            .iter()
            .map(|options| options.faults.iter().map(|(kind, _)| *kind).collect())
            .collect();
        assert!(sets.len() > 150);
        let fewest = all.iter().map(|options| options.faults.len()).min();
        assert!(fewest < Some(Kind::SURVIVABLE.len() / 3), "{fewest:?}");
        let uneven = all.iter().filter(|options| {
            options
                .disks
                .iter()
                .any(|disk| disk.sync != options.disks[0].sync)
        });
        assert!(uneven.count() > 40, "one slow disk is a common case");
        let cut = all
            .iter()
            .filter(|options| options.trimming != Trimming::PRODUCTION);
        assert!(
            (80..160).contains(&cut.count()),
            "logs are cut in most runs"
        );
        let long = all.iter().filter(|options| options.long_link.is_some());
        assert!((30..100).contains(&long.count()));
    }

    #[test]
    fn wide_swarms_have_all_sizes_and_members_come_and_go_only_where_machines_stand_by() {
        let all: Vec<Options> = (0..100)
            .map(|seed| Options::wide_swarm(Seed::new(seed)))
            .collect();
        let sizes: BTreeSet<u16> = all.iter().map(|options| options.nodes).collect();
        assert_eq!(sizes, BTreeSet::from([3, 4, 5]));
        for options in &all {
            let changes = options.faults.iter().any(|(kind, _)| *kind == Kind::Leave);
            assert_eq!(changes, options.reserve > 0);
            let wipes = options.faults.iter().any(|(kind, _)| *kind == Kind::Wipe);
            assert!(!(changes && wipes));
            assert_eq!(options.disks.len(), usize::from(options.nodes));
        }
        let wiped = all.iter().filter(|options| {
            let mut kinds = options.faults.iter().map(|(kind, _)| *kind);
            kinds.any(|kind| kind == Kind::Wipe)
        });
        assert!((5..40).contains(&wiped.count()));
        let moving = all.iter().filter(|options| options.reserve > 0);
        assert!((20..60).contains(&moving.count()));
    }
}
