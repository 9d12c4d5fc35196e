-- Statements of storage/monitors.py.

-- name: create
-- $6 is how many an organization may have.
INSERT INTO monitors (organization_id, name, kind, definition, enabled)
SELECT $1, $2, $3, $4, $5
WHERE (SELECT count(*) FROM monitors WHERE organization_id = $1 AND deleted_at IS NULL) < $6::bigint
RETURNING id, organization_id, name, kind, definition, enabled, version, created_at, updated_at;

-- name: list
SELECT id, organization_id, name, kind, definition, enabled, version, created_at, updated_at
FROM monitors
WHERE organization_id = $1 AND deleted_at IS NULL
ORDER BY name;

-- name: page
SELECT id, organization_id, name, kind, definition, enabled, version, created_at, updated_at
FROM monitors
WHERE organization_id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR name > $2)
ORDER BY name
LIMIT $3;

-- name: get
SELECT id, organization_id, name, kind, definition, enabled, version, created_at, updated_at
FROM monitors
WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL;

-- name: update
-- NULL leaves a column as it is; nothing happens when somebody else has changed the monitor since version $3.
UPDATE monitors
SET name = coalesce($4, name), kind = coalesce($5, kind), definition = coalesce($6, definition),
    enabled = coalesce($7, enabled), version = version + 1
WHERE organization_id = $1 AND id = $2 AND version = $3 AND deleted_at IS NULL
RETURNING id, organization_id, name, kind, definition, enabled, version, created_at, updated_at;

-- name: delete
UPDATE monitors
SET deleted_at = now(), enabled = false, version = version + 1
WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
RETURNING id;

-- name: load_enabled
-- Of every organization: for the engine, which watches them all.
SELECT id, organization_id, name, kind, definition, enabled, version, created_at, updated_at
FROM monitors
WHERE enabled AND deleted_at IS NULL
ORDER BY id;
