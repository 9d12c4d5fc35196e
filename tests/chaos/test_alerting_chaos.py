"""Workers killed during incidents: every transition that the values call for arrives, at the value that calls for it, none twice.

Each host sends a one again and again, and a monitor adds them up. Whatever a crash lost or counted twice would show as a state
that is entered at another sum than the first past its threshold, or never.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from running_instance import family_of, signal_all

from aegis.access import opened_control_plane
from aegis.settings import load_settings
from storage.scope import OrgScope
from topics.errors import Unavailable

HOSTS = [f"h{i}" for i in range(20)]
WARN_AT, ALERT_AT = 11, 21
SETTINGS = {"AEGIS_LEASE_S": "1", "AEGIS_WORKER_PROCESSES": "2"}
MONITOR = {
    "name": "sums",
    "kind": "metric",
    "metric": "ones",
    "aggregation": "sum",
    "window_s": 3600,
    "warning": WARN_AT - 0.5,
    "critical": ALERT_AT - 0.5,
    "group_by": ["host"],
    "new_group_delay_s": 0,
}
RECOVERY_S = 200.0


class Hook:
    """Keeps what it is told, and fails now and then, so that sending again is tried too."""

    def __init__(self, rng: random.Random) -> None:
        self.told: list[dict[str, Any]] = []
        hook = self

        class Take(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                failing = rng.random() < 0.2
                if not failing:
                    hook.told.append(body)
                self.send_response(503 if failing else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def hook(chaos_seed: int) -> Iterator[Hook]:
    hook = Hook(random.Random(chaos_seed))
    yield hook
    hook.close()


def create(organization: Any, path: str, body: dict[str, Any]) -> str:
    headers = {"authorization": f"Bearer {organization.token}"}
    answer = organization.instance.http.post(path, json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def send_one_of_each(organization: Any, number: int) -> None:
    """One value a host, taken once however often it must be sent."""
    points = [{"name": "ones", "value": 1, "timestamp": time.time(), "labels": {"host": host}} for host in HOSTS]
    body = json.dumps({"metrics": points}).encode()
    for _ in range(50):
        try:
            answer = organization.post(body, path="/v1/metrics", x_idempotency_key=f"round-{number}")
            if answer.status_code == 202:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("the gateway does not take it")


def kill_some_worker(instance: Any, rng: random.Random) -> None:
    """Mostly one of two, whose partitions the other takes over; sometimes both, with who keeps them."""
    family = family_of(instance.ready_pid("worker", within_s=RECOVERY_S))
    if len(family) > 1 and rng.random() < 0.7:
        family = [rng.choice(family[1:])]
    signal_all(family, signal.SIGKILL)


async def recorded(organization: Any, monitor_id: str) -> list[Any]:
    async with opened_control_plane(load_settings(organization.instance.data_dir), with_secrets=False) as control_plane:
        return await control_plane.alerts.list_in(OrgScope(organization.org_id), monitor_id=monitor_id, limit=1000)


@pytest.mark.slow
def test_no_transition_is_lost_or_said_twice_while_workers_die(
    new_instance: Any, hook: Hook, chaos_seconds: float, chaos_seed: int
) -> None:
    print(f"\nalerting chaos, --chaos-seed {chaos_seed} --chaos-seconds {chaos_seconds:g}", flush=True)
    rng = random.Random(chaos_seed)
    instance = new_instance(**SETTINGS)
    instance.start()
    organization = instance.organization("chaos")
    organization.token = json.loads(instance.aegis("token", organization.org_id, "--role", "member", "--json"))["token"]
    channel = create(
        organization, "/channels", {"name": "hook", "kind": "webhook", "config": {"url": hook.url, "per_minute": 6000}}
    )
    monitor_id = create(organization, "/monitors", MONITOR | {"channels": [channel]})
    before = instance.ready_pid("worker", within_s=RECOVERY_S)
    signal_all(family_of(before), signal.SIGKILL)
    # Whoever handles anything from here on has read the monitor; one that had yet to hear of it would leave the first values out.
    instance.ready_pid("worker", other_than=before, within_s=RECOVERY_S)
    kills = 0
    pause_s = chaos_seconds / (ALERT_AT + 2)
    for number in range(ALERT_AT + 2):
        send_one_of_each(organization, number)
        if number % 3 == 1:
            kill_some_worker(instance, rng)
            kills += 1
        time.sleep(rng.uniform(0.3, 1.7) * pause_s)
    deadline = time.monotonic() + RECOVERY_S
    alerts: list[Any] = []
    while len(alerts) < 2 * len(HOSTS) and time.monotonic() < deadline:
        time.sleep(0.5)
        with suppress(Unavailable):  # A machine that is busy may take longer than a connection waits.
            alerts = asyncio.run(recorded(organization, monitor_id))
    told: dict[str, dict[str, Any]] = {}
    while len(told) < 2 * len(HOSTS) and time.monotonic() < deadline:
        time.sleep(0.5)
        told = {each["dedup_key"]: each for each in hook.told}
    time.sleep(2.0)  # What comes twice may still come.
    alerts = asyncio.run(recorded(organization, monitor_id))
    told = {each["dedup_key"]: each for each in hook.told}
    print(f"{kills} kills, {len(alerts)} transitions recorded, {len(told)} notifications, {len(hook.told)} times told")
    by_group: dict[str, list[tuple[str, str, float | None]]] = defaultdict(list)
    for alert in sorted(alerts, key=lambda alert: alert.sequence):
        by_group[alert.group].append((alert.previous_state, alert.state, alert.value))
    wanted = [("OK", "WARN", float(WARN_AT)), ("WARN", "ALERT", float(ALERT_AT))]
    assert dict(by_group) == {f"host={host}": wanted for host in HOSTS}
    states = sorted((each["group"], each["state"]) for each in told.values())
    assert states == sorted((f"host={host}", state) for host in HOSTS for state in ("WARN", "ALERT"))
