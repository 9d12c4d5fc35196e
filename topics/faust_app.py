"""A Faust app on our transport: a consumer group and settings in, an app out that lives inside another process's loop.

Faust by itself wants to be the program: it reads the environment, opens a web server, declares topics of its own, writes
folders and measures every message. An app from here does none of that; two of them can share one loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import faust
from faust.stores import STORES
from faust.tables.manager import TableManager
from mode.types import ServiceT
from yarl import URL

from topics.errors import Refused
from topics.redis_streams.config import TransportConfig
from topics.redis_streams.consumer import Consumer
from topics.redis_streams.producer import Producer
from topics.redis_streams.transport import Transport
from topics.streaming import Sender, Streams

__all__ = ["EmbeddedApp", "TransportConfig", "create_app"]

STORES.aliases["partitioned"] = "topics.redis_streams.store:PartitionedStore"

_NO_QUEUE_BOUND = 1 << 20
"""Faust's bound on queued messages would block the reading of all partitions for one; the transport has its own."""


class RawSchema(faust.Schema):  # type: ignore[type-arg]  # Faust's class takes no arguments at run time
    """Hands bytes to agents as they are; Faust's way through its codecs costs 4 us a message and changes nothing."""

    def compile(self, app: Any, **options: Any) -> Any:
        """Return the function that makes events of messages."""
        if self.key_type or self.value_type or {self.key_serializer, self.value_serializer} - {None, "raw"}:
            return super().compile(app, **options)
        # Asked for once: `app.create_event` looks it up among the settings with every message, which costs 1 us.
        event_class = app.conf.Event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return event_class(app, message.key, message.value, message.headers, message)

        return decode


class EventStream(faust.Stream):  # type: ignore[type-arg]  # Faust's class takes no arguments at run time
    """Events one after the other. What Faust has for batches loses messages, so it is refused."""

    def take(self, *args: Any, **kwargs: Any) -> Any:
        """Raise RuntimeError: a batch is acknowledged also when the agent raises, and tables cannot be written in it."""
        raise RuntimeError("cannot take batches: collect events of stream.noack().events() and acknowledge each")

    take_events = take_with_timestamp = noack_take = take


class Tables(TableManager):
    """Faust's tables without the second that they wait at every start: agents are known by then."""

    async def on_start(self) -> None:
        """Start recovery at once. Raises Refused for tables that would be wrong here."""
        for table in self.values():
            _check_table(table)
        await self._update_channels()
        await self.recovery.start()


def _check_table(table: Any) -> None:
    """Refuse what would show less than was written, or write what no commit knows of."""
    if table.window is not None or table._on_window_close is not None:
        raise Refused(
            f"cannot keep table {table.name}: Faust closes a window without its data, and outside of events; "
            "make the window part of the key and close it in the agent"
        )
    if table.is_global:
        raise Refused(f"cannot keep table {table.name}: a global one would show the rows of this worker only")


class EmbeddedApp(faust.App):
    """A Faust app that is a guest: started and stopped by `await app.start()` and `await app.stop()`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._failed = asyncio.Event()

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        """Leave out the Monitor: it costs about a third of the time of a small message."""
        services = super().on_init_dependencies()
        self.sensors.remove(self.monitor)
        return services

    async def start(self) -> None:
        """Return when partitions are assigned; raise what kept the app from starting."""
        await super().start()
        if self.crash_reason is not None:
            raise self.crash_reason

    def on_rebalance_start(self) -> None:
        """Mark the rebalance as measured by nobody; Faust warns about an empty measurement otherwise."""
        super().on_rebalance_start()
        self._rebalancing_sensor_state = {"measured by": None}

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        """End the worker, acknowledging nothing: Faust acknowledges the event of an agent that raised, a moment later."""
        cast(Consumer, self.consumer).abandon()
        await self.crash(exc)

    def _crash(self, reason: BaseException) -> None:
        super()._crash(reason)
        self._failed.set()

    async def wait_until_failed(self) -> BaseException:
        """Return the reason once the app cannot go on: end the process then, so that others take its partitions."""
        await self._failed.wait()
        return self.crash_reason or RuntimeError("the app failed without a reason")

    @property
    def streams(self) -> Streams:
        """The consumer: hooks, ledgers, status."""
        return cast(Consumer, self.consumer)

    @property
    def sender(self) -> Sender:
        """The producer: `take` attaches a message to an event without waiting."""
        return cast(Producer, self.producer)


def create_app(group: str, config: TransportConfig) -> EmbeddedApp:
    """Return an app of the consumer group `group`; keys and values are raw bytes. Define its agents, then start it.

    `start()` returns when partitions are assigned, so it waits for as long as Redis is away. `stop()` commits what
    agents finish within `drain_s` seconds and gives the partitions up.
    """
    app = EmbeddedApp(
        group,
        broker=config.url,
        datadir=str(config.data_dir / group),
        autodiscover=False,
        origin=None,
        web_enabled=False,
        store="partitioned://",
        key_serializer="raw",
        value_serializer="raw",
        topic_partitions=config.partitions,
        topic_disable_leader=True,
        reply_create_topic=False,
        table_standby_replicas=0,
        broker_commit_interval=config.commit_interval_s,
        stream_wait_empty=True,
        stream_recovery_delay=0.0,
        stream_buffer_maxsize=_NO_QUEUE_BOUND,
        cython_optimizations=True,
        worker_redirect_stdouts=False,
        Stream=EventStream,
        TableManager=Tables,
        Schema=RawSchema,
        env={},
    )
    config.data_dir.mkdir(parents=True, exist_ok=True)
    app.transport = Transport([URL(config.url)], app, config=config)
    return app
