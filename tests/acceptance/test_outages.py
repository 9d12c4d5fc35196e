"""A dependency that is away for a while delays what it must, is named in /health, and loses nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

Stopped = Callable[..., Any]
LOG: dict[str, Any] = {"timestamp": "2025-10-31T10:00:00Z", "service": "api", "level": "error", "message": "kept"}


def test_logs_are_accepted_and_kept_while_clickhouse_is_away(
    instance: Any, organization: Any, stopped: Stopped
) -> None:
    with stopped(instance, "clickhouse"):
        for i in range(5):
            organization.send([LOG | {"message": f"kept {i}"}] * 10)
        time.sleep(1.5)
        health = instance.http.get("/health").json()
        assert health["status"] == "degraded"
        assert health["dependencies"]["clickhouse"]["status"] == "down"
        assert health["ready"], "ingestion does not need the store"
    assert len(organization.found_in_time(50)) == 50
    assert instance.http.get("/health").json()["status"] == "ok"


def test_each_store_that_is_away_delays_its_own_signals_alone(
    instance: Any, organization: Any, stopped: Stopped
) -> None:
    point = {"name": "up", "value": 1, "timestamp": "2025-10-31T10:00:00Z"}
    span = {
        "trace_id": "t",
        "span_id": "s",
        "service": "a",
        "operation": "o",
        "start_time": 1_761_904_800,
        "duration_ms": 1,
    }

    def send(seconds: int) -> None:
        points = {"metrics": [point | {"timestamp": 1_761_904_800 + seconds}]}
        assert organization.post(json.dumps(points).encode(), path="/v1/metrics").status_code == 202
        assert organization.post(json.dumps({"spans": [span]}).encode(), path="/v1/traces").status_code == 202

    send(1)
    assert len(organization.stored_in_time("metrics", 1)) == len(organization.stored_in_time("traces", 1)) == 1
    with stopped(instance, "clickhouse"):
        send(2)
        assert len(organization.stored_in_time("metrics", 2)) == 2
    with stopped(instance, "postgres"):
        send(3)
        assert len(organization.stored_in_time("traces", 3)) == 3
    assert len(organization.stored_in_time("metrics", 3)) == 3


def test_without_redis_the_answer_is_503_and_then_it_goes_on(
    instance: Any, organization: Any, stopped: Stopped
) -> None:
    with stopped(instance, "redis"):
        begin = time.monotonic()
        response = organization.post(b'{"logs":[{"timestamp":1,"service":"a","level":"info","message":"x"}]}')
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert time.monotonic() - begin < 15
        assert instance.http.get("/ready").status_code == 503
    deadline = time.monotonic() + 20
    while organization.post(b"{}").status_code == 503 or instance.http.get("/ready").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    organization.send([LOG])
    assert len(organization.found_in_time(1)) == 1


def test_keys_work_on_while_postgres_is_away(instance: Any, organization: Any, stopped: Stopped) -> None:
    organization.send([LOG])
    with stopped(instance, "postgres"):
        time.sleep(1.5)
        organization.send([LOG])
        assert instance.http.get("/health").json()["dependencies"]["postgres"]["status"] == "down"
    assert len(organization.found_in_time(2)) == 2


def test_a_query_without_the_store_is_503(instance: Any, organization: Any) -> None:
    pid = instance.processes()["clickhouse"]["pid"]
    os.kill(pid, signal.SIGKILL)
    response = organization.ask()
    assert response.status_code in (200, 503), response.text
    if response.status_code == 503:
        assert "retry-after" in response.headers
    deadline = time.monotonic() + 30
    while organization.ask().status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
