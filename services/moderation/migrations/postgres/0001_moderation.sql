-- Policies, decisions, and what other sources said.
-- Oldest program that may still run on this schema: 0.1.0.

CREATE TABLE policy (
    site    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    -- An encoded agora.event.v1.PolicySet.
    record  BYTEA   NOT NULL,
    set_by  TEXT    NOT NULL,
    time    BIGINT  NOT NULL,
    PRIMARY KEY (site, version)
);

-- Decisions by the revision that they are on, which may not have come yet.
CREATE TABLE decision (
    revision_id UUID   NOT NULL,
    -- The number of the event that holds it: the greatest counts.
    sequence    BIGINT NOT NULL,
    -- The id of that event.
    decision_id UUID   NOT NULL,
    comment_id  UUID   NOT NULL,
    decider     TEXT   NOT NULL,
    time        BIGINT NOT NULL,
    -- An encoded agora.event.v1.RevisionDecided.
    record      BYTEA  NOT NULL,
    PRIMARY KEY (revision_id, sequence)
);

-- What the post service said.
CREATE TABLE post (
    post_id UUID PRIMARY KEY,
    title   TEXT NOT NULL
);

-- What the comment service said, and what follows from the decisions.
CREATE TABLE comment (
    comment_id  UUID    PRIMARY KEY,
    site        TEXT    NOT NULL,
    post_id     UUID    NOT NULL,
    parent_id   UUID,
    author_id   TEXT    NOT NULL,
    author_name TEXT    NOT NULL,
    create_time BIGINT  NOT NULL,
    -- The newest revision.
    revision    INTEGER NOT NULL,
    deleted     BOOLEAN NOT NULL,
    -- The verdict on the newest revision that was approved (2) or rejected (3).
    verdict     INTEGER,
    -- Whether its case is open, and since when; null if it never was.
    open        BOOLEAN NOT NULL DEFAULT false,
    open_time   BIGINT
);

CREATE INDEX comment_queue ON comment (site, open, open_time, comment_id)
    WHERE open_time IS NOT NULL;

CREATE TABLE revision (
    comment_id  UUID    NOT NULL,
    revision    INTEGER NOT NULL,
    -- The id of the event that made it.
    revision_id UUID    NOT NULL,
    body        TEXT    NOT NULL,
    time        BIGINT  NOT NULL,
    PRIMARY KEY (comment_id, revision)
);

-- How many comments of an author were approved and rejected.
CREATE TABLE author (
    site      TEXT    NOT NULL,
    author_id TEXT    NOT NULL,
    approved  INTEGER NOT NULL,
    rejected  INTEGER NOT NULL,
    PRIMARY KEY (site, author_id)
);

-- When a site saw a text last: at most 100 times in microseconds, little-endian, the
-- oldest first. Kept while the site's policy looks for repeated texts.
CREATE TABLE sighting (
    site      TEXT  NOT NULL,
    text_hash BYTEA NOT NULL,
    times     BYTEA NOT NULL,
    PRIMARY KEY (site, text_hash)
);
