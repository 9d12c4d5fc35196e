-- Statements of storage/metrics.py, storage/series.py, storage/series_reader.py, storage/sample_reader.py and storage/metric_reader.py, on
-- TimescaleDB and on plain PostgreSQL.
-- Samples know their series only, so each read takes its series through the organization, as an array that the index can use.
-- The ten minutes of `date_bin` are the index's key (timescaledb/migrations/0002_create_metrics.sql); the bounds on `ts` decide.
-- Values beyond 1e300 add as infinite, as in the rollups (summarize_samples): an overflow would be an error.
-- Where `metrics_1m` stands, metrics_5m and metrics_1h are read too: storage/metric_reader.py has the list.

-- name: get_capabilities
-- Reads a table of ours, so that a database without the migrations is an error.
SELECT
    EXISTS (SELECT FROM schema_migrations WHERE target = 'timescaledb') AS rollups_are_kept,
    (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS version,
    EXISTS (SELECT FROM pg_settings WHERE name = 'timescaledb.enable_direct_compress_copy') AS compresses_copies,
    EXISTS (SELECT FROM metric_offsets) AS has_stored;

-- name: get_next_offset
SELECT next_offset
FROM metric_offsets
WHERE incarnation = $1 AND topic = $2 AND partition = $3;

-- name: advance_offset
-- Gives the number of the block, or nothing when the range begins below what is stored. A writer that stops here, with its host or
-- alone, would keep the row, and with it the partition, from its successor for as long as PostgreSQL thinks that it is there: the
-- server ends a transaction that is left alone for $6, and a COPY that takes longer.
INSERT INTO metric_offsets AS known (incarnation, topic, partition, next_offset)
VALUES ($1, $2, $3, $5)
ON CONFLICT (incarnation, topic, partition) DO UPDATE
SET next_offset = excluded.next_offset, stored_at = now()
WHERE known.next_offset <= $4
RETURNING
    nextval('metric_blocks'),
    set_config('idle_in_transaction_session_timeout', $6, true),
    set_config('statement_timeout', $6, true);

-- name: compress_copy
SELECT set_config('timescaledb.enable_direct_compress_copy', 'on', true);

-- name: raise_hours
-- Last in its transaction, so that its rows are locked for the time of the commit alone, and in order, so that no two transactions
-- wait for each other. A version that was forgotten does not come again, because blocks are numbered upwards.
INSERT INTO metric_hours AS known (org_id, hour, partition, version)
SELECT written.org_id, written.hour, $3, $4
FROM unnest($1::uuid[], $2::integer[]) AS written (org_id, hour)
ORDER BY written.org_id, written.hour
ON CONFLICT (org_id, hour, partition) DO UPDATE
SET version = greatest(known.version + 1, excluded.version);

-- name: forget_hours
-- Of hours before $1. What another transaction has locked, it forgets.
DELETE FROM metric_hours
WHERE (org_id, hour, partition) IN (
    SELECT org_id, hour, partition FROM metric_hours WHERE hour < $1 FOR UPDATE SKIP LOCKED
);

-- name: find_identities
SELECT identity, id
FROM series
WHERE org_id = $1 AND identity = ANY ($2::bytea[]);

-- name: add_count
INSERT INTO series_counts (org_id)
VALUES ($1)
ON CONFLICT DO NOTHING;

-- name: lock_count
SELECT series
FROM series_counts
WHERE org_id = $1
FOR UPDATE;

-- name: add_series
INSERT INTO series (org_id, name, labels, identity)
SELECT $1, name, labels::jsonb, identity
FROM unnest($2::text[], $3::text[], $4::bytea[]) AS new (name, labels, identity)
RETURNING identity, id;

-- name: raise_count
UPDATE series_counts
SET series = series + $2
WHERE org_id = $1;

-- name: describe_metrics
-- What is known already is not locked, because every worker says it again after its start.
INSERT INTO metric_names AS known (org_id, name, type, unit)
SELECT $1, new.name, new.type, new.unit
FROM unnest($2::text[], $3::text[], $4::text[]) AS new (name, type, unit)
LEFT JOIN metric_names same
    ON same.org_id = $1 AND same.name = new.name AND same.type = new.type AND same.unit = new.unit
WHERE same.name IS NULL
ORDER BY new.name
ON CONFLICT (org_id, name) DO UPDATE
SET type = excluded.type, unit = excluded.unit;

-- name: find_series
-- A label that a series does not have is the empty text, as in PromQL; `__name__` is the metric's name. $3 holds the equalities that
-- the index can look up. `in` and `not in` take a JSON array of texts, `prefix` a beginning. What a pattern says beyond these is
-- decided by RE2 (storage/label_patterns.py). storage/series_reader.py asks without the line of names where any name will do.
SELECT id, name, labels
FROM series
WHERE org_id = $1
    AND id > $8
    AND name = ANY ($2::text[])
    AND labels @> $3::jsonb
    AND NOT EXISTS (
        SELECT
        FROM unnest($4::text[], $5::text[], $6::text[]) AS matcher (label, operator, operand)
        CROSS JOIN LATERAL (
            SELECT CASE matcher.label WHEN '__name__' THEN name ELSE coalesce(labels ->> matcher.label, '') END
        ) AS found (text)
        WHERE NOT CASE matcher.operator
            WHEN '=' THEN found.text = matcher.operand
            WHEN '!=' THEN found.text <> matcher.operand
            WHEN 'in' THEN matcher.operand::jsonb ? found.text
            WHEN 'not in' THEN NOT matcher.operand::jsonb ? found.text
            WHEN 'prefix' THEN starts_with(found.text, matcher.operand)
        END
    )
ORDER BY id
LIMIT $7;

-- name: get_versions
-- What of an organization has changed: the number of its series, as hour null, and the versions of the hours $2 to $3.
SELECT NULL::integer AS hour, series::bigint AS version
FROM series_counts
WHERE org_id = $1
UNION ALL
SELECT hour, sum(version)::bigint
FROM metric_hours
WHERE org_id = $1
    AND hour BETWEEN $2 AND $3
GROUP BY hour;

-- name: list_metrics
SELECT s.name, coalesce(n.type, '') AS type, coalesce(n.unit, '') AS unit, count(*) AS series
FROM series s
LEFT JOIN metric_names n ON n.org_id = s.org_id AND n.name = s.name
WHERE s.org_id = $1 AND s.name > $2 AND starts_with(s.name, $4)
GROUP BY s.name, n.type, n.unit
ORDER BY s.name
LIMIT $3;

-- name: describe_known_metrics
-- Of the metric $2, or of all.
SELECT name, type, unit, 0 AS series
FROM metric_names
WHERE org_id = $1 AND ($2::text IS NULL OR name = $2)
ORDER BY name
LIMIT $3;

-- name: list_label_names
-- Of all series, or of those with a sample from $3 up to $4.
SELECT DISTINCT named.label
FROM series s, LATERAL (SELECT '__name__' AS label UNION ALL SELECT jsonb_object_keys(s.labels)) AS named
WHERE s.org_id = $1
    AND (
        $3::timestamptz IS NULL
        OR EXISTS (
            SELECT
            FROM metrics m
            WHERE m.series_id = s.id
                AND date_bin('10 minutes', m.ts, '2000-01-01 00:00:00+00')
                    BETWEEN date_bin('10 minutes', $3::timestamptz, '2000-01-01 00:00:00+00') AND $4::timestamptz
                AND m.ts >= $3::timestamptz
                AND m.ts < $4::timestamptz
        )
    )
LIMIT $2;

-- name: list_label_values
-- As above, from $4 up to $5.
SELECT DISTINCT CASE $2 WHEN '__name__' THEN s.name ELSE s.labels ->> $2 END
FROM series s
WHERE s.org_id = $1
    AND ($2 = '__name__' OR s.labels ? $2)
    AND (
        $4::timestamptz IS NULL
        OR EXISTS (
            SELECT
            FROM metrics m
            WHERE m.series_id = s.id
                AND date_bin('10 minutes', m.ts, '2000-01-01 00:00:00+00')
                    BETWEEN date_bin('10 minutes', $4::timestamptz, '2000-01-01 00:00:00+00') AND $5::timestamptz
                AND m.ts >= $4::timestamptz
                AND m.ts < $5::timestamptz
        )
    )
LIMIT $3;

-- name: find_active_of
SELECT s.id
FROM series s
WHERE s.org_id = $1
    AND s.id = ANY ($2::integer[])
    AND EXISTS (
        SELECT
        FROM metrics m
        WHERE m.series_id = s.id
            AND date_bin('10 minutes', m.ts, '2000-01-01 00:00:00+00')
                BETWEEN date_bin('10 minutes', $3, '2000-01-01 00:00:00+00') AND $4
            AND m.ts >= $3
            AND m.ts < $4
    );

-- name: count_active_series
SELECT count(*)
FROM series s
WHERE s.org_id = $1
    AND EXISTS (
        SELECT
        FROM metrics m
        WHERE m.series_id = s.id
            AND date_bin('10 minutes', m.ts, '2000-01-01 00:00:00+00')
                BETWEEN date_bin('10 minutes', $2, '2000-01-01 00:00:00+00') AND $3
            AND m.ts >= $2
            AND m.ts < $3
    );

-- name: read_samples
-- In any order: storage/metric_samples.py sorts, and takes the later of two writes. storage/sample_reader.py first leaves out the line
-- of the block.
SELECT
    series_id, ts,
    block,
    value
FROM metrics
WHERE series_id = ANY (ARRAY(SELECT id FROM series WHERE org_id = $1 AND id = ANY ($2::integer[])))
    AND date_bin('10 minutes', ts, '2000-01-01 00:00:00+00')
        BETWEEN date_bin('10 minutes', $3::timestamptz, '2000-01-01 00:00:00+00') AND $4::timestamptz
    AND ts >= $3::timestamptz
    AND ts < $4::timestamptz
LIMIT $5;

-- name: read_hourly_last
-- The last sample of each hour, in the columns of read_samples.
SELECT
    series_id, last_ts AS ts,
    0::bigint AS block,
    last AS value
FROM metrics_1h
WHERE series_id = ANY (ARRAY(SELECT id FROM series WHERE org_id = $1 AND id = ANY ($2::integer[])))
    AND bucket >= date_bin('1 hour', $3::timestamptz, '2000-01-01 00:00:00+00')
    AND bucket < $4::timestamptz
    AND last_ts < $4::timestamptz
    AND count > 0
LIMIT $5;

-- name: read_latest
SELECT DISTINCT ON (series_id) series_id, ts, value
FROM metrics
WHERE series_id = ANY (ARRAY(SELECT id FROM series WHERE org_id = $1 AND id = ANY ($2::integer[])))
    AND date_bin('10 minutes', ts, '2000-01-01 00:00:00+00')
        BETWEEN date_bin('10 minutes', $3, '2000-01-01 00:00:00+00') AND $4
    AND ts >= $3
    AND ts < $4
ORDER BY series_id, ts DESC, block DESC;

-- name: aggregate_samples
WITH points AS (
    SELECT DISTINCT ON (series_id, ts) ts, value,
        CASE WHEN value > 1e300 THEN 'Infinity' WHEN value < -1e300 THEN '-Infinity' ELSE value END AS addend
    FROM metrics
    WHERE series_id = ANY (ARRAY(SELECT id FROM series WHERE org_id = $1 AND id = ANY ($2::integer[])))
        AND date_bin('10 minutes', ts, '2000-01-01 00:00:00+00')
            BETWEEN date_bin('10 minutes', $3, '2000-01-01 00:00:00+00') AND $4
        AND ts >= $3
        AND ts < $4
    ORDER BY series_id, ts, block DESC
)
SELECT
    time_bucket($5::interval, ts) AS bucket,
    count(*) AS count,
    sum(addend) AS sum,
    min(value) AS min,
    max(value) AS max
FROM points
WHERE value <> 'NaN'
GROUP BY 1
ORDER BY 1;

-- name: aggregate_rollup
SELECT
    time_bucket($5::interval, bucket) AS bucket,
    sum(count)::bigint AS count,
    sum(sum) AS sum,
    min(min) AS min,
    max(max) AS max
FROM metrics_1m
WHERE series_id = ANY (ARRAY(SELECT id FROM series WHERE org_id = $1 AND id = ANY ($2::integer[])))
    AND bucket >= $3
    AND bucket < $4
    AND count > 0
GROUP BY 1
ORDER BY 1;

-- name: increase_samples
-- Each step counts where it ends; $6 is the start less what to look back for the sample before it.
WITH points AS (
    SELECT DISTINCT ON (series_id, ts) series_id, ts, value,
        CASE WHEN value > 1e300 THEN 'Infinity' WHEN value < -1e300 THEN '-Infinity' ELSE value END AS addend
    FROM metrics
    WHERE series_id = ANY (ARRAY(SELECT id FROM series WHERE org_id = $1 AND id = ANY ($2::integer[])))
        AND date_bin('10 minutes', ts, '2000-01-01 00:00:00+00')
            BETWEEN date_bin('10 minutes', $6, '2000-01-01 00:00:00+00') AND $4
        AND ts >= $6
        AND ts < $4
    ORDER BY series_id, ts, block DESC
),
steps AS (
    SELECT ts, value, addend, lag(value) OVER by_series AS before, lag(addend) OVER by_series AS addend_before
    FROM points
    WHERE value <> 'NaN'
    WINDOW by_series AS (PARTITION BY series_id ORDER BY ts)
)
SELECT
    time_bucket($5::interval, ts) AS bucket,
    sum(CASE WHEN value < before THEN addend WHEN value > before THEN addend - addend_before ELSE 0 END) AS increase
FROM steps
WHERE ts >= $3
GROUP BY 1
ORDER BY 1;

-- name: increase_rollup
WITH parts AS (
    SELECT
        bucket, first, increase,
        CASE WHEN first > 1e300 THEN 'Infinity' WHEN first < -1e300 THEN '-Infinity' ELSE first END AS addend,
        lag(last) OVER by_series AS before,
        lag(CASE WHEN last > 1e300 THEN 'Infinity' WHEN last < -1e300 THEN '-Infinity' ELSE last END) OVER by_series AS addend_before
    FROM metrics_1m
    WHERE series_id = ANY (ARRAY(SELECT id FROM series WHERE org_id = $1 AND id = ANY ($2::integer[])))
        AND bucket >= $6
        AND bucket < $4
        AND count > 0
    WINDOW by_series AS (PARTITION BY series_id ORDER BY bucket)
)
SELECT
    time_bucket($5::interval, bucket) AS bucket,
    sum(increase + CASE WHEN first < before THEN addend WHEN first > before THEN addend - addend_before ELSE 0 END) AS increase
FROM parts
WHERE bucket >= $3
GROUP BY 1
ORDER BY 1;
