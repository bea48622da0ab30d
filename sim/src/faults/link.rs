//! Faults of links.

use std::time::Duration;

use crate::host::HostId;
use crate::net::{Effect, Rule, bridge, groups, majority_ring};
use crate::trace::Place;
use crate::world::{Later, Outcome, World};

/// Which links a cut is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// These machines against all others.
    Groups(Vec<Vec<HostId>>),
    /// Nothing from these to those.
    OneWay(Vec<HostId>, Vec<HostId>),
    /// Each reaches another majority of these.
    Ring(Vec<HostId>),
    /// The one in the middle reaches both halves of these.
    Bridge(Vec<HostId>),
}

impl Shape {
    /// The name in reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Groups(_) => "cut-groups",
            Self::OneWay(..) => "cut-one-way",
            Self::Ring(_) => "cut-ring",
            Self::Bridge(_) => "cut-bridge",
        }
    }

    /// The rules that make it.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        match self {
            Self::Groups(parts) => groups(parts),
            Self::OneWay(from, to) => vec![Rule::one_way(from, to)],
            Self::Ring(hosts) => majority_ring(hosts),
            Self::Bridge(hosts) => bridge(hosts),
        }
    }
}

/// A fault of links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkFault {
    /// Links are cut.
    Cut(Shape),
    /// Something happens on both ways between two machines.
    Between(HostId, HostId, Effect),
    /// Something happens on every link.
    Everywhere(Effect),
    /// Connections between two machines are reset.
    Reset(HostId, HostId),
    /// The first forgets its connections with the second.
    HalfOpen(HostId, HostId),
}

impl LinkFault {
    pub(super) fn inject<W: World + ?Sized>(&self, world: &mut W, lasts: Duration) -> Outcome {
        let rules = match self {
            Self::Cut(shape) => shape.rules(),
            Self::Between(one, other, effect) => Rule::between(*one, *other, *effect),
            Self::Everywhere(effect) => vec![Rule::everywhere(*effect)],
            Self::Reset(one, other) => return world.reset(*one, *other),
            Self::HalfOpen(forgetful, other) => return world.half_open(*forgetful, *other),
        };
        let (outcome, rules) = world.cut(rules);
        if outcome == Outcome::Installed {
            if let Self::Cut(shape) = self {
                world.count(Place::World, shape.name(), String::new());
            }
            world.later(lasts, Later::Mend(rules));
        }
        outcome
    }
}
