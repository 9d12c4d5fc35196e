-- Continuous aggregates of 1 minute, 5 minutes and 1 hour. `metrics_<step>_summaries` is the aggregate, `metrics_<step>` names its
-- columns. One array and not a column each, because one call of the function then does, and takes only the later of two writes at
-- one time, which sum() and count() cannot. What is not refreshed yet is computed from the samples (materialized_only = false).

CREATE MATERIALIZED VIEW metrics_1m_summaries
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.chunk_interval = '1 day') AS
SELECT
    series_id,
    time_bucket(INTERVAL '1 minute', ts) AS bucket,
    summarize_samples(array_agg(value ORDER BY ts, block), array_agg(ts ORDER BY ts, block)) AS summary
FROM metrics
GROUP BY series_id, time_bucket(INTERVAL '1 minute', ts)
WITH NO DATA;

CREATE VIEW metrics_1m AS
SELECT
    series_id,
    bucket,
    summary[1]::bigint        AS count,
    summary[2]                AS sum,
    summary[3]                AS min,
    summary[4]                AS max,
    summary[5]                AS first,
    summary[6]                AS last,
    summary[7]                AS increase,
    summary[8]::bigint        AS resets,
    summary[9]::bigint        AS excluded,
    to_timestamp(summary[10]) AS first_ts,
    to_timestamp(summary[11]) AS last_ts
FROM metrics_1m_summaries;

CREATE MATERIALIZED VIEW metrics_5m_summaries
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.chunk_interval = '1 day') AS
SELECT
    series_id,
    time_bucket(INTERVAL '5 minutes', ts) AS bucket,
    summarize_samples(array_agg(value ORDER BY ts, block), array_agg(ts ORDER BY ts, block)) AS summary
FROM metrics
GROUP BY series_id, time_bucket(INTERVAL '5 minutes', ts)
WITH NO DATA;

CREATE VIEW metrics_5m AS
SELECT
    series_id,
    bucket,
    summary[1]::bigint        AS count,
    summary[2]                AS sum,
    summary[3]                AS min,
    summary[4]                AS max,
    summary[5]                AS first,
    summary[6]                AS last,
    summary[7]                AS increase,
    summary[8]::bigint        AS resets,
    summary[9]::bigint        AS excluded,
    to_timestamp(summary[10]) AS first_ts,
    to_timestamp(summary[11]) AS last_ts
FROM metrics_5m_summaries;

CREATE MATERIALIZED VIEW metrics_1h_summaries
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.chunk_interval = '10 days') AS
SELECT
    series_id,
    time_bucket(INTERVAL '1 hour', ts) AS bucket,
    summarize_samples(array_agg(value ORDER BY ts, block), array_agg(ts ORDER BY ts, block)) AS summary
FROM metrics
GROUP BY series_id, time_bucket(INTERVAL '1 hour', ts)
WITH NO DATA;

CREATE VIEW metrics_1h AS
SELECT
    series_id,
    bucket,
    summary[1]::bigint        AS count,
    summary[2]                AS sum,
    summary[3]                AS min,
    summary[4]                AS max,
    summary[5]                AS first,
    summary[6]                AS last,
    summary[7]                AS increase,
    summary[8]::bigint        AS resets,
    summary[9]::bigint        AS excluded,
    to_timestamp(summary[10]) AS first_ts,
    to_timestamp(summary[11]) AS last_ts
FROM metrics_1h_summaries;
