//! The state on its way to a follower that the log alone cannot bring up.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::readers::Readers;
use crate::runtime::Runtime;

/// What openraft passes around as a snapshot's content.
pub enum Content {
    /// This node's own state: bytes are read only if a follower needs them.
    Here(Arc<Readers>),
    /// What arrived from the leader, complete.
    Received(Vec<Bytes>),
}

impl Content {
    /// The next chunk and the rest.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn next_chunk<R: Runtime>(self) -> io::Result<Option<(Bytes, Self)>> {
        Err(io::Error::other("snapshots are not there yet"))
    }
}
