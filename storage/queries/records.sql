-- Conditions and page ends that logs, spans and RUM events share (storage/record_table.py), in ClickHouse's dialect. $where is
-- put together from `where_` blocks only, $column is a name from code; every value is a bound parameter {name:Type}.

-- name: page_newest
$where
ORDER BY ts DESC, record_id DESC
LIMIT {limit:UInt32};

-- name: page_oldest
$where
ORDER BY ts, record_id
LIMIT {limit:UInt32};

-- name: where_organization
org_id = {org_id:String};

-- name: where_time
ts >= fromUnixTimestamp64Nano({start:Int64}, 'UTC') AND ts < fromUnixTimestamp64Nano({end:Int64}, 'UTC');

-- name: where_equal
$column = {$column:String};

-- name: where_before_cursor
-- Not (ts, record_id) < (...): the order key is used for a plain comparison, and not for one of tuples.
ts <= fromUnixTimestamp64Nano({cursor_ts:Int64}, 'UTC')
AND (ts < fromUnixTimestamp64Nano({cursor_ts:Int64}, 'UTC') OR record_id < {cursor_id:UInt64});

-- name: where_after_cursor
ts >= fromUnixTimestamp64Nano({cursor_ts:Int64}, 'UTC')
AND (ts > fromUnixTimestamp64Nano({cursor_ts:Int64}, 'UTC') OR record_id > {cursor_id:UInt64});
