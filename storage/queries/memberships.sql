-- Statements of storage/memberships.py.

-- name: add
WITH added AS (
    INSERT INTO memberships (organization_id, user_id, role)
    VALUES ($1, $2, $3)
    RETURNING organization_id, user_id, role, created_at
)
SELECT m.organization_id, m.user_id, m.role, m.created_at, u.email, u.name, u.disabled
FROM added m
JOIN users u ON u.id = m.user_id;

-- name: load
SELECT m.organization_id, m.user_id, m.role, u.email
FROM memberships m
JOIN users u ON u.id = m.user_id
WHERE NOT u.disabled;

-- name: list
SELECT m.organization_id, m.user_id, m.role, m.created_at, u.email, u.name, u.disabled
FROM memberships m
JOIN users u ON u.id = m.user_id
WHERE m.organization_id = $1
ORDER BY m.created_at, m.user_id;

-- name: get
SELECT m.organization_id, m.user_id, m.role, m.created_at, u.email, u.name, u.disabled
FROM memberships m
JOIN users u ON u.id = m.user_id
WHERE m.organization_id = $1 AND m.user_id = $2;

-- name: list_of_user
SELECT m.organization_id, m.user_id, m.role, m.created_at, u.email, u.name, u.disabled
FROM memberships m
JOIN users u ON u.id = m.user_id
WHERE m.user_id = $1
ORDER BY m.created_at, m.organization_id;

-- name: change_role
-- Owners only when $4.
WITH changed AS (
    UPDATE memberships
    SET role = $3
    WHERE organization_id = $1 AND user_id = $2 AND ($4 OR role <> 'owner')
    RETURNING organization_id, user_id, role, created_at
)
SELECT m.organization_id, m.user_id, m.role, m.created_at, u.email, u.name, u.disabled
FROM changed m
JOIN users u ON u.id = m.user_id;

-- name: remove
DELETE FROM memberships
WHERE organization_id = $1 AND user_id = $2 AND ($3 OR role <> 'owner')
RETURNING user_id;

-- name: add_person
-- An address that nobody has becomes a user. One whose user belongs nowhere is given to the organization anew: with this
-- password or invitation, and without the old one, which others may know. $5 hash, $6 and $7 the invitation,
-- $8 members at most.
WITH person AS (
    INSERT INTO users (email, name, password_hash, invite_hash, invite_expires_at)
    SELECT $2::text, $3::text, $5::text, $6::bytea, $7::timestamptz
    WHERE (SELECT count(*) FROM memberships WHERE organization_id = $1) < $8
    ON CONFLICT (lower(email)) DO UPDATE
    SET password_hash = $5, invite_hash = $6, invite_expires_at = $7
    WHERE NOT users.disabled AND NOT EXISTS (SELECT FROM memberships m WHERE m.user_id = users.id)
    RETURNING id, email, name, disabled
), added AS (
    INSERT INTO memberships (organization_id, user_id, role)
    SELECT $1, id, $4 FROM person
    RETURNING organization_id, user_id, role, created_at
)
SELECT m.organization_id, m.user_id, m.role, m.created_at, u.email, u.name, u.disabled
FROM added m
JOIN person u ON u.id = m.user_id;

-- name: find
SELECT m.organization_id, m.user_id, m.role, m.created_at, u.email, u.name, u.disabled
FROM memberships m
JOIN users u ON u.id = m.user_id
WHERE m.organization_id = $1 AND lower(u.email) = lower($2);
