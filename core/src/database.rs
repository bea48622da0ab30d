//! How every SQLite database of a node is opened: the Raft log, the state, and what comes later.
//!
//! The settings are the same everywhere, so they stand here once, with their reasons:
//!
//! * **WAL, asserted.** Asked for a write-ahead log where shared memory is missing, SQLite answers with another mode and
//!   goes on; its promises would then be others than the ones this project builds on.
//! * **One writer connection for each file.** So nobody ever waits for a lock: `busy_timeout` is zero, and a database
//!   that answers BUSY shows a bug (or a second process on the same directory) instead of hiding it in a stall. In a
//!   simulation everything runs on one thread, where waiting would be for ever.
//! * **Checkpoints are ours.** Left alone, SQLite checkpoints inside of the commit that happens to cross a threshold,
//!   which would be the latency of somebody's write. [`checkpoint`] is called from a thread of its own, and the file of
//!   the log is cut back to [`Layout::wal_bytes`] whenever it starts over.
//! * **Bounded memory.** The page cache and the statement cache have sizes, and nothing is memory-mapped.
//!
//! # A sync that failed
//!
//! The operating system reports it once. It then takes the pages for clean, so that later syncs answer well, and the
//! process goes on to see bytes that the disk never got: whatever is written behind them is lost with the next power
//! failure, synced or not. Nothing of what SQLite does by itself helps against that, because its recovery, too, believes what
//! it reads. So three things hold here:
//!
//! * After an error of a sync no connection writes to this database any more ([`Opened::sound`]), a checkpoint above all: its
//!   pages count as moved, and the next one would not move them again.
//! * Closing never checkpoints, for the same reason.
//! * Before SQLite opens a database of an earlier run, which it recovers from the write-ahead log, [`Place::settle`] writes
//!   that log anew and syncs it. What is read is then what a power failure leaves. It insists that every connection of the
//!   earlier run is closed: as long as one is open SQLite recovers nothing and goes on as before.
//!
//! The database file itself needs none of it: each page that is not certain to be on the disk is in the write-ahead log too,
//! which starts over only after a sync of the file that went well, and recovery takes none of it for moved.
//!
//! Otherwise nothing here touches a file but through SQLite, so a simulated disk needs little more than a VFS.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::frames::hole;
use crate::runtime::Disk;

/// A node's directory, the VFS through which SQLite sees it, and what is open there. Clones share what is open.
#[derive(Clone, Debug)]
pub struct Place {
    dir: PathBuf,
    vfs: Option<String>,
    uses: Arc<Mutex<BTreeMap<&'static str, Use>>>,
}

/// What is known of one database in this process.
#[derive(Debug, Default)]
struct Use {
    /// Connections that are open.
    open: usize,
    /// Why none of them may write any more.
    ended: Option<String>,
    /// From how many pages on the write-ahead log is spoken of again, once it was.
    alarm_at: Option<u32>,
}

impl Use {
    /// Whether a write-ahead log of so many pages is worth a word, if it usually has `usual`: when it is [`WAL_ALARM`] times as
    /// long, and again whenever it has doubled.
    fn is_alarming(&mut self, pages: u32, usual: u32) -> bool {
        let at = usual.saturating_mul(WAL_ALARM);
        let is_alarming = pages >= self.alarm_at.unwrap_or(at);
        if is_alarming {
            self.alarm_at = Some(pages.saturating_mul(2));
        } else if pages <= usual {
            self.alarm_at = None;
        }
        is_alarming
    }
}

/// A write-ahead log of so many times the length to which it is cut back cannot start over: somebody reads for too long, or
/// what is written never rests.
const WAL_ALARM: u32 = 16;

/// What one database looks like. Each is a constant beside the code that owns the tables.
#[derive(Debug)]
pub struct Layout {
    /// File name inside the [`Place`].
    pub file: &'static str,
    /// Stamped into the file's header, so that a file put in the wrong place is not taken for ours.
    pub application_id: i32,
    /// `formats[n]` is the SQL that lifts a database of format `n` to `n + 1`; an empty file has format 0. The number of
    /// elements is the format that this program writes.
    pub formats: &'static [&'static str],
    /// Bytes of one page; takes effect when the file is made.
    pub page_bytes: u32,
    /// Upper bound of the page cache of the writer. A reader takes a quarter of it.
    pub cache_kib: u32,
    /// Prepared statements that stay prepared.
    pub statements: usize,
    /// To what the write-ahead log's file is cut back when it starts over.
    pub wal_bytes: u32,
    /// Whether every commit is synced before the next begins. A hole in the write-ahead log is then met as damage, and the
    /// log is started over whenever the database is opened.
    pub synced: bool,
}

