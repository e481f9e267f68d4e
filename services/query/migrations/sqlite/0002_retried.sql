-- Dead letters are tried again, and views are made anew beside each other.
-- Oldest program that may still run on this schema: 0.1.0.

-- The dead letters that were applied after all. They are taken out of their own file after
-- the commit: who finds one in both, does not apply it twice.
CREATE TABLE retried (
    source   TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (source, sequence)
) STRICT, WITHOUT ROWID;

-- What is to be known of a view that is not served; one row.
CREATE TABLE beside (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    -- The last entry in the log of dead letters that the view knows of: those that were
    -- tried again later, it lacks.
    repairs INTEGER NOT NULL,
    -- Whether it was made anew and found to hold something else than the one that is served.
    differs INTEGER NOT NULL
) STRICT;
INSERT INTO beside (id, repairs, differs) VALUES (1, 0, 0);
