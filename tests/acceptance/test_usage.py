"""What organizations sent is counted exactly by day, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from aegis.access import opened_control_plane
from aegis.settings import load_settings
from storage.scope import OrgScope

LOG = {"timestamp": "2025-10-31T10:00:00Z", "service": "s", "level": "info", "message": "m"}
POINT = {"name": "up", "value": 1}
SPAN = {
    "trace_id": "1",
    "span_id": "1",
    "service": "s",
    "operation": "o",
    "start_time": 1_761_912_000,
    "duration_ms": 1,
}
EVENT = {"timestamp": "2025-10-31T10:00:00Z", "type": "action", "session_id": "s"}


def totals(organization: Any) -> tuple[int, int, int, int, int]:
    """Logs, their bytes, points, spans and events, over the days since yesterday."""

    async def read() -> Any:
        settings = load_settings(organization.instance.data_dir)
        today = datetime.now(UTC).date()
        async with opened_control_plane(settings, with_secrets=False) as control_plane:
            return await control_plane.usage.list_days(
                OrgScope(organization.org_id), today - timedelta(days=1), today + timedelta(days=1)
            )

    days = asyncio.run(read())
    return (
        sum(day.logs_count for day in days),
        sum(day.logs_bytes for day in days),
        sum(day.metrics_count for day in days),
        sum(day.spans_count for day in days),
        sum(day.rum_events for day in days),
    )


def totals_in_time(organization: Any, wanted: tuple[int, ...], *, within_s: float = 40) -> tuple[int, ...]:
    deadline = time.monotonic() + within_s
    while (found := totals(organization)) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def test_four_signals_are_counted_by_the_day_of_their_arrival(organization: Any) -> None:
    logs = json.dumps({"logs": [LOG] * 3}).encode()
    for path, body in (
        ("/v1/logs", logs),
        ("/v1/metrics", json.dumps({"metrics": [POINT] * 4}).encode()),
        ("/v1/traces", json.dumps({"spans": [SPAN] * 5}).encode()),
        ("/v1/rum", json.dumps({"events": [EVENT] * 6}).encode()),
        ("/v1/logs", b'{"logs": [{"level": 7}]}'),
    ):
        organization.post(body, path=path)
    assert totals_in_time(organization, (3, len(logs), 4, 5, 6)) == (3, len(logs), 4, 5, 6)


def test_counts_stay_exact_while_workers_are_killed(instance: Any, organization: Any) -> None:
    sent = 0
    for round_ in range(60):
        organization.send([LOG | {"message": str(round_)}] * 10)
        sent += 10
        if round_ in (15, 30, 45):
            instance.kill("worker")
        time.sleep(0.05)
    size = sum(len(json.dumps({"logs": [LOG | {"message": str(n)}] * 10})) for n in range(60))
    wanted = (sent, size, 0, 0, 0)
    assert totals_in_time(organization, wanted) == wanted
    time.sleep(2.5)  # Whatever might still be counted twice.
    assert totals(organization) == wanted