/// What a commit promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// A commit survives a loss of power.
    Full,
    /// A commit survives the death of the process; a loss of power may take the newest ones, never tear one.
    Normal,
}

/// What to do when the file is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Make it, with its tables.
    Create,
    /// Say so: a database that must be there and is not may be on a volume that is not mounted.
    Refuse,
}

/// Why a database cannot be opened or used. All of these are local: another node's copy may be well.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file is not there.
    #[error(
        "{file}: there is no such database; is the volume mounted? If the data is really gone, remove this node from the cluster, wipe its directory and join anew"
    )]
    Missing {
        /// The database.
        file: String,
    },
    /// Something else than our database.
    #[error(
        "{file}: this is not a quorate database (application id {found:#x}, expected {expected:#x}); move it away or name another directory"
    )]
    Foreign {
        /// The database.
        file: String,
        /// What its header says.
        found: i32,
        /// What it should say.
        expected: i32,
    },
    /// Written by a newer program.
    #[error(
        "{file}: written in format {found} by a newer quorate, this one knows up to {known}; start the newer version again"
    )]
    Future {
        /// The database.
        file: String,
        /// Its format.
        found: i32,
        /// The newest format that this program knows.
        known: i32,
    },
    /// The content cannot be trusted.
    #[error(
        "{file}: the database is damaged ({detail}); nothing was changed. Keep a copy of the directory, then wipe it and join this node anew, or restore a backup if it was the only one"
    )]
    Corrupt {
        /// The database.
        file: String,
        /// What SQLite found.
        detail: String,
    },
    /// There is no write-ahead log to be had.
    #[error(
        "{file}: SQLite offers journal mode {found:?} here instead of a write-ahead log; the file system lacks shared memory or locks, use a local one"
    )]
    NotWal {
        /// The database.
        file: String,
        /// The mode it answered with.
        found: String,
    },
    /// The disk is full.
    #[error("{file}: the disk is full; nothing was changed. Make some room on it and try again")]
    Full {
        /// The database.
        file: String,
    },
    /// An earlier error has ended the writing to it.
    #[error("{file}: nothing is written any more since an error of the disk ({detail})")]
    Ended {
        /// The database.
        file: String,
        /// The error.
        detail: String,
    },
    /// It is to be opened anew, and what opened it before has not closed it yet.
    #[error("{file}: {open} connections of the earlier run are not closed yet")]
    InUse {
        /// The database.
        file: String,
        /// How many.
        open: usize,
    },
    /// Its write-ahead log cannot be made certain.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Two connections want to write, which this program never does.
    #[error("{file}: another process or connection is writing to this database")]
    Busy {
        /// The database.
        file: String,
    },
    /// Any other answer of SQLite.
    #[error("{file}: {source}")]
    Sqlite {
        /// The database.
        file: String,
        /// SQLite's own words.
        #[source]
        source: rusqlite::Error,
    },
}

impl DatabaseError {
    /// Sorts what SQLite answered by what the caller does differently.
    #[must_use]
    pub fn new(file: &str, source: rusqlite::Error) -> Self {
        let file = file.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt {
                file,
                detail: source.to_string(),
            },
            Some(ErrorCode::DiskFull) => Self::Full { file },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { file },
            _ => Self::Sqlite { file, source },
        }
    }
}

