-- Statements of storage/control_plane.py. Parameters are asyncpg's $1, $2; values never become text.

-- name: create_organization
INSERT INTO organizations (name, retention_days)
VALUES ($1, $2)
RETURNING id, name, retention_days, created_at, settings;

-- name: list_organizations
SELECT id, name, retention_days, created_at, settings
FROM organizations
ORDER BY created_at, id;

-- name: get_organization
-- An id wins over a name that looks like one.
SELECT id, name, retention_days, created_at, settings
FROM organizations
WHERE id = $1 OR name = $2
ORDER BY (id = $1) DESC NULLS LAST
LIMIT 1;

-- name: create_key
INSERT INTO api_keys (organization_id, prefix, name, secret_sealed, scopes, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING organization_id, prefix, name, scopes, created_at, expires_at, revoked_at;

-- name: list_keys
SELECT organization_id, prefix, name, scopes, created_at, expires_at, revoked_at
FROM api_keys
WHERE organization_id = $1
ORDER BY created_at, id;

-- name: revoke_key
-- The first revocation's time stays.
UPDATE api_keys
SET revoked_at = coalesce(revoked_at, now())
WHERE prefix = $1
RETURNING organization_id, prefix, name, scopes, created_at, expires_at, revoked_at;

-- name: get_sealed_secret
SELECT secret_sealed
FROM api_keys
WHERE prefix = $1;

-- name: load_keys
SELECT k.organization_id, k.prefix, k.secret_sealed, k.scopes, k.expires_at, o.retention_days
FROM api_keys k
JOIN organizations o ON o.id = k.organization_id
WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
ORDER BY k.prefix;

-- name: ping
-- A table, not a constant: a database without migrations is not ready.
SELECT id
FROM organizations
LIMIT 1;
