-- Statements of storage/span_statistics.py, in ClickHouse's dialect. Buckets of durations are those of `spans_hourly`
-- (clickhouse/migrations/0005_create_spans_hourly.sql), so that what is computed here and there can be added.

-- name: steps
-- Spans by the step in which they began. By bucket first and then into maps, because sumMap over single spans takes twice as long.
SELECT begin, service, op, kind, sum(n), sum(failed), sum(duration_sum), mapFromArrays(groupArray(bucket), groupArray(n))
FROM
(
    SELECT
        intDiv(toUnixTimestamp64Nano(ts) - positiveModulo(toUnixTimestamp64Nano(ts), {step:Int64}), 1000000000) AS begin,
        service,
        if({by_operation:Bool}, operation, '') AS op,
        kind,
        if(duration_ns = 0, -32768, toInt16(ceil(log2(greatest(duration_ns, 1)) * 16))) AS bucket,
        count() AS n,
        countIf(status = 'error') AS failed,
        sum(duration_ns) AS duration_sum
    FROM spans
    WHERE org_id = {org_id:String}
        AND ts >= fromUnixTimestamp64Nano({start:Int64}, 'UTC') AND ts < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
        AND ({service:Nullable(String)} IS NULL OR service = {service:Nullable(String)})
    GROUP BY begin, service, op, kind, bucket
)
GROUP BY begin, service, op, kind
ORDER BY begin, service, op, kind;

-- name: calls
-- Spans whose parent is a span of another service, by the two services. Joined on 64 bits of both ids, which takes a third of the
-- memory and time of the texts; of a billion spans some would meet a wrong parent. A span that was sent twice counts once.
SELECT caller, callee, '', sum(n), sum(failed), sum(duration_sum), mapFromArrays(groupArray(bucket), groupArray(n))
FROM
(
    SELECT
        caller,
        callee,
        if(duration_ns = 0, -32768, toInt16(ceil(log2(greatest(duration_ns, 1)) * 16))) AS bucket,
        count() AS n,
        countIf(status = 'error') AS failed,
        sum(duration_ns) AS duration_sum
    FROM
    (
        SELECT caller, callee, duration_ns, status
        FROM
        (
            SELECT
                cityHash64(trace_id, parent_span_id) AS key,
                service AS callee,
                duration_ns,
                status,
                cityHash64(trace_id, span_id, parent_span_id, service, operation, kind, ts, duration_ns, status) AS identity
            FROM spans
            WHERE org_id = {org_id:String} AND parent_span_id != ''
                AND ts >= fromUnixTimestamp64Nano({start:Int64}, 'UTC') AND ts < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
        ) AS called
        LEFT ANY JOIN
        (
            SELECT cityHash64(trace_id, span_id) AS key, service AS caller
            FROM spans
            WHERE org_id = {org_id:String}
                AND ts >= fromUnixTimestamp64Nano({near_start:Int64}, 'UTC')
                AND ts < fromUnixTimestamp64Nano({near_end:Int64}, 'UTC')
        ) AS callers USING key
        WHERE caller != '' AND caller != callee
        LIMIT 1 BY identity
    )
    GROUP BY caller, callee, bucket
)
GROUP BY caller, callee
ORDER BY sum(n) DESC, caller, callee
LIMIT {limit:UInt32};

-- name: peers
-- Spans that ask another party and have no child: nobody there is instrumented, and the attributes say who was asked. The search in
-- the text spares most spans the reading of their JSON.
SELECT caller, peer, peer_type, sum(n), sum(failed), sum(duration_sum), mapFromArrays(groupArray(bucket), groupArray(n))
FROM
(
    SELECT
        caller,
        peer,
        peer_type,
        if(duration_ns = 0, -32768, toInt16(ceil(log2(greatest(duration_ns, 1)) * 16))) AS bucket,
        count() AS n,
        countIf(status = 'error') AS failed,
        sum(duration_ns) AS duration_sum
    FROM
    (
        SELECT
            service AS caller,
            duration_ns,
            status,
            JSONExtract(
                attributes,
                'Tuple(`peer.service` String, `db.system.name` String, `db.system` String, `messaging.system` String)'
            ) AS named,
            substring(multiIf(named.1 != '', named.1, named.2 != '', named.2, named.3 != '', named.3, named.4), 1, 200) AS peer,
            multiIf(named.2 != '' OR named.3 != '', 'database', named.4 != '', 'messaging', 'service') AS peer_type
        FROM spans
        WHERE org_id = {org_id:String} AND kind IN ('client', 'producer')
            AND ts >= fromUnixTimestamp64Nano({start:Int64}, 'UTC') AND ts < fromUnixTimestamp64Nano({end:Int64}, 'UTC')
            AND multiSearchAny(attributes, ['"peer.service"', '"db.system', '"messaging.system"'])
            AND cityHash64(trace_id, span_id) NOT IN
            (
                SELECT cityHash64(trace_id, parent_span_id)
                FROM spans
                WHERE org_id = {org_id:String} AND parent_span_id != ''
                    AND ts >= fromUnixTimestamp64Nano({near_start:Int64}, 'UTC')
                    AND ts < fromUnixTimestamp64Nano({near_end:Int64}, 'UTC')
            )
        LIMIT 1 BY cityHash64(trace_id, span_id, parent_span_id, service, operation, kind, ts, duration_ns, status)
    )
    WHERE peer != '' AND peer != caller
    GROUP BY caller, peer, peer_type, bucket
)
GROUP BY caller, peer, peer_type
ORDER BY sum(n) DESC, caller, peer, peer_type
LIMIT {limit:UInt32};
