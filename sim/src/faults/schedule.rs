//! When which fault happens to whom, as the options and the seed say.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::{
    Atlas, ClockFault, Damage, DiskTrouble, Fault, Kind, LinkFault, MemberChange, ProcessFault,
    Rot, Shape,
};
use crate::clock::Strobe;
use crate::disk::{CrashMode, DiskFaults, DiskSpeed, Rate};
use crate::host::HostId;
use crate::net::Effect;
use crate::options::Options;
use crate::seed::Seed;

/// Draws faults one after the other. It asks the world nothing, so that the same seed makes the same plan whatever the
/// cluster does.
#[derive(Debug, Clone)]
pub struct Schedule {
    rng: SmallRng,
    nodes: Vec<HostId>,
    atlas: Atlas,
    kinds: Vec<(Kind, u32)>,
    every: Duration,
    lasts: Duration,
    drift_per_million: i32,
    /// Nothing was drawn yet.
    first: bool,
}

/// The first fault comes no later: runs are short, and one in which nothing ever happened has shown nothing.
const FIRST: Duration = Duration::from_secs(3);

/// A fault that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// After the one before it, so long.
    pub after: Duration,
    /// The fault.
    pub fault: Fault,
    /// How long it lasts.
    pub lasts: Duration,
}

impl Schedule {
    /// The plan of a run over these nodes. Those behind the first so many that the cluster has are in reserve: what the cluster
    /// can spare is counted without them.
    #[must_use]
    pub fn new(options: &Options, nodes: &[HostId], seed: Seed) -> Self {
        let members = nodes.len().min(options.nodes.into());
        Self {
            rng: seed.labelled("schedule").rng(),
            nodes: nodes.to_vec(),
            atlas: Atlas::new(&nodes[..members], seed),
            kinds: options.faults.clone(),
            every: options.fault_every,
            lasts: options.fault_lasts,
            drift_per_million: options.drift(),
            first: true,
        }
    }

    /// A time of this mean: mostly shorter, now and then much longer.
    fn time(&mut self, mean: Duration) -> Duration {
        let uniform: f64 = self.rng.random_range(0.001..1.0);
        mean.mul_f64(-uniform.ln())
    }

    fn node(&mut self) -> HostId {
        *self
            .nodes
            .choose(&mut self.rng)
            .expect("a cluster has nodes")
    }

    /// A node whose data may be damaged, if there is any.
    fn victim(&mut self) -> Option<HostId> {
        let victims: Vec<HostId> = self.atlas.damageable().collect();
        victims.choose(&mut self.rng).copied()
    }

    /// Two different nodes, or the same one where there is but one.
    fn pair(&mut self) -> (HostId, HostId) {
        let mut nodes = self.shuffled();
        let first = nodes.pop().expect("a cluster has nodes");
        (first, nodes.pop().unwrap_or(first))
    }

    fn shuffled(&mut self) -> Vec<HostId> {
        let mut nodes = self.nodes.clone();
        nodes.shuffle(&mut self.rng);
        nodes
    }

    /// The nodes in two groups, neither empty where there are two.
    fn halves(&mut self) -> (Vec<HostId>, Vec<HostId>) {
        let mut one = self.shuffled();
        let cut = self.rng.random_range(1..one.len().max(2));
        let other = one.split_off(cut.min(one.len()));
        (one, other)
    }

    fn effect(&mut self, kind: Kind) -> Effect {
        let millis = |range: std::ops::Range<u64>, rng: &mut SmallRng| {
            Duration::from_millis(rng.random_range(range))
        };
        match kind {
            Kind::Delay => {
                let least = millis(1..100, &mut self.rng);
                Effect::Delay {
                    least,
                    most: least + millis(1..200, &mut self.rng),
                }
            }
            Kind::LongTail => Effect::LongTail {
                rate: Rate::per_million(self.rng.random_range(1000..50_000)),
                delay: millis(100..2000, &mut self.rng),
            },
            Kind::Loss => Effect::Loss {
                rate: Rate::per_million(self.rng.random_range(1000..250_000)),
            },
            Kind::Narrow => Effect::Bandwidth {
                bytes_per_second: self.rng.random_range(20_000..2_000_000),
            },
            Kind::Forget => Effect::Forget,
            Kind::Refuse => Effect::Refuse,
            _ => Effect::Block,
        }
    }

    /// A fault of this kind, or nothing where the atlas allows it nowhere.
    fn draw(&mut self, kind: Kind) -> Option<Fault> {
        let damage = match kind {
            Kind::Wipe => Damage::Wiped(self.victim()?),
            Kind::StaleImage => Damage::Stale(self.victim()?),
            Kind::BitRot => Damage::Rotten(self.victim()?, self.rot()),
            Kind::LostWrites => Damage::Lost(self.victim()?, self.often()),
            Kind::MisdirectedWrites => Damage::Misdirected(self.victim()?, self.often()),
            kind => return Some(self.survivable(kind)),
        };
        Some(Fault::Damage(damage))
    }

