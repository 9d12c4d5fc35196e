-- Statements of storage/control_plane.py. In every file of the control plane parameters are asyncpg's $1, $2; values never
-- become text.

-- name: ping
-- A table, not a constant: a database without migrations is not ready.
SELECT id
FROM organizations
LIMIT 1;

-- name: act_as
-- Until the end of the transaction.
SELECT set_config('aegis.actor', $1, true);

-- name: take_turn
-- A statement of its own, because the next one's snapshot must be taken after the wait.
SELECT pg_advisory_xact_lock(hashtextextended($1, 0));
