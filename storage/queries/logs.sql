-- Statements and conditions of storage/logs.py, in ClickHouse's dialect. $conditions is put together from the `where_` blocks
-- only; every value is a bound parameter {name:Type}.

-- name: search_newest
SELECT
    toUnixTimestamp64Nano(ts), record_id, service, level, message, trace_id, span_id, host, environment, version,
    attributes, toUnixTimestamp64Milli(received_at)
FROM logs
WHERE $conditions
ORDER BY ts DESC, record_id DESC
LIMIT {limit:UInt32};

-- name: search_oldest
SELECT
    toUnixTimestamp64Nano(ts), record_id, service, level, message, trace_id, span_id, host, environment, version,
    attributes, toUnixTimestamp64Milli(received_at)
FROM logs
WHERE $conditions
ORDER BY ts, record_id
LIMIT {limit:UInt32};

-- name: where_organization
org_id = {org_id:String};

-- name: where_time
ts >= fromUnixTimestamp64Nano({start:Int64}, 'UTC') AND ts < fromUnixTimestamp64Nano({end:Int64}, 'UTC');

-- name: where_service
service = {service:String};

-- name: where_level
level = {level:String};

-- name: where_trace_id
trace_id = {trace_id:String};

-- name: where_message_like
-- The form that the index message_ngrams serves; lower() knows ASCII only.
lower(message) LIKE {pattern:String};

-- name: where_message_contains
-- For text beyond ASCII, where upper and lower case may have other bytes; no index serves it.
positionCaseInsensitiveUTF8(message, {search:String}) > 0;

-- name: where_before_cursor
-- Not (ts, record_id) < (...): the order key is used for a plain comparison, and not for one of tuples.
ts <= fromUnixTimestamp64Nano({cursor_ts:Int64}, 'UTC')
AND (ts < fromUnixTimestamp64Nano({cursor_ts:Int64}, 'UTC') OR record_id < {cursor_id:UInt64});

-- name: where_after_cursor
ts >= fromUnixTimestamp64Nano({cursor_ts:Int64}, 'UTC')
AND (ts > fromUnixTimestamp64Nano({cursor_ts:Int64}, 'UTC') OR record_id > {cursor_id:UInt64});
