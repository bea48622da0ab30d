//! Names of what can go wrong between transactions, and which isolation level forbids it.
//!
//! Cycles are named after Adya ("Weak Consistency: A Generalized Theory and Optimistic Implementations for Distributed
//! Transactions", 1999) as Elle does (Kingsbury and Alvaro, VLDB 2020): by how few sorts of edges they get by with. A cycle
//! of write dependencies is worse than one that needs a read dependency, and that one worse than one that needs an
//! anti-dependency. A cycle that also needs the order of a process or of real time violates only levels that promise it.

use std::fmt;

/// The sort of edges without which a cycle would be none; from the worst on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CycleKind {
    /// Write dependencies only: writes of transactions are interleaved ("dirty write").
    G0,
    /// Write and read dependencies: information flows in a circle.
    G1c,
    /// Exactly one anti-dependency ("read skew", and every lost update).
    GSingle,
    /// Several anti-dependencies, no two of them next to each other: not even a snapshot explains it.
    GNonadjacent,
    /// Anti-dependencies next to each other ("write skew").
    G2Item,
}

impl CycleKind {
    /// All kinds, the worst first.
    pub const ALL: [Self; 5] = [
        Self::G0,
        Self::G1c,
        Self::GSingle,
        Self::GNonadjacent,
        Self::G2Item,
    ];
}

/// Which order beside that of versions a cycle needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// None: what was read and written contradicts itself.
    Value,
    /// The order in which one process ran its transactions.
    Process,
    /// The order of real time: completed before invoked.
    RealTime,
}

impl Layer {
    /// All layers, the worst first.
    pub const ALL: [Self; 3] = [Self::Value, Self::Process, Self::RealTime];
}

/// Something that went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// A read of a value that nobody ever wrote.
    GarbageRead,
    /// One value stands twice in a list, though it was appended once.
    DuplicateElements,
    /// Two reads of one list of which neither is a prefix of the other; or one that shows a transaction's appends in
    /// another order than it made them.
    IncompatibleOrder,
    /// A read of what an aborted transaction wrote.
    G1a,
    /// A read of what a transaction wrote and then changed.
    G1b,
    /// A transaction contradicts itself: it does not see its own writes, or reads twice differently.
    Internal,
    /// Two transactions read one version and both overwrote it.
    LostUpdate,
    /// A cycle of dependencies.
    Cycle(CycleKind, Layer),
}

impl fmt::Display for Anomaly {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, layer) = match self {
            Self::GarbageRead => ("garbage-read", Layer::Value),
            Self::DuplicateElements => ("duplicate-elements", Layer::Value),
            Self::IncompatibleOrder => ("incompatible-order", Layer::Value),
            Self::G1a => ("G1a", Layer::Value),
            Self::G1b => ("G1b", Layer::Value),
            Self::Internal => ("internal", Layer::Value),
            Self::LostUpdate => ("lost-update", Layer::Value),
            Self::Cycle(CycleKind::G0, layer) => ("G0", *layer),
            Self::Cycle(CycleKind::G1c, layer) => ("G1c", *layer),
            Self::Cycle(CycleKind::GSingle, layer) => ("G-single", *layer),
            Self::Cycle(CycleKind::GNonadjacent, layer) => ("G-nonadjacent", *layer),
            Self::Cycle(CycleKind::G2Item, layer) => ("G2-item", *layer),
        };
        formatter.write_str(name)?;
        formatter.write_str(match layer {
            Layer::Value => "",
            Layer::Process => "-process",
            Layer::RealTime => "-realtime",
        })
    }
}

/// What a store can promise about its transactions, from weak to strong (a partial order, see [`Self::forbids`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IsolationLevel {
    /// Writes of transactions are not interleaved.
    ReadUncommitted,
    /// And nothing is read that was not committed.
    ReadCommitted,
    /// And each transaction sees a consistent view (Adya's PL-2+).
    ConsistentView,
    /// And that view is one moment's, and of two concurrent writers of a key one aborts.
    SnapshotIsolation,
    /// Without predicates, which are not recorded here, the same as serializable (Adya's PL-2.99).
    RepeatableRead,
    /// As if one after another.
    Serializable,
    /// Snapshot isolation, and each process sees what it did before.
    StrongSessionSnapshotIsolation,
    /// Serializable, and each process in its own order.
    StrongSessionSerializable,
    /// Snapshot isolation, and each snapshot holds all that had completed before.
    StrongSnapshotIsolation,
    /// Serializable in an order that respects real time.
    StrictSerializable,
}

impl IsolationLevel {
    /// All levels, weak ones first.
    pub const ALL: [Self; 10] = [
        Self::ReadUncommitted,
        Self::ReadCommitted,
        Self::ConsistentView,
        Self::SnapshotIsolation,
        Self::RepeatableRead,
        Self::Serializable,
        Self::StrongSessionSnapshotIsolation,
        Self::StrongSessionSerializable,
        Self::StrongSnapshotIsolation,
        Self::StrictSerializable,
    ];

