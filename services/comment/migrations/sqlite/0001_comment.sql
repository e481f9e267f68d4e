-- Comments and their revisions, and what other sources said.
-- Oldest program that may still run on this schema: 0.1.0.

CREATE TABLE comment (
    comment_id  BLOB PRIMARY KEY,
    site        TEXT    NOT NULL,
    post_id     BLOB    NOT NULL,
    -- Null for a reply to the post itself.
    parent_id   BLOB,
    depth       INTEGER NOT NULL,
    author_id   TEXT    NOT NULL,
    author_name TEXT    NOT NULL,
    -- The newest revision.
    revision    INTEGER NOT NULL,
    deleted     INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    update_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX comment_list ON comment (post_id, create_time, comment_id);

CREATE TABLE revision (
    comment_id  BLOB    NOT NULL,
    revision    INTEGER NOT NULL,
    -- The id of the event that made it: what decisions name.
    revision_id BLOB    NOT NULL,
    body        TEXT    NOT NULL,
    time        INTEGER NOT NULL,
    PRIMARY KEY (comment_id, revision)
) STRICT, WITHOUT ROWID;

-- What the post service said. 1 open, 2 closed, 3 deleted.
CREATE TABLE post (
    post_id BLOB PRIMARY KEY,
    site    TEXT    NOT NULL,
    state   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the moderation service said last of a revision, which may not have come yet.
-- 1 pending, 2 approved, 3 rejected.
CREATE TABLE decision (
    revision_id BLOB PRIMARY KEY,
    decision    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
