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

-- name: set_password_hash
UPDATE users
SET password_hash = $2
WHERE id = $1
RETURNING id, email, name, disabled, created_at;

-- name: set_disabled
UPDATE users
SET disabled = $2
WHERE id = $1
RETURNING id, email, name, disabled, created_at;

-- name: delete
DELETE FROM users
WHERE id = $1
RETURNING id;
