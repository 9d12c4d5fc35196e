-- Hourly statistics of `logs`, kept up by the view below with every insert. Exact: a block's token reaches this table through the
-- view (deduplicate_blocks_in_dependent_materialized_views, storage/clickhouse.py), so a repeated block counts once here too, even
-- if the crash fell between the two tables. Rows of one key are added up by merges, so a reader must add up too.
CREATE TABLE IF NOT EXISTS logs_hourly
(
    org_id         LowCardinality(String) CODEC(ZSTD(1)),
    -- Begin of the hour of the records' ts. DateTime64, because DateTime ends in 2106 and begins in 1970, and records do not.
    hour           DateTime64(0, 'UTC') CODEC(Delta, ZSTD(1)),
    service        LowCardinality(String) CODEC(ZSTD(1)),
    level          LowCardinality(String) CODEC(ZSTD(1)),
    -- Day of arrival: statistics expire with the records that they count, to the day, and must not be older than what they say.
    received_on    Date CODEC(ZSTD(1)),
    retention_days UInt16 CODEC(ZSTD(1)),
    count          SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    -- Of message and attributes.
    bytes          SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
-- By the month of arrival: days would leave some rows a part. Never by the hour, as one backdated block may have any number of them.
PARTITION BY toYYYYMM(received_on)
ORDER BY (org_id, hour, service, level, received_on, retention_days)
-- The records of a day expire over the day that lies their retention later; these go at its end.
TTL if(retention_days = 0, toDateTime('2106-01-01 00:00:00', 'UTC'), toDateTime(received_on, 'UTC') + toIntervalDay(retention_days + 1))
SETTINGS ttl_only_drop_parts = 0, non_replicated_deduplication_window = 100000, min_parts_to_merge_at_once = 10;

CREATE MATERIALIZED VIEW IF NOT EXISTS logs_hourly_view TO logs_hourly AS
SELECT
    org_id,
    -- toStartOfHour wraps before 1970 and after 2106.
    fromUnixTimestamp64Nano(toUnixTimestamp64Nano(ts) - positiveModulo(toUnixTimestamp64Nano(ts), toInt64(3600000000000)), 'UTC') AS hour,
    service,
    level,
    toDate(received_at) AS received_on,
    retention_days,
    count() AS count,
    sum(length(message) + length(attributes)) AS bytes
FROM logs
GROUP BY org_id, hour, service, level, received_on, retention_days;
