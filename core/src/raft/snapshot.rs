//! The state on its way to a follower that the log alone cannot bring up.
//!
//! Raft's snapshot is a durable point of the state, and nothing is copied to make one. Bytes are read only when a follower
//! needs them, from a view of the state that is frozen while they are sent; that view may be newer than the point that
//! openraft asked for, which is as good: what is applied is committed. So the head of the stream says what it really is.

use std::io;

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use super::unseen::Unseen;
use crate::runtime::Runtime;
use crate::state::{Applied, SnapshotReader, Snapshots, Staged};

/// What openraft passes around as a snapshot's content.
pub enum Content {
    /// This node's own state: read only if a follower needs it.
    Here(Snapshots),
    /// What arrived from the leader is complete and staged in the state database. Until it is installed no other may be
    /// received.
    Staged(Slot),
}

/// The right to receive a snapshot: one at a time, since there is one place to stage it.
pub type Slot = OwnedMutexGuard<()>;

/// A snapshot being sent.
pub struct Outgoing {
    reader: SnapshotReader,
}

impl Outgoing {
    /// Freezes a view of the state.
    ///
    /// # Errors
    /// When the state cannot be read, or the content is not this node's own.
    pub async fn open<R: Runtime>(content: Content) -> io::Result<Self> {
        let Content::Here(snapshots) = content else {
            return Err(io::Error::other(
                "a snapshot that is being received cannot be sent",
            ));
        };
        let reader = R::blocking(move || snapshots.open())
            .await
            .map_err(io::Error::other)?;
        Ok(Self { reader })
    }

    /// What it really covers.
    #[must_use]
    pub fn applied(&self) -> &Applied {
        self.reader.applied()
    }

    /// The next message and the rest; none after the last.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn next_message<R: Runtime>(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let read = R::blocking(move || {
            let message = self.reader.next_message();
            (message, self)
        });
        let (message, rest) = read.await;
        let message = message.map_err(io::Error::other)?;
        Ok(message.map(|message| (message, rest)))
    }
}

/// A snapshot being received: it is staged beside the state, which goes on as it is.
pub struct Incoming<R: Runtime> {
    unseen: Unseen<R>,
    slot: Slot,
    staged: Staged,
}

impl<R: Runtime> Incoming<R> {
    /// Begins one.
    #[must_use]
    pub fn new(unseen: Unseen<R>, slot: Slot) -> Self {
        Self {
            unseen,
            slot,
            staged: Staged::Part,
        }
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// When it does not follow the one before, or cannot be written.
    pub async fn write(&mut self, message: Bytes) -> io::Result<()> {
        let staged = self.unseen.run(move |state| state.stage(&message));
        self.staged = staged.await.map_err(io::Error::other)?;
        Ok(())
    }

    /// What can be installed.
    ///
    /// # Errors
    /// When the end is missing.
    pub fn finish(self) -> io::Result<Content> {
        match self.staged {
            Staged::Whole => Ok(Content::Staged(self.slot)),
            Staged::Part => Err(io::Error::other("the snapshot broke off before its end")),
        }
    }
}
