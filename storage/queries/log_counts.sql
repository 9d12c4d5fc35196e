-- Statements of storage/log_counts.py, which adds up what they give. They share no record, and a condition whose parameter is NULL
-- is none. Short ones, as the time goes into planning: one statement with all of it took 30 ms, and each function here is half of one.

-- name: of_statistics
-- Of whole hours, by day of arrival and retention, from which the caller sees what may have begun to expire.
SELECT service, level, received_on, retention_days, sum(count)
FROM logs_hourly
WHERE org_id = {org_id:String}
    AND hour >= fromUnixTimestamp64Nano({first:Int64}, 'UTC') AND hour < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
    AND ({service:Nullable(String)} IS NULL OR service = {service:Nullable(String)})
    AND ({level:Nullable(String)} IS NULL OR level = {level:Nullable(String)})
GROUP BY service, level, received_on, retention_days;

-- name: of_statistics_by_step
SELECT
    service, level, received_on, retention_days, sum(count),
    intDiv(toUInt64(toInt64(toUnixTimestamp64Second(hour) * 1000000000 - {start:Int64})), {step:UInt64}) AS bucket
FROM logs_hourly
WHERE org_id = {org_id:String}
    AND hour >= fromUnixTimestamp64Nano({first:Int64}, 'UTC') AND hour < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
    AND ({service:Nullable(String)} IS NULL OR service = {service:Nullable(String)})
    AND ({level:Nullable(String)} IS NULL OR level = {level:Nullable(String)})
GROUP BY service, level, received_on, retention_days, bucket;

-- name: of_records
SELECT service, level, count()
FROM logs
WHERE org_id = {org_id:String}
    AND ts >= fromUnixTimestamp64Nano({first:Int64}, 'UTC') AND ts < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
    AND ({service:Nullable(String)} IS NULL OR service = {service:Nullable(String)})
    AND ({level:Nullable(String)} IS NULL OR level = {level:Nullable(String)})
GROUP BY service, level;

-- name: of_records_by_step
SELECT service, level, count(), intDiv(toUInt64(toInt64(toUnixTimestamp64Nano(ts) - {start:Int64})), {step:UInt64}) AS bucket
FROM logs
WHERE org_id = {org_id:String}
    AND ts >= fromUnixTimestamp64Nano({first:Int64}, 'UTC') AND ts < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
    AND ({service:Nullable(String)} IS NULL OR service = {service:Nullable(String)})
    AND ({level:Nullable(String)} IS NULL OR level = {level:Nullable(String)})
GROUP BY bucket, service, level;

-- name: of_expiring_records
-- Those whose retention ends by the day {today}, in days since 1970, with which the caller left their statistics out. Partitions of
-- later days of arrival than {last_day} are not read.
SELECT service, level, count(), intDiv(toUInt64(toInt64(toUnixTimestamp64Nano(ts) - {start:Int64})), {step:UInt64}) AS bucket
FROM logs
WHERE org_id = {org_id:String}
    AND ts >= fromUnixTimestamp64Nano({first:Int64}, 'UTC') AND ts < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
    AND retention_days != 0 AND toUInt32(toDate(received_at)) + retention_days <= {today:UInt32}
    AND toDate(received_at) <= toDate({last_day:UInt32})
    AND ({service:Nullable(String)} IS NULL OR service = {service:Nullable(String)})
    AND ({level:Nullable(String)} IS NULL OR level = {level:Nullable(String)})
GROUP BY bucket, service, level;
