"""Gateways are killed under load, and Redis too: with keys, every request is taken exactly once all the same (`make chaos`)."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from rich.console import Console
from rich.table import Table

from aegis.client import FateUnknown, IngestClient
from aegis.settings import load_settings
from aegis.supervision.status import read_pool_statuses, read_status
from topics.content_encoding import decoded
from topics.errors import Refused, Unavailable
from topics.names import LOGS_RAW
from topics.raw import RawBatch
from topics.redis_streams.entries import decode_entry
from topics.redis_streams.keys import Keys

SENDERS = 8
GATEWAYS = ("gateway-1", "gateway-2")
LARGE_EVERY = 40
"""Every so many requests one is too large for the script, and goes in a transaction."""


@dataclass
class Fates:
    """What senders were told of their requests, by number."""

    accepted: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    request_ids: dict[int, str] = field(default_factory=dict)
    tries: int = 0
    repeated: int = 0
    stopped: bool = False
    next_number: int = 0


class CountedClient(IngestClient):
    """Counts its tries."""

    fates: Fates

    async def _try(self, *arguments: Any) -> Any:
        self.fates.tries += 1
        return await super()._try(*arguments)


async def send(client: CountedClient, fates: Fates, seed: int) -> None:
    """Send numbered requests one after another, and some of them once more under their key, as one whose answer was lost."""
    rng = random.Random(seed)
    while not fates.stopped:
        number, fates.next_number = fates.next_number, fates.next_number + 1
        pad = rng.randbytes(40_000).hex() if number % LARGE_EVERY == 0 else ""
        log = {"timestamp": 1_761_904_800, "service": "chaos", "level": "info", "message": f"{number} {pad}"}
        try:
            taken = await client.send_logs([log], key=f"chaos-{number}")
            fates.request_ids[number] = taken.request_ids[0]
            fates.repeated += taken.repeated
            fates.accepted.add(number)
            if rng.random() < 0.1:
                again = await client.send_logs([log], key=f"chaos-{number}")
                assert again.request_ids == taken.request_ids, "another answer for the same key"
                assert again.repeated == 1
        except (FateUnknown, Unavailable):
            # Every try met something that was dead or not up yet; and a 503 may be one that Redis took before it was killed.
            if number not in fates.accepted:
                fates.unknown.add(number)
        except Refused as exc:
            raise AssertionError(f"a good request was refused: {exc}") from exc
        await asyncio.sleep(rng.uniform(0, 0.01))


async def attack(instance: Any, rng: random.Random, seconds: float) -> dict[str, int]:
    """Kill a gateway again and again, and Redis now and then; how often each was done."""
    done = {"gateway": 0, "both gateways": 0, "redis": 0}
    killed: set[int] = set()
    until = time.monotonic() + seconds
    while True:
        round_ = ["gateway", "gateway", "both gateways", "redis"]
        rng.shuffle(round_)
        for kind in round_:
            if time.monotonic() > until and min(done.values()) > 0:
                return done
            names = {"gateway": [rng.choice(GATEWAYS)], "both gateways": list(GATEWAYS), "redis": ["redis"]}[kind]
            # What was killed before comes back first; the supervisor waits up to ten seconds with what dies again and again.
            while not (alive := pids(instance.data_dir, killed)).keys() >= set(names):
                await asyncio.sleep(0.05)
            await asyncio.sleep(rng.uniform(0.3, 1.5))
            for name in names:
                os.kill(alive[name], signal.SIGKILL)
                killed.add(alive[name])
            done[kind] += 1


def pids(data_dir: Path, killed: set[int]) -> dict[str, int]:
    """Name -> pid of every process that is up; the supervisors may not have noticed yet that others were killed."""
    statuses = [status for status in (read_status(data_dir), *read_pool_statuses(data_dir)) if status is not None]
    processes = [process for status in statuses for process in status.processes]
    return {
        each.name: each.pid
        for each in processes
        if each.state == "ready" and each.pid is not None and each.pid not in killed
    }


def enqueued(url: str) -> list[tuple[int, str]]:
    """Number and request id of every request in the raw streams, which nobody reads here and which therefore keep everything."""
    found: list[tuple[int, str]] = []
    with redis.Redis.from_url(url) as client:
        partitions: Any = client.hget(Keys().topics, LOGS_RAW)
        for partition in range(int(partitions)):
            entries: Any = client.xrange(Keys().stream(LOGS_RAW, partition))
            for _, fields in entries:
                flat = [part for pair in fields.items() for part in pair]
                entry = decode_entry(flat)
                batch = RawBatch.from_message(entry.value, entry.headers)
                body = orjson.loads(decoded(batch.body, batch.encoding, bytes_max=1 << 20))
                found += [(int(log["message"].split()[0]), batch.request_id) for log in body["logs"]]
    return found


@pytest.mark.slow
async def test_requests_with_keys_are_taken_exactly_once_whatever_gateway_dies(
    new_instance: Any, chaos_seconds: float, chaos_seed: int
) -> None:
    print(f"\n--chaos-seed {chaos_seed} --chaos-seconds {chaos_seconds:g}", flush=True)
    # Without normalizing, so that the raw topic keeps what the gateways put there.
    instance = new_instance(
        AEGIS_GATEWAY_PROCESSES="2", NORMALIZER_ENABLED="false", AEGIS_STREAM_BYTES_MAX=str(1 << 30)
    )
    await asyncio.to_thread(instance.start)
    organization = await asyncio.to_thread(instance.organization, "chaos")
    fates, rng = Fates(), random.Random(chaos_seed)
    clients = []
    for number in range(SENDERS):
        clients.append(
            CountedClient(
                instance.url,
                org_key=organization.org_key,
                secret=organization.secret,
                timeout_s=5,
                retries=12,
                compression=("identity", "zstd")[number % 2],
                sign_time=number % 4 > 1,
            )
        )
        clients[-1].fates = fates
    sending = [asyncio.create_task(send(client, fates, rng.randrange(1 << 30))) for client in clients]
    begin = time.monotonic()
    done = await attack(instance, rng, chaos_seconds)
    await asyncio.sleep(1)
    fates.stopped = True
    await asyncio.gather(*sending)
    took_s = time.monotonic() - begin
    for client in clients:
        await client.__aexit__()
    found = await asyncio.to_thread(enqueued, load_settings(instance.data_dir).transport_url)
    times = Counter(number for number, _ in found)
    rows = {
        "requests": fates.next_number,
        "tries": fates.tries,
        "accepted": len(fates.accepted),
        "accepted, and lost": len(fates.accepted - times.keys()),
        "enqueued twice": sum(count - 1 for count in times.values()),
        "answered from memory after a try without answer": fates.repeated,
        "given up, fate unknown": len(fates.unknown),
        "given up, and enqueued": len(fates.unknown & times.keys()),
        "seconds": f"{took_s:.0f}",
        **{f"killed: {kind}": count for kind, count in done.items()},
    }
    shown = Table(title=f"gateway chaos, seed {chaos_seed}, {chaos_seconds:g} s", title_justify="left")
    shown.add_column("")
    shown.add_column("", justify="right")
    for name, value in rows.items():
        shown.add_row(name, str(value))
    Console(width=80).print(shown)
    assert fates.accepted - times.keys() == set(), "accepted, and lost"
    assert [number for number, count in times.items() if count > 1] == [], "enqueued twice"
    assert times.keys() <= fates.accepted | fates.unknown
    assert {number: fates.request_ids[number] for number in fates.accepted} == {
        number: request_id for number, request_id in found if number in fates.accepted
    }, "the id that was answered is the one that is stored"
    assert len(fates.accepted) > 5 * chaos_seconds, "too few to show anything"
    assert fates.tries > fates.next_number
