//! A digest for comparing replicas: equal states have equal digests, whatever their files look like.
//!
//! It covers what is replicated and can still be read: versions above the compaction mark, the newest one at or below it of
//! each key that exists there, the cluster's tables, leases, counters, membership. It does not cover what is each node's
//! own: how far the sweep has come, pointers between versions, pages. Versions are hashed one by one and summed, so their
//! order does not matter, and one that the sweep has yet to delete is taken out of the sum again when the version that
//! superseded it is met.

use std::fmt;

use prost::Message;
use sha2::{Digest as _, Sha256};

use super::error::{ReadError, Rejection, StateError};
use super::frozen::{Frozen, Row};
use super::position::Position;
use super::snapshot::Snapshots;
use crate::ids::Revision;
use crate::proto::store::LogId;

/// Bytes of versions read in one transaction.
const PAGE_BYTES: usize = 1 << 20;

/// What a state amounts to, and where in the log it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The last entry in it; states of different entries are not to be compared.
    pub log_id: Option<LogId>,
    /// Its revision.
    pub revision: Revision,
    /// The digest.
    pub hash: [u8; 16],
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hash
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The digest of a keyspace alone, for etcd's `HashKV`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyspaceHash {
    /// The digest.
    pub hash: u32,
    /// Versions after this revision are left out.
    pub revision: Revision,
    /// History below this is gone.
    pub compacted: Revision,
    /// The present revision, for the header of the answer.
    pub current: Revision,
}

impl Snapshots {
    /// Digests all that is replicated, in many short reads.
    pub fn digest(&self) -> Result<Digest, StateError> {
        let mut frozen = self.freeze()?;
        let versions = sum_versions(&mut frozen)?;
        let mut hash = Sha256::new();
        hash.update(versions.to_be_bytes());
        let mark = &frozen.mark;
        for number in [
            mark.revision,
            mark.compacted,
            mark.live,
            mark.clock.cast_signed(),
        ] {
            hash.update(number.to_be_bytes());
        }
        let records = &frozen.records;
        frame(
            &mut hash,
            records.cluster.iter().map(Message::encode_to_vec),
        );
        frame(
            &mut hash,
            records.members.iter().map(Message::encode_to_vec),
        );
        frame(
            &mut hash,
            records.tombstones.iter().map(Message::encode_to_vec),
        );
        frame(&mut hash, records.tokens.iter().map(Message::encode_to_vec));
        frame(&mut hash, records.trusted.iter().map(|ca| ca.to_vec()));
        frame(
            &mut hash,
            records
                .leases
                .iter()
                .map(|lease| [lease.id.0.to_be_bytes(), lease.ttl_seconds.to_be_bytes()].concat()),
        );
        frame(
            &mut hash,
            frozen
                .applied
                .membership
                .iter()
                .map(|(_, membership)| membership.encode_to_vec()),
        );
        Ok(Digest {
            log_id: mark.log_id,
            revision: Revision(mark.revision),
            hash: first_half(hash),
        })
    }

    /// Digests the keyspace up to a revision; 0 is the present one.
    pub fn hash_kv(&self, revision: Revision) -> Result<KeyspaceHash, ReadError> {
        let frozen = self.freeze()?;
        let (current, compacted) = (
            Revision(frozen.mark.revision),
            Revision(frozen.mark.compacted),
        );
        let revision = match revision {
            Revision(0) => current,
            revision if revision > current => return Err(Rejection::FutureRevision.into()),
            revision if revision < compacted => return Err(Rejection::Compacted.into()),
            revision => revision,
        };
        let sum = sum_versions(&mut frozen.until(revision.0))?.to_be_bytes();
        let hash = u32::from_be_bytes([sum[0], sum[1], sum[2], sum[3]]);
        Ok(KeyspaceHash {
            hash,
            revision,
            compacted,
            current,
        })
    }
}

fn sum_versions(frozen: &mut Frozen) -> Result<u128, StateError> {
    let (swept, bound) = (frozen.mark.swept, Position::after(frozen.mark.compacted));
    let mut sum = 0_u128;
    loop {
        let page = frozen.page(PAGE_BYTES, |connection, row| {
            let visible = row.position >= bound || row.version > 0;
            let mut part = if visible { hash_version(&row) } else { 0 };
            let supersedes = row.position >= swept && row.position < bound;
            // A deletion below the mark was never added.
            if supersedes
                && let Some(old) =
                    Frozen::version(connection, row.prev)?.filter(|old| old.version > 0)
            {
                part = part.wrapping_sub(hash_version(&old));
            }
            Ok(part)
        })?;
        if page.is_empty() {
            return Ok(sum);
        }
        sum = page.into_iter().fold(sum, u128::wrapping_add);
    }
}

fn hash_version(row: &Row) -> u128 {
    let mut hash = Sha256::new();
    for number in [row.position.0, row.created, row.version, row.lease] {
        hash.update(number.to_be_bytes());
    }
    frame(&mut hash, [&row.key, &row.value]);
    u128::from_be_bytes(first_half(hash))
}

/// Adds a list so that no other list looks the same: its items with their lengths, then an end.
fn frame<T: AsRef<[u8]>>(hash: &mut Sha256, items: impl IntoIterator<Item = T>) {
    for item in items {
        let item = item.as_ref();
        hash.update([1]);
        hash.update(
            u64::try_from(item.len())
                .expect("a length fits")
                .to_be_bytes(),
        );
        hash.update(item);
    }
    hash.update([0]);
}

fn first_half(hash: Sha256) -> [u8; 16] {
    let whole: [u8; 32] = hash.finalize().into();
    *whole.first_chunk().expect("half of thirty-two")
}
