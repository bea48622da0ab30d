//! What can be done to a system.

use std::time::Duration;

use crate::generator::Ask;
use crate::history::{Name, Value};

/// Which nodes a fault is meant for; the nemesis chooses, and answers whom it chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Any one node.
    One,
    /// Fewer than half of those that vote.
    Minority,
    /// More than half of those that vote.
    Majority,
    /// The one that leads, if there is one.
    Leader,
    /// All.
    All,
    /// These, by number.
    Nodes(Vec<i64>),
}

/// How a network is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The target on one side, the others on the other.
    Split,
    /// The target hears the others but is not heard.
    Mute,
    /// The target is heard but does not hear.
    Deaf,
    /// Everyone hears a majority, and no two the same one.
    Ring,
    /// One node hears both sides, which do not hear each other.
    Bridge,
}

/// A fault, or the end of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Links are cut.
    Partition(Shape, Target),
    /// Links lose so many of a thousand messages, and delay the others up to this.
    Flaky(Target, u32, Duration),
    /// All links are whole again.
    HealNetwork,
    /// Processes end without a chance to say goodbye; what was not synced is kept or lost as the disk pleases.
    Kill(Target),
    /// All processes run.
    Start,
    /// Processes stand still and keep what they hold.
    Pause(Target),
    /// All processes go on.
    Resume,
    /// Clocks jump by so many milliseconds.
    SkewClock(Target, i64),
    /// Clocks are right again.
    ResetClock,
    /// Writes and syncs take this long.
    SlowDisk(Target, Duration),
    /// Writes fail.
    FailDisk(Target),
    /// There is no space left.
    FillDisk(Target),
    /// Bits of what is stored change.
    CorruptDisk(Target),
    /// Disks are as they should be; what was lost stays lost.
    HealDisk,
    /// A node joins.
    AddMember,
    /// A node leaves.
    RemoveMember(Target),
    /// Leadership moves on.
    MoveLeader,
}

impl Fault {
    /// The name that a history has for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Partition(..) => "partition",
            Self::Flaky(..) => "flaky",
            Self::HealNetwork => "heal-network",
            Self::Kill(_) => "kill",
            Self::Start => "start",
            Self::Pause(_) => "pause",
            Self::Resume => "resume",
            Self::SkewClock(..) => "skew-clock",
            Self::ResetClock => "reset-clock",
            Self::SlowDisk(..) => "slow-disk",
            Self::FailDisk(_) => "fail-disk",
            Self::FillDisk(_) => "fill-disk",
            Self::CorruptDisk(_) => "corrupt-disk",
            Self::HealDisk => "heal-disk",
            Self::AddMember => "add-member",
            Self::RemoveMember(_) => "remove-member",
            Self::MoveLeader => "move-leader",
        }
    }

    /// The operation of the nemesis that brings it about.
    pub fn ask(&self) -> Ask {
        let input = match self {
            Self::Partition(shape, target) => {
                fields([("shape", shape.value()), ("target", target.value())])
            }
            Self::Flaky(target, lost, delay) => fields([
                ("target", target.value()),
                ("lost", i64::from(*lost).into()),
                ("delay", milliseconds(*delay)),
            ]),
            Self::SkewClock(target, jump) => {
                fields([("target", target.value()), ("jump", (*jump).into())])
            }
            Self::SlowDisk(target, delay) => {
                fields([("target", target.value()), ("delay", milliseconds(*delay))])
            }
            Self::Kill(target)
            | Self::Pause(target)
            | Self::FailDisk(target)
            | Self::FillDisk(target)
            | Self::CorruptDisk(target)
            | Self::RemoveMember(target) => fields([("target", target.value())]),
            Self::HealNetwork
            | Self::Start
            | Self::Resume
            | Self::ResetClock
            | Self::HealDisk
            | Self::AddMember
            | Self::MoveLeader => Value::Nil,
        };
        Ask::new(self.name()).with(input)
    }

    /// The fault that an operation of the nemesis asks for; `None` if it is none of these.
    pub fn of(ask: &Ask) -> Option<Self> {
        let input = &ask.input;
        let target = || Target::of(input.get("target")?);
        let number = |name: &str| input.get(name)?.as_integer();
        let time = |name: &str| Some(Duration::from_millis(u64::try_from(number(name)?).ok()?));
        Some(match ask.function.as_str() {
            "partition" => Self::Partition(Shape::of(input.get("shape")?)?, target()?),
            "flaky" => Self::Flaky(
                target()?,
                u32::try_from(number("lost")?).ok()?,
                time("delay")?,
            ),
            "heal-network" => Self::HealNetwork,
            "kill" => Self::Kill(target()?),
            "start" => Self::Start,
            "pause" => Self::Pause(target()?),
            "resume" => Self::Resume,
            "skew-clock" => Self::SkewClock(target()?, number("jump")?),
            "reset-clock" => Self::ResetClock,
            "slow-disk" => Self::SlowDisk(target()?, time("delay")?),
            "fail-disk" => Self::FailDisk(target()?),
            "fill-disk" => Self::FillDisk(target()?),
            "corrupt-disk" => Self::CorruptDisk(target()?),
            "heal-disk" => Self::HealDisk,
            "add-member" => Self::AddMember,
            "remove-member" => Self::RemoveMember(target()?),
            "move-leader" => Self::MoveLeader,
            _ => return None,
        })
    }
}

