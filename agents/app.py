"""Which agent reads which topic: one Faust app (consumer group) a duty, so that a stopped store never stops the others.

normalize    logs.raw -> normalize_logs -> logs
store        logs     -> store_logs     -> ClickHouse
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from agents.blocks import BlockBounds
from agents.delivery import Delivery, Produce, message_headers, until_available
from agents.normalize_logs import message_of, normalize_logs
from agents.store_logs import StoreLogs
from storage.logs import LogStore
from topics.faust_app import EmbeddedApp, TransportConfig, create_app
from topics.names import LOGS, LOGS_RAW, NORMALIZE_GROUP, READERS, STORE_GROUP
from topics.raw import Headers, RawBatch

DUTIES: Final = ("normalize", "store")

Crash = Callable[[BaseException], None]


def create_normalize_app(config: TransportConfig, *, crash: Crash) -> EmbeddedApp:
    """Raw batches -> columns."""
    app = create_app(NORMALIZE_GROUP, config)
    delivery = Delivery("normalize_logs", produce=_producer(app), crash=crash)

    async def work(event: Any) -> None:
        app.sender.check_room(LOGS)
        message = event.message
        batch = RawBatch.from_message(message.value, message_headers(message).items())
        columns = normalize_logs(batch, partition=message.partition, offset=message.offset)
        value, headers = message_of(columns)
        # The same partition number: it is ours, and what comes of one partition stays in order.
        app.sender.take(event, LOGS, value, partition=message.partition, headers=headers)

    async def agent(stream: Any) -> None:
        await delivery.each(stream, work)

    app.agent(app.topic(LOGS_RAW), name="normalize_logs")(agent)
    return app


def create_store_app(config: TransportConfig, *, logs: LogStore, bounds: BlockBounds, crash: Crash) -> EmbeddedApp:
    """Columns -> the stores."""
    app = create_app(STORE_GROUP, config)
    delivery = Delivery("store_logs", produce=_producer(app), crash=crash)
    store = StoreLogs(app, logs=logs, bounds=bounds, delivery=delivery)

    async def agent(stream: Any) -> None:
        await store.run(stream)

    app.agent(app.topic(LOGS), name="store_logs")(agent)
    # A partition that is given up, lost or begun again starts with an empty buffer and the ledger.
    for hooks in (app.streams.before_revoke, app.streams.after_loss, app.streams.after_assign):
        hooks.append(store.forget)
    return app


async def learn_topics(app: EmbeddedApp) -> None:
    """Look up the partitions of every topic that an agent may produce to; again until the transport is there."""
    await until_available(partial(app.streams.learn_topics, list(READERS)), who="a worker", what="the topics")


def _producer(app: EmbeddedApp) -> Produce:
    def produce(event: Any, topic: str, value: bytes | None, headers: Headers, key: bytes | None) -> None:
        app.sender.take(event, topic, value, headers=headers, key=key)

    return produce
