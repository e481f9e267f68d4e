#!/bin/sh
# Run once, when PostgreSQL's folder is empty: a database and a role for each service that owns events, and the role
# that query reads with while its view is away. The services' migrations say what that one may see. One more role is the
# postgres-exporter's.
set -eu

create() {
	psql -v ON_ERROR_STOP=1 -v role="$1" -v password="$2" --username postgres --dbname postgres <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
SQL
}

# Reads statistics alone.
create_monitor() {
	create agora_monitor "$MONITOR_PASSWORD"
	psql -v ON_ERROR_STOP=1 --username postgres --dbname postgres --command 'GRANT pg_monitor TO agora_monitor'
}

# For a folder that was filled before there was this role.
if [ "${1:-}" = monitor ]; then
	create_monitor
	exit
fi

create_monitor
create agora_query "$QUERY_PASSWORD"
create agora_post "$POST_PASSWORD"
create agora_comment "$COMMENT_PASSWORD"
create agora_moderation "$MODERATION_PASSWORD"
psql -v ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
CREATE DATABASE post OWNER agora_post;
CREATE DATABASE comment OWNER agora_comment;
CREATE DATABASE moderation OWNER agora_moderation;
REVOKE CONNECT, TEMPORARY ON DATABASE post, comment, moderation FROM PUBLIC;
GRANT CONNECT ON DATABASE post, comment TO agora_query;
SQL
