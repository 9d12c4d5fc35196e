-- Statements of storage/outbox.py. `due`: state waiting or sending, and next_at past; whoever was sending is then taken for dead.

-- name: in_order
-- For the statements of one claim: the planner does not know how much waits for a channel this minute, and would read all of it and
-- sort, for every message.
SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true);

-- name: queues
-- $1 are organizations that have enough under way; the channel that waited longest comes first, and nobody else claims of it now.
SELECT q.channel_id, q.tokens, extract(epoch FROM now() - q.refilled_at)::double precision AS since_s, q.failures, c.organization_id, c.name,
    c.kind, c.config, c.secrets_sealed, coalesce((c.config ->> 'group_wait_s')::double precision, 0) AS group_wait_s,
    (SELECT count(DISTINCT f.bundle) FROM notifications f
        WHERE f.channel_id = q.channel_id AND f.bundle IS NOT NULL AND f.state = 'sending' AND f.next_at > now()) AS under_way
FROM channel_queues q
JOIN channels c ON c.id = q.channel_id
WHERE q.blocked_until <= now() AND c.enabled AND c.deleted_at IS NULL AND NOT c.organization_id = ANY($1::uuid[])
    AND EXISTS (
        SELECT 1
        FROM notifications n
        WHERE n.channel_id = q.channel_id AND n.state IN ('waiting', 'sending') AND n.next_at <= now()
    )
ORDER BY q.claimed_at
LIMIT $2
FOR UPDATE OF q SKIP LOCKED;

-- name: fresh
-- What was never sent, the first of each group: the next waits for it, so that a recovery never comes before its breach. A channel
-- that gathers also shows what is not due by itself.
SELECT n.id, n.channel_id, n.monitor_id, n.dedup_key, n.attempts, n.next_at <= now() AS due
FROM unnest($1::uuid[], $2::double precision[]) AS asked (channel_id, group_wait_s)
CROSS JOIN LATERAL (
    SELECT f.*
    FROM notifications f
    WHERE f.channel_id = asked.channel_id AND f.state = 'waiting' AND f.bundle IS NULL
        AND f.next_at <= now() + make_interval(secs => asked.group_wait_s)
        -- Not NOT EXISTS, which is joined, and then all that waits is looked through for each.
        AND (
            SELECT b.id
            FROM notifications b
            WHERE b.channel_id = f.channel_id AND b.monitor_id = f.monitor_id AND b.group_key = f.group_key AND b.id < f.id
                AND b.state IN ('waiting', 'sending')
            LIMIT 1
        ) IS NULL
    ORDER BY f.id
    LIMIT $3
) n;

-- name: again
-- What was tried before, each bundle whole.
SELECT n.id, n.channel_id, n.monitor_id, n.dedup_key, n.attempts, n.bundle
FROM unnest($1::uuid[]) AS asked (channel_id)
CROSS JOIN LATERAL (
    SELECT d.bundle
    FROM notifications d
    WHERE d.channel_id = asked.channel_id AND d.state IN ('waiting', 'sending') AND d.bundle IS NOT NULL AND d.next_at <= now()
    GROUP BY d.bundle
    ORDER BY min(d.id)
    LIMIT $2
) b
JOIN notifications n ON n.channel_id = asked.channel_id AND n.bundle = b.bundle AND n.state IN ('waiting', 'sending');

-- name: lease
UPDATE notifications n
SET state = 'sending', bundle = taken.bundle, lease = $3, attempts = n.attempts + 1, next_at = now() + make_interval(secs => $4)
FROM unnest($1::bigint[], $2::uuid[]) AS taken (id, bundle)
WHERE n.id = taken.id
RETURNING n.id, n.payload;

-- name: pay
UPDATE channel_queues q
SET tokens = paid.tokens, refilled_at = now(), claimed_at = clock_timestamp()
FROM unnest($1::uuid[], $2::double precision[]) AS paid (channel_id, tokens)
WHERE q.channel_id = paid.channel_id;

-- name: sent
WITH done AS (
    UPDATE notifications
    SET state = 'sent', finished_at = now(), next_at = NULL, lease = NULL, last_error = '', last_status = $3
    WHERE channel_id = $4 AND bundle = $1 AND lease = $2 AND state = 'sending'
    RETURNING channel_id
)
UPDATE channel_queues
SET failures = 0, blocked_until = now(), last_sent_at = now(), last_error = ''
WHERE channel_id IN (SELECT channel_id FROM done);

-- name: failed
-- $5 is when to try again, in seconds; $7 whether the whole channel waits so long.
WITH done AS (
    UPDATE notifications
    SET state = CASE WHEN expires_at <= now() THEN 'dead' ELSE 'waiting' END,
        reason = CASE WHEN expires_at <= now() THEN 'expired' ELSE '' END,
        finished_at = CASE WHEN expires_at <= now() THEN now() END,
        next_at = CASE WHEN expires_at > now() THEN least(now() + make_interval(secs => $5), expires_at) END,
        lease = NULL, last_error = $6, last_status = $3
    WHERE channel_id = $4 AND bundle = $1 AND lease = $2 AND state = 'sending'
    RETURNING channel_id
)
UPDATE channel_queues
SET failures = failures + 1, last_failed_at = now(), last_error = $6,
    blocked_until = CASE WHEN $7::boolean THEN greatest(blocked_until, now() + make_interval(secs => $5)) ELSE blocked_until END
WHERE channel_id IN (SELECT channel_id FROM done);

-- name: expire
UPDATE notifications
SET state = 'dead', reason = 'expired', finished_at = now(), next_at = NULL, lease = NULL
WHERE id IN (
    SELECT id
    FROM notifications
    WHERE state IN ('waiting', 'sending') AND expires_at <= now() AND (state = 'waiting' OR next_at <= now())
    LIMIT 5000
);

-- name: drop
-- Nobody is told by a channel that was switched off or deleted while something waited for it.
UPDATE notifications n
SET state = 'suppressed', reason = 'channel_disabled', finished_at = now(), next_at = NULL, lease = NULL
FROM channels c
WHERE c.id = n.channel_id AND NOT c.enabled AND n.state = 'waiting';

-- name: forget
DELETE FROM notifications
WHERE id IN (
    SELECT id
    FROM notifications
    WHERE finished_at < now() - make_interval(days => 30) AND (next_at IS NULL OR finished_at < now() - make_interval(days => 90))
    LIMIT 5000
);

-- name: overview
SELECT count(*) FILTER (WHERE state IN ('waiting', 'sending')) AS waiting,
    coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE state IN ('waiting', 'sending'))), 0)::double precision AS oldest_s,
    count(*) FILTER (WHERE state = 'dead' AND finished_at > now() - interval '1 day') AS dead
FROM notifications
WHERE state IN ('waiting', 'sending') OR finished_at > now() - interval '1 day';

-- name: unblock
UPDATE channel_queues
SET blocked_until = now(), failures = 0, last_error = ''
WHERE channel_id = (SELECT id FROM channels WHERE organization_id = $1 AND id = $2);
