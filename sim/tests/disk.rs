//! SQLite on the simulated disk: what it acknowledges survives, a weaker setting is caught, and every fault happens.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use quorate_sim::disk::{CrashMode, Disk, DiskFault, DiskFaults, DiskSpeed, Rate, Reach};
use quorate_sim::seed::Seed;
use rand::RngExt;
use rusqlite::{Connection, ErrorCode, OpenFlags, Result, TransactionBehavior};
use std::time::Duration;

fn open(disk: &Disk, synchronous: &str) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs("store.db", flags, disk.vfs())?;
    let mode: String = connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    assert_eq!(
        mode, "wal",
        "without shared memory SQLite silently stays with another mode"
    );
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 50)?;
    Ok(connection)
}

fn with_table(seed: u64) -> Disk {
    let disk = Disk::new(Seed::new(seed));
    let connection = open(&disk, "FULL").unwrap();
    connection
        .execute_batch(
            "CREATE TABLE filler(id INTEGER PRIMARY KEY, bytes BLOB); CREATE TABLE counter(value INTEGER);
             INSERT INTO counter VALUES(0);",
        )
        .unwrap();
    drop(connection);
    disk
}

fn counter(connection: &Connection) -> Result<i64> {
    connection.query_row("SELECT value FROM counter", [], |row| row.get(0))
}

/// Commits transactions, with a reader beside the writer, until the disk fails; answers the last one acknowledged.
fn commit_until_failure(
    disk: &Disk,
    synchronous: &str,
    mut acknowledged: i64,
    rng: &mut impl rand::Rng,
) -> i64 {
    let mut work = || -> Result<()> {
        let mut writer = open(disk, synchronous)?;
        let reader = open(disk, synchronous)?;
        loop {
            assert_eq!(
                counter(&reader)?,
                acknowledged,
                "a reader sees every commit"
            );
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for _ in 0..rng.random_range(1..4) {
                let bytes = vec![7_u8; rng.random_range(10..3000)];
                transaction
                    .prepare_cached("INSERT INTO filler(bytes) VALUES(?)")?
                    .execute([bytes])?;
            }
            transaction
                .prepare_cached("UPDATE counter SET value=?")?
                .execute([acknowledged + 1])?;
            if acknowledged % 20 == 0 {
                transaction.execute("DELETE FROM filler", [])?;
            }
            transaction.commit()?;
            acknowledged += 1;
        }
    };
    work().expect_err("the fuse ends it");
    assert!(!disk.is_powered(), "nothing but the fuse may fail");
    acknowledged
}

#[derive(Default, Debug)]
struct Losses {
    acknowledged: u64,
    corrupt: u64,
}

/// Crashes at random writes and syncs, recovers, and compares with what was acknowledged.
fn crash_and_recover(seed: u64, synchronous: &str, mode: CrashMode, cycles: u32) -> Losses {
    let disk = with_table(seed);
    let mut rng = Seed::new(seed).labelled("workload").rng();
    let (mut losses, mut acknowledged) = (Losses::default(), 0);
    for _ in 0..cycles {
        disk.set_fuse(Some(rng.random_range(1..120)));
        acknowledged = commit_until_failure(&disk, synchronous, acknowledged, &mut rng);
        disk.restart(mode);
        let integrity = |connection: &Connection| -> Result<String> {
            connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))
        };
        let Ok(connection) = open(&disk, synchronous) else {
            losses.corrupt += 1;
            break;
        };
        if integrity(&connection).as_deref() != Ok("ok") {
            losses.corrupt += 1;
            break;
        }
        let found = counter(&connection).unwrap();
        losses.acknowledged += u64::from(found < acknowledged);
        assert!(
            found <= acknowledged + 1,
            "no more than the transaction in flight is new"
        );
        acknowledged = found;
    }
    losses
}

#[test]
fn full_sync_loses_nothing_in_any_mode() {
    for mode in CrashMode::ALL {
        for seed in 0..4 {
            let losses = crash_and_recover(seed, "FULL", mode, 60);
            assert_eq!(
                (losses.acknowledged, losses.corrupt),
                (0, 0),
                "{mode:?} seed {seed}"
            );
        }
    }
}

#[test]
fn normal_sync_is_seen_to_lose_and_off_to_lose_or_corrupt() {
    let normal: u64 = (0..4)
        .map(|seed| crash_and_recover(seed, "NORMAL", CrashMode::Nothing, 60).acknowledged)
        .sum();
    assert!(normal > 100, "NORMAL lost in {normal} of 240 crashes");
    let corrupt: u64 = (0..4)
        .map(|seed| crash_and_recover(seed, "NORMAL", CrashMode::Torn, 60).corrupt)
        .sum();
    assert_eq!(corrupt, 0, "NORMAL loses but does not corrupt");
    let off = (0..8)
        .map(|seed| crash_and_recover(seed, "OFF", CrashMode::Torn, 60))
        .fold(0, |sum, losses| sum + losses.corrupt);
    assert!(off > 0, "OFF is seen to corrupt");
}

