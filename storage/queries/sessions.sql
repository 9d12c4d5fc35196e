-- Statements of storage/sessions.py.

-- name: begin
-- $6 sessions go on beside it at most, this one included: the others end, oldest first.
WITH surplus AS (
    UPDATE sessions
    SET ended_at = now()
    WHERE id IN (
        SELECT id
        FROM sessions
        WHERE organization_id = $1 AND user_id = $2 AND ended_at IS NULL AND expires_at > now()
        ORDER BY rotated_at DESC, id
        OFFSET $6::integer - 1
    )
)
INSERT INTO sessions (organization_id, user_id, family_hash, token_hash, expires_at)
SELECT $1, id, $3, $4, now() + make_interval(secs => $5)
FROM users
WHERE id = $2 AND password_hash IS NOT DISTINCT FROM $7 AND NOT disabled
RETURNING id;

-- name: find
SELECT s.id, s.organization_id, s.user_id, s.token_hash, s.spent_hash, m.role, u.email,
    extract(epoch FROM now() - s.rotated_at) AS rotated_s_ago
FROM sessions s
JOIN memberships m ON m.organization_id = s.organization_id AND m.user_id = s.user_id
JOIN users u ON u.id = s.user_id
WHERE s.family_hash = $1 AND s.ended_at IS NULL AND s.expires_at > now() AND NOT u.disabled;

-- name: rotate
UPDATE sessions
SET token_hash = $3, spent_hash = token_hash, rotated_at = now(), expires_at = now() + make_interval(secs => $4)
WHERE id = $1 AND token_hash = $2 AND ended_at IS NULL
RETURNING id;

-- name: end
UPDATE sessions
SET ended_at = coalesce(ended_at, now())
WHERE id = $1;

-- name: load_ended
SELECT id
FROM sessions
WHERE ended_at > now() - make_interval(secs => $1)
UNION ALL
SELECT id
FROM gone_sessions
WHERE gone_at > now() - make_interval(secs => $1);

-- name: trim
WITH gone AS (
    DELETE FROM gone_sessions
    WHERE gone_at < now() - interval '1 day'
)
DELETE FROM sessions
WHERE ended_at < now() - interval '1 day' OR expires_at < now() - interval '1 day'
RETURNING id;
