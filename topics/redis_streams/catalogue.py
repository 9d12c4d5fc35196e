"""Which topics exist and who reads them: declarations in, partition counts and the transport's incarnation out."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, Protocol

from topics.errors import Refused
from topics.redis_streams.keys import Keys
from topics.redis_streams.scripts import ADOPT_RUN
from topics.redis_streams.wire import Command, Wire, read_run_id


class Commands(Protocol):
    """What `declare_topics` needs of a client: redis.asyncio.Redis has it."""

    def execute_command(self, *args: Any) -> Awaitable[Any]:
        """Send one command and return its reply."""
        ...


async def declare_topics(
    redis: Commands,
    topics: Mapping[str, int],
    *,
    readers: Mapping[str, Iterable[str]],
    namespace: str = "aegis",
) -> None:
    """Make topics known with their number of partitions, and register every group that reads them.

    Call it at the start of every process. A registered group that has never run keeps everything from being trimmed
    that it has not read. An existing topic keeps its number of partitions: another number is `Refused`, because agents
    would look for keys in the wrong place.
    """
    keys = Keys(namespace)
    for topic, partitions in topics.items():
        await redis.execute_command("HSETNX", keys.topics, topic, partitions)
        stored = int(await redis.execute_command("HGET", keys.topics, topic))
        if stored != partitions:
            raise Refused(f"cannot declare topic {topic} with {partitions} partitions: it has {stored}")
        for partition in range(stored):
            for group in readers.get(topic, ()):
                await redis.execute_command("HSETNX", keys.committed(topic, partition), group, 1)


async def read_incarnation(redis: Commands, *, namespace: str = "aegis") -> str:
    """Return the name of the history that offsets belong to now, making it known on first use.

    It changes when Redis restarts or fails over, since the last writes may be missing then and offsets be given twice.
    """
    info = await redis.execute_command("INFO", "server")
    run_id = str(info["run_id"]) if isinstance(info, Mapping) else read_run_id(info)
    args = ("EVAL", ADOPT_RUN, 1, Keys(namespace).incarnation, run_id, secrets.token_hex(8))
    name = await redis.execute_command(*args)
    return name.decode() if isinstance(name, bytes) else str(name)


async def adopt_run(wire: Wire, keys: Keys) -> str:
    """Return the incarnation for the run of Redis that this wire speaks to. Raises Unavailable."""
    await wire.call(("PING",))
    args = ("EVAL", ADOPT_RUN, 1, keys.incarnation, wire.run_id, secrets.token_hex(8))
    (name,) = await wire.call(args, session=wire.session)
    return bytes(name).decode()


class Catalogue:
    """What one process knows of the topics, over its own wire; counts are remembered, for they never change."""

    def __init__(self, wire: Wire, keys: Keys, default_partitions: int) -> None:
        self._wire = wire
        self._keys = keys
        self._default = default_partitions
        self._partitions: dict[str, int] = {}

    def known(self, topic: str) -> int | None:
        """Return the number of partitions if it has been asked for before."""
        return self._partitions.get(topic)

    async def partitions(self, topic: str, create: int | None = None) -> int:
        """Return the number of partitions, declaring the topic if it is new. Raises Unavailable."""
        known = self._partitions.get(topic)
        if known is None:
            replies = await self._wire.call(
                ("HSETNX", self._keys.topics, topic, create or self._default), ("HGET", self._keys.topics, topic)
            )
            known = self._partitions[topic] = int(replies[1])
        return known

    async def require_equal(self, changelog: str, sources: Iterable[str]) -> None:
        """Refuse a table that is not partitioned as the topics are that fill it. Raises Unavailable and Refused.

        Faust sees it at the first write only, and then in every event.
        """
        own = await self.partitions(changelog)
        for topic in sorted(sources):
            if (number := await self.partitions(topic)) != own:
                raise Refused(
                    f"cannot keep a table: {changelog} has {own} partitions and {topic}, which the same group reads, "
                    f"has {number}"
                )

    async def register(self, group: str, topics: Iterable[str]) -> None:
        """Register a group as a reader of topics, and show it to Redis tooling. Raises Unavailable."""
        commands: list[Command] = []
        for topic in topics:
            for partition in range(await self.partitions(topic)):
                commands.append(("HSETNX", self._keys.committed(topic, partition), group, 1))
                commands.append(("XGROUP", "CREATE", self._keys.stream(topic, partition), group, 0, "MKSTREAM"))
        # BUSYGROUP says that the group is there already, which is what was wanted.
        await self._wire.call(*commands, strict=False)

    async def incarnation(self) -> str:
        """Return the incarnation of the transport for the run of Redis that answers now.

        Raises Unavailable, and Refused when this Redis would lose data or is too old.
        """
        info, policy = await self._wire.call(("INFO", "server"), ("CONFIG", "GET", "maxmemory-policy"), strict=False)
        check_server(info, policy)
        return await adopt_run(self._wire, self._keys)

    async def close(self) -> None:
        """Close the wire; it opens again when it is used again."""
        await self._wire.close()


def check_server(info: bytes, policy: Any) -> None:
    """Refuse a Redis that drops entries when it is full, or that cannot number them.

    `policy` is the reply of CONFIG GET maxmemory-policy; where CONFIG is forbidden it says nothing.
    """
    version = next((line[14:].decode() for line in info.splitlines() if line.startswith(b"redis_version:")), "0")
    if int(version.partition(".")[0]) < 7:
        raise Refused(f"cannot use Redis {version}: 7.0 is the first that numbers stream entries by itself")
    if isinstance(policy, list) and len(policy) == 2 and policy[1] != b"noeviction":
        raise Refused(
            f"cannot use Redis: its maxmemory-policy is {policy[1].decode()}, which drops data; set noeviction"
        )
