//! The first node has nobody to join: it makes the cluster's CA, and signs for itself.

use zeroize::Zeroizing;

use super::joiner::Membership;
use super::view::MemberView;
use crate::ids::{ClusterId, Epoch, NodeId};
use crate::proto::store::Member;
use crate::runtime::{Runtime, WallTime};
use crate::tls::peer::stored_hash;
use crate::tls::{Authority, NodeSubject, PrivateKey, Serial, TlsError};

/// What a new cluster begins with.
#[derive(Clone, Debug)]
pub struct Founded {
    /// The CA, whose key goes to a file of its own.
    pub authority: Authority,
    /// The first node's identity.
    pub membership: Membership,
    /// Its row of the member table, for the first command of the log.
    pub member: Member,
}

/// Makes keys and certificates for a cluster and its first node. The certificate says "admitted at index 0": every view has
/// applied that.
pub fn found<R: Runtime>(
    cluster: ClusterId,
    epoch: Epoch,
    member: Member,
) -> Result<Founded, TlsError> {
    let now = R::wall();
    let authority = Authority::create(cluster, key::<R>(), serial::<R>(), now)?;
    let node = NodeId(member.id);
    let key = key::<R>();
    let subject = NodeSubject::of_member(&member, epoch);
    let certificate = authority.issue_node(&subject, key.public(), serial::<R>(), now)?;
    let member = Member {
        key_hash: stored_hash(key.public().hash()),
        ..member
    };
    let mut view = MemberView::empty(cluster, epoch, vec![authority.certificate().clone()]);
    view.members.insert(node, member.clone());
    Ok(Founded {
        authority,
        membership: Membership {
            node,
            key,
            certificate,
            view,
        },
        member,
    })
}

/// Signs for a node that the leader has just admitted, or that renews.
pub fn sign<R: Runtime>(
    authority: &Authority,
    subject: &NodeSubject,
    key: crate::tls::PublicKey,
) -> Result<Vec<u8>, TlsError> {
    let now: WallTime = R::wall();
    Ok(authority
        .issue_node(subject, key, serial::<R>(), now)?
        .to_vec())
}

/// A key that nobody can guess.
#[must_use]
pub fn key<R: Runtime>() -> PrivateKey {
    let mut seed = Zeroizing::new([0; 32]);
    R::secret(&mut *seed);
    PrivateKey::from_seed(*seed)
}

/// A serial number that nobody can guess.
#[must_use]
pub fn serial<R: Runtime>() -> Serial {
    let mut bytes = [0; 16];
    R::secret(&mut bytes);
    Serial::from_secret(bytes)
}
