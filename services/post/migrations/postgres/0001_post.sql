-- Posts and their revisions.
-- Oldest program that may still run on this schema: 0.1.0.

CREATE TABLE post (
    post_id      UUID    PRIMARY KEY,
    site         TEXT    NOT NULL,
    -- Null if the post has none.
    external_key TEXT,
    author_id    TEXT    NOT NULL,
    author_name  TEXT    NOT NULL,
    -- 1 open, 2 closed, 3 deleted.
    state        INTEGER NOT NULL,
    -- The newest revision.
    revision     INTEGER NOT NULL,
    create_time  BIGINT  NOT NULL,
    update_time  BIGINT  NOT NULL
);

-- A deleted post gives its key free.
CREATE UNIQUE INDEX post_external_key ON post (site, external_key)
    WHERE external_key IS NOT NULL AND state <> 3;

-- Lists are newest first, deleted posts left out.
CREATE INDEX post_list ON post (site, create_time, post_id) WHERE state <> 3;

CREATE TABLE revision (
    post_id  UUID    NOT NULL,
    revision INTEGER NOT NULL,
    title    TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    PRIMARY KEY (post_id, revision)
);
