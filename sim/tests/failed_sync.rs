//! The stores of a node on a disk whose syncs fail: what was promised afterwards is there when the power has gone, whatever
//! the process still saw of what the disk never got.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use quorate::database::{DatabaseError, Layout, Missing, Place};
use quorate::ids::NodeId;
use quorate::proto::etcdserverpb::{PutRequest, RangeRequest};
use quorate::proto::store::{LogId, command::Body};
use quorate::raft::journal::{self, Aside, Journal, JournalReader, Step};
use quorate::raft::types::{self, Entry, Payload, Vote};
use quorate::runtime::Disk as _;
use quorate::state::{self, Durability, Reader, State, command};
use quorate_sim::disk::{CrashMode, Disk, DiskFault, DiskFaults, Rate};
use quorate_sim::seed::Seed;
use rand::RngExt;

fn disk(seed: u64) -> (Disk, Place) {
    let disk = Disk::new(Seed::new(seed));
    disk.mount().create_directory("/data".as_ref()).unwrap();
    let place = Place::new("/data", Some(disk.vfs().to_owned()));
    (disk, place)
}

const FAILING: DiskFaults = DiskFaults {
    sync_error: Rate::ALWAYS,
    ..DiskFaults::none()
};

/// What happens between a failed sync and the next opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    /// Everything is closed, and the same process goes on.
    Closing,
    /// The process dies and another one begins.
    Death,
}

impl Between {
    const BOTH: [Self; 2] = [Self::Closing, Self::Death];

    /// The place as it is to be opened afterwards, once all that was open has been dropped.
    fn pass(self, disk: &Disk, place: &Place, layout: &Layout) -> Place {
        let place = match self {
            Self::Closing => place.clone(),
            Self::Death => {
                disk.end_process();
                Place::new("/data", Some(disk.vfs().to_owned()))
            }
        };
        place.settle(&disk.mount(), layout).unwrap();
        place
    }
}

/// The power goes and comes back, and nothing unsynced survives.
fn lose_power(disk: &Disk) -> Place {
    disk.restart(CrashMode::Nothing);
    Place::new("/data", Some(disk.vfs().to_owned()))
}

fn entries(term: u64, from: u64, count: u64, bytes: usize) -> Step {
    let entry = |index| Entry {
        log_id: types::log_id(term, index),
        payload: Payload {
            command: Some(vec![7; bytes].into()),
            membership: None,
        },
    };
    Step::Append((from..from + count).map(entry).collect())
}

fn write(journal: &mut Journal, steps: &[Step]) -> Result<(), DatabaseError> {
    journal.write(steps, &Aside::default())
}

fn vote(term: u64) -> Step {
    Step::Vote(Vote::new_committed(term, NodeId(1)))
}

#[test]
fn log_keeps_what_it_promised_after_a_sync_that_failed() {
    for between in Between::BOTH {
        let (disk, place) = disk(1);
        let (mut journal, _) = Journal::open(&place, Missing::Create).unwrap();
        write(&mut journal, &[vote(1), entries(1, 1, 5, 100)]).unwrap();

        disk.set_faults(FAILING);
        write(&mut journal, &[entries(1, 6, 1, 100)]).unwrap_err();
        disk.heal();
        assert_eq!(disk.fired()[&DiskFault::SyncError], 1);
        let refused = write(&mut journal, &[vote(2)]).unwrap_err();
        assert!(matches!(refused, DatabaseError::Ended { .. }), "{refused}");
        drop(journal);

        let place = between.pass(&disk, &place, &journal::LAYOUT);
        let (mut journal, contents) = Journal::open(&place, Missing::Refuse).unwrap();
        let next = contents.last.unwrap().index + 1;
        write(&mut journal, &[vote(3), entries(3, next, 4, 100)]).unwrap();
        drop(journal);

        let place = lose_power(&disk);
        let (_journal, contents) = Journal::open(&place, Missing::Refuse).unwrap();
        assert_eq!(contents.vote.unwrap().leader_id.term, 3, "{between:?}");
        let last = contents.last.unwrap();
        assert_eq!(last, types::log_id(3, next + 3), "{between:?}");
    }
}

