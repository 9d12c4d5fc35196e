"""The transports that the contract is tried on. Another one is a class with these methods and one line in `TRANSPORTS`."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis.asyncio

from topics.faust_app import EmbeddedApp, TransportConfig, create_app
from topics.producer import Producer
from topics.raw import Headers
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.entries import decode_entry, encode_entry
from topics.redis_streams.keys import Keys
from topics.redis_streams.stream_producer import StreamProducer

LEASE_S = 1.0


class TransportUnderTest(Protocol):
    """What the contract needs of a transport and its server.

    `capabilities` may name: `products_with_commit` (what an agent produces goes out with its event's commit or not at all) and
    `exact_tables` (a table shows exactly the committed events after any crash).
    """

    capabilities: frozenset[str]
    url: str

    async def declare(self, topic: str, partitions: int, groups: Iterable[str] = ()) -> None:
        """Make a topic, and groups that will read it."""

    async def add(self, topic: str, partition: int, *values: bytes, headers: Headers | None = None) -> None:
        """Add messages to one partition, in order."""

    async def contents(self, topic: str) -> list[bytes]:
        """Every value on a topic that no group has read, partition by partition."""

    def create_app(self, group: str) -> EmbeddedApp:
        """A new member of a group."""

    async def producer(self, topic: str) -> Producer:
        """A started producer for a topic."""

    async def kill(self) -> None:
        """The server dies."""

    async def start(self) -> None:
        """It comes back with its data."""

    async def close(self) -> None:
        """Stop everything."""


class RedisStreams:
    """Our driver on a redis-server with an append-only file."""

    capabilities = frozenset({"products_with_commit", "exact_tables"})

    def __init__(self, folder: Path) -> None:
        (folder / "redis").mkdir()
        self._folder = folder
        self._server = _load_redis_server().RedisServer(folder / "redis")
        self._server.start()
        self._client = redis.asyncio.Redis(port=self._server.port, protocol=2)
        self._keys = Keys()
        self.url: str = self._server.url

    async def declare(self, topic: str, partitions: int, groups: Iterable[str] = ()) -> None:
        await declare_topics(self._client, {topic: partitions}, readers={topic: groups})

    async def add(self, topic: str, partition: int, *values: bytes, headers: Headers | None = None) -> None:
        for value in values:
            entry = encode_entry(value, timestamp_ms=1, headers=headers or [])
            await self._client.execute_command("XADD", self._keys.stream(topic, partition), "0-*", *entry)

    async def contents(self, topic: str) -> list[bytes]:
        count = int(await self._client.hget(self._keys.topics, topic) or 0)
        found: list[bytes] = []
        for partition in range(count):
            for _, fields in await self._client.xrange(self._keys.stream(topic, partition)):
                found.append(decode_entry([part for pair in fields.items() for part in pair]).value or b"")
        return found

    def create_app(self, group: str) -> EmbeddedApp:
        return create_app(
            group, TransportConfig(url=self.url, data_dir=self._folder / "faust", lease_s=LEASE_S, drain_s=0.5)
        )

    async def producer(self, topic: str) -> Producer:
        producer = StreamProducer(self.url, topics=[topic])
        await producer.start()
        return producer

    async def kill(self) -> None:
        self._server.kill()

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)

    async def close(self) -> None:
        await self._client.aclose()
        self._server.kill()


def _load_redis_server() -> Any:
    """Load what the integration tests have; folders of tests are no packages."""
    path = Path(__file__).parents[1] / "integration" / "redis_streams_server.py"
    spec = importlib.util.spec_from_file_location("redis_streams_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TRANSPORTS = {"redis_streams": RedisStreams}


@pytest.fixture(params=sorted(TRANSPORTS))
async def transport(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TransportUnderTest]:
    started = TRANSPORTS[request.param](tmp_path)
    yield started
    await started.close()


@pytest.fixture(autouse=True)
def _has_capability(request: pytest.FixtureRequest) -> None:
    """Skip what a transport does not promise: `@pytest.mark.capability(name)`."""
    marker = request.node.get_closest_marker("capability")
    if marker is not None:
        transport = request.getfixturevalue("transport")
        if marker.args[0] not in transport.capabilities:
            pytest.skip(f"this transport does not promise {marker.args[0]}")
