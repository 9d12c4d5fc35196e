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

-- name: where_attribute_equal
-- $key and $value are names of parameters, made by code. The index attributes_values serves exactly this form (and IN in place of
-- the equals sign), with constants on both sides: it skips the granules in which no attribute has the value. It serves neither !=
-- nor a part of a value nor '', which is also what a missing attribute has: ask mapContains(attributes_map, ...) beside it for that.
attributes_map[{$key:String}] = {$value:String};

-- name: count_logs
SELECT count() FROM logs $where;

-- name: estimate_logs
-- Of the page that a search would read, by its indexes alone.
EXPLAIN ESTIMATE SELECT message FROM logs $where;

-- name: select_row_bytes
-- Uncompressed bytes of a row, in the mean of the table.
SELECT sum(data_uncompressed_bytes) / greatest(1, sum(rows))
FROM system.parts
WHERE database = currentDatabase() AND table = 'logs' AND active;
