//! The roles a node can have, what each holds, and the moves between them.

use std::fmt;

use crate::ids::NodeId;
use crate::proto::store;

/// What a node does for the cluster.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds the data and votes.
    Voter,
    /// Receives the log and so holds the data, but does not vote: what a lost voter is replaced from.
    Standby,
    /// Holds its identity and the member view only, and forwards every request.
    Spare,
    /// Votes and keeps the log's positions, but no data. No node takes this role yet; it is known here so that nothing ever
    /// counts it as a copy of the data.
    Witness,
}

/// Why a role cannot follow another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {from} does not become a {to} in one step")]
pub struct IllegalMove {
    /// The role held now.
    pub from: Role,
    /// The role asked for.
    pub to: Role,
}

impl Role {
    /// Every role, most responsible first.
    pub const ALL: [Self; 4] = [Self::Voter, Self::Standby, Self::Spare, Self::Witness];

    /// Whether its acknowledgement counts towards a quorum.
    #[must_use]
    pub fn votes(self) -> bool {
        matches!(self, Self::Voter | Self::Witness)
    }

    /// Whether losing it loses a copy of the data.
    #[must_use]
    pub fn holds_data(self) -> bool {
        matches!(self, Self::Voter | Self::Standby)
    }

    /// Whether it stands in Raft's own membership. A spare does not: Raft would replicate to it.
    #[must_use]
    pub fn receives_log(self) -> bool {
        self != Self::Spare
    }

    /// The table of moves. Data is gained one role at a time, so that only a node which has shown that it can follow the log
    /// ever votes, and given up one at a time, so that a voter that was only slow still has what it held.
    ///
    /// ```text
    ///   spare ⇄ standby ⇄ voter          witness: no move leads to or from it yet
    /// ```
    pub fn check_move(self, to: Self) -> Result<(), IllegalMove> {
        use Role::{Spare, Standby, Voter};
        match (self, to) {
            (Spare, Standby) | (Standby, Voter) | (Voter, Standby) | (Standby, Spare) => Ok(()),
            (from, to) => Err(IllegalMove { from, to }),
        }
    }

    /// The replicated form.
    #[must_use]
    pub fn to_stored(self) -> store::Role {
        match self {
            Self::Voter => store::Role::Voter,
            Self::Standby => store::Role::Standby,
            Self::Spare => store::Role::Spare,
            Self::Witness => store::Role::Witness,
        }
    }

    /// From the replicated form; `None` for one that this build does not know.
    #[must_use]
    pub fn from_stored(role: i32) -> Option<Self> {
        match store::Role::try_from(role).ok()? {
            store::Role::Voter => Some(Self::Voter),
            store::Role::Standby => Some(Self::Standby),
            store::Role::Spare => Some(Self::Spare),
            store::Role::Witness => Some(Self::Witness),
            store::Role::Unspecified => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Voter => "voter",
            Self::Standby => "standby",
            Self::Spare => "spare",
            Self::Witness => "witness",
        })
    }
}

/// What the operator allows a node to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Whatever the planner decides.
    Any,
    /// Never more than a spare.
    SpareOnly,
    /// On its way out: it gives up its role step by step and is removed as a spare.
    Leaving,
}

/// Whether a node has the key that signs certificates. A voter must, or the cluster could elect a leader that admits nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// It has said that the key is on its disk.
    Held,
    /// It has not.
    Missing,
}

/// What the planner knows of a member from the member table and the operator, as opposed to what it observes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFacts {
    /// Its id.
    pub id: NodeId,
    /// Its role in the member table.
    pub role: Role,
    /// Nodes with equal strings are expected to fail together.
    pub failure_domain: String,
    /// What it may become.
    pub duty: Duty,
    /// Whether it holds the signing key.
    pub signer: Signer,
}

impl MemberFacts {
    /// From a row of the member table; `None` when its role is unknown to this build.
    #[must_use]
    pub fn from_stored(member: &store::Member, signer: Signer) -> Option<Self> {
        Some(Self {
            id: NodeId(member.id),
            role: Role::from_stored(member.role)?,
            failure_domain: member.failure_domain.clone(),
            duty: match (member.leaving, member.spare_only) {
                (true, _) => Duty::Leaving,
                (false, true) => Duty::SpareOnly,
                (false, false) => Duty::Any,
            },
            signer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_moves_is_a_line_without_shortcuts() {
        let legal: Vec<String> = Role::ALL
            .iter()
            .flat_map(|from| Role::ALL.iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.check_move(**to).is_ok())
            .map(|(from, to)| format!("{from}>{to}"))
            .collect();
        assert_eq!(
            legal,
            [
                "voter>standby",
                "standby>voter",
                "standby>spare",
                "spare>standby"
            ]
        );
    }

    #[test]
    fn a_witness_votes_and_is_no_copy() {
        assert!(Role::Witness.votes());
        assert!(!Role::Witness.holds_data());
    }

    #[test]
    fn stored_roles_come_back_and_unknown_ones_are_refused() {
        for role in Role::ALL {
            assert_eq!(Role::from_stored(role.to_stored() as i32), Some(role));
        }
        assert_eq!(Role::from_stored(0), None);
        assert_eq!(Role::from_stored(77), None);
    }
}
