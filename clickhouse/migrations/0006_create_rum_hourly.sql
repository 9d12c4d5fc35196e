-- Hourly statistics of `rum_events`. What is as in the other two has its reasons in 0004_create_logs_hourly.sql and
-- 0005_create_spans_hourly.sql.
CREATE TABLE IF NOT EXISTS rum_hourly
(
    org_id          LowCardinality(String) CODEC(ZSTD(1)),
    hour            DateTime64(0, 'UTC') CODEC(Delta, ZSTD(1)),
    type            LowCardinality(String) CODEC(ZSTD(1)),
    page_path       LowCardinality(String) CODEC(ZSTD(1)),
    name            LowCardinality(String) CODEC(ZSTD(1)),
    received_on     Date CODEC(ZSTD(1)),
    retention_days  UInt16 CODEC(ZSTD(1)),
    count           SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    -- Events with an error_type or of type error.
    errors          SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    -- Events that have a value, and what these say of it.
    value_count     SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    value_sum       SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    -- Bucket -32768 counts zeros and what is below.
    value_histogram SimpleAggregateFunction(sumMap, Map(Int16, UInt64)) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(received_on)
ORDER BY (org_id, hour, type, page_path, name, received_on, retention_days)
TTL if(retention_days = 0, toDateTime('2106-01-01 00:00:00', 'UTC'), toDateTime(received_on, 'UTC') + toIntervalDay(retention_days + 1))
SETTINGS ttl_only_drop_parts = 0, non_replicated_deduplication_window = 100000, min_parts_to_merge_at_once = 10;

CREATE MATERIALIZED VIEW IF NOT EXISTS rum_hourly_view TO rum_hourly AS
SELECT
    org_id,
    fromUnixTimestamp64Nano(toUnixTimestamp64Nano(ts) - positiveModulo(toUnixTimestamp64Nano(ts), toInt64(3600000000000)), 'UTC') AS hour,
    type,
    page_path,
    name,
    toDate(received_at) AS received_on,
    retention_days,
    count() AS count,
    countIf(error_type != '' OR type = 'error') AS errors,
    countIf(isNotNull(value)) AS value_count,
    sum(ifNull(value, 0)) AS value_sum,
    -- What is not finite counts in the lowest bucket: toInt16 would throw, and take the insert with it.
    sumMapIf(
        map(
            if(
                isFinite(assumeNotNull(value)) AND assumeNotNull(value) > 0,
                toInt16(ceil(log2(if(isFinite(assumeNotNull(value)) AND assumeNotNull(value) > 0, assumeNotNull(value), 1)) * 16)),
                -32768
            ),
            toUInt64(1)
        ),
        isNotNull(value)
    ) AS value_histogram
FROM rum_events
GROUP BY org_id, hour, type, page_path, name, received_on, retention_days;
