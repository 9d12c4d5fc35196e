"""Counts of what the ClickHouse process did, for /metrics; process CPU and memory come from prometheus_client itself."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

# kind: read, insert, other. result: ok, failed, rejected, cancelled.
QUERIES = Counter("aegis_clickhouse_queries_total", "Queries answered", ["kind", "result"])
QUERY_SECONDS = Histogram(
    "aegis_clickhouse_query_seconds",
    "From the request's last byte to the answer's last byte",
    ["kind"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
INSERTED_ROWS = Counter("aegis_clickhouse_inserted_rows_total", "Rows of accepted inserts, deduplicated ones included")
RECEIVED_BYTES = Counter("aegis_clickhouse_received_bytes_total", "Bytes of request bodies")
RESULT_ROWS = Counter("aegis_clickhouse_result_rows_total", "Rows of answers")
RUNNING = Gauge("aegis_clickhouse_running_queries", "Queries that the engine works on", ["lane"])
WAITING = Gauge("aegis_clickhouse_waiting_queries", "Queries that wait for their turn", ["lane"])
