"""The watch agent beside its scenarios (tests/unit/monitors): what is written, what is due, and what counts for nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from topics.errors import Refused
from topics.panes import Pane, Part, Parts, encode

CPU = {"kind": "metric", "metric": "cpu", "aggregation": "max", "critical": 90, "window_s": 60}
BEGIN_MS = 1_800_000_000_000


def point(value: float, **labels: str) -> dict[str, Any]:
    return {"name": "cpu", "value": value, "labels": labels}


def test_a_tick_that_changes_nothing_writes_nothing(watch_simulation: Any) -> None:
    simulation = watch_simulation(CPU | {"no_data": "notify"})
    simulation.send("metrics", point(5))
    simulation.run_to(5_000)
    rows = dict(simulation.rows)
    for ms in range(6_000, 30_000, 100):
        simulation.tick(ms)
    assert simulation.rows == rows


def test_panes_take_turns_on_a_bounded_number_of_rows(watch_simulation: Any) -> None:
    simulation = watch_simulation(CPU)
    for ms in range(0, 600_000, 500):
        simulation.run_to(ms)
        simulation.send("metrics", point(5))
    monitor = next(iter(simulation.monitors.by_id.values()))
    assert len(simulation.rows) == 1 + monitor.slots
    (group,) = simulation.groups.by_monitor[monitor.id].values()
    assert len(group.window.panes) <= monitor.slots + 1


def test_a_worker_that_began_again_leaves_no_rows_of_a_deleted_monitor(watch_simulation: Any) -> None:
    simulation = watch_simulation(CPU)
    simulation.send("metrics", point(5))
    simulation.restart()
    for ms in range(0, 60_000, 1_000):
        simulation.run_to(ms)
        simulation.send("metrics", point(5))
    simulation.delete()
    simulation.run_to(61_000)
    assert simulation.rows == {}


def test_a_value_of_any_size_stops_nobody(watch_simulation: Any) -> None:
    simulation = watch_simulation(CPU | {"aggregation": "p95"})
    simulation.send("metrics", point(1.79e308))
    simulation.run_to(10_000)
    assert [message.state for message in simulation.sent] == ["ALERT"]


def test_the_queue_of_what_is_due_does_not_grow_with_the_data(watch_simulation: Any) -> None:
    simulation = watch_simulation(CPU | {"no_data": "notify"})
    for ms in range(0, 100_000, 100):
        simulation.run_to(ms)
        simulation.send("metrics", point(5))
    assert sum(map(len, simulation.groups._due.values())) <= 3


def test_a_message_of_a_partition_that_went_changes_nothing(watch_simulation: Any) -> None:
    simulation = watch_simulation(CPU)
    pane = Pane(BEGIN_MS, 1, 95.0, 95.0, 95.0, BEGIN_MS, 95.0)
    monitor = next(iter(simulation.monitors.by_id.values()))
    message = encode(Parts(monitor.org_id, BEGIN_MS, [Part(monitor.id, monitor.shape, "*", [pane])]))
    event = SimpleNamespace(
        message=SimpleNamespace(value=message, partition=0, generation_id=-1),
        app=SimpleNamespace(consumer_generation_id=1),
    )
    with pytest.raises(StopIteration):
        simulation.watcher.watch(event).send(None)
    assert (simulation.rows, simulation.sent, simulation.groups.count) == ({}, [], 0)
    simulation.handle(message)
    assert len(simulation.sent) == 1


def test_parts_of_another_organization_or_of_another_window_change_nothing(watch_simulation: Any) -> None:
    simulation = watch_simulation(CPU)
    monitor = next(iter(simulation.monitors.by_id.values()))
    pane = Pane(BEGIN_MS, 1, 95.0, 95.0, 95.0, BEGIN_MS, 95.0)
    for org_id, shape in (("another", monitor.shape), (monitor.org_id, monitor.shape + 1)):
        simulation.handle(encode(Parts(org_id, BEGIN_MS, [Part(monitor.id, shape, "*", [pane])])))
    assert (simulation.rows, simulation.sent) == ({}, [])


def test_what_is_no_message_is_refused(watch_simulation: Any) -> None:
    with pytest.raises(Refused):
        watch_simulation(CPU).watcher.watch(
            SimpleNamespace(message=SimpleNamespace(value=b"\xc1", partition=0, generation_id=1))
        ).send(None)


def test_the_evidence_says_why_and_names_records(watch_simulation: Any) -> None:
    simulation = watch_simulation(
        {"kind": "trace", "service": "api", "aggregation": "max", "critical": 100, "warning": 50, "window_s": 60}
    )
    span = {"span_id": "1", "service": "api", "operation": "get"}
    simulation.send(
        "spans", span | {"trace_id": "aa", "duration_ms": 70}, span | {"trace_id": "bb", "duration_ms": 250}
    )
    (message,) = simulation.sent
    assert message.evidence["samples"] == ["trace:bb"]
    assert message.evidence["window"]["values"] == [[BEGIN_MS, 250.0]]
    assert {name: message.evidence[name] for name in ("why", "critical", "warning", "comparison")} == {
        "why": "250 > 100",
        "critical": 100,
        "warning": 50,
        "comparison": ">",
    }


def test_groups_beyond_the_bound_are_counted_where_people_look(watch_simulation: Any) -> None:
    simulation = watch_simulation(CPU | {"group_by": ["host"], "groups_max": 2, "new_group_delay_s": 0})
    simulation.send("metrics", *(point(5, host=f"h{i}") for i in range(5)))
    simulation.send("metrics", point(95, host="h0"))
    (message,) = simulation.sent
    assert message.evidence["groups_left_out"] == 3


def test_many_changed_monitors_are_brought_up_to_date_in_steps(watch_simulation: Any) -> None:
    simulation = watch_simulation(CPU | {"group_by": ["host"], "new_group_delay_s": 0})
    simulation.send("metrics", *(point(95, host=f"h{i}") for i in range(250)))
    simulation.run_to(1_000)
    assert len(simulation.sent) == 250
    simulation.delete()
    simulation.watcher.tick_where_due()
    assert len(simulation.sent) == 350
    for _ in range(2):
        simulation.watcher.tick_where_due()
    assert len(simulation.sent) == 500
    assert (simulation.rows, simulation.groups.count) == ({}, 0)


def test_of_one_batch_a_bounded_number_of_parts_is_watched(
    watch_simulation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pane_building", "metric_parts"):
        monkeypatch.setattr(f"monitors.{module}.PARTS_MAX", 12)
    now = {"new_group_delay_s": 0, "group_by": ["host"]}
    logs = {"kind": "log", "query": '{service="api"}', "critical": 0} | now
    simulation = watch_simulation(*[CPU | now] * 4, *[logs] * 4)
    simulation.send("metrics", *[point(95, host=f"h{i}") for i in range(10)])
    assert len(simulation.sent) == 12
    records = [{"service": "api", "level": "info", "message": "m", "host": f"h{i}"} for i in range(10)]
    simulation.send("logs", *records)
    assert len(simulation.sent) == 24
    simulation.send("metrics", point(95, host="new"))
    assert len(simulation.sent) == 28
