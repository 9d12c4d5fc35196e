-- Hourly statistics of `spans`. What is as in `logs_hourly` has its reasons in 0004_create_logs_hourly.sql.
CREATE TABLE IF NOT EXISTS spans_hourly
(
    org_id             LowCardinality(String) CODEC(ZSTD(1)),
    hour               DateTime64(0, 'UTC') CODEC(Delta, ZSTD(1)),
    service            LowCardinality(String) CODEC(ZSTD(1)),
    operation          LowCardinality(String) CODEC(ZSTD(1)),
    kind               LowCardinality(String) CODEC(ZSTD(1)),
    received_on        Date CODEC(ZSTD(1)),
    retention_days     UInt16 CODEC(ZSTD(1)),
    count              SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    -- Spans with status error.
    errors             SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    duration_ns_sum    SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    duration_ns_min    SimpleAggregateFunction(min, UInt64) CODEC(ZSTD(1)),
    duration_ns_max    SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1)),
    -- Durations as an exponential histogram, 16 buckets a doubling: bucket b counts 2^((b-1)/16) < ns <= 2^(b/16), bucket -32768
    -- the zeros. Any quantile within 2.2 %, and the same result however blocks and merges fall; a t-digest's depends on them,
    -- and the embedded engine has none.
    duration_histogram SimpleAggregateFunction(sumMap, Map(Int16, UInt64)) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(received_on)
ORDER BY (org_id, hour, service, operation, kind, received_on, retention_days)
TTL if(retention_days = 0, toDateTime('2106-01-01 00:00:00', 'UTC'), toDateTime(received_on, 'UTC') + toIntervalDay(retention_days + 1))
SETTINGS ttl_only_drop_parts = 0, non_replicated_deduplication_window = 100000, min_parts_to_merge_at_once = 10;

CREATE MATERIALIZED VIEW IF NOT EXISTS spans_hourly_view TO spans_hourly AS
SELECT
    org_id,
    fromUnixTimestamp64Nano(toUnixTimestamp64Nano(ts) - positiveModulo(toUnixTimestamp64Nano(ts), toInt64(3600000000000)), 'UTC') AS hour,
    service,
    operation,
    kind,
    toDate(received_at) AS received_on,
    retention_days,
    count() AS count,
    countIf(status = 'error') AS errors,
    sum(duration_ns) AS duration_ns_sum,
    min(duration_ns) AS duration_ns_min,
    max(duration_ns) AS duration_ns_max,
    sumMap(map(if(duration_ns = 0, -32768, toInt16(ceil(log2(greatest(duration_ns, 1)) * 16))), toUInt64(1))) AS duration_histogram
FROM spans
GROUP BY org_id, hour, service, operation, kind, received_on, retention_days;
