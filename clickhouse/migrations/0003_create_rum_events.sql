-- One row an event of real user monitoring. The order of the columns is the order of the Arrow schema that the agents insert. What
-- is as in `logs` has its reasons in 0001_create_logs.sql.
CREATE TABLE IF NOT EXISTS rum_events
(
    org_id          LowCardinality(String) CODEC(ZSTD(1)),
    ts              DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    record_id       UInt64 CODEC(Delta, ZSTD(1)),
    -- What happened: a view, an action, a resource, a vital, an error, ...
    type            LowCardinality(String) CODEC(ZSTD(1)),
    session_id      String CODEC(ZSTD(1)),
    view_id         String CODEC(ZSTD(1)),
    page_url        String CODEC(ZSTD(1)),
    page_path       LowCardinality(String) CODEC(ZSTD(1)),
    user_id         String CODEC(ZSTD(1)),
    -- Of the vital, the action or the resource; `value` is its measure, where it has one.
    name            LowCardinality(String) CODEC(ZSTD(1)),
    value           Nullable(Float64) CODEC(ZSTD(1)),
    -- '' for what is no error.
    error_type      LowCardinality(String) CODEC(ZSTD(1)),
    error_message   String CODEC(ZSTD(1)),
    error_stack     String CODEC(ZSTD(1)),
    -- From the address and the user agent; '', NULL and 0 while the normalizer does not know.
    country         LowCardinality(String) CODEC(ZSTD(1)),
    region          LowCardinality(String) CODEC(ZSTD(1)),
    city            LowCardinality(String) CODEC(ZSTD(1)),
    timezone        LowCardinality(String) CODEC(ZSTD(1)),
    latitude        Nullable(Float64) CODEC(ZSTD(1)),
    longitude       Nullable(Float64) CODEC(ZSTD(1)),
    browser         LowCardinality(String) CODEC(ZSTD(1)),
    browser_version LowCardinality(String) CODEC(ZSTD(1)),
    os              LowCardinality(String) CODEC(ZSTD(1)),
    device_type     LowCardinality(String) CODEC(ZSTD(1)),
    is_bot          UInt8 CODEC(ZSTD(1)),
    -- JSON text of two objects: what the sender said of itself, and of the event.
    client          String CODEC(ZSTD(1)),
    attributes      String CODEC(ZSTD(1)),
    received_at     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    retention_days  UInt16 CODEC(ZSTD(1)),

    INDEX session_id_bloom session_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX type_bloom type TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX page_path_bloom page_path TYPE bloom_filter(0.01) GRANULARITY 1
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
