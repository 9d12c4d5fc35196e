-- Statements of storage/audit.py.

-- name: list
-- NULL does not narrow. $8 is where the page before ended.
SELECT id, organization_id, at, actor_kind, actor_id, actor_name, address, action, object_kind, object_id, object_name,
    before, after
FROM audit_log
WHERE organization_id = $1
    AND ($2::timestamptz IS NULL OR at >= $2)
    AND ($3::timestamptz IS NULL OR at < $3)
    AND ($4::text IS NULL OR actor_id = $4)
    AND ($5::text IS NULL OR action = $5)
    AND ($6::text IS NULL OR object_kind = $6)
    AND ($7::text IS NULL OR object_id = $7)
    AND ($8::bigint IS NULL OR id < $8)
ORDER BY id DESC
LIMIT $9;

-- name: trim
-- $1 days, $2 rows that each organization keeps. Batches of 10,000, so that no statement runs for long.
DELETE FROM audit_log
WHERE id IN (
    SELECT id FROM audit_log WHERE at < now() - make_interval(days => $1)
    UNION ALL
    SELECT surplus.id
    FROM (SELECT DISTINCT organization_id FROM audit_log) AS owner
    CROSS JOIN LATERAL (
        SELECT id FROM audit_log WHERE organization_id IS NOT DISTINCT FROM owner.organization_id ORDER BY id DESC OFFSET $2
    ) AS surplus
    LIMIT 10000
)
RETURNING id;
