//! After the heal a cluster has to come together again within a bound, or we want to know the first reason why not.
//!
//! "All nodes are equal" is not enough: they can be equally old. Converged is: every node runs and knows the same leader and
//! the same members, nobody is in trouble, no joint configuration is left standing, everyone has applied what was ever
//! applied, the states are the same, and a fresh write succeeds.

use std::collections::BTreeSet;
use std::fmt;

use crate::faults::Atlas;
use crate::host::HostId;

/// What a node shows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Which one.
    pub host: HostId,
    /// Whether its replica is up.
    pub presence: Presence,
    /// Whether it keeps a log and a state; a spare does not.
    pub keeps_log: bool,
    /// Its term.
    pub term: u64,
    /// Who leads, as it believes.
    pub leader: Option<u64>,
    /// The index that it has applied.
    pub applied: u64,
    /// How many nodes vote, as it believes.
    pub voters: usize,
    /// Whether that is two sets at once.
    pub joint: bool,
    /// Every member with its role, as it believes.
    pub members: Vec<(u64, i32)>,
    /// Why it does not write, if so.
    pub trouble: Option<String>,
    /// The index up to which its state was digested, and the digest, if it was asked and answered.
    pub digest: Option<(u64, String)>,
}

/// Whether a node is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// Its process does not run.
    Down,
    /// Its process runs and its replica is not up yet, for this reason if one was told.
    Starting(String),
    /// It is up.
    Up,
}

/// Why a cluster has not converged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotYet {
    /// A node is not up.
    NotUp(HostId, Presence),
    /// A node knows no leader.
    NoLeader(HostId),
    /// Nodes take different ones for the leader.
    LeadersDiffer(HostId, HostId),
    /// Nodes take other machines for members, or in other roles: one was cut off while members changed, and has not heard (T3).
    MembersDiffer(HostId, HostId),
    /// A node does not write.
    Trouble(HostId, String),
    /// A joint configuration stands.
    Joint(HostId),
    /// A node has not applied what was applied elsewhere.
    Behind {
        /// Which one.
        host: HostId,
        /// What it has applied.
        applied: u64,
        /// What it should have.
        wanted: u64,
    },
    /// A node did not say what its state comes to.
    NoDigest(HostId),
    /// Nodes had applied different entries when their states were digested, so that nothing was compared.
    NotLevel(HostId, HostId),
    /// States differ, though the same is applied.
    StatesDiffer(HostId, HostId),
    /// A change of the members has not come about.
    Unchanged(HostId, &'static str),
    /// A fresh write does not succeed.
    WriteFails(String),
}

impl fmt::Display for NotYet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUp(host, Presence::Down) => write!(f, "{host} is down"),
            Self::NotUp(host, Presence::Starting(why)) => write!(f, "{host} does not start: {why}"),
            Self::NotUp(host, Presence::Up) => write!(f, "{host} is up and yet not"),
            Self::NoLeader(host) => write!(f, "{host} knows no leader"),
            Self::LeadersDiffer(one, other) => {
                write!(f, "{one} and {other} know different leaders")
            }
            Self::MembersDiffer(one, other) => {
                write!(f, "{one} and {other} know different members")
            }
            Self::Trouble(host, why) => write!(f, "{host} does not write: {why}"),
            Self::Joint(host) => write!(f, "{host} is in a joint configuration"),
            Self::Behind {
                host,
                applied,
                wanted,
            } => write!(f, "{host} has applied {applied} of {wanted}"),
            Self::NoDigest(host) => write!(f, "{host} does not say what its state comes to"),
            Self::NotLevel(one, other) => {
                write!(
                    f,
                    "{one} and {other} were never seen level to compare states"
                )
            }
            Self::StatesDiffer(one, other) => write!(f, "the states of {one} and {other} differ"),
            Self::Unchanged(host, what) => write!(f, "{host} has not {what} yet"),
            Self::WriteFails(why) => write!(f, "a fresh write fails: {why}"),
        }
    }
}

/// The first reason why the nodes have not converged, when `wanted` was applied somewhere. A fresh write is for the
/// caller to try.
///
/// # Errors
/// With that reason.
pub fn converged(nodes: &[NodeStatus], wanted: u64) -> Result<(), NotYet> {
    let Some(first) = nodes.first() else {
        return Ok(());
    };
    for node in nodes {
        let host = node.host;
        if node.presence != Presence::Up {
            return Err(NotYet::NotUp(host, node.presence.clone()));
        }
        if let Some(trouble) = &node.trouble {
            return Err(NotYet::Trouble(host, trouble.clone()));
        }
        if node.leader.is_none() {
            return Err(NotYet::NoLeader(host));
        }
        if node.leader != first.leader {
            return Err(NotYet::LeadersDiffer(first.host, host));
        }
        if node.members != first.members {
            return Err(NotYet::MembersDiffer(first.host, host));
        }
        if node.joint {
            return Err(NotYet::Joint(host));
        }
        if node.keeps_log && node.applied < wanted {
            return Err(NotYet::Behind {
                host,
                applied: node.applied,
                wanted,
            });
        }
    }
    Ok(())
}

