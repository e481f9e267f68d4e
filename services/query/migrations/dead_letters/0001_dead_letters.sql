-- Events that could not be applied, in a file beside the view that survives it. `error`
-- is empty for those that only wait behind an earlier one of the same aggregate.
-- Oldest program that may still run on this schema: 0.1.0.

CREATE TABLE dead_letter (
    source    TEXT    NOT NULL,
    sequence  INTEGER NOT NULL,
    aggregate BLOB,
    event     BLOB    NOT NULL,
    error     TEXT    NOT NULL,
    parked_at INTEGER NOT NULL,
    PRIMARY KEY (source, sequence)
) STRICT, WITHOUT ROWID;
