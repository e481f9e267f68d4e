-- What a rewind, or a database that is made again from its stream, gathers before it folds.
-- Oldest program that may still run on this schema: 0.1.0.

CREATE TABLE rewound (
    source   TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    hash     BLOB    NOT NULL,
    event    BLOB    NOT NULL,
    PRIMARY KEY (source, sequence)
) STRICT, WITHOUT ROWID;
