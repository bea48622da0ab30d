//! One kind of fault, with its schedule and its end.

use std::time::Duration;

use super::fault::{Fault, Shape, Target};
use crate::generator::{Generator, any, each, from_fn, stagger};

/// Faults of one kind, and what ends them all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    faults: Vec<Fault>,
    end: Vec<Fault>,
    every: Duration,
}

impl Package {
    /// Some of `faults`, one about every so often, each ended by `end` before the next.
    pub fn new(every: Duration, faults: Vec<Fault>, end: Vec<Fault>) -> Self {
        Self { faults, end, every }
    }

    /// Cut links, in every shape.
    pub fn partitions(every: Duration) -> Self {
        let shapes = [
            Shape::Split,
            Shape::Mute,
            Shape::Deaf,
            Shape::Ring,
            Shape::Bridge,
        ];
        let targets = [Target::One, Target::Minority, Target::Leader];
        let cuts = shapes.into_iter().flat_map(|shape| {
            targets
                .clone()
                .map(|target| Fault::Partition(shape, target))
        });
        Self::new(every, cuts.collect(), vec![Fault::HealNetwork])
    }

    /// Processes that end and start.
    pub fn crashes(every: Duration) -> Self {
        let kills = [Target::One, Target::Minority, Target::Leader, Target::All].map(Fault::Kill);
        Self::new(every, kills.to_vec(), vec![Fault::Start])
    }

    /// Processes that stand still for a while.
    pub fn pauses(every: Duration) -> Self {
        let pauses = [Target::One, Target::Minority, Target::Leader].map(Fault::Pause);
        Self::new(every, pauses.to_vec(), vec![Fault::Resume])
    }

    /// Clocks that jump, by up to an hour, forward and back.
    pub fn clocks(every: Duration) -> Self {
        let jumps = [200, -200, 5_000, -5_000, 3_600_000, -3_600_000];
        let skews = jumps.map(|jump| Fault::SkewClock(Target::Minority, jump));
        Self::new(every, skews.to_vec(), vec![Fault::ResetClock])
    }

    /// Disks that are slow, full or broken, a minority at a time.
    pub fn disks(every: Duration) -> Self {
        let slow = Fault::SlowDisk(Target::Minority, Duration::from_millis(100));
        let faults = vec![
            slow,
            Fault::FailDisk(Target::One),
            Fault::FillDisk(Target::One),
        ];
        Self::new(every, faults, vec![Fault::HealDisk, Fault::Start])
    }

    /// Nodes that come and go.
    pub fn members(every: Duration) -> Self {
        let faults = vec![
            Fault::AddMember,
            Fault::RemoveMember(Target::One),
            Fault::MoveLeader,
        ];
        Self::new(every, faults, Vec::new())
    }

    /// Faults for ever: one is drawn, then ended, then another.
    pub fn schedule(&self) -> Box<dyn Generator> {
        let (faults, end) = (self.faults.clone(), self.end.clone());
        let mut ending: Vec<Fault> = Vec::new();
        let mut is_on = false;
        let drawn = from_fn(move |context| {
            if let Some(fault) = ending.pop() {
                return Some(fault.ask());
            }
            if is_on && !end.is_empty() {
                is_on = false;
                ending = end.iter().rev().cloned().collect();
                return ending.pop().map(|fault| fault.ask());
            }
            is_on = true;
            context.random.among(&faults).map(Fault::ask)
        });
        Box::new(stagger(self.every, drawn.by_nemesis()))
    }

    /// What leaves nothing broken: asked after the schedule, before anything is expected of the system again.
    pub fn heal(&self) -> Box<dyn Generator> {
        Box::new(each(self.end.iter().map(Fault::ask)).by_nemesis())
    }
}

/// The schedules of several packages beside one another, and what ends them all.
pub fn packages(packages: &[Package]) -> (Box<dyn Generator>, Box<dyn Generator>) {
    let schedules = packages.iter().map(Package::schedule).collect();
    let mut ends: Vec<Fault> = Vec::new();
    for fault in packages.iter().flat_map(|package| &package.end) {
        if !ends.contains(fault) {
            ends.push(fault.clone());
        }
    }
    (
        Box::new(any(schedules)),
        Box::new(each(ends.iter().map(Fault::ask)).by_nemesis()),
    )
}
