-- Statements of storage/channels.py.

-- name: create
-- $8 is how many an organization may have.
WITH made AS (
    INSERT INTO channels (id, organization_id, name, kind, config, secrets_sealed, secret_names)
    SELECT $1, $2, $3, $4, $5, $6, $7
    WHERE (SELECT count(*) FROM channels WHERE organization_id = $2 AND deleted_at IS NULL) < $8::bigint
    RETURNING *
), queue AS (
    INSERT INTO channel_queues (channel_id)
    SELECT id FROM made
)
SELECT m.*, 0 AS failures, NULL::timestamptz AS last_sent_at, NULL::timestamptz AS last_failed_at, '' AS last_error, 0::bigint AS waiting
FROM made m;

-- name: list
SELECT c.*, q.failures, q.last_sent_at, q.last_failed_at, q.last_error,
    (SELECT count(*) FROM notifications n WHERE n.channel_id = c.id AND n.state IN ('waiting', 'sending')) AS waiting
FROM channels c
JOIN channel_queues q ON q.channel_id = c.id
WHERE c.organization_id = $1 AND c.deleted_at IS NULL
ORDER BY c.name;

-- name: get
SELECT c.*, q.failures, q.last_sent_at, q.last_failed_at, q.last_error,
    (SELECT count(*) FROM notifications n WHERE n.channel_id = c.id AND n.state IN ('waiting', 'sending')) AS waiting
FROM channels c
JOIN channel_queues q ON q.channel_id = c.id
WHERE c.organization_id = $1 AND c.id = $2 AND c.deleted_at IS NULL;

-- name: update
-- NULL leaves a column as it is. Whoever changes a channel wants it tried now.
WITH changed AS (
    UPDATE channels
    SET name = coalesce($4, name), config = coalesce($5, config), enabled = coalesce($6, enabled),
        secrets_sealed = CASE WHEN $7::boolean THEN $8 ELSE secrets_sealed END,
        secret_names = CASE WHEN $7::boolean THEN $9::text[] ELSE secret_names END,
        version = version + 1
    WHERE organization_id = $1 AND id = $2 AND version = $3 AND deleted_at IS NULL
    RETURNING id
)
UPDATE channel_queues
SET blocked_until = now(), failures = 0
WHERE channel_id IN (SELECT id FROM changed)
RETURNING channel_id;

-- name: delete
UPDATE channels
SET deleted_at = now(), enabled = false, secrets_sealed = NULL, secret_names = '{}', version = version + 1
WHERE organization_id = $1 AND id = $2 AND deleted_at IS NULL
RETURNING id;

-- name: monitors_using
SELECT name
FROM monitors
WHERE organization_id = $1 AND deleted_at IS NULL AND definition -> 'channels' @> to_jsonb($2::text)
ORDER BY name
LIMIT 5;

-- name: ids_of
SELECT id::text AS id, name
FROM channels
WHERE organization_id = $1 AND deleted_at IS NULL AND (id::text = ANY($2::text[]) OR name = ANY($2::text[]));

-- name: failing
-- Of every organization, for the operator.
SELECT o.name AS organization, c.name, q.failures, q.last_error,
    (SELECT count(*) FROM notifications n WHERE n.channel_id = c.id AND n.state IN ('waiting', 'sending')) AS waiting
FROM channel_queues q
JOIN channels c ON c.id = q.channel_id
JOIN organizations o ON o.id = c.organization_id
WHERE q.failures > 0 AND c.enabled AND c.deleted_at IS NULL
ORDER BY q.failures DESC, c.id
LIMIT 20;
