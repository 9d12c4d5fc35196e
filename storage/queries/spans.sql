-- Statements and conditions of storage/spans.py, in ClickHouse's dialect; what all records share is in records.sql.

-- name: trace
SELECT
    toUnixTimestamp64Nano(ts), record_id, trace_id, span_id, parent_span_id, service, operation, kind, duration_ns, status,
    status_message, attributes, events, links
FROM spans
$where
ORDER BY ts, record_id
LIMIT {limit:UInt32};

-- name: select_spans
SELECT
    toUnixTimestamp64Nano(ts), record_id, trace_id, span_id, parent_span_id, service, operation, kind, duration_ns, status,
    status_message, attributes, events, links
FROM spans;

-- name: traces_newest
-- One row a trace: the newest span that meets the conditions. Read from the end of the order key, so a page stops early.
SELECT toUnixTimestamp64Nano(ts), record_id, trace_id
FROM spans
$where
ORDER BY ts DESC, record_id DESC
LIMIT 1 BY trace_id
LIMIT {limit:UInt32};

-- name: traces_oldest
SELECT toUnixTimestamp64Nano(ts), record_id, trace_id
FROM spans
$where
ORDER BY ts, record_id
LIMIT 1 BY trace_id
LIMIT {limit:UInt32};

-- name: summaries
-- The root is the span without a parent; of a trace that has none (yet), the first one. Ends are bounded to stay within 64 bits.
SELECT
    trace_id,
    argMin(service, (parent_span_id != '', ts, record_id)),
    argMin(operation, (parent_span_id != '', ts, record_id)),
    toUnixTimestamp64Nano(min(ts)) AS start,
    max(toUnixTimestamp64Nano(ts) + toInt64(least(duration_ns, toUInt64(4611686018427387904)))) - start,
    count(),
    arraySort(groupUniqArray(100)(service)),
    countIf(status = 'error')
FROM spans
$where
GROUP BY trace_id;

-- name: where_trace_id
trace_id = {trace_id:String};

-- name: where_trace_ids
trace_id IN {trace_ids:Array(String)};

-- name: where_near
ts >= fromUnixTimestamp64Nano({near_start:Int64}, 'UTC') AND ts <= fromUnixTimestamp64Nano({near_end:Int64}, 'UTC');

-- name: where_duration_min
duration_ns >= {duration_min:UInt64};

-- name: where_duration_max
duration_ns <= {duration_max:UInt64};

-- name: where_not_seen_newest
-- A trace stands where its newest span is, so those of the pages before have one at the cursor or beyond it.
trace_id NOT IN
(
    SELECT trace_id FROM spans
    $where
        AND ts >= fromUnixTimestamp64Nano({cursor_ts:Int64}, 'UTC')
        AND (ts > fromUnixTimestamp64Nano({cursor_ts:Int64}, 'UTC') OR record_id >= {cursor_id:UInt64})
);

-- name: where_not_seen_oldest
trace_id NOT IN
(
    SELECT trace_id FROM spans
    $where
        AND ts <= fromUnixTimestamp64Nano({cursor_ts:Int64}, 'UTC')
        AND (ts < fromUnixTimestamp64Nano({cursor_ts:Int64}, 'UTC') OR record_id <= {cursor_id:UInt64})
);
