//! The words of the planner's answer: one step, or the reason why there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::role::Role;
use crate::ids::NodeId;

/// The planner's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Do this, then ask again.
    Step(Step),
    /// Nothing can or need be done now.
    Wait(Reason),
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Raft's configuration is joint because whoever began the change did not end it: end it.
    FinishJoint,
    /// One log entry that changes the member table and Raft's membership together.
    ChangeRoles(RoleChange),
    /// The leader is to lose its vote, or lacks what a leader needs: another voter leads first.
    TransferLeadership {
        /// The voter that should lead.
        to: NodeId,
        /// What the transfer prepares.
        why: Why,
    },
    /// Give this node the signing key. A standby cannot be promoted without.
    HandOverSigner {
        /// The node.
        to: NodeId,
    },
    /// Remove these spares from the cluster for good, in one batch.
    Remove {
        /// The nodes, in ascending order.
        nodes: Vec<NodeId>,
    },
}

/// Roles that change together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// The new role of each node whose role changes.
    pub roles: BTreeMap<NodeId, Role>,
    /// All voters after the change.
    pub voters: BTreeSet<NodeId>,
    /// What the change is for.
    pub why: Why,
}

/// What a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A voter is lost, far behind, or leaving, and a standby takes its place.
    Replace(NodeId),
    /// There are fewer voters than wanted.
    Grow,
    /// There are more voters than wanted.
    Shrink,
    /// Lost voters that nobody can replace only raise the quorum.
    DropLost(NodeId),
    /// Voters share a failure domain that another node is outside of.
    SpreadVoters,
    /// There are fewer standbys than wanted.
    FillStandbys,
    /// A standby has been gone for long, and a spare takes its place.
    ReplaceStandby(NodeId),
    /// A copy of the data in a failure domain that has none yet.
    SpreadCopies,
    /// There are more standbys than wanted, or one that should not hold data.
    RetireStandby(NodeId),
    /// Another voter holds the signing key, and the leader does not.
    SignerElsewhere,
}

/// Why there is no step. What comes with it is for people; nothing decides by it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// Everything is as it should be.
    Settled,
    /// This leader has not committed an entry of its own term, so it cannot know what its predecessor committed.
    LeaderIsNew,
    /// Too few voters answer: no change could be committed.
    NoQuorum {
        /// Voters that answer and are level with the log.
        alive: usize,
        /// Voters needed.
        needed: usize,
    },
    /// A voter is silent, but not for long enough to be called lost.
    ConfirmingLoss {
        /// The voter.
        node: NodeId,
        /// Until then.
        #[serde(rename = "remaining_ms", serialize_with = "as_millis")]
        remaining: Duration,
    },
    /// A node that is wanted for a role has not been stable for long enough.
    Stabilising {
        /// The node.
        node: NodeId,
        /// Until then, if nothing happens to it.
        #[serde(rename = "remaining_ms", serialize_with = "as_millis")]
        remaining: Duration,
        /// Earlier losses that lengthen the wait.
        flaps: u32,
    },
    /// A standby that is wanted as a voter is still copying.
    CatchingUp {
        /// The standby.
        node: NodeId,
        /// Log entries behind.
        lag: Option<u64>,
    },
    /// A voter is gone and there is nobody to take its place.
    NoReplacement {
        /// The voter.
        node: NodeId,
    },
    /// More nodes are wanted in a role than can take it.
    TooFewNodes {
        /// The role.
        role: Role,
        /// How many have it.
        have: usize,
        /// How many should.
        want: usize,
    },
    /// The step that is wanted would leave the cluster weaker than it is while somebody is down.
    WouldWeaken {
        /// Failures survived now.
        now: usize,
        /// Failures that would be survived.
        then: usize,
    },
    /// The leader should give up its vote, and no other voter is fit to lead.
    NobodyToLead,
}

fn as_millis<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

fn seconds(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replace(node) => write!(f, "replace voter {node}"),
            Self::Grow => f.write_str("more voters"),
            Self::Shrink => f.write_str("fewer voters"),
            Self::DropLost(node) => write!(f, "voter {node} is lost and only raises the quorum"),
            Self::SpreadVoters => f.write_str("spread the voters over failure domains"),
            Self::FillStandbys => f.write_str("more standbys"),
            Self::ReplaceStandby(node) => write!(f, "replace standby {node}"),
            Self::SpreadCopies => f.write_str("a copy in another failure domain"),
            Self::RetireStandby(node) => write!(f, "standby {node} gives its copy up"),
            Self::SignerElsewhere => f.write_str("it holds the signing key"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FinishJoint => f.write_str("finish the joint configuration"),
            Self::ChangeRoles(change) => {
                for (position, (node, role)) in change.roles.iter().enumerate() {
                    let separator = if position == 0 { "" } else { ", " };
                    write!(f, "{separator}{node} becomes {role}")?;
                }
                write!(f, " ({})", change.why)
            }
            Self::TransferLeadership { to, why } => match why {
                Why::SignerElsewhere => write!(f, "leadership goes to {to} ({why})"),
                _ => write!(f, "leadership goes to {to} (then: {why})"),
            },
            Self::HandOverSigner { to } => write!(f, "the signing key goes to {to}"),
            Self::Remove { nodes } => {
                f.write_str("remove")?;
                nodes.iter().try_for_each(|node| write!(f, " {node}"))
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled => f.write_str("nothing to do"),
            Self::LeaderIsNew => {
                f.write_str("waiting until this leader has applied an entry of its own term")
            }
            Self::NoQuorum { alive, needed } => {
                write!(f, "no quorum: {alive} of the {needed} voters needed answer")
            }
            Self::ConfirmingLoss { node, remaining } => {
                write!(
                    f,
                    "voter {node} is silent; it counts as lost in {}",
                    seconds(*remaining)
                )
            }
            Self::Stabilising {
                node,
                remaining,
                flaps: 0,
            } => {
                write!(
                    f,
                    "node {node} has to be stable for another {}",
                    seconds(*remaining)
                )
            }
            Self::Stabilising {
                node,
                remaining,
                flaps,
            } => write!(
                f,
                "node {node} was lost {flaps} time(s) lately and has to be stable for another {}",
                seconds(*remaining)
            ),
            Self::CatchingUp {
                node,
                lag: Some(lag),
            } => write!(f, "standby {node} is catching up, {lag} entries behind"),
            Self::CatchingUp { node, lag: None } => {
                write!(f, "standby {node} has not answered with its position yet")
            }
            Self::NoReplacement { node } => {
                write!(f, "voter {node} is lost and no node can take its place")
            }
            Self::TooFewNodes { role, have, want } => {
                write!(f, "{have} of {want} {role}s: no node can take the role")
            }
            Self::WouldWeaken { now, then } => write!(
                f,
                "the next step would survive {then} failure(s) where the cluster now survives {now}, while a voter is down"
            ),
            Self::NobodyToLead => {
                f.write_str("the leader should step aside and no other voter is fit to lead")
            }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(step) => write!(f, "step: {step}"),
            Self::Wait(reason) => write!(f, "wait: {reason}"),
        }
    }
}
