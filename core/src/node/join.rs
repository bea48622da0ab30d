//! Makes a directory the home of a new member.

use std::time::Duration;

use super::NodeError;
use super::ground::Ground;
use crate::config::NodeConfig;
use crate::directory::{Directory, Inhabitant};
use crate::ids::LogIndex;
use crate::join::driver::{self, JoinError};
use crate::join::joiner::Wish;
use crate::join::keep::IdentityFiles;
use crate::join::{JoinLine, addresses};
use crate::proto::join::RoleWanted;
use crate::raft::peers::Identity;
use crate::runtime::Runtime;
use crate::state::FEATURE_LEVEL;
use crate::tls::PeerIdentity;

/// What happens to data that is in the directory already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wipe {
    /// The data of another cluster is a reason to refuse.
    Refuse,
    /// Whatever a node of another life kept there is removed, once the cluster has admitted this one. Nothing is removed when
    /// it is this very join that was begun there, or done.
    Everything,
}

/// Asks the cluster of `line` to take this node in and makes its data directory. Afterwards the node is started like any
/// other, with [`Beginning::Existing`](crate::config::Beginning::Existing). Called again after a crash, or when it has succeeded already, it goes on from
/// there.
///
/// # Errors
/// When the directory is in use or another cluster's, no member can be reached within `patience`, or the cluster refuses;
/// a refusal leaves nothing behind.
pub async fn join<R: Runtime>(
    config: &NodeConfig,
    line: JoinLine,
    role: RoleWanted,
    wipe: Wipe,
    patience: Duration,
) -> Result<Identity, NodeError> {
    let directory = Directory::new(R::disk(), config.data_dir.clone());
    let made = directory.look_before_join()?;
    let lock = directory.enter()?;
    let ground = Ground::choose::<R>(&directory, &line, wipe).await?;
    let wish = Wish {
        name: config.name.clone(),
        peer_addresses: addresses(&config.advertise_peer),
        client_addresses: addresses(&config.advertise_client),
        failure_domain: config.failure_domain.clone(),
        role,
        feature_level: FEATURE_LEVEL,
    };
    match driver::join::<R>(line, wish, ground.files(), patience).await {
        Ok(_) => {
            ground.take(&directory)?;
            settle::<R>(&directory, &config.name)
        }
        Err(error) => {
            if let JoinError::Failed(_) = error {
                ground.give_up()?;
                drop(lock);
                directory.leave_as_found(made)?;
            }
            Err(error.into())
        }
    }
}

/// Writes the file that says who lives here: a spare, which has neither log nor state. Done already, it is left as it is.
fn settle<R: Runtime>(directory: &Directory<R::Disk>, name: &str) -> Result<Identity, NodeError> {
    let files = IdentityFiles::new(directory.disk().clone(), directory.path());
    let kept = files.read().map_err(JoinError::Disk)?;
    let kept = kept.ok_or_else(|| JoinError::Disk(std::io::ErrorKind::NotFound.into()))?;
    let certificate = PeerIdentity::from_certificate(kept.credentials.certificate())?;
    let identity = Identity {
        cluster: certificate.cluster,
        epoch: certificate.epoch,
        node: certificate.node,
    };
    if !directory.is_settled()? {
        directory.settle(&Inhabitant {
            identity,
            name: name.to_owned(),
            holds_log: false,
            elects_from: LogIndex(0),
            outdated: false,
        })?;
    }
    Ok(identity)
}