impl Place {
    /// The directory that holds the files, seen through a VFS that is registered with SQLite; the operating system's own when
    /// `None`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, vfs: Option<String>) -> Self {
        Self {
            dir: dir.into(),
            vfs,
            uses: Arc::default(),
        }
    }

    /// The directory that it is in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// The name that SQLite gets and that messages show.
    #[must_use]
    pub fn path(&self, file: &str) -> String {
        self.dir.join(file).to_string_lossy().into_owned()
    }

    fn uses(&self) -> MutexGuard<'_, BTreeMap<&'static str, Use>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections to a database are open.
    #[must_use]
    pub fn open_connections(&self, layout: &Layout) -> usize {
        self.uses().get(layout.file).map_or(0, |used| used.open)
    }

    /// Which error has ended the writing to a database, if one has.
    #[must_use]
    pub fn ended(&self, layout: &Layout) -> Option<String> {
        self.uses().get(layout.file)?.ended.clone()
    }

    /// Makes certain what SQLite will find when it opens the database: the bytes of the write-ahead log that can be read
    /// become those that a power failure leaves, whatever became of their syncs. Nothing happens where there is none. An
    /// error that had ended the writing is forgotten. Takes the time of writing the log once, some MiB as a rule, and answers
    /// how many bytes it has.
    ///
    /// # Errors
    /// When a connection is open, or the disk cannot be read or written, or something is gone that was synced.
    pub fn settle(&self, disk: &impl Disk, layout: &Layout) -> Result<u64, DatabaseError> {
        let open = self.open_connections(layout);
        if open > 0 {
            let file = self.path(layout.file);
            return Err(DatabaseError::InUse { file, open });
        }
        let wal = format!("{}-wal", self.path(layout.file));
        if layout.synced {
            let content = disk.read(Path::new(&wal));
            let content = content.map_err(|source| DatabaseError::Io {
                file: wal.clone(),
                source,
            })?;
            if let Some(frame) = hole(&content.unwrap_or_default()) {
                return Err(DatabaseError::Corrupt {
                    file: wal,
                    detail: format!(
                        "frame {frame} of the write-ahead log was synced and is not there"
                    ),
                });
            }
        }
        let bytes = disk
            .write_anew(Path::new(&wal))
            .map_err(|source| DatabaseError::Io { file: wal, source })?;
        self.uses().entry(layout.file).or_default().ended = None;
        Ok(bytes)
    }

    /// Opens the one connection that writes to a database, lifting an older format to the present one.
    pub fn writer(
        &self,
        layout: &Layout,
        synchronous: Synchronous,
        missing: Missing,
    ) -> Result<Opened, DatabaseError> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, missing == Missing::Create);
        let connection = self.connect(layout, flags, layout.cache_kib)?;
        let sql = |error| DatabaseError::new(&self.path(layout.file), error);
        self.check_ours(&connection, layout, missing)?;
        connection
            .pragma_update(None, "page_size", layout.page_bytes)
            .map_err(sql)?;
        let mode: String = connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(sql)?;
        if mode != "wal" {
            return Err(DatabaseError::NotWal {
                file: self.path(layout.file),
                found: mode,
            });
        }
        set_synchronous(&connection, synchronous).map_err(sql)?;
        connection
            .pragma_update(None, "wal_autocheckpoint", 0)
            .map_err(sql)?;
        connection
            .pragma_update(None, "journal_size_limit", layout.wal_bytes)
            .map_err(sql)?;
        lift(&connection, layout).map_err(sql)?;
        if layout.synced {
            connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                .inspect_err(|error| connection.end(error))
                .map_err(sql)?;
        }
        Ok(connection)
    }

    /// Opens a connection that only reads. The writer must have opened the database before.
    pub fn reader(&self, layout: &Layout) -> Result<Opened, DatabaseError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = self.connect(layout, flags, layout.cache_kib / 4)?;
        self.check_ours(&connection, layout, Missing::Refuse)?;
        Ok(connection)
    }

    fn connect(
        &self,
        layout: &Layout,
        flags: OpenFlags,
        cache_kib: u32,
    ) -> Result<Opened, DatabaseError> {
        let file = self.path(layout.file);
        let held = Held::new(self.clone(), layout);
        let opened = match &self.vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(&file, flags, vfs.as_str()),
            None => Connection::open_with_flags(&file, flags),
        };
        let connection = opened.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen) if !flags.contains(OpenFlags::SQLITE_OPEN_CREATE) => {
                DatabaseError::Missing { file: file.clone() }
            }
            _ => DatabaseError::new(&file, error),
        })?;
        let sql = |error| DatabaseError::new(&file, error);
        connection.busy_timeout(Duration::ZERO).map_err(sql)?;
        connection
            .pragma_update(None, "mmap_size", 0)
            .map_err(sql)?;
        connection
            .pragma_update(None, "cache_size", -i64::from(cache_kib))
            .map_err(sql)?;
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(sql)?;
        connection.set_prepared_statement_cache_capacity(layout.statements);
        Ok(Opened { connection, held })
    }

    /// Reads only the header: nothing of a foreign or newer file is changed.
    fn check_ours(
        &self,
        connection: &Connection,
        layout: &Layout,
        missing: Missing,
    ) -> Result<(), DatabaseError> {
        let file = self.path(layout.file);
        let header = |pragma| {
            connection
                .pragma_query_value(None, pragma, |row| row.get::<_, i32>(0))
                .map_err(|error| DatabaseError::new(&file, error))
        };
        let (found, format, tables) = (
            header("application_id")?,
            header("user_version")?,
            header("schema_version")?,
        );
        let known = newest_format(layout);
        let fresh = found == 0 && format == 0 && tables == 0;
        if fresh && missing == Missing::Refuse {
            // An empty file: whoever made it died before the tables were in it.
            return Err(DatabaseError::Missing { file });
        }
        if found != layout.application_id && !fresh {
            return Err(DatabaseError::Foreign {
                file,
                found,
                expected: layout.application_id,
            });
        }
        if format > known {
            return Err(DatabaseError::Future {
                file,
                found: format,
                known,
            });
        }
        Ok(())
    }
}

