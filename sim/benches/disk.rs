//! How many times in a CPU-second SQLite crashes at a random write and recovers, on the simulated disk.
//!
//! `cargo bench -p quorate-sim --bench disk`. A table by crash mode: cycles, transactions committed between crashes, what
//! was lost of them (nothing: WAL with FULL), cycles in a CPU-second.

use quorate_sim::cpu::thread_cpu_time;
use quorate_sim::disk::{CrashMode, Disk};
use quorate_sim::seed::Seed;
use rand::RngExt;
use rusqlite::{Connection, OpenFlags, Result};

const CYCLES: u32 = 3000;

fn main() {
    println!(
        "{:<10} {:>8} {:>10} {:>6} {:>12}",
        "crash mode", "cycles", "commits", "lost", "cycles/CPU-s"
    );
    for mode in CrashMode::ALL {
        let before = cpu_seconds();
        let (commits, lost) = cycles(mode);
        let rate = f64::from(CYCLES) / (cpu_seconds() - before);
        println!(
            "{:<10} {CYCLES:>8} {commits:>10} {lost:>6} {rate:>12.0}",
            format!("{mode:?}")
        );
    }
}

/// What this thread has used, as the kernel counts it.
fn cpu_seconds() -> f64 {
    thread_cpu_time().as_secs_f64()
}

fn cycles(mode: CrashMode) -> (i64, u32) {
    let disk = Disk::new(Seed::new(1));
    let setup = "CREATE TABLE filler(id INTEGER PRIMARY KEY, bytes BLOB); CREATE TABLE counter(value INTEGER);
                 INSERT INTO counter VALUES(0);";
    open(&disk)
        .and_then(|connection| connection.execute_batch(setup))
        .expect("nothing fails yet");
    let mut rng = Seed::new(1).labelled("workload").rng();
    let (mut acknowledged, mut lost) = (0, 0);
    for _ in 0..CYCLES {
        disk.set_fuse(Some(rng.random_range(1..120)));
        commit(&disk, &mut acknowledged, &mut rng).expect_err("the fuse ends it");
        disk.restart(mode);
        let found: i64 = open(&disk)
            .and_then(|connection| {
                connection.query_row("SELECT value FROM counter", [], |row| row.get(0))
            })
            .expect("it recovers");
        lost += u32::from(found < acknowledged);
        acknowledged = found;
    }
    (acknowledged, lost)
}

fn commit(disk: &Disk, acknowledged: &mut i64, rng: &mut impl rand::Rng) -> Result<()> {
    let mut connection = open(disk)?;
    loop {
        let transaction = connection.transaction()?;
        let bytes = vec![7_u8; rng.random_range(10..3000)];
        transaction
            .prepare_cached("INSERT INTO filler(bytes) VALUES(?)")?
            .execute([bytes])?;
        transaction
            .prepare_cached("UPDATE counter SET value=?")?
            .execute([*acknowledged + 1])?;
        if *acknowledged % 20 == 0 {
            transaction.execute("DELETE FROM filler", [])?;
        }
        transaction.commit()?;
        *acknowledged += 1;
    }
}

fn open(disk: &Disk) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs("store.db", flags, disk.vfs())?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 50)?;
    Ok(connection)
}
