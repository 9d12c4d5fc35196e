-- Statements of storage/clickhouse_inventory.py (`clickhouse_`, ClickHouse's dialect) and storage/postgres_inventory.py. $table,
-- $column and the like stand for identifiers, which come quoted from the server's own catalogue and never from input.

-- name: clickhouse_tables
SELECT
    t.name, toUInt64(sum(p.rows)), toUInt64(sum(p.bytes_on_disk)), toUInt64(sum(p.data_compressed_bytes)),
    toUInt64(sum(p.data_uncompressed_bytes)), toUInt8(has(any(c.names), 'org_id')),
    multiIf(has(any(c.names), 'received_at'), 'received_at', has(any(c.names), 'received_on'), 'received_on', '')
FROM system.tables AS t
LEFT JOIN (
    SELECT table, rows, bytes_on_disk, data_compressed_bytes, data_uncompressed_bytes
    FROM system.parts
    WHERE active AND database = {database:String}
) AS p ON p.table = t.name
LEFT JOIN (
    SELECT table, groupArray(name) AS names
    FROM system.columns
    WHERE database = {database:String}
    GROUP BY table
) AS c ON c.table = t.name
WHERE t.database = {database:String} AND t.engine LIKE '%MergeTree'
GROUP BY t.name
ORDER BY t.name;

-- name: clickhouse_times
-- Of arrival, which each part knows, so that no row is read.
SELECT toUnixTimestamp64Milli(toDateTime64(min($column), 3, 'UTC')), toUnixTimestamp64Milli(toDateTime64(max($column), 3, 'UTC'))
FROM $table;

-- name: clickhouse_organizations
SELECT
    org_id, count(), toUnixTimestamp64Milli(toDateTime64(min($column), 3, 'UTC')),
    toUnixTimestamp64Milli(toDateTime64(max($column), 3, 'UTC'))
FROM $table
GROUP BY org_id
ORDER BY org_id;

-- name: tables
-- Chunks of hypertables are in schemas of TimescaleDB's own, and counted with their hypertable below.
SELECT c.relname AS name, quote_ident(c.relname) AS quoted, greatest(c.reltuples, 0)::bigint AS rows_estimate,
    pg_total_relation_size(c.oid) AS bytes,
    (
        SELECT quote_ident(a.attname)
        FROM pg_attribute a
        WHERE a.attrelid = c.oid AND NOT a.attisdropped
            AND a.attname IN ('ts', 'started_at', 'day', 'created_at', 'applied_at', 'stored_at', 'at')
        ORDER BY array_position(ARRAY['ts', 'started_at', 'day', 'created_at', 'applied_at', 'stored_at', 'at'], a.attname::text)
        LIMIT 1
    ) AS time_column,
    (
        SELECT quote_ident(a.attname)
        FROM pg_attribute a
        WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attname IN ('organization_id', 'org_id', 'series_id')
        LIMIT 1
    ) AS organization_column
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
ORDER BY c.relname;

-- name: rows_and_times
SELECT count(*) AS rows, min($column)::timestamptz AS oldest, max($column)::timestamptz AS newest
FROM $table;

-- name: rows
SELECT count(*) AS rows
FROM $table;

-- name: organizations
SELECT $organization::text AS organization, count(*) AS rows, min($column)::timestamptz AS oldest, max($column)::timestamptz AS newest
FROM $table
WHERE $organization IS NOT NULL
GROUP BY 1
ORDER BY 1;

-- name: organizations_by_series
SELECT s.org_id::text AS organization, count(*) AS rows, min(m.$column) AS oldest, max(m.$column) AS newest
FROM $table m
JOIN series s ON s.id = m.series_id
GROUP BY 1
ORDER BY 1;

-- name: has_timescaledb
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb');

-- name: hypertables
-- The hypertable behind a continuous aggregate goes by the aggregate's name. The times are the bounds of chunks, to the day or
-- coarser: with them no sample is read.
SELECT coalesce(a.view_name, h.hypertable_name)::text AS name,
    approximate_row_count(h.relation) AS rows_estimate,
    hypertable_size(h.relation) AS bytes,
    s.before_bytes, s.after_bytes, c.oldest, c.newest
FROM (
    SELECT hypertable_schema, hypertable_name, format('%I.%I', hypertable_schema, hypertable_name)::regclass AS relation
    FROM timescaledb_information.hypertables
    UNION
    SELECT materialization_hypertable_schema, materialization_hypertable_name,
        format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)::regclass
    FROM timescaledb_information.continuous_aggregates
) h
LEFT JOIN timescaledb_information.continuous_aggregates a
    ON a.materialization_hypertable_schema = h.hypertable_schema AND a.materialization_hypertable_name = h.hypertable_name
CROSS JOIN LATERAL (
    SELECT sum(before_compression_total_bytes)::bigint AS before_bytes, sum(after_compression_total_bytes)::bigint AS after_bytes
    FROM hypertable_compression_stats(h.relation)
) s
CROSS JOIN LATERAL (
    SELECT min(range_start) AS oldest, max(range_end) AS newest
    FROM timescaledb_information.chunks k
    WHERE k.hypertable_schema = h.hypertable_schema AND k.hypertable_name = h.hypertable_name
) c
ORDER BY 1;