/// A connection to a database of a [`Place`], which knows of it as long as it is open.
#[derive(Debug)]
pub struct Opened {
    // Closed before the place hears of it.
    connection: Connection,
    held: Held,
}

impl Deref for Opened {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Opened {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Opened {
    /// Whether the database may still be written. To be asked before a write, and after one that was synced: what is synced
    /// behind pages whose own sync has failed is not safe.
    ///
    /// # Errors
    /// When an error has ended that.
    pub fn sound(&self) -> Result<(), DatabaseError> {
        let uses = self.held.place.uses();
        match uses
            .get(self.held.file)
            .and_then(|used| used.ended.as_ref())
        {
            None => Ok(()),
            Some(detail) => Err(DatabaseError::Ended {
                file: self.held.place.path(self.held.file),
                detail: detail.clone(),
            }),
        }
    }

    /// No connection writes to the database any more, until it is settled and opened anew.
    pub fn end(&self, error: &impl ToString) {
        let mut uses = self.held.place.uses();
        let used = uses.entry(self.held.file).or_default();
        used.ended.get_or_insert_with(|| error.to_string());
    }
}

/// An entry in the book of a place.
#[derive(Debug)]
struct Held {
    place: Place,
    file: &'static str,
    /// To how many pages the write-ahead log is cut back.
    wal_pages: u32,
}

impl Held {
    fn new(place: Place, layout: &Layout) -> Self {
        place.uses().entry(layout.file).or_default().open += 1;
        Self {
            place,
            file: layout.file,
            wal_pages: layout.wal_bytes / layout.page_bytes,
        }
    }

    /// Says so when the write-ahead log, of so many pages, has outgrown its bound by far.
    fn watch(&self, logged: u32) {
        let mut uses = self.place.uses();
        let used = uses.entry(self.file).or_default();
        if used.is_alarming(logged, self.wal_pages) {
            tracing::warn!(
                file = self.file,
                pages = logged,
                usual = self.wal_pages,
                "a write-ahead log has grown far beyond its bound"
            );
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(used) = self.place.uses().get_mut(self.file) {
            used.open -= 1;
        }
    }
}

/// Changes what the commits of this connection promise from now on. Not inside of a transaction.
pub fn set_synchronous(connection: &Connection, synchronous: Synchronous) -> rusqlite::Result<()> {
    let word = match synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", word)
}

/// Reads the whole file and fails if anything in it is not as SQLite wrote it. Takes seconds on a large one.
pub fn quick_check(connection: &Connection, file: &str) -> Result<(), DatabaseError> {
    let detail: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| DatabaseError::new(file, error))?;
    if detail == "ok" {
        Ok(())
    } else {
        Err(DatabaseError::Corrupt {
            file: file.to_owned(),
            detail,
        })
    }
}

/// Moves pages from the write-ahead log to the file, on a connection of its own that never holds a transaction, so that it can live on a
/// thread of its own beside the writer. It is opened for the first pages: a node that starts, or idles, has none to move.
pub struct Checkpointer {
    place: Place,
    layout: &'static Layout,
    connection: Option<Opened>,
}

impl Checkpointer {
    /// For a database that is open, or will be.
    #[must_use]
    pub fn new(place: &Place, layout: &'static Layout) -> Self {
        Self {
            place: place.clone(),
            layout,
            connection: None,
        }
    }

