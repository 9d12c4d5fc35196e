CREATE TABLE logs
(
    `org_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts` DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `record_id` UInt64 CODEC(Delta(8), ZSTD(1)),
    `service` LowCardinality(String) CODEC(ZSTD(1)),
    `level` LowCardinality(String) CODEC(ZSTD(1)),
    `message` String CODEC(ZSTD(1)),
    `trace_id` String CODEC(ZSTD(1)),
    `span_id` String CODEC(ZSTD(1)),
    `host` LowCardinality(String) CODEC(ZSTD(1)),
    `environment` LowCardinality(String) CODEC(ZSTD(1)),
    `version` LowCardinality(String) CODEC(ZSTD(1)),
    `attributes` String CODEC(ZSTD(1)),
    `received_at` DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `retention_days` UInt16 CODEC(ZSTD(1)),
    `attributes_map` Map(LowCardinality(String), String) ALIAS JSONExtract(attributes, 'Map(LowCardinality(String), String)'),
    INDEX trace_id_bloom trace_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX message_ngrams lower(message) TYPE ngrambf_v1(3, 16384, 1, 0) GRANULARITY 1,
    INDEX service_bloom service TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX level_bloom level TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX attributes_values mapValues(JSONExtract(attributes, 'Map(LowCardinality(String), String)')) TYPE bloom_filter(0.05) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
ORDER BY (org_id, ts, record_id)
TTL if(retention_days = 0, toDateTime('2106-01-01 00:00:00', 'UTC'), toDateTime(received_at) + toIntervalDay(retention_days))
SETTINGS ttl_only_drop_parts = 0, non_replicated_deduplication_window = 100000, index_granularity = 8192, min_parts_to_merge_at_once = 10;

CREATE TABLE logs_hourly
(
    `org_id` LowCardinality(String) CODEC(ZSTD(1)),
    `hour` DateTime64(0, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `service` LowCardinality(String) CODEC(ZSTD(1)),
    `level` LowCardinality(String) CODEC(ZSTD(1)),
    `received_on` Date CODEC(ZSTD(1)),
    `retention_days` UInt16 CODEC(ZSTD(1)),
    `count` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `bytes` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(received_on)
ORDER BY (org_id, hour, service, level, received_on, retention_days)
TTL if(retention_days = 0, toDateTime('2106-01-01 00:00:00', 'UTC'), toDateTime(received_on, 'UTC') + toIntervalDay(retention_days + 1))
SETTINGS ttl_only_drop_parts = 0, non_replicated_deduplication_window = 100000, min_parts_to_merge_at_once = 10, index_granularity = 8192;

CREATE MATERIALIZED VIEW logs_hourly_view TO logs_hourly
(
    `org_id` LowCardinality(String),
    `hour` DateTime64(9, 'UTC'),
    `service` LowCardinality(String),
    `level` LowCardinality(String),
    `received_on` Date,
    `retention_days` UInt16,
    `count` UInt64,
    `bytes` UInt64
)
AS SELECT
    org_id,
    fromUnixTimestamp64Nano(toUnixTimestamp64Nano(ts) - positiveModulo(toUnixTimestamp64Nano(ts), toInt64(3600000000000)), 'UTC') AS hour,
    service,
    level,
    toDate(received_at) AS received_on,
    retention_days,
    count() AS count,
    sum(length(message) + length(attributes)) AS bytes
FROM logs
GROUP BY
    org_id,
    hour,
    service,
    level,
    received_on,
    retention_days;

CREATE TABLE rum_events
(
    `org_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts` DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `record_id` UInt64 CODEC(Delta(8), ZSTD(1)),
    `type` LowCardinality(String) CODEC(ZSTD(1)),
    `session_id` String CODEC(ZSTD(1)),
    `view_id` String CODEC(ZSTD(1)),
    `page_url` String CODEC(ZSTD(1)),
    `page_path` LowCardinality(String) CODEC(ZSTD(1)),
    `user_id` String CODEC(ZSTD(1)),
    `name` LowCardinality(String) CODEC(ZSTD(1)),
    `value` Nullable(Float64) CODEC(ZSTD(1)),
    `error_type` LowCardinality(String) CODEC(ZSTD(1)),
    `error_message` String CODEC(ZSTD(1)),
    `error_stack` String CODEC(ZSTD(1)),
    `country` LowCardinality(String) CODEC(ZSTD(1)),
    `region` LowCardinality(String) CODEC(ZSTD(1)),
    `city` LowCardinality(String) CODEC(ZSTD(1)),
    `timezone` LowCardinality(String) CODEC(ZSTD(1)),
    `latitude` Nullable(Float64) CODEC(ZSTD(1)),
    `longitude` Nullable(Float64) CODEC(ZSTD(1)),
    `browser` LowCardinality(String) CODEC(ZSTD(1)),
    `browser_version` LowCardinality(String) CODEC(ZSTD(1)),
    `os` LowCardinality(String) CODEC(ZSTD(1)),
    `device_type` LowCardinality(String) CODEC(ZSTD(1)),
    `is_bot` UInt8 CODEC(ZSTD(1)),
    `client` String CODEC(ZSTD(1)),
    `attributes` String CODEC(ZSTD(1)),
    `received_at` DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `retention_days` UInt16 CODEC(ZSTD(1)),
    INDEX session_id_bloom session_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX type_bloom type TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX page_path_bloom page_path TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
ORDER BY (org_id, ts, record_id)
TTL if(retention_days = 0, toDateTime('2106-01-01 00:00:00', 'UTC'), toDateTime(received_at) + toIntervalDay(retention_days))
SETTINGS ttl_only_drop_parts = 0, non_replicated_deduplication_window = 100000, min_parts_to_merge_at_once = 10, index_granularity = 8192;

CREATE TABLE rum_hourly
(
    `org_id` LowCardinality(String) CODEC(ZSTD(1)),
    `hour` DateTime64(0, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `type` LowCardinality(String) CODEC(ZSTD(1)),
    `page_path` LowCardinality(String) CODEC(ZSTD(1)),
    `name` LowCardinality(String) CODEC(ZSTD(1)),
    `received_on` Date CODEC(ZSTD(1)),
    `retention_days` UInt16 CODEC(ZSTD(1)),
    `count` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `errors` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `value_count` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `value_sum` SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    `value_histogram` SimpleAggregateFunction(sumMap, Map(Int16, UInt64)) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(received_on)
ORDER BY (org_id, hour, type, page_path, name, received_on, retention_days)
TTL if(retention_days = 0, toDateTime('2106-01-01 00:00:00', 'UTC'), toDateTime(received_on, 'UTC') + toIntervalDay(retention_days + 1))
SETTINGS ttl_only_drop_parts = 0, non_replicated_deduplication_window = 100000, min_parts_to_merge_at_once = 10, index_granularity = 8192;

CREATE MATERIALIZED VIEW rum_hourly_view TO rum_hourly
(
    `org_id` LowCardinality(String),
    `hour` DateTime64(9, 'UTC'),
    `type` LowCardinality(String),
    `page_path` LowCardinality(String),
    `name` LowCardinality(String),
    `received_on` Date,
    `retention_days` UInt16,
    `count` UInt64,
    `errors` UInt64,
    `value_count` UInt64,
    `value_sum` Float64,
    `value_histogram` Map(Int16, UInt64)
)
AS SELECT
    org_id,
    fromUnixTimestamp64Nano(toUnixTimestamp64Nano(ts) - positiveModulo(toUnixTimestamp64Nano(ts), toInt64(3600000000000)), 'UTC') AS hour,
    type,
    page_path,
    name,
    toDate(received_at) AS received_on,
    retention_days,
    count() AS count,
    countIf((error_type != '') OR (type = 'error')) AS errors,
    countIf(isNotNull(value)) AS value_count,
    sum(ifNull(value, 0)) AS value_sum,
    sumMapIf(map(if(isFinite(assumeNotNull(value)) AND (assumeNotNull(value) > 0), toInt16(ceil(log2(if(isFinite(assumeNotNull(value)) AND (assumeNotNull(value) > 0), assumeNotNull(value), 1)) * 16)), -32768), toUInt64(1)), isNotNull(value)) AS value_histogram
FROM rum_events
GROUP BY
    org_id,
    hour,
    type,
    page_path,
    name,
    received_on,
    retention_days;

CREATE TABLE schema_migrations
(
    `number` UInt32,
    `name` String,
    `sha256` String,
    `applied_at` DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY number
SETTINGS index_granularity = 8192;

CREATE TABLE spans
(
    `org_id` LowCardinality(String) CODEC(ZSTD(1)),
    `ts` DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `record_id` UInt64 CODEC(Delta(8), ZSTD(1)),
    `trace_id` String CODEC(ZSTD(1)),
    `span_id` String CODEC(ZSTD(1)),
    `parent_span_id` String CODEC(ZSTD(1)),
    `service` LowCardinality(String) CODEC(ZSTD(1)),
    `operation` LowCardinality(String) CODEC(ZSTD(1)),
    `kind` LowCardinality(String) CODEC(ZSTD(1)),
    `duration_ns` UInt64 CODEC(ZSTD(1)),
    `status` LowCardinality(String) CODEC(ZSTD(1)),
    `status_message` String CODEC(ZSTD(1)),
    `attributes` String CODEC(ZSTD(1)),
    `events` String CODEC(ZSTD(1)),
    `links` String CODEC(ZSTD(1)),
    `received_at` DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `retention_days` UInt16 CODEC(ZSTD(1)),
    `attributes_map` Map(LowCardinality(String), String) ALIAS JSONExtract(attributes, 'Map(LowCardinality(String), String)'),
    INDEX trace_id_bloom trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX service_bloom service TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX operation_bloom operation TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX status_bloom status TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX duration_minmax duration_ns TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
ORDER BY (org_id, ts, record_id)
TTL if(retention_days = 0, toDateTime('2106-01-01 00:00:00', 'UTC'), toDateTime(received_at) + toIntervalDay(retention_days))
SETTINGS ttl_only_drop_parts = 0, non_replicated_deduplication_window = 100000, min_parts_to_merge_at_once = 10, index_granularity = 8192;

CREATE TABLE spans_hourly
(
    `org_id` LowCardinality(String) CODEC(ZSTD(1)),
    `hour` DateTime64(0, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `service` LowCardinality(String) CODEC(ZSTD(1)),
    `operation` LowCardinality(String) CODEC(ZSTD(1)),
    `kind` LowCardinality(String) CODEC(ZSTD(1)),
    `received_on` Date CODEC(ZSTD(1)),
    `retention_days` UInt16 CODEC(ZSTD(1)),
    `count` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `errors` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `duration_ns_sum` SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    `duration_ns_min` SimpleAggregateFunction(min, UInt64) CODEC(ZSTD(1)),
    `duration_ns_max` SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1)),
    `duration_histogram` SimpleAggregateFunction(sumMap, Map(Int16, UInt64)) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(received_on)
ORDER BY (org_id, hour, service, operation, kind, received_on, retention_days)
TTL if(retention_days = 0, toDateTime('2106-01-01 00:00:00', 'UTC'), toDateTime(received_on, 'UTC') + toIntervalDay(retention_days + 1))
SETTINGS ttl_only_drop_parts = 0, non_replicated_deduplication_window = 100000, min_parts_to_merge_at_once = 10, index_granularity = 8192;

CREATE MATERIALIZED VIEW spans_hourly_view TO spans_hourly
(
    `org_id` LowCardinality(String),
    `hour` DateTime64(9, 'UTC'),
    `service` LowCardinality(String),
    `operation` LowCardinality(String),
    `kind` LowCardinality(String),
    `received_on` Date,
    `retention_days` UInt16,
    `count` UInt64,
    `errors` UInt64,
    `duration_ns_sum` UInt64,
    `duration_ns_min` UInt64,
    `duration_ns_max` UInt64,
    `duration_histogram` Map(Int16, UInt64)
)
AS SELECT
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
GROUP BY
    org_id,
    hour,
    service,
    operation,
    kind,
    received_on,
    retention_days;
