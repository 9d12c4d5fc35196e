-- Statements of storage/api_keys.py.

-- name: create
-- $7 that are not revoked at most.
INSERT INTO api_keys (organization_id, prefix, name, secret_sealed, scopes, expires_at)
SELECT $1::uuid, $2::text, $3::text, $4::bytea, $5::text[], $6::timestamptz
WHERE (SELECT count(*) FROM api_keys WHERE organization_id = $1 AND revoked_at IS NULL) < $7
RETURNING organization_id, prefix, name, scopes, created_at, expires_at, revoked_at;

-- name: list
SELECT organization_id, prefix, name, scopes, created_at, expires_at, revoked_at
FROM api_keys
WHERE organization_id = $1
ORDER BY created_at, id;

-- name: revoke
-- The first revocation's time stays. Without an organization it is an operator's act.
UPDATE api_keys
SET revoked_at = coalesce(revoked_at, now())
WHERE prefix = $1 AND ($2::uuid IS NULL OR organization_id = $2)
RETURNING organization_id, prefix, name, scopes, created_at, expires_at, revoked_at;

-- name: get_sealed_secret
SELECT secret_sealed
FROM api_keys
WHERE prefix = $1;

-- name: load
SELECT k.organization_id, k.prefix, k.secret_sealed, k.scopes, k.expires_at, o.retention_days, o.settings
FROM api_keys k
JOIN organizations o ON o.id = k.organization_id
WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
ORDER BY k.prefix;
