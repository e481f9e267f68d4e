-- The view: posts and comments as readers see them, folded from events.
-- Oldest program that may still run on this schema: 0.1.0.

CREATE TABLE post (
    post_id       BLOB PRIMARY KEY,
    -- 0 while only others' events have named it.
    known         INTEGER NOT NULL,
    site          TEXT    NOT NULL,
    external_key  TEXT,
    title         TEXT    NOT NULL,
    body          TEXT    NOT NULL,
    author_id     TEXT    NOT NULL,
    author_name   TEXT    NOT NULL,
    revision      INTEGER NOT NULL,
    -- 1 open, 2 closed, 3 deleted.
    state         INTEGER NOT NULL,
    create_time   INTEGER NOT NULL,
    update_time   INTEGER NOT NULL,
    -- When a comment on it was approved last; 0 if none was.
    approve_time  INTEGER NOT NULL,
    -- The newest of the three times.
    activity_time INTEGER NOT NULL,
    -- How many comments a reader could open.
    comments      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX post_external_key ON post (site, external_key)
    WHERE known AND state <> 3 AND external_key IS NOT NULL;
CREATE INDEX post_activity ON post (site, activity_time, post_id) WHERE known AND state <> 3;
CREATE INDEX post_newest ON post (site, create_time, post_id) WHERE known AND state <> 3;

CREATE TABLE comment (
    comment_id  BLOB PRIMARY KEY,
    -- 0 while only replies to it have named it.
    known       INTEGER NOT NULL,
    post_id     BLOB    NOT NULL,
    -- The comment that it replies to, else the post.
    parent_key  BLOB    NOT NULL,
    depth       INTEGER NOT NULL,
    author_id   TEXT    NOT NULL,
    author_name TEXT    NOT NULL,
    create_time INTEGER NOT NULL,
    deleted     INTEGER NOT NULL,
    -- The number of the newest revision; 0 if there is none.
    newest      INTEGER NOT NULL,
    -- The number of the visible revision; 0 if there is none.
    shown       INTEGER NOT NULL,
    -- Whether it has a visible revision.
    open        INTEGER NOT NULL,
    -- How many comments below it a reader could open, if it has a visible revision.
    replies     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX comment_children ON comment (parent_key, open, create_time, comment_id);
-- What only its author and moderators see.
CREATE INDEX comment_hidden ON comment (post_id, author_id) WHERE shown <> newest;

CREATE TABLE revision (
    comment_id  BLOB    NOT NULL,
    revision    INTEGER NOT NULL,
    -- The id of the event that made it: what decisions name.
    revision_id BLOB    NOT NULL,
    body        TEXT    NOT NULL,
    time        INTEGER NOT NULL,
    -- The newest decision on it: 0 none, 1 pending, 2 approved, 3 rejected.
    decision    INTEGER NOT NULL,
    -- The number of the event of that decision.
    decided_by  INTEGER NOT NULL,
    PRIMARY KEY (comment_id, revision)
) STRICT, WITHOUT ROWID;

-- Decisions on revisions that have not come yet.
CREATE TABLE early_decision (
    revision_id BLOB PRIMARY KEY,
    decision    INTEGER NOT NULL,
    decided_by  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What has been applied of each source.
CREATE TABLE checkpoint (
    source   TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    hash     BLOB NOT NULL
) STRICT, WITHOUT ROWID;
