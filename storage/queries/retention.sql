-- Statements of storage/clickhouse_retention.py (`clickhouse_`, ClickHouse's dialect) and storage/metrics_retention.py.

-- name: clickhouse_partitions_due
-- Each part knows when the first of its rows expires.
SELECT table, partition_id
FROM system.parts
WHERE active AND database = {database:String} AND rows > 0
    AND delete_ttl_info_min > toDateTime('1970-01-01 00:00:00', 'UTC') AND delete_ttl_info_min <= now()
GROUP BY table, partition_id
ORDER BY table, partition_id;

-- name: clickhouse_partition
SELECT toUInt64(sum(rows)), toUInt64(sum(bytes_on_disk))
FROM system.parts
WHERE active AND database = {database:String} AND table = {table:String} AND partition_id = {partition:String};

-- name: clickhouse_apply
-- Waits until the partition is rewritten. $table comes quoted from the catalogue.
ALTER TABLE $table MATERIALIZE TTL IN PARTITION ID {partition:String};

-- name: has_timescaledb
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb');

-- name: has_metrics
SELECT to_regclass('metrics') IS NOT NULL;

-- name: chunks
SELECT coalesce(a.view_name, k.hypertable_name)::text AS name, count(*) AS chunks
FROM timescaledb_information.chunks k
LEFT JOIN timescaledb_information.continuous_aggregates a
    ON a.materialization_hypertable_schema = k.hypertable_schema AND a.materialization_hypertable_name = k.hypertable_name
GROUP BY 1
ORDER BY 1;

-- name: drop_old_chunks
-- The function of timescaledb/migrations: what the policies would do, also where no policy is set yet.
SELECT apply_metrics_retention();

-- name: pages
SELECT (pg_relation_size('metrics') / current_setting('block_size')::bigint)::bigint;

-- name: delete_old_samples
-- Some pages at a time: each statement is short, and all of them together read the table once.
WITH deleted AS (
    DELETE FROM metrics
    WHERE ctid >= format('(%s,0)', $1::bigint)::tid AND ctid < format('(%s,0)', $2::bigint)::tid AND ts < $3
    RETURNING 1
)
SELECT count(*) FROM deleted;
