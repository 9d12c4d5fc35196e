"""Records of all four signals that carry a number: sent under load, counted in the stores, none lost and none twice."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from view_checks import check_views

from aegis.access import opened_control_plane
from aegis.settings import load_settings
from storage.scope import OrgScope

NOON_MS = 1_761_912_000_000
# Numbers of one sender begin this far behind those of the one before.
APART = 10_000_000


def log(n: int) -> dict[str, Any]:
    return {"timestamp": NOON_MS + n * 1000, "service": f"s{n % 3}", "level": ("info", "error")[n % 2], "message": str(n),
            "attributes": {"n": n}}  # fmt: skip


def point(n: int) -> dict[str, Any]:
    """Seven series; neighbours in time have changed places, so that each falls now and then, as a counter that is reset."""
    return {"name": "numbers", "timestamp": NOON_MS + (n ^ 7) * 1000, "value": n, "labels": {"series": str(n % 7)}}


def again(n: int) -> dict[str, Any]:
    """One of few places in time, which is written again and again: the later value counts."""
    return {"name": "again", "timestamp": NOON_MS + n % 11 * 40_000, "value": n, "labels": {"series": str(n % 3)}}


def span(n: int) -> dict[str, Any]:
    return {"trace_id": str(n // 5), "span_id": str(n), "service": f"s{n % 3}", "operation": f"o{n % 2}",
            "start_time": NOON_MS + n * 1000, "duration_ms": n % 50 * 1.7, "status": ("ok", "error", "unset")[n % 3]}  # fmt: skip


def event(n: int) -> dict[str, Any]:
    """Every third has a value; the session is the number."""
    measured = (
        {"type": "web_vital", "name": "LCP", "value": n % 90 / 4} if n % 3 == 0 else {"type": "action", "name": "click"}
    )
    return {"timestamp": NOON_MS + n * 1000, "session_id": str(n), "page_path": f"/{n % 2}"} | measured


SIGNALS: dict[str, tuple[str, tuple[Callable[[int], dict[str, Any]], ...]]] = {
    "logs": ("logs", (log,)),
    "metrics": ("metrics", (point, again)),
    "traces": ("spans", (span,)),
    "rum": ("events", (event,)),
}
"""Signal -> the field of its request, and what each number makes; the first is the one that is counted."""

_NUMBERS = {"logs": ("logs", "message"), "traces": ("spans", "span_id"), "rum": ("rum_events", "session_id")}


class Sender:
    """Sends numbered records of one signal from number `first` on; keeps which were accepted, and which of unknown fate."""

    def __init__(self, organization: Any, name: str, *, first: int = 0, batch: int = 20, pause_s: float = 0.03) -> None:
        self.accepted: set[int] = set()
        self.unknown: set[int] = set()
        self.signal = name
        self.stop = threading.Event()
        self._organization = organization
        self._next = first
        self._batch = batch
        self._pause_s = pause_s

    def run(self) -> None:
        """Send until `stop` is set."""
        with httpx.Client(base_url=self._organization.instance.url, timeout=30) as http:
            while not self.stop.is_set():
                numbers = list(range(self._next, self._next + self._batch))
                self._next += self._batch
                self._send_batch(http, numbers)
                time.sleep(self._pause_s)

    def _send_batch(self, http: httpx.Client, numbers: list[int]) -> None:
        field, makers = SIGNALS[self.signal]
        records = [make(n) for n in numbers for make in makers]
        try:
            response = self._organization.post_with(http, {field: records}, path=f"/v1/{self.signal}")
        except httpx.ConnectError:
            return  # Nothing was sent.
        except httpx.HTTPError:
            self.unknown.update(numbers)  # The connection broke: accepted or not, nobody was told.
            return
        if response.status_code == 202:
            self.accepted.update(numbers)
        else:
            assert response.status_code == 503, response.text
            assert "retry-after" in response.headers
            # Whether Redis had taken it when its connection broke is not known; else it was refused for certain.
            self.unknown.update(numbers)


def send_all(organization: Any, kills: Callable[[], None], *, senders_each: int = 1, **how: Any) -> list[Sender]:
    """Send all four signals until `kills` returns. `how` is for `Sender`."""
    senders = [Sender(organization, name, first=APART * k, **how) for name in SIGNALS for k in range(senders_each)]
    with concurrent.futures.ThreadPoolExecutor(len(senders)) as pool:
        sending = [pool.submit(sender.run) for sender in senders]
        try:
            kills()
        finally:
            for sender in senders:
                sender.stop.set()
        for each in sending:
            each.result()
    return senders


def stored_numbers(organization: Any, name: str) -> Counter[int]:
    """How often each number of a signal stands in its store."""
    if name == "metrics":
        return Counter(int(row["value"]) for row in organization.stored(name) if row["name"] == "numbers")
    return Counter(int(text) for (text,) in organization.read_table(*_NUMBERS[name]))


def accepted_numbers(senders: Sequence[Sender], name: str) -> set[int]:
    return set().union(*(sender.accepted for sender in senders if sender.signal == name))


def wait_until_stored(senders: Sequence[Sender], organization: Any, *, within_s: float = 60) -> None:
    """Until all that was accepted is there and whatever might still come twice has come, or the time is over."""
    deadline = time.monotonic() + within_s
    for name in SIGNALS:
        accepted = accepted_numbers(senders, name)
        while not accepted <= stored_numbers(organization, name).keys() and time.monotonic() < deadline:
            time.sleep(0.3)
    time.sleep(2.5)


def check(senders: Sequence[Sender], organization: Any) -> None:
    """All that was accepted is there once; nothing is there twice; nothing is there that was never sent; the views agree."""
    for name in SIGNALS:
        accepted, stored = accepted_numbers(senders, name), stored_numbers(organization, name)
        assert len(accepted) > 300, f"too few {name} were sent to show anything"
        assert sorted(accepted - stored.keys()) == [], f"{name} lost"
        assert [n for n, times in stored.items() if times > 1] == [], f"{name} stored twice"
        unknown = set().union(*(sender.unknown for sender in senders if sender.signal == name))
        assert stored.keys() <= accepted | unknown
        check_views(organization, name)
    check_usage(organization)


def check_usage(organization: Any, *, within_s: float = 40) -> None:
    """The usage of an organization is exactly what the stores hold of it, points that overwrite others included."""
    deadline = time.monotonic() + within_s
    while True:
        usage = asyncio.run(_usage(organization))
        stored = {name: len(organization.stored(name)) for name in SIGNALS}
        # Of two points of one series and time in one block the later alone is written.
        if usage | {"metrics": 0} == stored | {"metrics": 0} and usage["metrics"] >= stored["metrics"]:
            return
        assert time.monotonic() < deadline, f"usage {usage}, stored {stored}"
        time.sleep(0.5)


async def _usage(organization: Any) -> dict[str, int]:
    settings = load_settings(organization.instance.data_dir)
    today = datetime.now(UTC).date()
    async with opened_control_plane(settings, with_secrets=False) as control_plane:
        days = await control_plane.usage.list_days(
            OrgScope(organization.org_id), today - timedelta(days=1), today + timedelta(days=1)
        )
    counts = {"logs": "logs_count", "metrics": "metrics_count", "traces": "spans_count", "rum": "rum_events"}
    return {name: sum(getattr(day, count) for day in days) for name, count in counts.items()}