    /// A bit or a few.
    fn rot(&mut self) -> Rot {
        Rot {
            file: self.rng.random_range(0..1_000_000),
            bits: 1 << self.rng.random_range(0..6),
        }
    }

    /// One write of a hundred up to one of two.
    fn often(&mut self) -> Rate {
        Rate::per_million(10_000 << self.rng.random_range(0..6))
    }

    fn survivable(&mut self, kind: Kind) -> Fault {
        let mode = CrashMode::random(&mut self.rng);
        match kind {
            Kind::Crash => Fault::Process(ProcessFault::Crash(vec![self.node()], mode)),
            Kind::CrashAll => Fault::Process(ProcessFault::Crash(self.nodes.clone(), mode)),
            Kind::CrashAtWrite => Fault::Process(ProcessFault::CrashAtWrite(
                self.node(),
                self.rng.random_range(0..80),
            )),
            Kind::Kill => Fault::Process(ProcessFault::Kill(self.node())),
            Kind::Pause => Fault::Process(ProcessFault::Pause(self.node())),
            Kind::Partition => {
                let (one, other) = self.halves();
                Fault::Link(LinkFault::Cut(Shape::Groups(vec![one, other])))
            }
            Kind::OneWay => {
                let (from, to) = self.halves();
                Fault::Link(LinkFault::Cut(Shape::OneWay(from, to)))
            }
            Kind::Ring => Fault::Link(LinkFault::Cut(Shape::Ring(self.shuffled()))),
            Kind::Bridge => Fault::Link(LinkFault::Cut(Shape::Bridge(self.shuffled()))),
            Kind::Delay | Kind::LongTail | Kind::Loss | Kind::Narrow => {
                Fault::Link(LinkFault::Everywhere(self.effect(kind)))
            }
            Kind::Clog | Kind::Forget | Kind::Refuse => {
                let (one, other) = self.pair();
                Fault::Link(LinkFault::Between(one, other, self.effect(kind)))
            }
            Kind::Reset => {
                let (one, other) = self.pair();
                Fault::Link(LinkFault::Reset(one, other))
            }
            Kind::HalfOpen => {
                let (one, other) = self.pair();
                Fault::Link(LinkFault::HalfOpen(one, other))
            }
            Kind::SlowDisk => {
                let sync = Duration::from_millis(self.rng.random_range(10..150));
                Fault::Disk(DiskTrouble::Slow(self.node(), DiskSpeed::syncing_in(sync)))
            }
            Kind::StalledDisk => Fault::Disk(DiskTrouble::Stalled(self.node())),
            Kind::FullDisk => Fault::Disk(DiskTrouble::Full(
                self.node(),
                self.rng.random_range(0..100_000),
            )),
            Kind::DiskErrors => {
                let rate = Rate::per_million(self.rng.random_range(1000..200_000));
                let none = DiskFaults::none();
                let kinds = [
                    DiskFaults {
                        read_error: rate,
                        ..none
                    },
                    DiskFaults {
                        write_error: rate,
                        ..none
                    },
                    DiskFaults {
                        sync_error: rate,
                        ..none
                    },
                ];
                let faults = *kinds.choose(&mut self.rng).expect("there are three");
                Fault::Disk(DiskTrouble::Errors(self.node(), faults))
            }
            Kind::Drift => {
                let drift = self.drift_per_million;
                Fault::Clock(ClockFault::Drift(
                    self.node(),
                    self.rng.random_range(-drift..=drift),
                ))
            }
            Kind::Jump => {
                let by = Duration::from_millis(self.rng.random_range(10..20_000));
                Fault::Clock(ClockFault::Jump(self.node(), by))
            }
            Kind::Join => Fault::Member(MemberChange::Join),
            Kind::Leave => Fault::Member(MemberChange::Leave(self.node())),
            Kind::Remove => Fault::Member(MemberChange::Remove(self.node())),
            Kind::Restart => Fault::Member(MemberChange::Restart(self.node())),
            Kind::Lead => Fault::Member(MemberChange::Lead(self.node())),
            Kind::WallBump => Fault::Clock(ClockFault::Bump(
                self.node(),
                self.rng.random_range(-7_200_000..7_200_000),
            )),
            Kind::Wipe
            | Kind::StaleImage
            | Kind::BitRot
            | Kind::LostWrites
            | Kind::MisdirectedWrites => unreachable!("they ask the atlas"),
            Kind::WallStrobe => {
                let period = Duration::from_millis(self.rng.random_range(10..2000));
                let strobe = Strobe {
                    period,
                    millis: self.rng.random_range(-60_000..60_000),
                };
                Fault::Clock(ClockFault::Strobe(self.node(), strobe))
            }
        }
    }
}