/// Whether the states of all nodes that keep one are equal. What was not compared is not equal: each must have said what
/// its state comes to, after the same entries.
///
/// # Errors
/// With the first reason why not.
pub fn states_equal(nodes: &[NodeStatus]) -> Result<(), NotYet> {
    let mut first: Option<(HostId, &(u64, String))> = None;
    for node in nodes.iter().filter(|node| node.keeps_log) {
        let digest = node.digest.as_ref().ok_or(NotYet::NoDigest(node.host))?;
        let (host, expected) = *first.get_or_insert((node.host, digest));
        if digest.0 != expected.0 {
            return Err(NotYet::NotLevel(host, node.host));
        }
        if digest != expected {
            return Err(NotYet::StatesDiffer(host, node.host));
        }
    }
    Ok(())
}

/// Whether a cluster that does not converge has a right not to: too few of its voters can be up. That states differ is
/// never legitimate.
#[must_use]
pub fn is_legitimate(reason: &NotYet, atlas: &Atlas, able: &BTreeSet<HostId>) -> bool {
    !matches!(reason, NotYet::StatesDiffer(..)) && !atlas.must_serve(able)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn node(number: u16) -> NodeStatus {
        NodeStatus {
            host: HostId::new(number),
            presence: Presence::Up,
            keeps_log: true,
            term: 3,
            leader: Some(7),
            applied: 50,
            voters: 3,
            joint: false,
            members: vec![(1, 1), (2, 1), (3, 1)],
            trouble: None,
            digest: Some((50, "d".to_owned())),
        }
    }

    #[test]
    fn first_reason_is_named() {
        let with = |change: fn(&mut NodeStatus)| {
            let mut nodes = [node(1), node(2), node(3)];
            change(&mut nodes[2]);
            converged(&nodes, 50)
        };
        let third = HostId::new(3);
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(
            with(|node| node.presence = Presence::Down),
            Err(NotYet::NotUp(third, Presence::Down))
        );
        assert_eq!(
            with(|node| node.leader = None),
            Err(NotYet::NoLeader(third))
        );
        assert_eq!(
            with(|node| node.leader = Some(8)),
            Err(NotYet::LeadersDiffer(HostId::new(1), third))
        );
        assert_eq!(
            with(|node| node.members.truncate(2)),
            Err(NotYet::MembersDiffer(HostId::new(1), third))
        );
        assert_eq!(with(|node| node.joint = true), Err(NotYet::Joint(third)));
        assert_eq!(
            with(|node| node.applied = 49),
            Err(NotYet::Behind {
                host: third,
                applied: 49,
                wanted: 50
            })
        );
        assert!(
            with(|node| node.trouble = Some("full".to_owned()))
                .unwrap_err()
                .to_string()
                .contains("full")
        );
    }

    #[test]
    fn what_was_not_compared_is_not_equal() {
        let with = |digest: Option<(u64, &str)>| {
            let mut nodes = [node(1), node(2), node(3)];
            nodes[2].digest = digest.map(|(index, digest)| (index, digest.to_owned()));
            states_equal(&nodes)
        };
        let (first, third) = (HostId::new(1), HostId::new(3));
        assert_eq!(with(Some((50, "d"))), Ok(()));
        assert_eq!(
            with(Some((50, "e"))),
            Err(NotYet::StatesDiffer(first, third))
        );
        assert_eq!(with(Some((51, "e"))), Err(NotYet::NotLevel(first, third)));
        assert_eq!(with(None), Err(NotYet::NoDigest(third)));
        let silent = [1, 2, 3].map(|number| NodeStatus {
            digest: None,
            ..node(number)
        });
        assert_eq!(states_equal(&silent), Err(NotYet::NoDigest(first)));
    }

    #[test]
    fn spare_need_not_have_applied_anything() {
        let mut nodes = [node(1), node(2), node(3)];
        nodes[2] = NodeStatus {
            keeps_log: false,
            applied: 0,
            digest: None,
            ..node(3)
        };
        assert_eq!(converged(&nodes, 50), Ok(()));
        nodes[2].keeps_log = true;
        assert!(matches!(converged(&nodes, 50), Err(NotYet::Behind { .. })));
    }

    #[test]
    fn minority_may_be_stuck_but_never_differ() {
        let hosts = [1, 2, 3].map(HostId::new);
        let atlas = Atlas::new(&hosts, Seed::new(1));
        let (one, all) = (BTreeSet::from([hosts[0]]), BTreeSet::from(hosts));
        let leaderless = NotYet::NoLeader(hosts[0]);
        assert!(is_legitimate(&leaderless, &atlas, &one));
        assert!(!is_legitimate(&leaderless, &atlas, &all));
        assert!(!is_legitimate(
            &NotYet::StatesDiffer(hosts[0], hosts[1]),
            &atlas,
            &one
        ));
    }
}
