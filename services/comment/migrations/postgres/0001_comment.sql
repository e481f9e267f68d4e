-- Comments and their revisions, and what other sources said.
-- Oldest program that may still run on this schema: 0.1.0.

CREATE TABLE comment (
    comment_id  UUID    PRIMARY KEY,
    site        TEXT    NOT NULL,
    post_id     UUID    NOT NULL,
    -- Null for a reply to the post itself.
    parent_id   UUID,
    depth       INTEGER NOT NULL,
    author_id   TEXT    NOT NULL,
    author_name TEXT    NOT NULL,
    -- The newest revision.
    revision    INTEGER NOT NULL,
    deleted     BOOLEAN NOT NULL,
    create_time BIGINT  NOT NULL,
    update_time BIGINT  NOT NULL
);

CREATE INDEX comment_list ON comment (post_id, create_time, comment_id);

CREATE TABLE revision (
    comment_id  UUID    NOT NULL,
    revision    INTEGER NOT NULL,
    -- The id of the event that made it: what decisions name.
    revision_id UUID    NOT NULL,
    body        TEXT    NOT NULL,
    time        BIGINT  NOT NULL,
    PRIMARY KEY (comment_id, revision)
);

-- What the post service said. 1 open, 2 closed, 3 deleted.
CREATE TABLE post (
    post_id UUID    PRIMARY KEY,
    site    TEXT    NOT NULL,
    state   INTEGER NOT NULL
);

-- What the moderation service said last of a revision, which may not have come yet.
-- 1 pending, 2 approved, 3 rejected.
CREATE TABLE decision (
    revision_id UUID    PRIMARY KEY,
    decision    INTEGER NOT NULL
);
