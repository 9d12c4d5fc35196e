"""Services over time, their operations and who calls whom, over the whole application, and against plain Python."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from asked_queries import MS, NOON, Asked, keep_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from query.service_graph import service_graph
from storage.clickhouse import ClickHouse, ClickHouseAddress
from storage.scope import OrgScope
from storage.span_statistics import NEAR_NS, Calls, SpanStatistics
from storage.spans import SpanStore

MINUTE = 60_000 * MS
HALF_DAY = {"start": "2025-10-31T12:00:00Z", "end": "2025-10-31T12:10:00Z"}


def span(span_id: str, parent: str = "", service: str = "api", kind: str = "server", **more: Any) -> dict[str, Any]:
    return {"trace_id": "t1", "span_id": span_id, "parent_span_id": parent, "service": service, "kind": kind} | more


async def test_services_by_the_minute_are_from_the_spans(asked: Asked) -> None:
    await asked.keep(
        "spans",
        *(
            {"trace_id": str(i), "span_id": "1", "duration_ns": 20 * MS, "ts": NOON + i * MINUTE // 4}
            for i in range(10)
        ),
        {"trace_id": "x", "span_id": "1", "kind": "client", "ts": NOON},
        {"trace_id": "y", "span_id": "1", "status": "error", "duration_ns": 0, "ts": NOON - 1},
    )
    asking = {"start": "2025-10-31T12:00:30Z", "end": "2025-10-31T12:02:01Z"}
    answer = (await asked.get("/query/services", **asking, step="1m")).json()
    assert (answer["start"], answer["end"]) == ("2025-10-31T12:00:00.000Z", "2025-10-31T12:03:00.000Z")
    assert (answer["source"], answer["step_s"]) == ("spans", 60)
    (api,) = answer["services"]
    assert (api["count"], api["errors"], api["kinds"]) == (10, 0, ["server"])
    assert [(step["start"][11:19], step["count"], step["rate_per_s"]) for step in api["steps"]] == [
        ("12:00:00", 4, 4 / 60), ("12:01:00", 4, 4 / 60), ("12:02:00", 2, 2 / 60)
    ]  # fmt: skip
    assert api["p95_ms"] == pytest.approx(20, rel=0.03)
    before = {"start": "2025-10-31T11:59:00Z", "end": "2025-10-31T12:00:00Z"}
    (failed,) = (await asked.get("/query/services", **before, step="5m")).json()["services"]
    assert (failed["count"], failed["errors"], failed["p50_ms"], failed["mean_ms"]) == (1, 1, 0.0, 0.0)
    (coarse,) = (await asked.get("/query/services", **asking, step="1h")).json()["services"]
    assert [step["count"] for step in coarse["steps"]] == [10]


@pytest.mark.parametrize("step", [None, "1m", "1h"])
async def test_operations_of_a_service(asked: Asked, step: str | None) -> None:
    await asked.keep(
        "spans",
        *({"trace_id": str(i), "operation": "GET /slow", "duration_ns": 900 * MS} for i in range(2)),
        *({"trace_id": str(i), "operation": "GET /quick", "duration_ns": MS, "status": "error"} for i in range(5)),
        {"trace_id": "1", "operation": "GET /quick", "kind": "client", "duration_ns": 2 * MS},
        {"trace_id": "1", "operation": "other", "service": "db"},
    )
    parameters = HALF_DAY | ({"step": step} if step else {})
    answer = (await asked.get("/query/services/api/operations", **parameters)).json()
    assert (answer["service"], answer["source"], answer["truncated"]) == (
        "api",
        "spans" if step == "1m" else "hourly",
        False,
    )
    assert [(each["operation"], each["kind"], each["count"], each["errors"]) for each in answer["operations"]] == [
        ("GET /slow", "server", 2, 0), ("GET /quick", "server", 5, 5), ("GET /quick", "client", 1, 0)
    ]  # fmt: skip
    assert all(("steps" in each) == (step is not None) for each in answer["operations"])
    cut = (await asked.get("/query/services/api/operations", **parameters, limit=1)).json()
    assert ([each["operation"] for each in cut["operations"]], cut["truncated"]) == (["GET /slow"], True)
    assert (await asked.get("/query/services/api/operations", asked.theirs, **parameters)).json()["operations"] == []


async def test_the_service_map(asked: Asked) -> None:
    peer = '{"db.system": "postgresql", "peer.service": "orders-db"}'
    await asked.keep(
        "spans",
        span("a", service="web", kind="client", duration_ns=90 * MS),
        span("b", "a", duration_ns=80 * MS, status="error", ts=NOON - 5 * MS),  # Its clock is behind.
        span("b2", "a", duration_ns=40 * MS, ts=NOON + MS),  # Tried again.
        span("b2", "a", duration_ns=40 * MS, ts=NOON + MS),  # Sent again.
        span("c", "b", kind="internal"),
        span("d", "c", kind="client", attributes=peer, duration_ns=7 * MS),
        span("e", "c", kind="producer", attributes='{"messaging.system": "kafka"}'),
        span("f", "e", service="mail", kind="consumer"),
        span("g", "c", kind="producer", attributes='{"messaging.system": "kafka"}'),
        span("h", "lost", service="orphan"),
        span("i", "c", kind="client", attributes='{"db.system": null, "x": "peer.service"}'),
        span("j", "early", service="mail", ts=NOON + 2 * MS),
        span("early", service="cron", kind="internal", ts=NOON - 10 * MINUTE),
    )
    answer = (await asked.get("/query/service-map", start="2025-10-31T11:59:59Z", end="2025-10-31T12:10:00Z")).json()
    assert [(node["service"], node["inferred"], node["type"], node["count"]) for node in answer["nodes"]] == [
        ("api", False, "service", 3), ("cron", False, "service", 0), ("kafka", True, "messaging", 1),
        ("mail", False, "service", 2), ("orders-db", True, "database", 1), ("orphan", False, "service", 1),
        ("web", False, "service", 1),
    ]  # fmt: skip
    edges = {(edge["caller"], edge["callee"]): edge for edge in answer["edges"]}
    assert {key: (edge["count"], edge["errors"], edge["inferred_count"]) for key, edge in edges.items()} == {
        ("web", "api"): (2, 1, 0),
        ("api", "mail"): (1, 0, 0),
        ("api", "kafka"): (1, 0, 1),
        ("api", "orders-db"): (1, 0, 1),
        ("cron", "mail"): (1, 0, 0),
    }
    assert (edges["web", "api"]["mean_ms"], edges["web", "api"]["rate_per_s"]) == (60.0, 2 / 601)
    assert edges["api", "orders-db"]["p50_ms"] == pytest.approx(7, rel=0.03)
    assert (answer["truncated"], answer["stats"]["rows_read"] > 0) == (False, True)


async def test_the_map_of_another_organization_is_not_joined(asked: Asked) -> None:
    """The same ids in two organizations: neither is a parent, a child or a peer to the other."""
    await asked.keep("spans", span("a", service="web", kind="client", attributes='{"peer.service": "api"}'))
    await asked.keep("spans", span("b", "a"), scope=asked.theirs)
    ours = (await asked.get("/query/service-map", **HALF_DAY)).json()
    assert [(edge["caller"], edge["inferred_count"]) for edge in ours["edges"]] == [("web", 1)]
    theirs = (await asked.get("/query/service-map", asked.theirs, **HALF_DAY)).json()
    assert ([node["service"] for node in theirs["nodes"]], theirs["edges"]) == (["api"], [])


async def test_more_edges_than_are_shown_are_said(store_clickhouse: ClickHouse, asked: Asked) -> None:
    await asked.keep(
        "spans", *(span(str(i), kind="client", attributes=f'{{"peer.service": "p{i % 3}"}}') for i in range(7))
    )
    statistics = SpanStatistics(store_clickhouse)
    found = await statistics.peers(asked.ours, start_ns=NOON, end_ns=NOON + MINUTE, calls_max=2)
    assert [(row.callee, row.count) for row in found.rows] == [("p0", 3), ("p1", 2)]


IDS = st.sampled_from(["1", "2", "3", "4", "5", "6"])
ATTRIBUTES = st.sampled_from(
    [
        "{}",
        '{"peer.service": "api"}',
        '{"peer.service": "bank"}',
        '{"db.system": "redis"}',
        '{"messaging.system":"kafka","db.system.name":"x"}',
    ]
)
SPANS = st.lists(
    st.tuples(
        st.sampled_from(["t1", "t2"]),
        IDS,
        st.sampled_from(["", "1", "2", "3", "4", "5", "6", "gone"]),
        st.sampled_from(["web", "api", "db"]),
        st.sampled_from(["client", "server", "producer", "consumer", "internal"]),
        # Before the range, too early for a parent, in it, at its end, behind it.
        st.sampled_from([-NEAR_NS - 1, -NEAR_NS, -1, 0, 5, MINUTE - 1, MINUTE, MINUTE + NEAR_NS]),
        st.integers(0, 3),
        st.sampled_from(["ok", "error"]),
        ATTRIBUTES,
    ),
    max_size=14,
    unique_by=lambda row: row[:2],
)


def reference(rows: list[dict[str, Any]]) -> tuple[Counter[Any], Counter[Any], Counter[Any]]:
    """Calls, peers and requests by plain loops: what SpanStatistics must say of these rows for the minute from NOON on."""
    once = list({json.dumps(row, sort_keys=True): row for row in rows}.values())
    near = [row for row in once if NOON - NEAR_NS <= row["ts"] < NOON + MINUTE + NEAR_NS]
    calls: Counter[Any] = Counter()
    peers: Counter[Any] = Counter()
    for row in once:
        if not NOON <= row["ts"] < NOON + MINUTE:
            continue
        for parent in near:
            of_this = (parent["trace_id"], parent["span_id"]) == (row["trace_id"], row["parent_span_id"])
            if of_this and parent["service"] != row["service"]:
                calls[parent["service"], row["service"], row["status"], row["duration_ns"]] += 1
        named = json.loads(row["attributes"])
        peer = next(
            (
                named[name]
                for name in ("peer.service", "db.system.name", "db.system", "messaging.system")
                if name in named
            ),
            "",
        )
        kind = (
            "database"
            if {"db.system.name", "db.system"} & set(named)
            else "messaging"
            if "messaging.system" in named
            else "service"
        )
        children = [
            each for each in near if (each["trace_id"], each["parent_span_id"]) == (row["trace_id"], row["span_id"])
        ]
        if row["kind"] in ("client", "producer") and peer and peer != row["service"] and not children:
            peers[row["service"], peer, kind, row["status"], row["duration_ns"]] += 1
    counted = Counter((row["service"], row["kind"]) for row in rows if NOON <= row["ts"] < NOON + MINUTE)
    return calls, peers, counted


def summed(rows: list[Calls]) -> dict[Any, tuple[int, int, int, int]]:
    return {
        (row.caller, row.callee, row.peer_type): (
            row.count,
            row.errors,
            row.duration_ns_sum,
            sum(row.histogram.values()),
        )
        for row in rows
    }


def expected(counts: Counter[Any]) -> dict[Any, tuple[int, int, int, int]]:
    found: dict[Any, list[int]] = {}
    for (*names, status, duration), count in counts.items():
        key = tuple(names) if len(names) == 3 else (*names, "")
        sums = found.setdefault(key, [0, 0, 0, 0])
        for place, value in enumerate((count, count * (status == "error"), count * duration, count)):
            sums[place] += value
    return {key: (sums[0], sums[1], sums[2], sums[3]) for key, sums in found.items()}


def test_any_spans_are_counted_as_plain_python_does(
    store_migrated_address: ClickHouseAddress, store_block: Callable[..., bytes]
) -> None:
    @given(SPANS, st.lists(st.integers(0, 13), max_size=3))
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def check(made: list[tuple[Any, ...]], repeated: list[int]) -> None:
        names = (
            "trace_id",
            "span_id",
            "parent_span_id",
            "service",
            "kind",
            "ts",
            "duration_ns",
            "status",
            "attributes",
        )
        rows = [dict(zip(names, each, strict=True)) for each in made]
        rows = [row | {"ts": NOON + row["ts"]} for row in rows]
        rows += [rows[i] for i in repeated if i < len(rows)]
        asyncio.run(compare(rows))

    async def compare(rows: list[dict[str, Any]]) -> None:
        scope = OrgScope(str(uuid.uuid4()))
        async with ClickHouse(store_migrated_address) as clickhouse:
            if rows:
                await keep_rows(SpanStore(clickhouse), "spans", rows, scope, store_block)
            statistics = SpanStatistics(clickhouse)
            asking = {"start_ns": NOON, "end_ns": NOON + MINUTE}
            calls = await statistics.calls(scope, **asking)
            peers = await statistics.peers(scope, **asking)
            steps = await statistics.steps(scope, **asking, step_ns=10 * MINUTE)
        wanted_calls, wanted_peers, wanted_counts = reference(rows)
        assert summed(calls.rows) == expected(wanted_calls)
        assert summed(peers.rows) == expected(wanted_peers)
        assert Counter({(row.service, row.kind): row.count for row in steps.rows}) == wanted_counts
        graph = service_graph(steps.rows, calls.rows, peers.rows)
        assert sum(edge.red.count for edge in graph.edges) == wanted_calls.total() + wanted_peers.total()
        assert {node.service for node in graph.nodes if not node.inferred} >= {service for service, _ in wanted_counts}

    check()
