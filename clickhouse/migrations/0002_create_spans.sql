-- One row a span. The order of the columns up to retention_days is the order of the Arrow schema that the agents insert. What is as
-- in `logs` has its reasons in 0001_create_logs.sql.
CREATE TABLE IF NOT EXISTS spans
(
    org_id         LowCardinality(String) CODEC(ZSTD(1)),
    -- When the span began.
    ts             DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    record_id      UInt64 CODEC(Delta, ZSTD(1)),
    trace_id       String CODEC(ZSTD(1)),
    span_id        String CODEC(ZSTD(1)),
    -- '' for the root of a trace.
    parent_span_id String CODEC(ZSTD(1)),
    service        LowCardinality(String) CODEC(ZSTD(1)),
    operation      LowCardinality(String) CODEC(ZSTD(1)),
    kind           LowCardinality(String) CODEC(ZSTD(1)),
    duration_ns    UInt64 CODEC(ZSTD(1)),
    -- unset, ok or error.
    status         LowCardinality(String) CODEC(ZSTD(1)),
    status_message String CODEC(ZSTD(1)),
    -- JSON text: an object, and two arrays of objects.
    attributes     String CODEC(ZSTD(1)),
    events         String CODEC(ZSTD(1)),
    links          String CODEC(ZSTD(1)),
    received_at    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    retention_days UInt16 CODEC(ZSTD(1)),
    -- Computed when it is read; see 0007_drop_logs_attributes_map.sql.
    attributes_map Map(LowCardinality(String), String) ALIAS JSONExtract(attributes, 'Map(LowCardinality(String), String)'),

    -- Ten times stricter than that of `logs`, because a page of a search asks for the spans of up to 1000 traces at once.
    INDEX trace_id_bloom trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX service_bloom service TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX operation_bloom operation TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX status_bloom status TYPE bloom_filter(0.01) GRANULARITY 1,
    -- Slow spans are few, and most granules have none above a bound.
    INDEX duration_minmax duration_ns TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
ORDER BY (org_id, ts, record_id)
TTL if(retention_days = 0, toDateTime('2106-01-01 00:00:00', 'UTC'), toDateTime(received_at) + toIntervalDay(retention_days))
SETTINGS
    ttl_only_drop_parts = 0,
    non_replicated_deduplication_window = 100000,
    -- See 0009_merge_logs_rarely.sql.
    min_parts_to_merge_at_once = 10;
