-- One row a log record. The order of the columns up to retention_days is the order of the Arrow schema that the agents insert.
CREATE TABLE IF NOT EXISTS logs
(
    -- Text of the organization's UUID: the same form everywhere, and LowCardinality makes it two bytes.
    org_id         LowCardinality(String) CODEC(ZSTD(1)),
    -- When it happened, to the nanosecond, as the sender said.
    ts             DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    -- Made by the normalizer from partition, offset and index; breaks ties of ts, so that pages of a search never overlap.
    record_id      UInt64 CODEC(Delta, ZSTD(1)),
    service        LowCardinality(String) CODEC(ZSTD(1)),
    level          LowCardinality(String) CODEC(ZSTD(1)),
    message        String CODEC(ZSTD(1)),
    trace_id       String CODEC(ZSTD(1)),
    span_id        String CODEC(ZSTD(1)),
    host           LowCardinality(String) CODEC(ZSTD(1)),
    environment    LowCardinality(String) CODEC(ZSTD(1)),
    version        LowCardinality(String) CODEC(ZSTD(1)),
    -- JSON text of an object, exactly as it is given back.
    attributes     String CODEC(ZSTD(1)),
    received_at    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    -- The organization's retention when the record arrived; 0 keeps it for ever.
    retention_days UInt16 CODEC(ZSTD(1)),
    -- The same object for filters, one level deep: numbers and booleans as text, null as '', objects and arrays as their JSON.
    -- JSONExtract never throws, so no record can fail an insert; JSON that simdjson does not read (an integer beyond 64 bits,
    -- 1e400, a lone surrogate) gives an empty map and keeps its text above.
    attributes_map Map(LowCardinality(String), String)
                   MATERIALIZED JSONExtract(attributes, 'Map(LowCardinality(String), String)') CODEC(ZSTD(1)),

    -- About ten records share a trace, so nearly every granule lacks a given one: 0.1 byte a row.
    INDEX trace_id_bloom trace_id TYPE bloom_filter(0.01) GRANULARITY 1,
    -- Substring search of three characters and more. 0.5 byte a row; 4-grams in 32 KB cost 4 bytes and skipped no more on the
    -- shared workload, a `text` index cost 44 bytes and served substrings worse. It is the dearest part of a merge (1.4 us a row).
    INDEX message_ngrams lower(message) TYPE ngrambf_v1(3, 16384, 1, 0) GRANULARITY 1,
    -- A rare service or level is absent from most granules. Not a `set` index: on a LowCardinality column it skips nothing in
    -- 26.5, and these take no more room.
    INDEX service_bloom service TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX level_bloom level TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
-- By the day of arrival, not of the event: a backdated batch would otherwise explode into one part for each of its days, and a
-- part expires as a whole when retention counts from arrival too. Searches by ts are served by the order key.
PARTITION BY toDate(received_at)
-- (org_id, ts, record_id) is the order of every search, newest or oldest first, so a page reads from its end and stops. With
-- five-minute buckets and service before ts the shared workload took 7 bytes a row more, as trace ids lose their neighbours.
ORDER BY (org_id, ts, record_id)
-- An `if` and not `DELETE WHERE`, because a part whose rows have all expired is then dropped without being read.
TTL if(retention_days = 0, toDateTime('2106-01-01 00:00:00', 'UTC'), toDateTime(received_at) + toIntervalDay(retention_days))
SETTINGS
    -- Organizations of different retention share parts, and each row must go on its own day.
    ttl_only_drop_parts = 0,
    -- How many recent blocks a repeated insert is recognized among. A worker that dies in an insert is replaced within seconds,
    -- but one cut off from the store may repeat its block much later, after the other partitions' blocks: 100,000 are more than
    -- 13 minutes of 64 partitions at two blocks a second.
    non_replicated_deduplication_window = 100000;
