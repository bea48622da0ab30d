//! The tables of the state database.
//!
//! Keyspace: `keys` has a row for each key that exists or whose deletion is still part of history, and points to its
//! newest version; `history` has every version, clustered by [`Position`](super::position::Position), and holds the
//! values. So a value is written once, in a table that only grows at its end; a put touches one page of a small index and
//! the last page of history.
//!
//! Each version points back to the one before it (`prev`) and, every few dozen versions, to one far before it (`jump`).
//! These two do what an index by key over history would, for two integers instead of a second tree that every put would
//! have to write to: an old revision is read by walking back from the newest version, and compaction deletes what the
//! versions below its mark point to.

use crate::database::Layout;

/// `qtst` in ASCII.
const APPLICATION_ID: i32 = 0x7174_7374;

/// The state database.
pub const LAYOUT: Layout = Layout {
    file: "state.db",
    application_id: APPLICATION_ID,
    formats: &[FORMAT_1],
    // SQLite's usual. Half of it would leave half of each page of `history` empty with values of 1 to 2 KiB, and saves nothing where
    // thousands of puts are committed together.
    page_bytes: 4096,
    cache_kib: 8192,
    statements: 64,
    wal_bytes: 16 << 20,
    synced: false,
};

/// The tables of the keyspace, and the same once more under another name: where a snapshot is built up beside the state
/// that it is going to replace.
macro_rules! keyspace_tables {
    ($prefix:literal) => {
        concat!(
            "
    CREATE TABLE ", $prefix, "keys (
        key BLOB PRIMARY KEY,
        -- Position of the newest version.
        head INTEGER NOT NULL,
        created INTEGER NOT NULL,
        -- 0: deleted, and history still knows it.
        version INTEGER NOT NULL,
        lease INTEGER NOT NULL,
        -- Where the next version's `jump` points, and how many versions ago that was.
        jump INTEGER NOT NULL,
        steps INTEGER NOT NULL
    ) WITHOUT ROWID;

    -- The value comes last: what walks along the pointers then never touches the pages of a long one. Behind it stands a
    -- checksum over the version (`seal.rs`).
    CREATE TABLE ", $prefix, "history (
        position INTEGER PRIMARY KEY,
        prev INTEGER NOT NULL,
        jump INTEGER NOT NULL,
        created INTEGER NOT NULL,
        version INTEGER NOT NULL,
        lease INTEGER NOT NULL,
        key BLOB NOT NULL,
        value BLOB NOT NULL
    );

    CREATE TABLE ", $prefix, "leases (
        id INTEGER PRIMARY KEY,
        ttl INTEGER NOT NULL
    );
    CREATE TABLE ", $prefix, "lease_keys (
        lease INTEGER NOT NULL,
        key BLOB NOT NULL,
        PRIMARY KEY (lease, key)
    ) WITHOUT ROWID;
            "
        )
    };
}

/// Makes the tables that a snapshot is received into.
pub(super) const STAGED: &str = keyspace_tables!("staged_");

const FORMAT_1: &str = concat!(
    keyspace_tables!(""),
    "
    -- One row. `log_*` is the last applied entry, in the same transaction as what it changed.
    CREATE TABLE mark (
        id INTEGER PRIMARY KEY,
        revision INTEGER NOT NULL,
        compacted INTEGER NOT NULL,
        -- First position that compaction has not looked at yet; a matter of this node alone.
        swept INTEGER NOT NULL,
        -- Keys that exist now.
        live INTEGER NOT NULL,
        -- Highest wall-clock time that any command carried, in milliseconds.
        clock INTEGER NOT NULL,
        -- Durable points made, and snapshots installed; matters of this node alone.
        points INTEGER NOT NULL,
        installs INTEGER NOT NULL,
        log_term INTEGER,
        log_index INTEGER,
        -- Over the others; NULL in a new database.
        checksum INTEGER
    );
    INSERT INTO mark VALUES (1, 1, -1, 0, 0, 0, 0, 0, NULL, NULL, NULL);

    CREATE TABLE membership (
        id INTEGER PRIMARY KEY,
        log_term INTEGER NOT NULL,
        log_index INTEGER NOT NULL,
        body BLOB NOT NULL
    );

    -- What the cluster knows about itself: a few rows, each an encoded message of store.proto
    -- with a checksum behind it (`seal.rs`).
    -- 64-bit ids are stored as the signed number of the same bits.
    CREATE TABLE members (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE tombstones (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE tokens (id BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE cluster (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE trusted (ca BLOB PRIMARY KEY) WITHOUT ROWID;
"
);
