//! Whether a peer is welcome: the certificate is genuine, so what it says is true; the question is what follows.

use super::key::KeyHash;
use super::name::PeerIdentity;
use crate::ids::{ClusterId, Epoch, NodeId};
use crate::join::MemberView;

/// What a welcome peer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is in the member table: everything.
    Member,
    /// It was admitted at an index that this node has not applied: Raft's own calls, which bring that index, and no more.
    AheadOfUs,
}

/// Why a peer is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefusal {
    /// It belongs to another cluster.
    #[error("node {node} belongs to cluster {theirs}, not to {ours}")]
    WrongCluster {
        /// The peer.
        node: NodeId,
        /// Its cluster.
        theirs: ClusterId,
        /// This node's.
        ours: ClusterId,
    },
    /// It belongs to another life of the cluster.
    #[error("node {node} is of epoch {theirs}, the cluster is in {ours}")]
    WrongEpoch {
        /// The peer.
        node: NodeId,
        /// Its epoch.
        theirs: Epoch,
        /// This node's.
        ours: Epoch,
    },
    /// It was a member once.
    #[error("node {0} was removed from the cluster")]
    Removed(NodeId),
    /// It is none, and was admitted at an index that this node has applied: its row is gone for good.
    #[error("node {0} is no member of the cluster")]
    Unknown(NodeId),
    /// Its certificate is for another key than the one it was admitted with.
    #[error("node {0} shows another key than the one it was admitted with")]
    WrongKey(NodeId),
}

/// Judges a peer by the member view.
///
/// That a peer is accepted although this node has never heard of it is what lets a node that was cut off come back; the
/// interleaving without it:
/// 1. A, B, C are voters; C is cut off.
/// 2. A and B admit D and make it a voter; A is removed; D leads.
/// 3. C returns. It knows only A, B, C. If it refuses D, it never receives the entries that would tell it of D.
pub fn judge(view: &MemberView, peer: &PeerIdentity) -> Result<Standing, PeerRefusal> {
    let node = peer.node;
    if peer.cluster != view.cluster {
        return Err(PeerRefusal::WrongCluster {
            node,
            theirs: peer.cluster,
            ours: view.cluster,
        });
    }
    if peer.epoch != view.epoch {
        return Err(PeerRefusal::WrongEpoch {
            node,
            theirs: peer.epoch,
            ours: view.epoch,
        });
    }
    if view.tombstones.contains_key(&node) {
        return Err(PeerRefusal::Removed(node));
    }
    match view.members.get(&node) {
        Some(member) if member.key_hash == peer.key.hash().0[..] => Ok(Standing::Member),
        Some(_) => Err(PeerRefusal::WrongKey(node)),
        None if peer.admitted > view.index => Ok(Standing::AheadOfUs),
        None => Err(PeerRefusal::Unknown(node)),
    }
}

/// The same where nothing brings the missing index: only a member in the table is welcome there.
pub fn judge_member(view: &MemberView, peer: &PeerIdentity) -> Result<(), PeerRefusal> {
    match judge(view, peer)? {
        Standing::Member => Ok(()),
        Standing::AheadOfUs => Err(PeerRefusal::Unknown(peer.node)),
    }
}

/// The form in which the member table keeps a key's hash.
#[must_use]
pub fn stored_hash(hash: KeyHash) -> bytes::Bytes {
    hash.0.to_vec().into()
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;

    use super::*;
    use crate::ids::LogIndex;
    use crate::proto::store;
    use crate::tls::PrivateKey;

    fn peer(node: u64, admitted: u64) -> PeerIdentity {
        PeerIdentity {
            cluster: ClusterId(1),
            epoch: Epoch(2),
            node: NodeId(node),
            admitted: LogIndex(admitted),
            key: PrivateKey::from_seed([u8::try_from(node).unwrap(); 32]).public(),
        }
    }

    /// At index 50, with members 1 and 2 and a tombstone of 3.
    fn view() -> MemberView {
        let mut view =
            MemberView::empty(ClusterId(1), Epoch(2), vec![CertificateDer::from(vec![0])]);
        view.index = LogIndex(50);
        for id in [1, 2] {
            let key_hash = stored_hash(peer(id, 0).key.hash());
            view.members.insert(
                NodeId(id),
                store::Member {
                    id,
                    key_hash,
                    ..Default::default()
                },
            );
        }
        view.tombstones.insert(
            NodeId(3),
            store::Tombstone {
                id: 3,
                ..Default::default()
            },
        );
        view
    }

    #[test]
    fn members_are_welcome() {
        assert_eq!(judge(&view(), &peer(1, 5)), Ok(Standing::Member));
    }

    #[test]
    fn the_removed_are_refused_whatever_their_certificate_says() {
        for admitted in [5, 60] {
            assert_eq!(
                judge(&view(), &peer(3, admitted)),
                Err(PeerRefusal::Removed(NodeId(3)))
            );
        }
    }

    #[test]
    fn a_stranger_is_welcome_only_if_it_comes_from_the_future() {
        assert_eq!(
            judge(&view(), &peer(4, 50)),
            Err(PeerRefusal::Unknown(NodeId(4)))
        );
        assert_eq!(judge(&view(), &peer(4, 51)), Ok(Standing::AheadOfUs));
    }

    #[test]
    fn another_cluster_epoch_or_key_is_refused() {
        let elsewhere = PeerIdentity {
            cluster: ClusterId(9),
            ..peer(1, 5)
        };
        assert!(matches!(
            judge(&view(), &elsewhere),
            Err(PeerRefusal::WrongCluster { .. })
        ));
        for epoch in [1, 3] {
            let other = PeerIdentity {
                epoch: Epoch(epoch),
                ..peer(1, 5)
            };
            assert!(matches!(
                judge(&view(), &other),
                Err(PeerRefusal::WrongEpoch { .. })
            ));
        }
        let impostor = PeerIdentity {
            key: peer(2, 0).key,
            ..peer(1, 5)
        };
        assert_eq!(
            judge(&view(), &impostor),
            Err(PeerRefusal::WrongKey(NodeId(1)))
        );
    }
}
