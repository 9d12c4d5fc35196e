-- Statements of storage/log_statistics.py, in ClickHouse's dialect. $where is put together from pieces of ours, $text is the SQL
-- of one field (storage/log_labels.py); every value is a bound parameter.

-- name: histogram
SELECT intDiv(toUInt64(toUnixTimestamp64Nano(ts) - {first:Int64}), {step:UInt64}) AS bucket, $text AS name, count()
FROM logs
$where
GROUP BY bucket, name
ORDER BY bucket, name
LIMIT {rows_max:UInt32};

-- name: facet
-- Values in the order of their counts. Beyond the bound of groups (max_rows_to_group_by) new values are passed over, and those
-- that were known by then are counted on.
SELECT value, found, count() OVER () AS different, sum(found) OVER () AS logs
FROM (SELECT $text AS value, count() AS found FROM logs $where AND value != '' GROUP BY value)
ORDER BY found DESC, value
LIMIT {top:UInt32};
