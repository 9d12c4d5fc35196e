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
    `attributes_map` Map(LowCardinality(String), String) MATERIALIZED JSONExtract(attributes, 'Map(LowCardinality(String), String)') CODEC(ZSTD(1)),
    INDEX trace_id_bloom trace_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX message_ngrams lower(message) TYPE ngrambf_v1(3, 16384, 1, 0) GRANULARITY 1,
    INDEX service_bloom service TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX level_bloom level TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
ORDER BY (org_id, ts, record_id)
TTL if(retention_days = 0, toDateTime('2106-01-01 00:00:00', 'UTC'), toDateTime(received_at) + toIntervalDay(retention_days))
SETTINGS ttl_only_drop_parts = 0, non_replicated_deduplication_window = 100000, index_granularity = 8192;

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
