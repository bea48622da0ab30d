//! Who a node is: founded just now, or found in its directory.

use crate::config::NodeConfig;
use crate::directory::{Directory, DirectoryError, Inhabitant};
use crate::ids::{ClusterId, Epoch, LogIndex};
use crate::join::keep::IdentityFiles;
use crate::join::{MemberView, founder};
use crate::proto::store;
use crate::raft::peers::Identity;
use crate::runtime::{Disk, Runtime};
use crate::tls::Authority;
use crate::tls::config::Credentials;

use super::NodeError;

/// What a node is when it begins.
pub(super) struct Origin {
    pub(super) inhabitant: Inhabitant,
    pub(super) credentials: Credentials,
    /// The newest view that it kept.
    pub(super) view: MemberView,
    /// The cluster's signing key, if it is here.
    pub(super) authority: Option<Authority>,
}

impl Origin {
    /// The first node of a new cluster. The directory says whose it is only once everything else is in it.
    ///
    /// # Errors
    /// When a key, a certificate or a file cannot be made.
    pub(super) fn found<R: Runtime>(
        directory: &Directory<R::Disk>,
        config: &NodeConfig,
    ) -> Result<Self, NodeError> {
        let (cluster, epoch) = (ClusterId(new_id::<R>()), Epoch(1));
        let member = store::Member {
            id: new_id::<R>(),
            role: store::Role::Voter.into(),
            ..as_member(config)
        };
        let founded = founder::found::<R>(cluster, epoch, member)?;
        let files = IdentityFiles::new(directory.disk().clone(), directory.path());
        let kept = files
            .keep_signer(&founded.authority)
            .and_then(|()| files.store(&founded.membership));
        kept.map_err(|error| directory.io(error))?;
        let credentials = Credentials::new(
            founded.membership.key,
            founded.membership.certificate,
            founded.authority.certificate().clone(),
        )?;
        let identity = Identity {
            cluster,
            epoch,
            node: founded.membership.node,
        };
        Ok(Self {
            inhabitant: Inhabitant {
                identity,
                name: config.name.clone(),
                holds_log: true,
                elects_from: LogIndex(0),
                outdated: false,
            },
            credentials,
            view: founded.membership.view,
            authority: Some(founded.authority),
        })
    }

    /// The node that lives in a directory.
    ///
    /// # Errors
    /// When a part of its identity is missing or damaged.
    pub(super) fn resume<D: Disk>(
        directory: &Directory<D>,
        inhabitant: Inhabitant,
    ) -> Result<Self, NodeError> {
        let files = IdentityFiles::new(directory.disk().clone(), directory.path());
        let incomplete = |detail: String| DirectoryError::Unreadable {
            file: directory.path().display().to_string(),
            detail,
        };
        let kept = files
            .read()
            .map_err(|error| incomplete(error.to_string()))?;
        let kept = kept.ok_or_else(|| incomplete("members.view is missing".to_owned()))?;
        let authority = files.signer(inhabitant.identity.cluster);
        Ok(Self {
            inhabitant,
            credentials: kept.credentials,
            view: kept.view,
            authority: authority.map_err(|error| incomplete(error.to_string()))?,
        })
    }
}

/// A random id that is not zero.
pub(super) fn new_id<R: Runtime>() -> u64 {
    let mut bytes = [0; 8];
    loop {
        R::secret(&mut bytes);
        match u64::from_le_bytes(bytes) {
            0 => {}
            id => return id,
        }
    }
}

/// A node as a row of the member table, by what its configuration says.
pub(super) fn as_member(config: &NodeConfig) -> store::Member {
    store::Member {
        name: config.name.clone(),
        peer_addresses: config.advertise_peer.clone(),
        client_addresses: config.advertise_client.clone(),
        failure_domain: config.failure_domain.clone(),
        feature_level: crate::state::FEATURE_LEVEL,
        ..store::Member::default()
    }
}
