-- Statements of storage/notifications.py: alerts are recorded, and with them who is told.

-- name: monitors
SELECT id, organization_id, name, kind, definition, enabled AND deleted_at IS NULL AS enabled, version
FROM monitors
WHERE id = ANY($1::uuid[]);

-- name: alerts
-- Those of the messages, in no order; `told` are the channels that were told of what goes on since the group was last OK.
SELECT a.id, a.monitor_id, a.group_key, a.sequence, a.ended_at, a.acknowledged_at, a.resolved_by,
    ARRAY(
        SELECT DISTINCT n.channel_id
        FROM notifications n
        WHERE n.monitor_id = a.monitor_id AND n.group_key = a.group_key AND n.sequence < a.sequence
            AND n.state IN ('waiting', 'sending', 'sent')
            AND n.sequence > coalesce((
                SELECT max(before.sequence)
                FROM alerts before
                WHERE before.monitor_id = a.monitor_id AND before.group_key = a.group_key AND before.sequence < a.sequence
                    AND before.state = 'OK'
            ), 0)
    ) AS told
FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS asked (monitor_id, group_key, sequence)
JOIN alerts a USING (monitor_id, group_key, sequence);

-- name: channels
-- Those that somebody may be told by; what waits is counted up to $3.
SELECT c.id, c.organization_id, c.enabled, (c.config ->> 'group_wait_s')::double precision AS group_wait_s,
    (SELECT count(*) FROM (
        SELECT 1 FROM notifications n WHERE n.channel_id = c.id AND n.state IN ('waiting', 'sending') LIMIT $3
    ) AS counted) AS waiting
FROM channels c
WHERE c.organization_id = ANY($1::uuid[]) AND c.id = ANY($2::uuid[]) AND c.deleted_at IS NULL;

-- name: insert
INSERT INTO notifications (
    organization_id, alert_id, monitor_id, group_key, sequence, repeat, channel_id, dedup_key, payload, state, reason, next_at, expires_at,
    finished_at
)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $10 = '' THEN 'waiting' ELSE 'suppressed' END, $10,
    CASE WHEN $10 = '' THEN now() + make_interval(secs => $11) ELSE $12 END, now() + make_interval(secs => $13),
    CASE WHEN $10 <> '' THEN now() END
ON CONFLICT ON CONSTRAINT notifications_dedup_key_key DO NOTHING;

-- name: of_alert
SELECT n.id, n.channel_id, c.name AS channel_name, c.kind AS channel_kind, n.repeat, n.dedup_key, n.state, n.reason, n.attempts,
    n.next_at, n.last_error, n.last_status, n.created_at, n.finished_at
FROM notifications n
JOIN channels c ON c.id = n.channel_id
WHERE n.organization_id = $1 AND n.alert_id = $2
ORDER BY n.id
LIMIT $3;

-- name: suppressed_due
-- Alerts are locked too: a recovery that is recorded at this moment either sees that the channel is told of the breach, or is seen.
SELECT n.id, n.organization_id, n.monitor_id, n.group_key, n.sequence, n.repeat, n.channel_id, a.state, a.previous_state,
    a.ended_at IS NULL AS goes_on, a.acknowledged_at IS NOT NULL AS acknowledged
FROM notifications n
JOIN alerts a ON a.id = n.alert_id
WHERE n.state = 'suppressed' AND n.next_at <= now()
ORDER BY n.next_at
LIMIT $1
FOR UPDATE OF n SKIP LOCKED
FOR SHARE OF a SKIP LOCKED;

-- name: settle
-- $2 says why nobody is told, '' that the channel is told now, 'ended' that it is too late for that; $3 when to look again.
UPDATE notifications
SET state = CASE WHEN $2 = '' THEN 'waiting' ELSE 'suppressed' END, reason = CASE WHEN $2 = 'ended' THEN reason ELSE $2 END,
    next_at = CASE WHEN $2 = '' THEN now() ELSE $3::timestamptz END,
    expires_at = now() + make_interval(secs => $4), finished_at = CASE WHEN $2 <> '' THEN coalesce(finished_at, now()) END
WHERE id = $1;