impl Iterator for Schedule {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        let (kind, _) = *self
            .kinds
            .choose_weighted(&mut self.rng, |(_, weight)| *weight)
            .ok()?;
        let (mut after, lasts) = (self.time(self.every), self.time(self.lasts));
        if std::mem::take(&mut self.first) {
            after = after.min(FIRST);
        }
        Some(Planned {
            after,
            fault: self.draw(kind)?,
            lasts,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn plan_follows_from_the_seed_and_uses_every_kind_it_may() {
        let nodes: Vec<HostId> = (1..=5).map(HostId::new).collect();
        let options = Options {
            faults: Kind::SURVIVABLE.map(|kind| (kind, 1)).to_vec(),
            fault_every: Duration::from_secs(1),
            fault_lasts: Duration::from_secs(2),
            ..Options::none(5)
        };
        let plan = |seed| {
            Schedule::new(&options, &nodes, Seed::new(seed))
                .take(600)
                .collect::<Vec<_>>()
        };
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
        let total: Duration = plan(1).iter().map(|planned| planned.after).sum();
        assert!(
            (500..700).contains(&total.as_secs()),
            "a mean of a second: {total:?}"
        );
        for kind in Kind::SURVIVABLE {
            let only = Options {
                faults: vec![(kind, 1)],
                ..options.clone()
            };
            let mut drawn = Schedule::new(&only, &nodes, Seed::new(1));
            let drawn = drawn.next().expect("a kind is drawn").fault;
            let of_kind = |planned: &Planned| shape(&planned.fault) == shape(&drawn);
            assert!(plan(1).iter().any(of_kind), "{}", kind.name());
        }
    }

    /// What kind of fault it is, without its targets and numbers.
    fn shape(fault: &Fault) -> String {
        let text = format!("{fault:?}");
        let words = text.split(|letter: char| !letter.is_alphabetic());
        let targets = ["HostId", "n", "s", "ms", "µs", ""];
        let named = words.filter(|word| !targets.contains(word)).take(4);
        named.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn first_fault_does_not_wait_for_the_end_of_a_short_run() {
        let options = Options {
            faults: vec![(Kind::Kill, 1)],
            fault_every: Duration::from_secs(3600),
            ..Options::none(3)
        };
        let mut plan = Schedule::new(&options, &[HostId::new(1)], Seed::new(1));
        assert!(plan.next().is_some_and(|planned| planned.after <= FIRST));
        assert!(plan.next().is_some_and(|planned| planned.after > FIRST));
    }

    #[test]
    fn damage_stays_where_the_atlas_allows_it() {
        let damaging = Options {
            faults: [
                Kind::Wipe,
                Kind::StaleImage,
                Kind::BitRot,
                Kind::LostWrites,
                Kind::MisdirectedWrites,
            ]
            .map(|kind| (kind, 1))
            .to_vec(),
            fault_every: Duration::from_secs(1),
            ..Options::none(5)
        };
        let nodes: Vec<HostId> = (1..=5).map(HostId::new).collect();
        for seed in (1..20).map(Seed::new) {
            let atlas = Atlas::new(&nodes, seed);
            let plan = Schedule::new(&damaging, &nodes, seed).take(100);
            let hit: BTreeSet<HostId> = plan
                .filter_map(|planned| match planned.fault {
                    Fault::Damage(damage) => Some(damage.host()),
                    _ => None,
                })
                .collect();
            assert_eq!(hit, atlas.damageable().collect());
            assert_eq!(hit.len(), atlas.spare_failures());
        }
        let with_reserve = Options {
            nodes: 3,
            ..damaging.clone()
        };
        for seed in (1..20).map(Seed::new) {
            let plan = Schedule::new(&with_reserve, &nodes, seed).take(100);
            let voters = Atlas::new(&nodes[..3], seed);
            for planned in plan {
                assert!(
                    matches!(planned.fault, Fault::Damage(damage) if voters.may_damage(damage.host())),
                    "machines in reserve spare nobody: {planned:?}"
                );
            }
        }
        let alone = Schedule::new(&damaging, &nodes[..1], Seed::new(1)).next();
        assert_eq!(alone, None, "a single node has nothing to spare");
    }

    #[test]
    fn single_node_has_a_plan_and_no_kinds_have_none() {
        let options = Options {
            faults: Kind::SURVIVABLE.map(|kind| (kind, 1)).to_vec(),
            ..Options::none(1)
        };
        assert_eq!(
            Schedule::new(&options, &[HostId::new(1)], Seed::new(1))
                .take(300)
                .count(),
            300
        );
        assert_eq!(
            Schedule::new(&Options::none(3), &[HostId::new(1)], Seed::new(1)).next(),
            None
        );
    }
}
