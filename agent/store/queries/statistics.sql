-- What PostgreSQL says of itself; reading it changes nothing.

-- name: database_statistics
SELECT datid::bigint AS datid, datname::text AS datname, pg_database_size(datid) AS size_bytes,
    numbackends, xact_commit, xact_rollback, blks_read, blks_hit, tup_returned, tup_fetched, tup_inserted,
    tup_updated, tup_deleted, conflicts, temp_files, temp_bytes, deadlocks, blk_read_time, blk_write_time,
    active_time, idle_in_transaction_time, sessions
FROM pg_stat_database
WHERE datname = current_database();

-- name: activity_statistics
SELECT coalesce(application_name, '') AS application_name, coalesce(state, 'unknown') AS state,
    coalesce(wait_event_type, '') AS wait_event_type, count(*) AS sessions,
    coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float8 AS longest_transaction_s
FROM pg_stat_activity
WHERE datname = current_database()
GROUP BY 1, 2, 3;

-- name: max_connections
SELECT current_setting('max_connections')::bigint;

-- name: statements_schema
-- Where the extension pg_stat_statements was made; nothing where it was not.
SELECT n.nspname::text
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements';

-- name: use_schema
SELECT set_config('search_path', $1, true);

-- name: statement_statistics
SELECT queryid, left(regexp_replace(query, '\s+', ' ', 'g'), 300) AS query, pg_get_userbyid(userid)::text AS username,
    calls, rows, total_exec_time / 1000 AS seconds, shared_blks_hit, shared_blks_read, temp_blks_written
FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND queryid IS NOT NULL
ORDER BY total_exec_time DESC
LIMIT $1;
