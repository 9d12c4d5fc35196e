-- Statements of storage/usage.py.

-- name: flush
-- The counts as they are, not what to add, so that a repetition changes nothing. An organization that is gone is left out. The
-- counts of a day only grow: a straggler that writes older ones changes nothing either.
INSERT INTO usage_daily AS kept (
    organization_id, day, logs_count, logs_bytes, metrics_count, spans_count, rum_events, scrubbed
)
SELECT given.organization_id, given.day, given.logs_count, given.logs_bytes, given.metrics_count, given.spans_count,
    given.rum_events, given.scrubbed
FROM unnest($1::uuid[], $2::date[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::jsonb[])
    AS given (organization_id, day, logs_count, logs_bytes, metrics_count, spans_count, rum_events, scrubbed)
JOIN organizations o ON o.id = given.organization_id
-- In one order everywhere, so that two flushes at once wait for each other and do not deadlock.
ORDER BY given.organization_id, given.day
ON CONFLICT (organization_id, day) DO UPDATE
SET logs_count = excluded.logs_count, logs_bytes = excluded.logs_bytes, metrics_count = excluded.metrics_count,
    spans_count = excluded.spans_count, rum_events = excluded.rum_events, scrubbed = excluded.scrubbed
WHERE excluded.logs_count >= kept.logs_count AND excluded.logs_bytes >= kept.logs_bytes
    AND excluded.metrics_count >= kept.metrics_count AND excluded.spans_count >= kept.spans_count
    AND excluded.rum_events >= kept.rum_events
RETURNING organization_id;

-- name: list
SELECT organization_id, day, logs_count, logs_bytes, metrics_count, spans_count, rum_events, scrubbed
FROM usage_daily
WHERE organization_id = $1 AND day >= $2 AND day < $3
ORDER BY day;
