CREATE TABLE keys (
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
    CREATE TABLE history (
        position INTEGER PRIMARY KEY,
        prev INTEGER NOT NULL,
        jump INTEGER NOT NULL,
        created INTEGER NOT NULL,
        version INTEGER NOT NULL,
        lease INTEGER NOT NULL,
        key BLOB NOT NULL,
        value BLOB NOT NULL
    );

    CREATE TABLE leases (
        id INTEGER PRIMARY KEY,
        ttl INTEGER NOT NULL
    );
    CREATE TABLE lease_keys (
        lease INTEGER NOT NULL,
        key BLOB NOT NULL,
        PRIMARY KEY (lease, key)
    ) WITHOUT ROWID;
            
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
