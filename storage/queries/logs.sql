-- Statements and conditions of storage/logs.py, in ClickHouse's dialect; what all records share is in records.sql.

-- name: select_logs
SELECT
    toUnixTimestamp64Nano(ts), record_id, service, level, message, trace_id, span_id, host, environment, version,
    attributes, toUnixTimestamp64Milli(received_at)
FROM logs;

-- name: where_message_like
-- The form that the index message_ngrams serves; lower() knows ASCII only.
lower(message) LIKE {pattern:String};

-- name: where_message_contains
-- For text beyond ASCII, where upper and lower case may have other bytes; no index serves it.
positionCaseInsensitiveUTF8(message, {search:String}) > 0;
