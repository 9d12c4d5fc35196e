"""A dependency that is away for a while delays what it must, is named in /health, and loses nothing."""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from webhook_receiver import ThreadedReceiver

from aegis.settings import load_settings

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


ON_TIME_S = 1.5
"""From a breach to its webhook, whatever decides: what a store that is away must not take from it."""


def test_breaches_are_told_on_time_while_both_stores_of_data_are_away(
    instance: Any, new_instance: Any, threaded_receiver: ThreadedReceiver, stopped: Stopped
) -> None:
    """The second instance keeps its metrics in the first one's PostgreSQL, which can be away while its control plane is there."""
    metrics = load_settings(instance.data_dir)
    alone = new_instance(
        TIMESCALE_HOST=metrics.timescale_host,
        TIMESCALE_PORT=str(metrics.timescale_port),
        TIMESCALE_DATABASE=metrics.timescale_database,
        TIMESCALE_USER=metrics.timescale_user,
        TIMESCALE_PASSWORD=metrics.timescale_password.get_secret_value(),
    )
    alone.start()
    organization = alone.organization("outage").as_member()
    organization.asked("POST", "/channels", {
        "name": "hook", "kind": "webhook", "config": {"url": threaded_receiver.url}
    }, 201)  # fmt: skip
    shared = {"window_s": 300, "group_by": ["service"], "new_group_delay_s": 0, "channels": ["hook"]}
    for definition in (
        {"kind": "log", "query": '{level="error"}', "critical": 1, "comparison": ">="},
        {"kind": "trace", "aggregation": "p95", "critical": 100},
        {"kind": "metric", "metric": "queue", "aggregation": "max", "critical": 5},
    ):
        organization.asked("POST", "/monitors", shared | {"name": definition["kind"]} | definition, 201)

    def breach(kind: str, service: str) -> float:
        began = time.monotonic()
        path, body = {
            "log": ("/v1/logs", {"logs": [LOG | {"timestamp": time.time(), "service": service}]}),
            "trace": ("/v1/traces", {"spans": [
                {"trace_id": "t", "span_id": service, "service": service, "operation": "o", "start_time": time.time(),
                 "duration_ms": 500}
            ]}),
            "metric": ("/v1/metrics", {"metrics": [{"name": "queue", "value": 9, "labels": {"service": service}}]}),
        }[kind]  # fmt: skip
        assert organization.post(json.dumps(body).encode(), path=path).status_code == 202
        name = (kind, f"service={service}")
        found = threaded_receiver.until(lambda told: [each for each in told if name_of(each) == name])
        return float(found[0].at_s - began)

    with stopped(alone, "clickhouse"), stopped(instance, "postgres"):
        took = {kind: [breach(kind, f"s{i}") for i in range(5)] for kind in ("log", "trace", "metric")}
        # A worker that starts while they are away watches, too.
        alone.kill("worker")
        breach("log", "behind")
        health = alone.http.get("/health").json()["dependencies"]
        assert (health["clickhouse"]["status"], health["timescale"]["status"]) == ("down", "down")
    print({kind: [round(each, 2) for each in times] for kind, times in took.items()})
    # Half of them, as the machine may have other things to do; what waits for a store waits for seconds each time.
    assert max(statistics.median(times) for times in took.values()) < ON_TIME_S
    assert len(organization.stored_in_time("logs", 6)) == 6
    assert len(organization.stored_in_time("traces", 5)) == 5
    # Where its metrics are stands in its environment alone, and the first instance knows it.
    assert len(replace(organization, instance=instance).stored_in_time("metrics", 5)) == 5
    assert len(threaded_receiver.received) == 16


def name_of(told: Any) -> tuple[str, str]:
    """Monitor and group of what was told."""
    return told.json["monitor_name"], told.json["group"]
