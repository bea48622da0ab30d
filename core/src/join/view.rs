//! The member view: members, roles, addresses, removed ids and trusted CAs as of one log index.
//!
//! Nodes with a state database derive it from there. A spare has none: the leader pushes the view to it, and the newest one it
//! has seen is on its disk, so that it finds the cluster after a restart. It is a few kilobytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use prost::Message;
use rustls::pki_types::CertificateDer;

use crate::ids::{ClusterId, Epoch, LogIndex, NodeId};
use crate::proto::{join, store};
use crate::runtime::watch;

/// What is known of the cluster at one index.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberView {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its life.
    pub epoch: Epoch,
    /// Everything up to this log index is taken into account.
    pub index: LogIndex,
    /// Who leads, as far as the author of the view knew.
    pub leader: Option<NodeId>,
    /// Every member.
    pub members: BTreeMap<NodeId, store::Member>,
    /// Every removed node whose certificate may still be valid.
    pub tombstones: BTreeMap<NodeId, store::Tombstone>,
    /// The certificates of the CAs that are trusted.
    pub trusted: Vec<CertificateDer<'static>>,
}

/// A view that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// The bytes are not a view.
    #[error("the member view is damaged")]
    Malformed,
    /// It names no cluster, or no CA: nothing could be trusted by it.
    #[error("the member view names no {0}")]
    Incomplete(&'static str),
}

impl MemberView {
    /// The members that vote.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<NodeId> {
        let voter = i32::from(store::Role::Voter);
        let voters = self.members.values().filter(|row| row.role == voter);
        voters.map(|row| NodeId(row.id)).collect()
    }

    /// The view of a cluster that nothing is known of but its name and whom to trust: a joiner's.
    #[must_use]
    pub fn empty(cluster: ClusterId, epoch: Epoch, trusted: Vec<CertificateDer<'static>>) -> Self {
        Self {
            cluster,
            epoch,
            index: LogIndex(0),
            leader: None,
            members: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            trusted,
        }
    }

    /// Whether this one should replace `other`: the same cluster, later.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        self.cluster == other.cluster && (self.epoch, self.index) > (other.epoch, other.index)
    }

    /// Where to reach the members, the leader first: for a node that looks for its cluster.
    #[must_use]
    pub fn peer_addresses(&self) -> Vec<(NodeId, String)> {
        let leader_first = |member: &&store::Member| Some(NodeId(member.id)) != self.leader;
        let mut members: Vec<&store::Member> = self.members.values().collect();
        members.sort_by_key(leader_first);
        let addresses = members.iter().flat_map(|member| {
            member
                .peer_addresses
                .iter()
                .map(|address| (NodeId(member.id), address.clone()))
        });
        addresses.collect()
    }

    /// The form that is sent.
    #[must_use]
    pub fn to_message(&self) -> join::MemberView {
        join::MemberView {
            cluster: self.cluster.0,
            epoch: self.epoch.0,
            index: self.index.0,
            leader: self.leader.map_or(0, |leader| leader.0),
            members: self.members.values().cloned().collect(),
            tombstones: self.tombstones.values().cloned().collect(),
            trusted_cas: self
                .trusted
                .iter()
                .map(|certificate| certificate.to_vec().into())
                .collect(),
        }
    }

    /// From what was sent.
    pub fn from_message(message: join::MemberView) -> Result<Self, ViewError> {
        if message.cluster == 0 {
            return Err(ViewError::Incomplete("cluster"));
        }
        if message.trusted_cas.is_empty() {
            return Err(ViewError::Incomplete("trusted CA"));
        }
        Ok(Self {
            cluster: ClusterId(message.cluster),
            epoch: Epoch(message.epoch),
            index: LogIndex(message.index),
            leader: (message.leader != 0).then_some(NodeId(message.leader)),
            members: message
                .members
                .into_iter()
                .map(|member| (NodeId(member.id), member))
                .collect(),
            tombstones: message
                .tombstones
                .into_iter()
                .map(|tombstone| (NodeId(tombstone.id), tombstone))
                .collect(),
            trusted: message
                .trusted_cas
                .into_iter()
                .map(|der| CertificateDer::from(der.to_vec()))
                .collect(),
        })
    }

    /// The form that is kept on disk.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.to_message().encode_to_vec()
    }

    /// From what was kept.
    pub fn decode(bytes: &[u8]) -> Result<Self, ViewError> {
        let message = join::MemberView::decode(bytes).map_err(|_| ViewError::Malformed)?;
        Self::from_message(message)
    }
}

