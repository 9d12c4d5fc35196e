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
WITH changed AS (
    UPDATE memberships
    SET role = $3
    WHERE organization_id = $1 AND user_id = $2
    RETURNING organization_id, user_id, role, created_at
)
SELECT m.organization_id, m.user_id, m.role, m.created_at, u.email, u.name, u.disabled
FROM changed m
JOIN users u ON u.id = m.user_id;

-- name: remove
DELETE FROM memberships
WHERE organization_id = $1 AND user_id = $2
RETURNING user_id;
