-- Statements of storage/users.py.

-- name: create
INSERT INTO users (email, name, password_hash)
VALUES ($1, $2, $3)
RETURNING id, email, name, disabled, created_at;

-- name: get
SELECT id, email, name, disabled, created_at
FROM users
WHERE id = $1 OR lower(email) = lower($2);

-- name: get_login
SELECT id, email, name, disabled, created_at, password_hash
FROM users
WHERE lower(email) = lower($1);

-- name: list
SELECT id, email, name, disabled, created_at
FROM users
ORDER BY lower(email);

-- name: set_password_hash
-- Whoever knew the old password is logged out with it, but for session $3.
WITH ended AS (
    UPDATE sessions
    SET ended_at = now()
    WHERE user_id = $1 AND ended_at IS NULL AND id IS DISTINCT FROM $3::uuid
)
UPDATE users
SET password_hash = $2, invite_hash = NULL, invite_expires_at = NULL
WHERE id = $1
RETURNING id, email, name, disabled, created_at;

-- name: replace_hash
-- The same password under other parameters, unless it was changed meanwhile.
UPDATE users
SET password_hash = $3
WHERE id = $1 AND password_hash = $2
RETURNING id;

-- name: set_disabled
WITH ended AS (
    UPDATE sessions
    SET ended_at = now()
    WHERE $2::boolean AND user_id = $1 AND ended_at IS NULL
)
UPDATE users
SET disabled = $2
WHERE id = $1
RETURNING id, email, name, disabled, created_at;

-- name: accept_invite
UPDATE users
SET password_hash = $2, invite_hash = NULL, invite_expires_at = NULL
WHERE invite_hash = $1 AND invite_expires_at > now() AND NOT disabled
RETURNING id, email, name, disabled, created_at;

-- name: delete
DELETE FROM users
WHERE id = $1
RETURNING id;