/// The newest view of a node, shared by all that judge or dial by it.
#[derive(Clone)]
pub struct SharedView(watch::Sender<Arc<MemberView>>);

impl fmt::Debug for SharedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedView").field(&self.get()).finish()
    }
}

impl SharedView {
    /// Begins with `view`.
    #[must_use]
    pub fn new(view: MemberView) -> Self {
        Self(watch::channel(Arc::new(view)).0)
    }

    /// The newest view.
    #[must_use]
    pub fn get(&self) -> Arc<MemberView> {
        Arc::clone(&self.0.borrow())
    }

    /// Takes `view` over if it is newer, and says whether it was.
    pub fn offer(&self, view: MemberView) -> bool {
        self.0.send_if_modified(|current| {
            let newer = view.supersedes(current);
            if newer {
                *current = Arc::new(view);
            }
            newer
        })
    }

    /// Tells of every newer view from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<MemberView>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(epoch: u64, index: u64) -> MemberView {
        let trusted = vec![CertificateDer::from(vec![1, 2, 3])];
        MemberView {
            index: LogIndex(index),
            ..MemberView::empty(ClusterId(1), Epoch(epoch), trusted)
        }
    }

    #[test]
    fn views_only_move_forward() {
        let shared = SharedView::new(view(1, 10));
        assert!(!shared.offer(view(1, 10)));
        assert!(!shared.offer(view(1, 9)));
        assert!(shared.offer(view(1, 11)));
        assert!(
            shared.offer(view(2, 3)),
            "a new life of the cluster counts its own indexes"
        );
        assert!(!shared.offer(view(1, 99)));
        assert!(
            !shared.offer(MemberView {
                cluster: ClusterId(2),
                ..view(9, 9)
            }),
            "another cluster's view"
        );
    }

    #[test]
    fn a_view_survives_the_disk() {
        let mut original = view(3, 7);
        original.leader = Some(NodeId(5));
        original.members.insert(
            NodeId(5),
            store::Member {
                id: 5,
                name: "five".to_owned(),
                ..Default::default()
            },
        );
        original.tombstones.insert(
            NodeId(4),
            store::Tombstone {
                id: 4,
                ..Default::default()
            },
        );
        assert_eq!(MemberView::decode(&original.encode()), Ok(original));
    }

    #[test]
    fn a_view_without_trust_is_refused() {
        assert_eq!(
            MemberView::decode(&[]),
            Err(ViewError::Incomplete("cluster"))
        );
        let untrusting = MemberView {
            trusted: Vec::new(),
            ..view(1, 1)
        };
        assert_eq!(
            MemberView::decode(&untrusting.encode()),
            Err(ViewError::Incomplete("trusted CA"))
        );
        assert_eq!(MemberView::decode(&[0xff]), Err(ViewError::Malformed));
    }

    #[test]
    fn the_leader_is_asked_first() {
        let mut view = view(1, 1);
        for id in [1, 2, 3] {
            let address = format!("10.0.0.{id}:7400");
            view.members.insert(
                NodeId(id),
                store::Member {
                    id,
                    peer_addresses: vec![address],
                    ..Default::default()
                },
            );
        }
        view.leader = Some(NodeId(2));
        let order: Vec<u64> = view
            .peer_addresses()
            .iter()
            .map(|(node, _)| node.0)
            .collect();
        assert_eq!(order, [2, 1, 3]);
    }
}
