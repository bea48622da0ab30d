//! SQLite's write-ahead log, read as far as it takes to see a hole in it.
//!
//! Recovery takes the log up to the last commit before the first frame that is not right, and says nothing of what
//! stands behind it: the power may have gone while the end was being written. But where every commit is synced before the
//! next begins, only the last transaction can be incomplete. A frame that is not right and has a commit behind it, and
//! frames behind that, was on the disk and is not any more: bits have turned, or a write was lost. What SQLite then shows
//! is an older database, and for a log of Raft that is one which has forgotten what it promised.
//!
//! Frames of an earlier life of the same file do not count: each time the log starts over its salts change. For that to
//! hold behind a torn end as well, whoever opens a log that was checked starts it over.
//!
//! Format: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The last bit says in which order the checksum takes the bytes of a word.
const MAGIC: u32 = 0x377f_0682;

/// The number of the first frame, from 1, that was whole once and is not any more.
#[must_use]
pub(crate) fn hole(wal: &[u8]) -> Option<usize> {
    let header = wal.get(..HEADER)?;
    let magic = word(header, 0);
    if magic & !1 != MAGIC {
        return None;
    }
    let order = if magic & 1 == 1 {
        u32::from_be_bytes
    } else {
        u32::from_le_bytes
    };
    let mut sum = checksum(order, (0, 0), &header[..24]);
    // A header that is not right is one that was being written: everything was in the database then.
    if sum != (word(header, 24), word(header, 28)) {
        return None;
    }
    let page = usize::try_from(word(header, 8)).ok()?;
    let salts = &header[16..24];
    let frames = wal[HEADER..].chunks_exact(FRAME_HEADER + page);
    let (mut hole, mut committed_behind) = (None, false);
    for (number, frame) in (1..).zip(frames) {
        let of_this_log = &frame[8..16] == salts;
        if hole.is_none() {
            sum = checksum(order, sum, &frame[..8]);
            sum = checksum(order, sum, &frame[FRAME_HEADER..]);
            if of_this_log && sum == (word(frame, 16), word(frame, 20)) {
                continue;
            }
            hole = Some(number);
            continue;
        }
        if of_this_log && committed_behind {
            return hole;
        }
        committed_behind |= of_this_log && word(frame, 4) != 0;
    }
    None
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    u32::from_be_bytes(*word.expect("headers are as long as they are"))
}

/// SQLite's, a running one: two sums over pairs of words.
fn checksum(order: fn([u8; 4]) -> u32, before: (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let (pairs, _) = bytes.as_chunks::<8>();
    pairs.iter().fold(before, |(one, two), pair| {
        let [a, b, c, d, e, f, g, h] = *pair;
        let one = one.wrapping_add(order([a, b, c, d])).wrapping_add(two);
        let two = two.wrapping_add(order([e, f, g, h])).wrapping_add(one);
        (one, two)
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    const PAGE: usize = 1024;
    const FRAME: usize = FRAME_HEADER + PAGE;

    /// A log of so many transactions.
    fn log(transactions: u32) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("some.db");
        let connection = Connection::open(&file).unwrap();
        let prepared =
            "PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
            CREATE TABLE thing (id INTEGER PRIMARY KEY, text TEXT)";
        connection.execute_batch(prepared).unwrap();
        for number in 0..transactions {
            let text = format!("{number}").repeat(3000);
            let inserted = connection.execute("INSERT INTO thing (text) VALUES (?)", [text]);
            inserted.unwrap();
        }
        let mut wal = file.into_os_string();
        wal.push("-wal");
        #[expect(clippy::disallowed_methods, reason = "the test looks at a real file")]
        std::fs::read(wal).unwrap()
    }

    fn commits(wal: &[u8]) -> Vec<usize> {
        let frames = wal[HEADER..].chunks_exact(FRAME);
        let ends = (1..).zip(frames).filter(|(_, frame)| word(frame, 4) != 0);
        ends.map(|(number, _)| number).collect()
    }

    #[test]
    fn bit_that_turns_in_what_was_synced_is_a_hole() {
        let wal = log(10);
        assert_eq!(hole(&wal), None);
        let commits = commits(&wal);
        // What stands before the last transaction but one has a whole transaction behind it.
        let sure = commits[commits.len() - 3];
        for number in 1..=sure {
            let frame = HEADER + (number - 1) * FRAME;
            for at in [0, 5, 9, 20, 30, FRAME - 1] {
                let mut rotten = wal.clone();
                rotten[frame + at] ^= 4;
                assert_eq!(hole(&rotten), Some(number), "byte {at} of frame {number}");
            }
        }
    }

    #[test]
    fn last_transaction_may_be_there_in_any_part() {
        let wal = log(10);
        let commits = commits(&wal);
        let begins = HEADER + commits[commits.len() - 2] * FRAME;
        assert!(
            commits[commits.len() - 1] > commits[commits.len() - 2] + 1,
            "it has several frames"
        );
        for at in (begins..wal.len()).step_by(100) {
            let mut torn = wal.clone();
            torn[at] ^= 4;
            assert_eq!(hole(&torn), None);
            assert_eq!(hole(&wal[..at]), None);
        }
    }

    #[test]
    fn what_was_there_before_the_log_started_over_is_no_hole() {
        let (new, old) = (log(2), log(20));
        assert_ne!(new[16..24], old[16..24], "salts are drawn");
        let mut wal = new.clone();
        wal.extend_from_slice(&old[new.len()..]);
        assert_eq!(hole(&wal), None);
        assert_eq!(hole(&[]), None);
        assert_eq!(hole(&wal[..40]), None);
        wal[3] = 0;
        assert_eq!(hole(&wal), None);
    }
}
