-- Statements of storage/log_counts.py. A condition whose parameter is NULL is none.

-- name: counts
-- Three sources that share no record:
-- 1. Of the whole hours, the hourly statistics of what cannot have expired yet: a day of arrival and a retention whose first record
--    goes tomorrow or later. Later than that the statistics outlive the records by up to a day (0004_create_logs_hourly.sql).
-- 2. Of the whole hours, the records of what may have begun to expire. Their days of arrival are bounded by what the statistics
--    know, as a constant, so that where there is nothing of it no partition is read.
-- 3. The records before the first whole hour and after the last one.
SELECT intDiv(toUInt64(toInt64(at_ns - {start:Int64})), {step:UInt64}) AS bucket, service, level, sum(records)
FROM
(
    SELECT toUnixTimestamp64Nano(toDateTime64(hour, 9, 'UTC')) AS at_ns, service, level, count AS records
    FROM logs_hourly
    WHERE org_id = {org_id:String}
        AND hour >= fromUnixTimestamp64Nano({first:Int64}, 'UTC') AND hour < fromUnixTimestamp64Nano({last:Int64}, 'UTC')
        AND (retention_days = 0 OR toUInt32(received_on) + retention_days > toUInt32(toDate(now('UTC'))))
        AND ({service:Nullable(String)} IS NULL OR service = {service:Nullable(String)})
        AND ({level:Nullable(String)} IS NULL OR level = {level:Nullable(String)})
    UNION ALL
    SELECT toUnixTimestamp64Nano(ts) AS at_ns, service, level, toUInt64(1) AS records
    FROM logs
    WHERE org_id = {org_id:String}
        AND ts >= fromUnixTimestamp64Nano({first:Int64}, 'UTC') AND ts < fromUnixTimestamp64Nano({last:Int64}, 'UTC')
        AND retention_days != 0 AND toUInt32(toDate(received_at)) + retention_days <= toUInt32(toDate(now('UTC')))
        AND toDate(received_at) <=
        (
            SELECT max(received_on)
            FROM logs_hourly
            WHERE org_id = {org_id:String}
                AND hour >= fromUnixTimestamp64Nano({first:Int64}, 'UTC') AND hour < fromUnixTimestamp64Nano({last:Int64}, 'UTC')
                AND retention_days != 0 AND toUInt32(received_on) + retention_days <= toUInt32(toDate(now('UTC')))
        )
        AND ({service:Nullable(String)} IS NULL OR service = {service:Nullable(String)})
        AND ({level:Nullable(String)} IS NULL OR level = {level:Nullable(String)})
    UNION ALL
    SELECT toUnixTimestamp64Nano(ts) AS at_ns, service, level, toUInt64(1) AS records
    FROM logs
    WHERE org_id = {org_id:String}
        AND ((ts >= fromUnixTimestamp64Nano({start:Int64}, 'UTC') AND ts < fromUnixTimestamp64Nano({first:Int64}, 'UTC'))
            OR (ts >= fromUnixTimestamp64Nano({last:Int64}, 'UTC') AND ts < fromUnixTimestamp64Nano({end:Int64}, 'UTC')))
        AND ({service:Nullable(String)} IS NULL OR service = {service:Nullable(String)})
        AND ({level:Nullable(String)} IS NULL OR level = {level:Nullable(String)})
)
GROUP BY bucket, service, level
ORDER BY bucket, service, level;