    /// [`checkpoint`]s.
    ///
    /// # Errors
    /// When SQLite cannot open, read or write the database; after the last it may not be written any more, by any connection.
    pub fn run(&mut self) -> Result<Checkpoint, DatabaseError> {
        if let Some(connection) = &self.connection {
            return checkpoint(connection);
        }
        let connection = self.open()?;
        checkpoint(self.connection.insert(connection))
    }

    fn open(&self) -> Result<Opened, DatabaseError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = self.place.connect(self.layout, flags, 64)?;
        self.place
            .check_ours(&connection, self.layout, Missing::Refuse)?;
        connection
            .pragma_update(None, "wal_autocheckpoint", 0)
            .map_err(|error| DatabaseError::new(&self.place.path(self.layout.file), error))?;
        Ok(connection)
    }
}

/// How far a [`checkpoint`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Pages in the write-ahead log.
    pub logged: u32,
    /// How many of them are in the database file by now. When it is all of them and nobody reads, the next commit
    /// starts the log over.
    pub moved: u32,
}

/// Moves what it can from the write-ahead log into the file without ever making a reader or the writer wait. It promises
/// nothing about durability: with a reader in the way it answers well and has synced nothing.
///
/// # Errors
/// When SQLite cannot read or write; the database may then not be written any more, by any connection.
fn checkpoint(connection: &Opened) -> Result<Checkpoint, DatabaseError> {
    connection.sound()?;
    let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let (logged, moved): (i64, i64) = (row.get(1)?, row.get(2)?);
        // Both are -1 when another checkpoint is running.
        Ok(Checkpoint {
            logged: u32::try_from(logged).unwrap_or(0),
            moved: u32::try_from(moved).unwrap_or(0),
        })
    });
    let moved = moved.map_err(|error| {
        connection.end(&error);
        DatabaseError::new(&connection.held.place.path(connection.held.file), error)
    })?;
    connection.held.watch(moved.logged);
    Ok(moved)
}

fn newest_format(layout: &Layout) -> i32 {
    i32::try_from(layout.formats.len()).expect("formats are added by hand")
}

