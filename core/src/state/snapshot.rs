//! The state as a stream of small messages, for a node whose place in the log is gone.
//!
//! Building a snapshot copies nothing: the state database is the snapshot. When another node needs one, its bytes are
//! produced while they are sent: the view of one applied entry is frozen (see [`frozen`](super::frozen)), and each message
//! is read in a short transaction of its own. A follower that takes an hour holds up neither writes nor checkpoints; it
//! holds up only the sweep behind compaction.

use std::collections::VecDeque;

use bytes::Bytes;
use crc32fast::Hasher;
use prost::Message;

use super::error::StateError;
use super::frozen::{Frozen, Pins, Row};
use super::mark::Applied;
use crate::database::Place;
use crate::proto::store::snapshot_chunk::Content;
use crate::proto::store::{
    SnapshotChunk, SnapshotEnd, SnapshotHead, SnapshotLease, SnapshotRecords, SnapshotVersion,
    SnapshotVersions,
};

/// Layout of the stream.
pub(super) const STREAM_FORMAT: u32 = 1;

/// Upper bound of what one message holds of keys and values; its framing comes on top.
const CHUNK_BYTES: usize = 240 << 10;

/// Records of the cluster's own tables in one message.
const CHUNK_RECORDS: usize = 256;

/// Makes frozen views of the state; for any thread.
#[derive(Clone, Debug)]
pub struct Snapshots {
    place: Place,
    pins: Pins,
}

impl Snapshots {
    pub(super) fn new(place: Place, pins: Pins) -> Self {
        Self { place, pins }
    }

    pub(super) fn freeze(&self) -> Result<Frozen, StateError> {
        Frozen::new(&self.place, &self.pins)
    }

    /// Begins a stream of the state as it is now. Compaction deletes nothing until it is dropped.
    pub fn open(&self) -> Result<SnapshotReader, StateError> {
        let frozen = self.freeze()?;
        let ready = VecDeque::from_iter(first_contents(&frozen));
        Ok(SnapshotReader {
            frozen,
            ready,
            sequence: 0,
            versions: 0,
            checksum: Hasher::new(),
            ended: false,
        })
    }
}

/// A stream being read.
pub struct SnapshotReader {
    frozen: Frozen,
    ready: VecDeque<Content>,
    sequence: u64,
    versions: u64,
    /// Over the messages so far, as they are sent.
    checksum: Hasher,
    ended: bool,
}

impl SnapshotReader {
    /// What the stream holds: the state after this entry.
    #[must_use]
    pub fn applied(&self) -> &Applied {
        &self.frozen.applied
    }

    /// The next message, a [`SnapshotChunk`]; `None` after the last.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, StateError> {
        if self.ended {
            return Ok(None);
        }
        if self.ready.is_empty() {
            self.read_page()?;
        }
        let content = self.ready.pop_front().unwrap_or_else(|| {
            self.ended = true;
            Content::End(SnapshotEnd {
                versions: self.versions,
                checksum: self.checksum.clone().finalize(),
            })
        });
        let chunk = SnapshotChunk {
            sequence: self.sequence,
            content: Some(content),
        };
        self.sequence += 1;
        let message = chunk.encode_to_vec();
        self.checksum.update(&message);
        Ok(Some(message.into()))
    }

    /// A page fits one message but for its last version, which may be long and is cut.
    fn read_page(&mut self) -> Result<(), StateError> {
        let mut versions = Vec::new();
        let mut bytes = 0;
        for row in self.frozen.page(CHUNK_BYTES, |_, row| Ok(row))? {
            self.versions += 1;
            for version in cut(row) {
                let size = version.key.len() + version.value.len() + 64;
                if bytes + size > CHUNK_BYTES && !versions.is_empty() {
                    self.ready.push_back(Content::Versions(SnapshotVersions {
                        versions: std::mem::take(&mut versions),
                    }));
                    bytes = 0;
                }
                bytes += size;
                versions.push(version);
            }
        }
        if !versions.is_empty() {
            self.ready
                .push_back(Content::Versions(SnapshotVersions { versions }));
        }
        Ok(())
    }
}

/// A version as pieces, none longer than half a message.
fn cut(row: Row) -> impl Iterator<Item = SnapshotVersion> {
    let position = row.position.0;
    let mut value = row.value;
    let mut first = Some(SnapshotVersion {
        position,
        created: row.created,
        version: row.version,
        lease: row.lease,
        key: row.key,
        ..SnapshotVersion::default()
    });
    std::iter::from_fn(move || {
        let piece = first.take().or_else(|| {
            (!value.is_empty()).then(|| SnapshotVersion {
                position,
                ..SnapshotVersion::default()
            })
        })?;
        Some(SnapshotVersion {
            value: value.split_to(value.len().min(CHUNK_BYTES / 2)),
            continued: !value.is_empty(),
            ..piece
        })
    })
}

/// The head, then what is not versioned.
fn first_contents(frozen: &Frozen) -> Vec<Content> {
    let (mark, records) = (&frozen.mark, &frozen.records);
    let (membership_id, membership) = frozen.applied.membership.clone().unzip();
    let mut contents = vec![Content::Head(SnapshotHead {
        format: STREAM_FORMAT,
        applied: mark.log_id,
        membership,
        membership_id,
        revision: mark.revision,
        compacted: mark.compacted,
        swept: mark.swept.0,
        clock_ms: mark.clock,
    })];
    let mut push = |records| contents.push(Content::Records(records));
    push(SnapshotRecords {
        cluster: records.cluster.iter().copied().collect(),
        trusted_cas: records.trusted.clone(),
        ..SnapshotRecords::default()
    });
    for members in records.members.chunks(CHUNK_RECORDS) {
        push(SnapshotRecords {
            members: members.to_vec(),
            ..SnapshotRecords::default()
        });
    }
    for tombstones in records.tombstones.chunks(CHUNK_RECORDS) {
        push(SnapshotRecords {
            tombstones: tombstones.to_vec(),
            ..SnapshotRecords::default()
        });
    }
    for tokens in records.tokens.chunks(CHUNK_RECORDS) {
        push(SnapshotRecords {
            tokens: tokens.to_vec(),
            ..SnapshotRecords::default()
        });
    }
    for leases in records.leases.chunks(CHUNK_RECORDS * 16) {
        let leases = leases
            .iter()
            .map(|lease| SnapshotLease {
                id: lease.id.0,
                ttl_seconds: lease.ttl_seconds,
            })
            .collect();
        push(SnapshotRecords {
            leases,
            ..SnapshotRecords::default()
        });
    }
    contents
}
