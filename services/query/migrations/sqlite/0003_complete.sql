-- A view that has once caught up with the streams may be served without them.
-- Oldest program that may still run on this schema: 0.1.0.

-- Whether this view has: it is to be known of the one that is served, too.
ALTER TABLE beside ADD COLUMN complete INTEGER NOT NULL DEFAULT 0;
-- Those that were served before this was kept.
UPDATE beside SET complete = EXISTS (SELECT 1 FROM checkpoint);