/// Not the same bytes: SQLite draws the salts of its write-ahead logs from numbers of the whole process.
#[test]
fn same_seed_leaves_the_same_files_content_and_counts() {
    let run = |seed| {
        let disk = with_table(seed);
        let mut rng = Seed::new(seed).labelled("workload").rng();
        disk.set_fuse(Some(90));
        let acknowledged = commit_until_failure(&disk, "FULL", 0, &mut rng);
        disk.restart(CrashMode::Torn);
        let (used, fired) = (disk.used(), disk.fired());
        let left = (disk.files(), disk.stored());
        let content = counter(&open(&disk, "FULL").unwrap());
        (acknowledged, used, fired, left, content)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).2, run(6).2);
}

#[test]
fn fuse_cuts_at_exactly_that_operation_and_later_calls_fail() {
    let disk = with_table(1);
    let connection = open(&disk, "FULL").unwrap();
    let before = disk.used();
    disk.set_fuse(Some(2));
    assert!(
        connection
            .execute("UPDATE counter SET value=9", [])
            .is_err()
    );
    let after = disk.used();
    // It blew under a sync; a write would have been on its way, and counted.
    assert_eq!(after.writes + after.syncs - before.writes - before.syncs, 2);
    assert_eq!(disk.fired()[&DiskFault::FuseBlown], 1);
    assert!(counter(&connection).is_err(), "the dead cannot read");
    disk.restart(CrashMode::Nothing);
    assert!(
        counter(&connection).is_err(),
        "nor can they after the next life began"
    );
    assert_eq!(counter(&open(&disk, "FULL").unwrap()), Ok(0));
}

#[test]
fn former_life_neither_writes_nor_holds_a_lock() {
    let disk = with_table(1);
    let old = open(&disk, "FULL").unwrap();
    old.execute_batch("BEGIN IMMEDIATE; UPDATE counter SET value=7")
        .unwrap();
    disk.restart(CrashMode::Nothing);
    let new = open(&disk, "FULL").unwrap();
    new.execute("UPDATE counter SET value=8", [])
        .expect("the writer's lock died with its holder");
    assert!(old.execute_batch("COMMIT").is_err());
    drop(old);
    assert_eq!(counter(&new), Ok(8));
    new.execute("UPDATE counter SET value=9", [])
        .expect("the old handle's end released nothing of the new life");
}

/// A disk on which `faults` are on once a database is open, and what then happens to it.
fn under(faults: DiskFaults) -> (Disk, Connection) {
    let disk = with_table(3);
    let connection = open(&disk, "FULL").unwrap();
    connection.pragma_update(None, "cache_size", 0).unwrap();
    disk.set_faults(faults);
    (disk, connection)
}

fn code(result: Result<usize>) -> ErrorCode {
    result
        .expect_err("a fault")
        .sqlite_error_code()
        .expect("SQLite's own")
}

#[test]
fn failing_reads_writes_and_syncs_are_errors_and_counted() {
    let none = DiskFaults::none();
    let cases = [
        (
            DiskFaults {
                read_error: Rate::ALWAYS,
                ..none
            },
            DiskFault::ReadError,
        ),
        (
            DiskFaults {
                write_error: Rate::ALWAYS,
                ..none
            },
            DiskFault::WriteError,
        ),
        (
            DiskFaults {
                sync_error: Rate::ALWAYS,
                ..none
            },
            DiskFault::SyncError,
        ),
    ];
    for (faults, expected) in cases {
        let (disk, connection) = under(faults);
        let bytes = vec![1_u8; 20_000];
        let failed = connection.execute("INSERT INTO filler(bytes) VALUES(?)", [bytes]);
        let failed = failed.and_then(|_| {
            connection
                .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
                .map(|()| 0)
        });
        assert_eq!(code(failed), ErrorCode::SystemIoFailure, "{expected:?}");
        assert!(disk.fired()[&expected] > 0);
        disk.set_faults(none);
        drop(connection);
        assert_eq!(
            counter(&open(&disk, "FULL").unwrap()),
            Ok(0),
            "{expected:?} passes"
        );
    }
}

#[test]
fn full_disk_refuses_and_recovers_when_there_is_room() {
    let disk = with_table(3);
    let connection = open(&disk, "FULL").unwrap();
    disk.set_capacity(Some(40_000));
    let big = || vec![1_u8; 50_000];
    assert_eq!(
        code(connection.execute("INSERT INTO filler(bytes) VALUES(?)", [big()])),
        ErrorCode::DiskFull
    );
    assert!(disk.fired()[&DiskFault::OutOfSpace] > 0);
    disk.set_capacity(None);
    connection
        .execute("INSERT INTO filler(bytes) VALUES(?)", [big()])
        .unwrap();
}

