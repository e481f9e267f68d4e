-- What the chassis keeps in the database of every service that owns events.
-- Oldest program that may still run on this schema: 0.1.0.

-- The append-only journal. The hash chains: BLAKE3 of (previous hash, event).
CREATE TABLE journal (
    sequence INTEGER PRIMARY KEY,
    hash     BLOB NOT NULL,
    event    BLOB NOT NULL
) STRICT;

-- Where the journal ends; one row.
CREATE TABLE journal_head (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    sequence INTEGER NOT NULL,
    hash     BLOB NOT NULL
) STRICT;
INSERT INTO journal_head (id, sequence, hash) VALUES (1, 0, zeroblob(32));

-- Which request made which event. The key is the request id, then a hash of site,
-- actor and method: ids that grow with time keep the inserts at the table's end.
CREATE TABLE request (
    key      BLOB PRIMARY KEY,
    sequence INTEGER NOT NULL,
    hash     BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What has been applied of each other source.
CREATE TABLE checkpoint (
    source   TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    hash     BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Events of other sources that could not be applied. `error` is empty for those
-- that only wait behind an earlier one of the same aggregate.
CREATE TABLE dead_letter (
    source    TEXT    NOT NULL,
    sequence  INTEGER NOT NULL,
    aggregate BLOB,
    event     BLOB    NOT NULL,
    error     TEXT    NOT NULL,
    parked_at INTEGER NOT NULL,
    PRIMARY KEY (source, sequence)
) STRICT, WITHOUT ROWID;
