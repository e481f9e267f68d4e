-- What the query service reads while its view is away. A view's columns never change:
-- another meaning is another view.
-- Oldest program that may still run on this schema: 0.1.0.

-- Posts as everybody may see them: deleted ones without their texts.
CREATE VIEW public_post_v1 AS
SELECT p.post_id, p.site, p.external_key,
       CASE WHEN p.state = 3 THEN '' ELSE r.title END AS title,
       CASE WHEN p.state = 3 THEN '' ELSE r.body END AS body,
       p.author_id, p.author_name, p.state, p.revision, p.create_time, p.update_time
FROM post p JOIN revision r ON r.post_id = p.post_id AND r.revision = p.revision;

-- How far this database is.
CREATE VIEW position_v1 AS SELECT 'post' AS source, sequence FROM journal_head;

-- A feed by the last change.
CREATE INDEX post_updated ON post (site, update_time, post_id) WHERE state <> 3;

-- Whoever makes this role before, need not grant anything.
DO $$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'agora_query') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO agora_query', current_schema());
        GRANT SELECT ON public_post_v1, position_v1 TO agora_query;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'grant SELECT on the views for others to agora_query yourself';
END $$;
