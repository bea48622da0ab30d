//! Where a join keeps what it makes while it is not certain of it.
//!
//! An empty directory takes everything at once. One with the data of another life keeps them until the new life is certain: the
//! join goes on in a directory beside them, and old data are deleted when the cluster has admitted the node and its new identity is
//! durable. A line that is of no use costs nothing, and every step can be repeated:
//!
//! 1. the attempt, then the membership, are written to `joining/`;
//! 2. what the other life kept is deleted, its `identity.json` first;
//! 3. the membership is written to its place, and `joining/` removed, its view first;
//! 4. `identity.json` says who lives here now.

use crate::directory::Directory;
use crate::join::JoinLine;
use crate::join::driver::{JoinError, is_given_up};
use crate::join::joiner::{Found, Membership};
use crate::join::keep::{IdentityFiles, KeptIdentity};
use crate::runtime::{Disk, Runtime};
use crate::tls::PeerIdentity;

use super::{NodeError, Wipe};

/// Where a join takes place.
pub(super) enum Ground<D> {
    /// In the directory itself.
    Here(IdentityFiles<D>),
    /// Beside the data of another life.
    Beside(IdentityFiles<D>),
}

impl<D: Disk> Ground<D> {
    /// Looks at what is in the directory, and changes nothing that anybody could want.
    ///
    /// # Errors
    /// When the directory cannot be looked at, or its node has left its cluster and nobody said to wipe it.
    pub(super) async fn choose<R: Runtime<Disk = D>>(
        directory: &Directory<D>,
        line: &JoinLine,
        wipe: Wipe,
    ) -> Result<Self, NodeError> {
        let files = |path| IdentityFiles::new(directory.disk().clone(), path);
        let (here, beside) = (files(directory.path()), files(&directory.joining()));
        let wiping = wipe == Wipe::Everything;
        let begun = beside.found().is_ok_and(|found| is_of(&found, line));
        if begun && (wiping || !directory.is_settled()?) {
            return Ok(Self::Beside(beside));
        }
        if !wiping {
            directory.refuse_left()?;
            return Ok(Self::Here(here));
        }
        if !directory.holds_anything()? || goes_on::<R>(directory, &here, line).await? {
            return Ok(Self::Here(here));
        }
        beside.clear().map_err(JoinError::Disk)?;
        Ok(Self::Beside(beside))
    }

    /// What the join writes.
    pub(super) fn files(&self) -> &IdentityFiles<D> {
        match self {
            Self::Here(files) | Self::Beside(files) => files,
        }
    }

    /// The node is admitted and its identity is stored: now the directory is its own.
    ///
    /// # Errors
    /// When old data cannot be deleted or the new cannot be written; repeated, it goes on.
    pub(super) fn take(&self, directory: &Directory<D>) -> Result<(), NodeError> {
        let beside = match self {
            Self::Beside(files) => files,
            Self::Here(_) => {
                // What was cut off while it was removed is of no use any more.
                let rest = IdentityFiles::new(directory.disk().clone(), &directory.joining());
                return clear_unless_begun(&rest);
            }
        };
        let kept = beside.read().map_err(JoinError::Disk)?;
        let kept = kept.ok_or_else(|| JoinError::Disk(std::io::ErrorKind::NotFound.into()))?;
        let node = PeerIdentity::from_certificate(kept.credentials.certificate())?.node;
        let membership = Membership {
            node,
            key: kept.credentials.key().clone(),
            certificate: kept.credentials.certificate().clone(),
            view: kept.view,
        };
        directory.wipe()?;
        let here = IdentityFiles::new(directory.disk().clone(), directory.path());
        let moved = here.store(&membership).and_then(|()| beside.clear());
        Ok(moved.map_err(JoinError::Disk)?)
    }

    /// The join failed: nothing of it is left unless it may go on.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) fn give_up(&self) -> Result<(), NodeError> {
        match self {
            Self::Beside(files) => clear_unless_begun(files),
            Self::Here(_) => Ok(()),
        }
    }
}

/// Removes what nobody can go on with.
fn clear_unless_begun<D: Disk>(files: &IdentityFiles<D>) -> Result<(), NodeError> {
    match files.found() {
        Ok(Found::Nothing) => Ok(files.clear().map_err(JoinError::Disk)?),
        _ => Ok(()),
    }
}

fn is_of(found: &Found, line: &JoinLine) -> bool {
    match found {
        Found::Nothing => false,
        Found::Attempt(attempt) => attempt.cluster == line.cluster,
        Found::Member { cluster, .. } => *cluster == line.cluster,
    }
}

/// Whether what is in the directory is the same join, begun or done before, and not something to be wiped: then as another
/// node it would use the token up a second time, and leave a member behind that never comes back.
async fn goes_on<R: Runtime>(
    directory: &Directory<R::Disk>,
    here: &IdentityFiles<R::Disk>,
    line: &JoinLine,
) -> Result<bool, NodeError> {
    if directory.refuse_left().is_err() {
        return Ok(false);
    }
    let member = match here.found() {
        // What cannot be read can only be wiped.
        Err(_) | Ok(Found::Nothing) => return Ok(false),
        Ok(found) if !is_of(&found, line) => return Ok(false),
        Ok(Found::Attempt(_)) => return Ok(true),
        Ok(Found::Member { node, .. }) => node,
    };
    let Ok(Some(KeptIdentity { credentials, view })) = here.read() else {
        return Ok(false);
    };
    let identity = PeerIdentity::from_certificate(credentials.certificate())?;
    if view.tombstones.contains_key(&member) || is_given_up::<R>(line, &identity).await {
        return Ok(false);
    }
    tracing::warn!(
        node = %member,
        "this node is a member of the cluster already: it goes on, and nothing is wiped. To have it join as a new one, remove it from the \
         cluster first (`quorate remove-node {member}`)"
    );
    Ok(true)
}