    /// The level's name on command lines and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "read-uncommitted",
            Self::ReadCommitted => "read-committed",
            Self::ConsistentView => "consistent-view",
            Self::SnapshotIsolation => "snapshot-isolation",
            Self::RepeatableRead => "repeatable-read",
            Self::Serializable => "serializable",
            Self::StrongSessionSnapshotIsolation => "strong-session-snapshot-isolation",
            Self::StrongSessionSerializable => "strong-session-serializable",
            Self::StrongSnapshotIsolation => "strong-snapshot-isolation",
            Self::StrictSerializable => "strict-serializable",
        }
    }

    /// The level of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Whether a history with the anomaly cannot have come from a store of this level.
    #[must_use]
    pub fn forbids(self, anomaly: Anomaly) -> bool {
        match anomaly {
            // No order of versions explains these, and every level is defined over one.
            Anomaly::GarbageRead | Anomaly::DuplicateElements | Anomaly::IncompatibleOrder => true,
            Anomaly::G1a | Anomaly::G1b => self.mildest_cycle() >= CycleKind::G1c,
            Anomaly::Internal | Anomaly::LostUpdate => self.mildest_cycle() >= CycleKind::GSingle,
            Anomaly::Cycle(kind, layer) => {
                kind <= self.mildest_cycle() && layer <= self.last_layer()
            }
        }
    }

    /// The mildest kind of cycle that the level still forbids.
    pub(super) const fn mildest_cycle(self) -> CycleKind {
        match self {
            Self::ReadUncommitted => CycleKind::G0,
            Self::ReadCommitted => CycleKind::G1c,
            Self::ConsistentView => CycleKind::GSingle,
            Self::SnapshotIsolation
            | Self::StrongSessionSnapshotIsolation
            | Self::StrongSnapshotIsolation => CycleKind::GNonadjacent,
            Self::RepeatableRead
            | Self::Serializable
            | Self::StrongSessionSerializable
            | Self::StrictSerializable => CycleKind::G2Item,
        }
    }

    /// The last order that the level respects.
    pub(super) const fn last_layer(self) -> Layer {
        match self {
            Self::StrongSessionSnapshotIsolation | Self::StrongSessionSerializable => {
                Layer::Process
            }
            Self::StrongSnapshotIsolation | Self::StrictSerializable => Layer::RealTime,
            _ => Layer::Value,
        }
    }
}

impl fmt::Display for IsolationLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_serializability_forbids_all_and_read_uncommitted_only_dirty_writes() {
        let cycles = || {
            CycleKind::ALL
                .into_iter()
                .flat_map(|kind| Layer::ALL.map(|layer| Anomaly::Cycle(kind, layer)))
        };
        assert!(cycles().all(|cycle| IsolationLevel::StrictSerializable.forbids(cycle)));
        let forbidden: Vec<_> = cycles()
            .filter(|cycle| IsolationLevel::ReadUncommitted.forbids(*cycle))
            .collect();
        assert_eq!(forbidden, [Anomaly::Cycle(CycleKind::G0, Layer::Value)]);
    }

    #[test]
    fn what_needs_no_cycle_is_allowed_below_the_level_that_names_it() {
        use IsolationLevel::{ConsistentView, ReadCommitted, ReadUncommitted};
        for (anomaly, allowed) in [
            (Anomaly::GarbageRead, None),
            (Anomaly::DuplicateElements, None),
            (Anomaly::IncompatibleOrder, None),
            (Anomaly::G1a, Some((ReadUncommitted, ReadCommitted))),
            (Anomaly::G1b, Some((ReadUncommitted, ReadCommitted))),
            (Anomaly::Internal, Some((ReadCommitted, ConsistentView))),
            (Anomaly::LostUpdate, Some((ReadCommitted, ConsistentView))),
        ] {
            let Some((weaker, stronger)) = allowed else {
                assert!(ReadUncommitted.forbids(anomaly), "{anomaly}");
                continue;
            };
            assert!(!weaker.forbids(anomaly), "{weaker} {anomaly}");
            assert!(stronger.forbids(anomaly), "{stronger} {anomaly}");
        }
    }

    #[test]
    fn write_skew_is_what_snapshots_allow() {
        let skew = Anomaly::Cycle(CycleKind::G2Item, Layer::Value);
        assert!(!IsolationLevel::SnapshotIsolation.forbids(skew));
        assert!(IsolationLevel::Serializable.forbids(skew));
        assert!(IsolationLevel::SnapshotIsolation.forbids(Anomaly::LostUpdate));
    }

    #[test]
    fn names_say_kind_and_order() {
        assert_eq!(
            Anomaly::Cycle(CycleKind::GSingle, Layer::RealTime).to_string(),
            "G-single-realtime"
        );
        assert!(
            IsolationLevel::ALL
                .iter()
                .all(|level| IsolationLevel::by_name(level.name()) == Some(*level))
        );
    }
}
