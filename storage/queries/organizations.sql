-- Statements of storage/organizations.py.

-- name: create
INSERT INTO organizations (name, retention_days)
VALUES ($1, $2)
RETURNING id, name, retention_days, created_at, settings;

-- name: list
SELECT id, name, retention_days, created_at, settings
FROM organizations
ORDER BY created_at, id;

-- name: list_settings
SELECT id, settings
FROM organizations;

-- name: get
-- An id wins over a name that looks like one.
SELECT id, name, retention_days, created_at, settings
FROM organizations
WHERE id = $1 OR name = $2
ORDER BY (id = $1) DESC NULLS LAST
LIMIT 1;

-- name: update
-- NULL leaves a column as it is.
UPDATE organizations
SET name = coalesce($2, name), retention_days = coalesce($3, retention_days), settings = coalesce($4, settings)
WHERE id = $1
RETURNING id, name, retention_days, created_at, settings;

-- name: change
-- The same, with sections of the settings: $4 to put in, $5 to take out.
UPDATE organizations
SET name = coalesce($2, name), retention_days = coalesce($3, retention_days), settings = (settings || $4::jsonb) - $5::text[]
WHERE id = $1
RETURNING id, name, retention_days, created_at, settings;

-- name: delete
DELETE FROM organizations
WHERE id = $1
RETURNING id;