impl Target {
    fn value(&self) -> Value {
        let word = match self {
            Self::Nodes(nodes) => {
                return Value::list(nodes.iter().map(|node| Value::Integer(*node)));
            }
            Self::One => "one",
            Self::Minority => "minority",
            Self::Majority => "majority",
            Self::Leader => "leader",
            Self::All => "all",
        };
        word.into()
    }

    fn of(value: &Value) -> Option<Self> {
        if let Some(nodes) = value.as_list() {
            return nodes
                .iter()
                .map(Value::as_integer)
                .collect::<Option<_>>()
                .map(Self::Nodes);
        }
        let words = [
            Self::One,
            Self::Minority,
            Self::Majority,
            Self::Leader,
            Self::All,
        ];
        words.into_iter().find(|target| target.value() == *value)
    }
}

impl Shape {
    fn value(self) -> Value {
        let word = match self {
            Self::Split => "split",
            Self::Mute => "mute",
            Self::Deaf => "deaf",
            Self::Ring => "ring",
            Self::Bridge => "bridge",
        };
        word.into()
    }

    fn of(value: &Value) -> Option<Self> {
        let shapes = [
            Self::Split,
            Self::Mute,
            Self::Deaf,
            Self::Ring,
            Self::Bridge,
        ];
        shapes.into_iter().find(|shape| shape.value() == *value)
    }
}

impl From<&Fault> for Name {
    fn from(fault: &Fault) -> Self {
        Self::from(fault.name())
    }
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::map(fields.map(|(name, value)| (Value::from(name), value)))
}

fn milliseconds(time: Duration) -> Value {
    Value::Integer(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_read_from_the_operation_that_it_asks() {
        let late = Duration::from_millis(250);
        for fault in [
            Fault::Partition(Shape::Bridge, Target::Nodes(vec![1, 3])),
            Fault::Flaky(Target::One, 50, late),
            Fault::HealNetwork,
            Fault::Kill(Target::Majority),
            Fault::Start,
            Fault::Pause(Target::Leader),
            Fault::Resume,
            Fault::SkewClock(Target::Minority, -3_600_000),
            Fault::ResetClock,
            Fault::SlowDisk(Target::One, late),
            Fault::FailDisk(Target::All),
            Fault::FillDisk(Target::One),
            Fault::CorruptDisk(Target::One),
            Fault::HealDisk,
            Fault::AddMember,
            Fault::RemoveMember(Target::Leader),
            Fault::MoveLeader,
        ] {
            assert_eq!(Fault::of(&fault.ask()), Some(fault));
        }
        assert_eq!(Fault::of(&Ask::new("dance")), None);
    }
}
