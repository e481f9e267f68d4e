-- What the chassis keeps in the database of every service that owns events.
-- Oldest program that may still run on this schema: 0.1.0.

-- The append-only journal. The hash chains: BLAKE3 of (previous hash, event).
CREATE TABLE journal (
    sequence BIGINT PRIMARY KEY,
    hash     BYTEA NOT NULL,
    event    BYTEA NOT NULL
);
-- Events are small and compress badly one by one.
ALTER TABLE journal ALTER COLUMN event SET STORAGE EXTERNAL;

-- Where the journal ends; one row, which every writer locks first. Much of its pages is
-- left free, so that a new head can be written beside the old one.
CREATE TABLE journal_head (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    sequence BIGINT NOT NULL,
    hash     BYTEA  NOT NULL
) WITH (fillfactor = 10);
INSERT INTO journal_head (id, sequence, hash)
    VALUES (1, 0, decode(repeat('00', 32), 'hex'));

-- Which request made which event. The key is the request id, then a hash of site,
-- actor and method.
CREATE TABLE request (
    key      BYTEA  PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash     BYTEA  NOT NULL
);

-- What has been applied of each other source.
CREATE TABLE checkpoint (
    source   TEXT   PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash     BYTEA  NOT NULL
) WITH (fillfactor = 10);

-- Events of other sources that could not be applied. `error` is empty for those
-- that only wait behind an earlier one of the same aggregate.
CREATE TABLE dead_letter (
    source    TEXT   NOT NULL,
    sequence  BIGINT NOT NULL,
    aggregate UUID,
    event     BYTEA  NOT NULL,
    error     TEXT   NOT NULL,
    parked_at BIGINT NOT NULL,
    PRIMARY KEY (source, sequence)
);