/// Each step is one transaction with its version number, so a crash leaves the one format or the other.
fn lift(connection: &Connection, layout: &Layout) -> rusqlite::Result<()> {
    let format: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for next in format + 1..=newest_format(layout) {
        let step = layout.formats[usize::try_from(next - 1).expect("counts from one")];
        let id = layout.application_id;
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {step}; PRAGMA application_id = {id}; PRAGMA user_version = {next}; COMMIT"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_far_beyond_its_bound_is_spoken_of_once_and_again_when_it_doubles() {
        let mut used = Use::default();
        let mut spoken = |pages: &[u32]| -> Vec<u32> {
            let pages = pages.iter().copied();
            pages.filter(|pages| used.is_alarming(*pages, 10)).collect()
        };
        assert_eq!(spoken(&[9, 40, 159, 160, 161, 319, 320, 400]), [160, 320]);
        assert_eq!(spoken(&[11, 160]), [0; 0], "it was never well");
        assert_eq!(spoken(&[10, 170]), [170]);
    }

    const ONE: Layout = Layout {
        file: "one.db",
        application_id: 0x7177_7431,
        formats: &["CREATE TABLE thing (id INTEGER PRIMARY KEY)"],
        page_bytes: 4096,
        cache_kib: 256,
        statements: 8,
        wal_bytes: 1 << 20,
        synced: false,
    };
    const TWO: Layout = Layout {
        formats: &[
            ONE.formats[0],
            "ALTER TABLE thing ADD COLUMN word TEXT NOT NULL DEFAULT 'old'",
        ],
        ..ONE
    };

    fn place(dir: &tempfile::TempDir) -> Place {
        Place::new(dir.path(), None)
    }

    #[test]
    fn settings_are_what_the_module_promises() {
        let dir = tempfile::tempdir().unwrap();
        let connection = place(&dir)
            .writer(&ONE, Synchronous::Full, Missing::Create)
            .unwrap();
        let setting = |name: &str| {
            connection
                .query_row(&format!("PRAGMA {name}"), [], |row| {
                    row.get::<_, rusqlite::types::Value>(0)
                })
                .unwrap()
        };
        let number = rusqlite::types::Value::Integer;
        assert_eq!(
            setting("journal_mode"),
            rusqlite::types::Value::Text("wal".into())
        );
        assert_eq!(setting("synchronous"), number(2));
        assert_eq!(setting("busy_timeout"), number(0));
        assert_eq!(setting("wal_autocheckpoint"), number(0));
        assert_eq!(setting("cache_size"), number(-256));
        assert_eq!(setting("journal_size_limit"), number(1 << 20));
        set_synchronous(&connection, Synchronous::Normal).unwrap();
        assert_eq!(setting("synchronous"), number(1));
    }

    #[test]
    fn an_older_format_is_lifted_and_keeps_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        let old = place(&dir)
            .writer(&ONE, Synchronous::Full, Missing::Create)
            .unwrap();
        old.execute("INSERT INTO thing VALUES (7)", []).unwrap();
        drop(old);
        let new = place(&dir)
            .writer(&TWO, Synchronous::Full, Missing::Refuse)
            .unwrap();
        let row: (i64, String) = new
            .query_row("SELECT id, word FROM thing", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(row, (7, "old".to_owned()));
    }

    #[test]
    fn a_newer_format_is_refused_by_writer_and_reader() {
        let dir = tempfile::tempdir().unwrap();
        drop(
            place(&dir)
                .writer(&TWO, Synchronous::Full, Missing::Create)
                .unwrap(),
        );
        let refused = place(&dir)
            .writer(&ONE, Synchronous::Full, Missing::Refuse)
            .unwrap_err();
        assert!(
            matches!(
                refused,
                DatabaseError::Future {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{refused}"
        );
        assert!(matches!(
            place(&dir).reader(&ONE),
            Err(DatabaseError::Future { .. })
        ));
        assert!(refused.to_string().contains("one.db"));
    }

    #[test]
    fn foreign_missing_and_damaged_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let missing = place(&dir)
            .writer(&ONE, Synchronous::Full, Missing::Refuse)
            .unwrap_err();
        assert!(
            matches!(missing, DatabaseError::Missing { .. }),
            "{missing}"
        );

        let other = Connection::open(dir.path().join("one.db")).unwrap();
        other.execute_batch("CREATE TABLE theirs (x)").unwrap();
        drop(other);
        let foreign = place(&dir)
            .writer(&ONE, Synchronous::Full, Missing::Create)
            .unwrap_err();
        assert!(
            matches!(foreign, DatabaseError::Foreign { .. }),
            "{foreign}"
        );

        #[expect(clippy::disallowed_methods, reason = "the test plays a broken disk")]
        std::fs::write(dir.path().join("one.db"), vec![7_u8; 8192]).unwrap();
        let damaged = place(&dir)
            .writer(&ONE, Synchronous::Full, Missing::Create)
            .unwrap_err();
        assert!(
            matches!(damaged, DatabaseError::Corrupt { .. }),
            "{damaged}"
        );
    }

    #[test]
    fn a_damaged_page_is_found_by_the_check() {
        let dir = tempfile::tempdir().unwrap();
        let connection = place(&dir)
            .writer(&ONE, Synchronous::Full, Missing::Create)
            .unwrap();
        connection.execute_batch("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO thing SELECT i FROM n").unwrap();
        quick_check(&connection, "one.db").unwrap();
        let done = checkpoint(&connection).unwrap();
        assert_eq!(done.logged, done.moved);
        // Nothing is left in the write-ahead log, which would hide the page.
        let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        emptied.unwrap();
        drop(connection);
        #[expect(clippy::disallowed_methods, reason = "the test plays a broken disk")]
        {
            let mut bytes = std::fs::read(dir.path().join("one.db")).unwrap();
            bytes[2 * 4096..2 * 4096 + 64].fill(0xff);
            std::fs::write(dir.path().join("one.db"), bytes).unwrap();
        }
        let connection = place(&dir)
            .writer(&ONE, Synchronous::Full, Missing::Refuse)
            .unwrap();
        let damaged = quick_check(&connection, "one.db").unwrap_err();
        assert!(
            matches!(damaged, DatabaseError::Corrupt { .. }),
            "{damaged}"
        );
    }
}
