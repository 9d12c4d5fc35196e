-- Statements of storage/hourly.py, in ClickHouse's dialect. Rows of a key are added up here as well as by merges, and a condition
-- whose parameter is NULL is none.

-- name: logs
SELECT toUnixTimestamp64Second(hour), service, level, sum(count), sum(bytes)
FROM logs_hourly
WHERE org_id = {org_id:String}
    AND hour >= fromUnixTimestamp64Nano({start:Int64}, 'UTC') AND hour < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
    AND ({service:Nullable(String)} IS NULL OR service = {service:Nullable(String)})
    AND ({level:Nullable(String)} IS NULL OR level = {level:Nullable(String)})
GROUP BY hour, service, level
ORDER BY hour, service, level;

-- name: spans
SELECT
    toUnixTimestamp64Second(hour), service, operation, kind, sum(count), sum(errors), sum(duration_ns_sum), min(duration_ns_min),
    max(duration_ns_max), sumMap(duration_histogram)
FROM spans_hourly
WHERE org_id = {org_id:String}
    AND hour >= fromUnixTimestamp64Nano({start:Int64}, 'UTC') AND hour < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
    AND ({service:Nullable(String)} IS NULL OR service = {service:Nullable(String)})
    AND ({operation:Nullable(String)} IS NULL OR operation = {operation:Nullable(String)})
    AND ({kind:Nullable(String)} IS NULL OR kind = {kind:Nullable(String)})
GROUP BY hour, service, operation, kind
ORDER BY hour, service, operation, kind;

-- name: spans_in_all
SELECT
    toUnixTimestamp64Second(min(hour)), service, operation, kind, sum(count), sum(errors), sum(duration_ns_sum),
    min(duration_ns_min), max(duration_ns_max), sumMap(duration_histogram)
FROM spans_hourly
WHERE org_id = {org_id:String}
    AND hour >= fromUnixTimestamp64Nano({start:Int64}, 'UTC') AND hour < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
    AND ({service:Nullable(String)} IS NULL OR service = {service:Nullable(String)})
    AND ({operation:Nullable(String)} IS NULL OR operation = {operation:Nullable(String)})
    AND ({kind:Nullable(String)} IS NULL OR kind = {kind:Nullable(String)})
GROUP BY service, operation, kind
ORDER BY service, operation, kind;

-- name: rum
SELECT
    toUnixTimestamp64Second(hour), type, page_path, name, sum(count), sum(errors), sum(value_count), sum(value_sum),
    sumMap(value_histogram)
FROM rum_hourly
WHERE org_id = {org_id:String}
    AND hour >= fromUnixTimestamp64Nano({start:Int64}, 'UTC') AND hour < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
    AND ({type:Nullable(String)} IS NULL OR type = {type:Nullable(String)})
    AND ({page_path:Nullable(String)} IS NULL OR page_path = {page_path:Nullable(String)})
    AND ({name:Nullable(String)} IS NULL OR name = {name:Nullable(String)})
GROUP BY hour, type, page_path, name
ORDER BY hour, type, page_path, name;
