-- Statements of storage/api_tokens.py.

-- name: create
-- $7 that are not revoked at most.
INSERT INTO api_tokens (organization_id, prefix, name, role, secret_hash, expires_at)
SELECT $1::uuid, $2::text, $3::text, $4::text, $5::bytea, $6::timestamptz
WHERE (SELECT count(*) FROM api_tokens WHERE organization_id = $1 AND revoked_at IS NULL) < $7
RETURNING id, organization_id, prefix, name, role, created_at, expires_at, last_used_at, revoked_at;

-- name: list
SELECT id, organization_id, prefix, name, role, created_at, expires_at, last_used_at, revoked_at
FROM api_tokens
WHERE organization_id = $1
ORDER BY created_at, id;

-- name: get
SELECT id, organization_id, prefix, name, role, created_at, expires_at, last_used_at, revoked_at
FROM api_tokens
WHERE organization_id = $1 AND id = $2;

-- name: revoke
-- The first revocation's time stays.
UPDATE api_tokens
SET revoked_at = coalesce(revoked_at, now())
WHERE organization_id = $1 AND id = $2
RETURNING id, organization_id, prefix, name, role, created_at, expires_at, last_used_at, revoked_at;

-- name: load
SELECT id, organization_id, prefix, name, role, secret_hash, expires_at
FROM api_tokens
WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- name: note_uses
UPDATE api_tokens t
SET last_used_at = u.at
FROM unnest($1::uuid[], $2::timestamptz[]) AS u (id, at)
WHERE t.id = u.id AND (t.last_used_at IS NULL OR t.last_used_at < u.at);