/// A reader in the way lets a checkpoint move a part without a sync of the file; the next one's sync fails and covers both parts.
/// The seed decides which of its two syncs does: of the write-ahead log, or of the file.
#[test]
fn log_is_whole_after_a_checkpoint_whose_sync_failed() {
    let seeds = (0..20).flat_map(|seed| Between::BOTH.map(|between| (seed, between)));
    let failed = seeds.filter(|(seed, between)| survives_failed_checkpoint(*seed, *between));
    assert!(failed.count() > 20);
}

/// Whether the checkpoint failed at all.
fn survives_failed_checkpoint(seed: u64, between: Between) -> bool {
    let (disk, place) = disk(seed);
    let (mut journal, _) = Journal::open(&place, Missing::Create).unwrap();
    let mut checkpointer = journal::checkpointer(&place);
    write(&mut journal, &[vote(1), entries(1, 1, 50, 300)]).unwrap();
    let reader = rusqlite::Connection::open_with_flags_and_vfs(
        "/data/log.db",
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        disk.vfs(),
    )
    .unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM fact").unwrap();
    write(&mut journal, &[entries(1, 51, 50, 300)]).unwrap();
    checkpointer.run().unwrap();
    drop(reader);

    disk.set_faults(DiskFaults {
        sync_error: Rate::per_million(500_000),
        ..DiskFaults::none()
    });
    let failed = checkpointer.run().is_err();
    disk.heal();
    if failed {
        checkpointer.run().unwrap_err();
        let refused = write(&mut journal, &[entries(1, 101, 1, 300)]).unwrap_err();
        assert!(matches!(refused, DatabaseError::Ended { .. }), "{refused}");
    }
    drop((journal, checkpointer));

    let place = between.pass(&disk, &place, &journal::LAYOUT);
    let (mut journal, _) = Journal::open(&place, Missing::Refuse).unwrap();
    let mut checkpointer = journal::checkpointer(&place);
    checkpointer.run().unwrap();
    write(&mut journal, &[entries(2, 101, 1, 300)]).unwrap();
    drop((journal, checkpointer));

    let place = lose_power(&disk);
    let (_journal, contents) = Journal::open(&place, Missing::Refuse).unwrap();
    let expected = Some(types::log_id(2, 101));
    assert_eq!(contents.last, expected, "seed {seed} {between:?}");
    let reader = JournalReader::open(&place).unwrap();
    let read = reader.read(1..102, usize::MAX).unwrap();
    assert_eq!(read.len(), 101, "seed {seed} {between:?}");
    failed
}

fn apply(state: &mut State, indexes: std::ops::Range<u64>) {
    for index in indexes {
        let put = Body::Put(PutRequest {
            key: format!("key {index}").into(),
            value: vec![b'x'; 500].into(),
            ..PutRequest::default()
        });
        let mut batch = state.begin().unwrap();
        batch
            .apply(LogId { term: 1, index }, Some(&command(put)), None)
            .unwrap();
        batch.commit(Durability::Lazy).unwrap();
    }
}

