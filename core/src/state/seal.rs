//! How a value stands in history: with a checksum over the whole version behind it.
//!
//! SQLite's pages have no checksums, so that a bit that turns on the disk, or a write that never arrived, would be
//! answered as if somebody had written it. A version is written once and never changed; what it is stands in its row and,
//! for the newest one of a key, once more in `keys`. Whoever reads a value says what else it takes the version to be, and is
//! refused when the two do not belong together.
//!
//! What the cluster knows about itself, and the counters, are sealed as well, each row by itself.

use bytes::Bytes;
use prost::Message;

use super::error::StateError;
use super::keyspace::Newest;
use super::position::Position;

/// Bytes of the checksum.
const LENGTH: usize = 4;

/// What a version is, besides its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label<'k> {
    pub(super) key: &'k [u8],
    pub(super) position: Position,
    pub(super) created: i64,
    pub(super) version: i64,
    pub(super) lease: i64,
}

impl<'k> Label<'k> {
    pub(super) fn of(key: &'k [u8], newest: &Newest) -> Self {
        Self {
            key,
            position: newest.head,
            created: newest.created,
            version: newest.version,
            lease: newest.lease,
        }
    }

    /// CRC-32 over everything. The key's length is in it, so that bytes cannot move from it to the value.
    fn checksum(&self, value: &[u8]) -> [u8; LENGTH] {
        let length = i64::try_from(self.key.len()).expect("no key is as long");
        let numbers = [
            self.position.0,
            self.created,
            self.version,
            self.lease,
            length,
        ];
        let mut hasher = crc32fast::Hasher::new();
        // At once: a number alone is not worth a call.
        hasher.update(numbers.map(i64::to_le_bytes).as_flattened());
        hasher.update(self.key);
        hasher.update(value);
        hasher.finalize().to_le_bytes()
    }

    /// Makes `sealed` the value as it is stored.
    pub(super) fn seal(&self, value: &[u8], sealed: &mut Vec<u8>) {
        sealed.clear();
        sealed.extend_from_slice(value);
        sealed.extend_from_slice(&self.checksum(value));
    }

    /// The value of what is stored.
    pub(super) fn open(&self, sealed: &[u8]) -> Result<Bytes, StateError> {
        self.value_in(sealed).map(Bytes::copy_from_slice)
    }

    /// The value in what is stored.
    pub(super) fn value_in<'s>(&self, sealed: &'s [u8]) -> Result<&'s [u8], StateError> {
        match sealed.split_last_chunk() {
            Some((value, checksum)) if self.checksum(value) == *checksum => Ok(value),
            _ => Err(StateError::Damaged(format!(
                "the version at {} fails its checksum",
                self.position.0
            ))),
        }
    }
}

/// A row about the cluster as it is stored. `table` says where, so that a row of one table is none of another.
pub(super) fn seal_record(table: &str, record: &impl Message) -> Vec<u8> {
    let mut sealed = record.encode_to_vec();
    let checksum = checksum_of_record(table, &sealed);
    sealed.extend_from_slice(&checksum);
    sealed
}

/// What a row about the cluster says.
pub(super) fn open_record<M: Message + Default>(
    table: &str,
    sealed: &[u8],
) -> Result<M, StateError> {
    match sealed.split_last_chunk() {
        Some((body, checksum)) if checksum_of_record(table, body) == *checksum => {
            Ok(M::decode(body)?)
        }
        _ => Err(StateError::Damaged(format!(
            "a row of {table} fails its checksum"
        ))),
    }
}

fn checksum_of_record(table: &str, body: &[u8]) -> [u8; LENGTH] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(table.as_bytes());
    hasher.update(body);
    hasher.finalize().to_le_bytes()
}

/// CRC-32 over numbers.
pub(super) fn checksum_of(numbers: &[i64]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::store::Token;

    fn stored(label: &Label<'_>, value: &[u8]) -> Vec<u8> {
        let mut stored = Vec::new();
        label.seal(value, &mut stored);
        stored
    }

    #[test]
    fn whatever_turns_in_a_version_is_met_when_it_is_read() {
        let label = Label {
            key: b"key",
            position: Position(7 << 16),
            created: 3,
            version: 2,
            lease: 0,
        };
        let sealed = stored(&label, b"value");
        assert_eq!(label.open(&sealed).unwrap(), "value");
        for bit in 0..sealed.len() * 8 {
            let mut rotten = sealed.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            assert!(label.open(&rotten).is_err(), "bit {bit}");
        }
        let wrong = [
            Label {
                key: b"kex",
                ..label
            },
            Label {
                position: Position(7 << 16 | 1),
                ..label
            },
            Label {
                created: 2,
                ..label
            },
            Label {
                version: 3,
                ..label
            },
            Label { lease: 1, ..label },
        ];
        assert!(wrong.iter().all(|wrong| wrong.open(&sealed).is_err()));
        // Of what was cut off in front, the rest is no value.
        assert!(label.open(&sealed[..3]).is_err() && label.open(&[]).is_err());
        let record = Token {
            id: Bytes::from_static(b"id"),
            ..Token::default()
        };
        let sealed = seal_record("tokens", &record);
        assert_eq!(open_record::<Token>("tokens", &sealed).unwrap(), record);
        assert!(open_record::<Token>("members", &sealed).is_err());
        for bit in 0..sealed.len() * 8 {
            let mut rotten = sealed.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            assert!(
                open_record::<Token>("tokens", &rotten).is_err(),
                "bit {bit}"
            );
        }
        // The end of a key is not the beginning of a value.
        let shorter = Label {
            key: b"ke",
            ..label
        };
        let (one, other) = (stored(&label, b"value"), stored(&shorter, b"yvalue"));
        assert_ne!(one[5..], other[6..]);
    }
}
