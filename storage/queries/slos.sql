-- Statements of storage/slos.py.

-- name: create
INSERT INTO slos (organization_id, name, definition, objective, window_days, enabled)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING id, organization_id, name, definition, objective, window_days, enabled, version, created_at, updated_at;

-- name: list
SELECT id, organization_id, name, definition, objective, window_days, enabled, version, created_at, updated_at
FROM slos
WHERE organization_id = $1
ORDER BY name;

-- name: get
SELECT id, organization_id, name, definition, objective, window_days, enabled, version, created_at, updated_at
FROM slos
WHERE organization_id = $1 AND id = $2;

-- name: update
-- NULL leaves a column as it is; nothing happens when somebody else has changed the SLO since version $3.
UPDATE slos
SET name = coalesce($4, name), definition = coalesce($5, definition), objective = coalesce($6, objective),
    window_days = coalesce($7, window_days), enabled = coalesce($8, enabled), version = version + 1
WHERE organization_id = $1 AND id = $2 AND version = $3
RETURNING id, organization_id, name, definition, objective, window_days, enabled, version, created_at, updated_at;

-- name: delete
DELETE FROM slos
WHERE organization_id = $1 AND id = $2
RETURNING id;

-- name: load_enabled
-- Of every organization: for the engine, which watches them all.
SELECT id, organization_id, name, definition, objective, window_days, enabled, version, created_at, updated_at
FROM slos
WHERE enabled
ORDER BY id;
