-- What the query service reads while its view is away. A view's columns never change:
-- another meaning is another view.
-- Oldest program that may still run on this schema: 0.1.0.

-- Comments as everybody may see them: those that have a visible revision, with that one;
-- deleted ones without their texts. It is visible if all that it replies to is, too.
CREATE VIEW public_comment_v1 AS
SELECT c.comment_id, c.post_id, c.parent_id, c.depth, c.author_id, c.author_name,
       c.create_time, c.deleted, r.revision, r.time,
       CASE WHEN c.deleted THEN '' ELSE r.body END AS body
FROM comment c
JOIN revision r ON r.comment_id = c.comment_id AND r.revision = (
    SELECT max(x.revision) FROM revision x
    JOIN decision d ON d.revision_id = x.revision_id AND d.decision IN (2, 3)
    WHERE x.comment_id = c.comment_id
)
JOIN decision v ON v.revision_id = r.revision_id AND v.decision = 2;

-- How far this database is.
CREATE VIEW position_v1 AS
SELECT 'comment' AS source, sequence FROM journal_head
UNION ALL SELECT source, sequence FROM checkpoint;

-- The replies to a comment; those to posts are found by comment_list.
CREATE INDEX comment_replies ON comment (parent_id, create_time, comment_id)
    WHERE parent_id IS NOT NULL;