#[test]
fn lost_and_misdirected_writes_come_to_light_after_the_power_went() {
    let none = DiskFaults::none();
    let cases = [
        (
            DiskFaults {
                lost_write: Rate::per_million(300_000),
                reach: Reach::AllFiles,
                ..none
            },
            DiskFault::LostWrite,
        ),
        (
            DiskFaults {
                misdirected_write: Rate::per_million(300_000),
                reach: Reach::AllFiles,
                ..none
            },
            DiskFault::MisdirectedWrite,
        ),
    ];
    for (faults, expected) in cases {
        let mut damaged = false;
        for seed in 0..5 {
            let disk = with_table(seed);
            let connection = open(&disk, "FULL").unwrap();
            disk.set_faults(faults);
            for value in 1..40 {
                connection
                    .execute("INSERT INTO filler(bytes) VALUES(?)", [vec![1_u8; 900]])
                    .unwrap();
                connection
                    .execute("UPDATE counter SET value=?", [value])
                    .unwrap();
            }
            assert_eq!(counter(&connection), Ok(39), "the cache hides it");
            assert!(disk.fired()[&expected] > 0);
            disk.set_faults(none);
            disk.restart(CrashMode::Nothing);
            damaged |= !matches!(
                open(&disk, "FULL").and_then(|connection| counter(&connection)),
                Ok(39)
            );
        }
        assert!(damaged, "{expected:?}");
    }
}

#[test]
fn bit_rot_stays_and_a_flipped_read_does_not() {
    let (disk, connection) = under(DiskFaults::none());
    connection
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    let good = disk.digest();
    disk.set_faults(DiskFaults {
        read_flip: Rate::ALWAYS,
        ..DiskFaults::none()
    });
    let _damaged_or_not = counter(&connection);
    assert!(disk.fired()[&DiskFault::ReadFlip] > 0);
    assert_eq!(disk.digest(), good, "what is stored is right");
    assert_eq!(disk.rot("store.db", 3), 3);
    assert_eq!(disk.fired()[&DiskFault::BitRot], 3);
    assert_ne!(disk.digest(), good);
    assert_eq!(disk.rot("nowhere", 1), 0);
}

#[test]
fn stale_image_and_wiped_disk_are_what_they_say() {
    let disk = with_table(3);
    let write = |value| {
        open(&disk, "FULL")
            .unwrap()
            .execute("UPDATE counter SET value=?", [value])
            .unwrap()
    };
    write(1);
    let image = disk.save();
    write(2);
    disk.restore(image);
    assert_eq!(counter(&open(&disk, "FULL").unwrap()), Ok(1));
    disk.wipe();
    assert!(counter(&open(&disk, "FULL").unwrap()).is_err());
    assert_eq!(
        (
            disk.fired()[&DiskFault::StaleImage],
            disk.fired()[&DiskFault::Wiped]
        ),
        (1, 1)
    );
}

#[test]
fn slow_disk_owes_time_for_syncs_and_a_stall_for_once() {
    let disk = with_table(3);
    disk.set_speed(DiskSpeed {
        jitter_permille: 0,
        ..DiskSpeed::syncing_in(Duration::from_millis(5))
    });
    let connection = open(&disk, "FULL").unwrap();
    let _ = disk.take_owed();
    connection
        .execute("UPDATE counter SET value=1", [])
        .unwrap();
    let owed = disk.take_owed();
    assert!(
        (5..20).contains(&owed.as_millis()),
        "a commit is a sync or two: {owed:?}"
    );
    assert_eq!(disk.take_owed(), Duration::ZERO);
    disk.stall(Duration::from_secs(30));
    connection
        .execute("UPDATE counter SET value=2", [])
        .unwrap();
    connection
        .execute("UPDATE counter SET value=3", [])
        .unwrap();
    assert!((30..31).contains(&disk.take_owed().as_secs()));
    assert_eq!(disk.fired()[&DiskFault::Stall], 1);
}

#[test]
fn end_of_the_process_alone_loses_nothing() {
    let disk = with_table(3);
    let connection = open(&disk, "OFF").unwrap();
    connection
        .execute("UPDATE counter SET value=5", [])
        .unwrap();
    disk.end_process();
    assert!(counter(&connection).is_err());
    assert_eq!(counter(&open(&disk, "OFF").unwrap()), Ok(5));
}

#[test]
fn disks_come_and_go_by_the_thousand() {
    for seed in 0..1000 {
        let disk = Disk::new(Seed::new(seed));
        let connection = open(&disk, "FULL").unwrap();
        // The file system outlives the disk for as long as a connection is open.
        drop(disk);
        connection.execute_batch("CREATE TABLE t(x)").unwrap();
    }
}
