-- Statements of storage/alerts.py.

-- name: record
-- One statement, so that a transition and the end of the state before it are seen together or not at all. A repetition inserts
-- nothing and then ends nothing. `next` is for a transition that comes late: the state that it began has ended already.
WITH next AS (
    SELECT started_at
    FROM alerts
    WHERE organization_id = $1 AND monitor_id = $2 AND group_key = $3 AND sequence > $4
    ORDER BY sequence
    LIMIT 1
), recorded AS (
    INSERT INTO alerts (
        organization_id, monitor_id, group_key, sequence, state, previous_state, value, threshold, started_at, ended_at, evidence
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, (SELECT greatest(started_at, $9) FROM next), $10)
    ON CONFLICT ON CONSTRAINT alerts_sequence_key DO NOTHING
    RETURNING id
), ended AS (
    UPDATE alerts
    SET ended_at = greatest(started_at, $9)
    WHERE organization_id = $1 AND monitor_id = $2 AND group_key = $3 AND sequence < $4 AND ended_at IS NULL
        AND EXISTS (SELECT 1 FROM recorded)
)
SELECT id
FROM recorded;

-- name: list
-- $2 monitor, $3 state, $4 only what goes on now; NULL does not narrow. $5 and $6 are where the page before ended.
SELECT a.id, a.organization_id, a.monitor_id, m.name AS monitor_name, a.group_key, a.sequence, a.state, a.previous_state,
    a.value, a.threshold, a.started_at, a.ended_at, a.acknowledged_at, a.acknowledged_by, a.resolved_by, a.evidence
FROM alerts a
JOIN monitors m ON m.organization_id = a.organization_id AND m.id = a.monitor_id
WHERE a.organization_id = $1
    AND ($2::uuid IS NULL OR a.monitor_id = $2)
    AND ($3::text IS NULL OR a.state = $3)
    AND (NOT $4::boolean OR (a.ended_at IS NULL AND a.state <> 'OK'))
    AND ($5::timestamptz IS NULL OR (a.started_at, a.id) < ($5, $6::uuid))
ORDER BY a.started_at DESC, a.id DESC
LIMIT $7;

-- name: get
SELECT a.id, a.organization_id, a.monitor_id, m.name AS monitor_name, a.group_key, a.sequence, a.state, a.previous_state,
    a.value, a.threshold, a.started_at, a.ended_at, a.acknowledged_at, a.acknowledged_by, a.resolved_by, a.evidence
FROM alerts a
JOIN monitors m ON m.organization_id = a.organization_id AND m.id = a.monitor_id
WHERE a.organization_id = $1 AND a.id = $2;

-- name: newest_of_groups
-- The newest alert of each group of a monitor, by group, behind the group $3. Groups are found one after the other, a look into
-- alerts_sequence_key each, since a group may have any number of alerts and the newest is one of them.
WITH RECURSIVE groups (group_key) AS (
    (
        SELECT group_key
        FROM alerts
        WHERE organization_id = $1 AND monitor_id = $2 AND ($3::text IS NULL OR group_key > $3)
        ORDER BY group_key
        LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT a.group_key
        FROM alerts a
        WHERE a.organization_id = $1 AND a.monitor_id = $2 AND a.group_key > groups.group_key
        ORDER BY a.group_key
        LIMIT 1
    )
    FROM groups
    WHERE groups.group_key IS NOT NULL
), page AS (
    SELECT group_key FROM groups WHERE group_key IS NOT NULL LIMIT $4
)
SELECT newest.*
FROM page
CROSS JOIN LATERAL (
    SELECT a.id, a.organization_id, a.monitor_id, m.name AS monitor_name, a.group_key, a.sequence, a.state, a.previous_state,
        a.value, a.threshold, a.started_at, a.ended_at, a.acknowledged_at, a.acknowledged_by, a.resolved_by, a.evidence
    FROM alerts a
    JOIN monitors m ON m.organization_id = a.organization_id AND m.id = a.monitor_id
    WHERE a.organization_id = $1 AND a.monitor_id = $2 AND a.group_key = page.group_key
    ORDER BY a.sequence DESC
    LIMIT 1
) newest
ORDER BY newest.group_key;

-- name: count_open
-- How many groups of a monitor are in each state but OK, of as many as $3.
SELECT state, count(*) AS groups
FROM (
    SELECT state
    FROM alerts
    WHERE organization_id = $1 AND monitor_id = $2 AND ended_at IS NULL AND state <> 'OK'
    LIMIT $3
) open
GROUP BY state;

-- name: acknowledge
-- The first one stays.
UPDATE alerts
SET acknowledged_by = CASE WHEN acknowledged_at IS NULL THEN $3::uuid ELSE acknowledged_by END,
    acknowledged_at = coalesce(acknowledged_at, now())
WHERE organization_id = $1 AND id = $2
RETURNING id;

-- name: resolve
-- Twice, or after it ended by itself, changes nothing.
UPDATE alerts
SET resolved_by = CASE WHEN ended_at IS NULL THEN $3::uuid ELSE resolved_by END,
    ended_at = coalesce(ended_at, greatest(started_at, now()))
WHERE organization_id = $1 AND id = $2
RETURNING id;
