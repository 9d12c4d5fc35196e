-- The rollups of 1 minute, 5 minutes and 1 hour as plain views of the same names and columns, computed when they are asked.

CREATE VIEW metrics_1m_summaries AS
SELECT
    series_id,
    time_bucket(INTERVAL '1 minute', ts) AS bucket,
    summarize_samples(array_agg(value ORDER BY ts, block), array_agg(ts ORDER BY ts, block)) AS summary
FROM metrics
GROUP BY series_id, time_bucket(INTERVAL '1 minute', ts);

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

CREATE VIEW metrics_5m_summaries AS
SELECT
    series_id,
    time_bucket(INTERVAL '5 minutes', ts) AS bucket,
    summarize_samples(array_agg(value ORDER BY ts, block), array_agg(ts ORDER BY ts, block)) AS summary
FROM metrics
GROUP BY series_id, time_bucket(INTERVAL '5 minutes', ts);

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

CREATE VIEW metrics_1h_summaries AS
SELECT
    series_id,
    time_bucket(INTERVAL '1 hour', ts) AS bucket,
    summarize_samples(array_agg(value ORDER BY ts, block), array_agg(ts ORDER BY ts, block)) AS summary
FROM metrics
GROUP BY series_id, time_bucket(INTERVAL '1 hour', ts);

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
