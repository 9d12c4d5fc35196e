-- Statements of storage/downtimes.py.

-- name: create
INSERT INTO downtimes (organization_id, name, definition)
SELECT $1, $2, $3
WHERE (SELECT count(*) FROM downtimes WHERE organization_id = $1) < $4::bigint
RETURNING *;

-- name: mute
INSERT INTO downtimes (organization_id, name, muted_monitor_id, definition)
VALUES ($1, $2, $3, $4)
ON CONFLICT ON CONSTRAINT downtimes_muted_monitor_id_key
    DO UPDATE SET definition = excluded.definition, version = downtimes.version + 1
RETURNING *;

-- name: list
SELECT *
FROM downtimes
WHERE organization_id = $1
ORDER BY created_at, id;

-- name: of_organizations
SELECT *
FROM downtimes
WHERE organization_id = ANY($1::uuid[]);

-- name: get
SELECT *
FROM downtimes
WHERE organization_id = $1 AND id = $2;

-- name: update
UPDATE downtimes
SET name = $4, definition = $5, version = version + 1
WHERE organization_id = $1 AND id = $2 AND version = $3
RETURNING *;

-- name: delete
DELETE FROM downtimes
WHERE organization_id = $1 AND id = $2
RETURNING id;

-- name: unmute
DELETE FROM downtimes
WHERE organization_id = $1 AND muted_monitor_id = $2
RETURNING id;

-- name: look_again
-- What a downtime has suppressed may be told now, if it still goes on.
UPDATE notifications
SET next_at = now()
WHERE organization_id = $1 AND state = 'suppressed' AND next_at IS NOT NULL;
