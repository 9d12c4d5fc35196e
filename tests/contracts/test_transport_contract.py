"""What agents may rely on, whatever carries the messages: one suite, run on every transport (conftest.py names them)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from topics.errors import Unavailable
from topics.faust_app import EmbeddedApp


class Member:
    """One running member of a group: what it got, and what it has not acknowledged."""

    def __init__(self, app: EmbeddedApp, *, acks: bool = True) -> None:
        self.app = app
        self.got: list[tuple[int, int, bytes]] = []
        self.headers: list[dict[str, bytes]] = []
        self.held: list[Any] = []

        @app.agent(app.topic("a"))
        async def collect(stream: Any) -> None:
            async for event in stream.noack().events():
                message = event.message
                self.got.append((message.partition, message.offset, message.value))
                self.headers.append(dict(event.headers))
                await self.work(event)
                if acks:
                    event.ack()
                else:
                    self.held.append(event)

    async def work(self, event: Any) -> None:
        """What a test does with each event."""

    def values(self) -> list[bytes]:
        return [value for _, _, value in self.got]


StartMember = Callable[..., Any]


@pytest.fixture
async def join(transport: Any) -> AsyncIterator[StartMember]:
    """Start a member of a group; stopped in the end."""
    running: list[EmbeddedApp] = []

    async def start(group: str = "g", *, kind: type[Member] = Member, acks: bool = True) -> Member:
        app = transport.create_app(group)
        running.append(app)
        member = kind(app, acks=acks)
        await app.start()
        return member

    yield start
    for app in running:
        if app.started:
            await asyncio.wait_for(app.stop(), 15)


async def until(true: Callable[[], Any], timeout_s: float = 15.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.01)


def numbered(first: int, last: int) -> list[bytes]:
    return [b"%05d" % number for number in range(first, last)]


async def test_a_partition_is_read_in_order_and_offsets_ascend(transport: Any, join: StartMember) -> None:
    await transport.declare("a", 2, ["g"])
    await transport.add("a", 0, *numbered(0, 300))
    await transport.add("a", 1, *numbered(300, 400))
    member = await join()
    await transport.add("a", 1, *numbered(400, 600))
    await until(lambda: len(member.got) >= 600)
    for partition, expected in ((0, numbered(0, 300)), (1, numbered(300, 600))):
        mine = [(offset, value) for p, offset, value in member.got if p == partition]
        assert [value for _, value in mine] == expected
        assert sorted(mine) == mine


async def test_headers_and_bytes_arrive_as_they_were(transport: Any, join: StartMember) -> None:
    await transport.declare("a", 1, ["g"])
    body = bytes(range(256)) * 1200
    await transport.add("a", 0, body, headers=[("org", b"\x00\xff"), ("empty", b"")])
    await transport.add("a", 0, b"plain")
    member = await join()
    await until(lambda: len(member.got) >= 2)
    assert member.values() == [body, b"plain"]
    assert member.headers == [{"org": b"\x00\xff", "empty": b""}, {}]


async def test_every_group_gets_every_message(transport: Any, join: StartMember) -> None:
    await transport.declare("a", 2, ["g", "other"])
    await transport.add("a", 0, *numbered(0, 50))
    one = await join("g")
    await until(lambda: len(one.got) >= 50)
    other = await join("other")  # Registered and late: nothing that it has not read may be gone.
    await until(lambda: len(other.got) >= 50)
    assert one.values() == other.values() == numbered(0, 50)


async def test_members_share_the_partitions_and_each_message_goes_to_one(transport: Any, join: StartMember) -> None:
    await transport.declare("a", 4, ["g"])
    one = await join()
    two = await join()
    await until(lambda: [len(m.app.streams.status().partitions) for m in (one, two)] == [2, 2])
    for partition in range(4):
        await transport.add("a", partition, *numbered(partition * 100, partition * 100 + 100))
    await until(lambda: len(one.got) + len(two.got) >= 400)
    await asyncio.sleep(0.2)
    assert sorted(one.values() + two.values()) == numbered(0, 400)
    assert {p for p, _, _ in one.got}.isdisjoint({p for p, _, _ in two.got})


async def test_a_join_moves_no_more_than_its_share(transport: Any, join: StartMember) -> None:
    await transport.declare("a", 5, ["g"])
    one = await join()
    held = set(one.app.streams.status().partitions)
    two = await join()
    await until(lambda: len(two.app.streams.status().partitions) == 2)
    await until(lambda: len(one.app.streams.status().partitions) == 3)
    assert held == {0, 1, 2, 3, 4}
    assert set(one.app.streams.status().partitions) < held


async def test_what_is_not_acknowledged_comes_again_after_a_stop(transport: Any, join: StartMember) -> None:
    await transport.declare("a", 1, ["g"])
    await transport.add("a", 0, *numbered(0, 10))
    first = await join(acks=False)
    await until(lambda: len(first.held) == 10)
    for event in first.held[:4]:
        event.ack()
    first.held[7].ack()  # Behind one that is not done with: may come again, must not be skipped to.
    await first.app.stop()
    second = await join()
    await until(lambda: len(second.got) >= 6)
    await asyncio.sleep(0.2)
    assert second.values() == numbered(4, 10)


async def test_what_a_killed_process_has_not_acknowledged_comes_again(
    transport: Any, join: StartMember, tmp_path: Path
) -> None:
    await transport.declare("a", 1, ["g"])
    await transport.declare("out", 1)
    await transport.add("a", 0, *numbered(0, 12))
    script = Path(__file__).with_name("contract_worker.py")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, str(script), transport.url, str(tmp_path / "worker")], stdout=subprocess.PIPE, env=env
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 20)
        assert line == b"ready\n"
    finally:
        process.kill()
        process.communicate()
    successor = await join()
    await until(lambda: len(successor.got) >= 7)
    await asyncio.sleep(0.2)
    assert successor.values() == numbered(5, 12)
    if "products_with_commit" in transport.capabilities:
        assert await transport.contents("out") == numbered(0, 5)


async def test_nothing_is_lost_when_the_server_is_killed_and_comes_back(transport: Any, join: StartMember) -> None:
    await transport.declare("a", 2, ["g"])
    member = await join()
    await transport.add("a", 0, *numbered(0, 100))
    await transport.kill()
    await asyncio.sleep(0.3)
    await transport.start()
    await transport.add("a", 1, *numbered(100, 200))
    await until(lambda: set(member.values()) == set(numbered(0, 200)))
    # What was acknowledged and not committed when it went away may come twice, and never out of order.
    for partition in (0, 1):
        firsts = list(dict.fromkeys(value for p, _, value in member.got if p == partition))
        assert firsts == sorted(firsts)


async def test_the_lag_is_what_is_not_committed(transport: Any, join: StartMember) -> None:
    await transport.declare("a", 1, ["g"])
    await transport.add("a", 0, *numbered(0, 7))
    member = await join(acks=False)
    await until(lambda: member.app.streams.status().lag.get(("a", 0)) == 7)
    for event in member.held:
        event.ack()
    await until(lambda: member.app.streams.status().lag.get(("a", 0)) == 0)
    assert member.app.streams.status().counts.messages_committed == 7


class Deriving(Member):
    """Produces a message on `out` for each event."""

    async def work(self, event: Any) -> None:
        self.app.sender.take(event, "out", event.value, partition=0, headers=[("from", b"g")])


async def test_what_an_agent_produces_arrives(transport: Any, join: StartMember) -> None:
    await transport.declare("a", 1, ["g"])
    await transport.declare("out", 1)
    await transport.add("a", 0, *numbered(0, 20))
    member = await join(kind=Learning)
    for _ in range(500):
        if len(await transport.contents("out")) >= 20:
            break
        await asyncio.sleep(0.01)
    assert await transport.contents("out") == numbered(0, 20)
    assert member.values() == numbered(0, 20)


class Learning(Deriving):
    """As `Deriving`; looks up the topic first, as workers do at their start."""

    async def work(self, event: Any) -> None:
        await self.app.streams.learn_topics(["out"])
        await super().work(event)


@pytest.mark.capability("products_with_commit")
async def test_what_an_agent_produces_goes_out_with_the_commit_or_not_at_all(transport: Any, join: StartMember) -> None:
    await transport.declare("a", 1, ["g"])
    await transport.declare("out", 1)
    await transport.add("a", 0, *numbered(0, 6))
    first = await join(kind=Learning, acks=False)
    await until(lambda: len(first.held) == 6)
    for event in first.held[:2]:
        event.ack()
    await until(lambda: first.app.streams.status().counts.messages_committed == 2)
    assert await transport.contents("out") == numbered(0, 2)
    await first.app.stop()
    assert await transport.contents("out") == numbered(0, 2)
    second = await join(kind=Learning)
    await until(lambda: second.app.streams.status().counts.messages_committed == 4)
    assert await transport.contents("out") == numbered(0, 6)


class Counting(Member):
    """Counts its messages in a table."""

    def __init__(self, app: EmbeddedApp, *, acks: bool = True) -> None:
        super().__init__(app, acks=acks)
        self.counts = app.Table("counts", key_type=str, value_type=int, default=int, partitions=2)

    async def work(self, event: Any) -> None:
        self.counts[event.value[-1:].decode()] += 1


@pytest.mark.capability("exact_tables")
async def test_a_table_counts_each_message_once_over_a_stop_and_a_kill_of_the_server(
    transport: Any, join: StartMember
) -> None:
    await transport.declare("a", 2, ["g"])
    await transport.add("a", 0, *numbered(0, 100))
    first = await join(kind=Counting)
    await until(lambda: len(first.got) >= 40)
    await first.app.stop()
    second = await join(kind=Counting)
    await transport.add("a", 0, *numbered(100, 200))
    await transport.kill()
    await transport.start()
    await until(lambda: second.got and second.got[-1][2] == b"00199")
    await until(lambda: second.app.streams.status().lag.get(("a", 0)) == 0)
    assert {key: second.counts[key] for key in "0123456789"} == dict.fromkeys("0123456789", 20)


async def test_a_producer_says_when_a_message_is_safe_and_when_it_cannot_tell(transport: Any) -> None:
    await transport.declare("a", 2, ["g"])
    producer = await transport.producer("a")
    for value in numbered(0, 10):
        await producer.add("a", value, [("h", b"1")])
    assert sorted(await transport.contents("a")) == numbered(0, 10)
    await producer.ping()
    await transport.kill()
    with pytest.raises(Unavailable):
        await producer.add("a", b"lost", [])
    with pytest.raises(Unavailable):
        await producer.ping()
    await transport.start()
    async with asyncio.timeout(10):
        while True:
            try:
                await producer.add("a", b"after", [])
                break
            except Unavailable:
                await asyncio.sleep(0.05)
    await producer.close()
    assert set(numbered(0, 10)) <= set(await transport.contents("a"))