#[test]
fn state_keeps_its_durable_points_after_a_sync_that_failed() {
    for between in Between::BOTH {
        let (disk, place) = disk(1);
        let mut state = State::open(&place, Missing::Create).unwrap();
        apply(&mut state, 1..20);
        state.make_durable().unwrap();
        apply(&mut state, 20..40);

        disk.set_faults(FAILING);
        state.make_durable().unwrap_err();
        disk.heal();
        state.make_durable().unwrap_err();
        assert!(state.begin().is_err());
        drop(state);

        let place = between.pass(&disk, &place, &state::LAYOUT);
        let mut state = State::open(&place, Missing::Refuse).unwrap();
        let durable = state.make_durable().unwrap().unwrap().index;
        apply(&mut state, durable + 1..durable + 10);
        assert_eq!(state.make_durable().unwrap().unwrap().index, durable + 9);
        drop(state);

        let place = lose_power(&disk);
        let state = State::open(&place, Missing::Refuse).unwrap();
        let found = state.applied().log_id.unwrap().index;
        assert_eq!(found, durable + 9, "{between:?}");
        state.quick_check().unwrap();
        let reader = Reader::open(&place).unwrap();
        for index in 1..=found {
            let request = RangeRequest {
                key: format!("key {index}").into(),
                ..RangeRequest::default()
            };
            assert_eq!(reader.range(&request).unwrap().count, 1, "key {index}");
        }
    }
}

#[test]
fn nothing_is_settled_under_an_open_connection() {
    let (disk, place) = disk(1);
    let state = State::open(&place, Missing::Create).unwrap();
    let reader = Reader::open(&place).unwrap();
    drop(state);
    let refused = place.settle(&disk.mount(), &state::LAYOUT).unwrap_err();
    assert!(
        matches!(refused, DatabaseError::InUse { open: 1, .. }),
        "{refused}"
    );
    drop(reader);
    place.settle(&disk.mount(), &state::LAYOUT).unwrap();
}

/// Syncs fail now and then, the process begins anew after each, and power goes now and then, also while the log is settled.
#[test]
fn whatever_a_log_promised_is_there_through_failing_syncs_and_crashes() {
    for seed in 0..40 {
        let (disk, mut place) = disk(seed);
        let mut rng = Seed::new(seed).labelled("life").rng();
        let (mut promised_term, mut promised_last, mut term) = (0, 0, 0);
        let mut missing = Missing::Create;
        for _ in 0..30 {
            // Nothing fails when the database is made: before that nothing was promised.
            if missing == Missing::Refuse {
                disk.set_faults(DiskFaults {
                    sync_error: Rate::per_million(100_000),
                    ..DiskFaults::none()
                });
                if rng.random_bool(0.4) {
                    disk.set_fuse(Some(rng.random_range(0..60)));
                }
            }
            let mut live = || -> Result<(), DatabaseError> {
                place.settle(&disk.mount(), &journal::LAYOUT)?;
                let (mut journal, contents) = Journal::open(&place, missing)?;
                let mut checkpointer = journal::checkpointer(&place);
                let found = contents.vote.map_or(0, |vote| vote.leader_id.term);
                let last = contents.last.map_or(0, |last| last.index);
                assert!(
                    found >= promised_term,
                    "seed {seed}: {found} < {promised_term}"
                );
                assert!(
                    last >= promised_last,
                    "seed {seed}: {last} < {promised_last}"
                );
                let mut next = last + 1;
                term = term.max(found);
                loop {
                    term += 1;
                    let count = rng.random_range(1..6);
                    let bytes = rng.random_range(1..3000);
                    write(
                        &mut journal,
                        &[vote(term), entries(term, next, count, bytes)],
                    )?;
                    next += count;
                    (promised_term, promised_last) = (term, next - 1);
                    missing = Missing::Refuse;
                    if rng.random_bool(0.2) {
                        checkpointer.run()?;
                    }
                    if rng.random_bool(0.1) {
                        return Ok(());
                    }
                }
            };
            // An error, or an orderly end.
            let _ = live();
            let powered = disk.is_powered();
            disk.heal();
            if !powered || rng.random_bool(0.3) {
                disk.restart(CrashMode::random(&mut rng));
                place = Place::new("/data", Some(disk.vfs().to_owned()));
            } else if rng.random_bool(0.5) {
                disk.end_process();
                place = Place::new("/data", Some(disk.vfs().to_owned()));
            }
        }
        assert!(promised_last > 50, "seed {seed} lived: {promised_last}");
        assert!(disk.fired().contains_key(&DiskFault::SyncError));
    }
}
