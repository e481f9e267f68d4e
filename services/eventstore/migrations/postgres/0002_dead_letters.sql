-- Dead letters are tried again, or dropped, and it is kept who did so.
-- Oldest program that may still run on this schema: 0.1.0.

-- The version of the program that could not apply the event.
ALTER TABLE dead_letter ADD COLUMN program TEXT NOT NULL DEFAULT '';
CREATE INDEX dead_letter_aggregate ON dead_letter (source, aggregate, sequence);

CREATE TABLE dead_letter_log (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time     BIGINT NOT NULL,
    -- A principal's id, or a program that started.
    actor    TEXT   NOT NULL,
    -- retried or dropped.
    action   TEXT   NOT NULL,
    source   TEXT   NOT NULL,
    sequence BIGINT NOT NULL,
    -- Why, as whoever did it says.
    reason   TEXT   NOT NULL,
    -- Why it could still not be applied; empty if it was, or was dropped.
    error    TEXT   NOT NULL,
    event    BYTEA  NOT NULL
);
