"""Which agent reads which topic: one Faust app (consumer group) a duty, so that a stopped store never stops the others.

normalize    logs.raw    -> normalize_logs    -> logs       -> store_logs     -> ClickHouse     store
             metrics.raw -> normalize_metrics -> metrics    -> store_metrics  -> TimescaleDB
             traces.raw  -> normalize_traces  -> traces     -> store_spans    -> ClickHouse
             rum.raw     -> normalize_rum     -> rum        -> store_rum      -> ClickHouse
watch        usage       -> count_usage       -> a table    -> usage_daily (each normalize agent counts what it has in hand)
             panes       -> watch_panes       -> a table    -> alerts      (what it has in hand for monitors, and the time)
notify       alerts      -> record_alerts     -> alerts and the outbox, which send_notifications sends

The store agents share a group, and a stopped database stops only the topics that go there: offsets, bounds of what is held and
block writers are a topic partition's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from agents.blocks import BlockBounds
from agents.count_usage import CountUsage, Flush
from agents.delivery import Delivery, Produce, message_headers, until_available
from agents.followed_monitors import FollowedMonitors
from agents.inserts import ColumnStore, Insert, PointStore, columns_into, points_into
from agents.normalize_logs import normalize_logs
from agents.normalize_metrics import normalize_metrics
from agents.normalize_rum import normalize_rum
from agents.normalize_traces import normalize_traces
from agents.raw_batches import Keep, usage_of, without_encoding
from agents.record_alerts import Record, RecordAlerts
from agents.refused_records import normalize_apart
from agents.scrubbers import Scrubbers, count_scrubbed
from agents.store_blocks import StoreBlocks
from agents.watch_panes import WatchPanes
from agents.watch_parts import KeptColumns, WatchParts
from agents.watched_groups import WatchedGroups
from enrichment.attributes import Enrichment
from tables.usage import UsageTotals, create_usage_table
from tables.windows import WindowRows, create_windows_table
from topics import metric_columns, transitions, usage_counts
from topics.faust_app import EmbeddedApp, TransportConfig, create_app
from topics.log_columns import LOG_MESSAGES
from topics.names import (
    ALERTS,
    LOGS,
    LOGS_RAW,
    METRICS,
    METRICS_RAW,
    NORMALIZE_GROUP,
    NOTIFY_GROUP,
    PANES,
    READERS,
    RUM,
    RUM_RAW,
    STORE_GROUP,
    TRACES,
    TRACES_RAW,
    USAGE,
    WATCH_GROUP,
)
from topics.raw import Headers, RawBatch
from topics.rum_columns import RUM_MESSAGES
from topics.span_columns import SPAN_MESSAGES
from topics.transitions import AlertMessage

DUTIES: Final = ("normalize", "store", "watch", "notify")

Crash = Callable[[BaseException], None]


class Normalize(Protocol):
    """One raw batch, and where it stood -> the message that comes of it. Raises `Refused`."""

    def __call__(
        self, batch: RawBatch, *, partition: int, offset: int, enrichment: Enrichment | None, keep: Keep | None
    ) -> tuple[bytes, Headers]: ...


_NORMALIZE: Final[tuple[tuple[str, str, str, Normalize], ...]] = (
    ("normalize_logs", LOGS_RAW, LOGS, normalize_logs),
    ("normalize_metrics", METRICS_RAW, METRICS, normalize_metrics),
    ("normalize_traces", TRACES_RAW, TRACES, normalize_traces),
    ("normalize_rum", RUM_RAW, RUM, normalize_rum),
)


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the store agents write."""

    logs: ColumnStore
    spans: ColumnStore
    rum: ColumnStore
    metrics: PointStore


def create_normalize_app(
    config: TransportConfig,
    *,
    scrubbers: Scrubbers,
    crash: Crash,
    enrichment: Enrichment | None = None,
    monitors: FollowedMonitors | None = None,
) -> EmbeddedApp:
    """Raw batches -> columns, with what `enrichment` knows of clients, without what `scrubbers` take out.

    What the columns hold for `monitors` goes to topic `panes` beside them.
    """
    app = create_app(NORMALIZE_GROUP, config)
    watched = None if monitors is None else WatchParts(monitors, _partition_of_panes(app))
    for name, source, target, normalize in _NORMALIZE:
        work = partial(normalize, enrichment=enrichment)
        _add_normalize_agent(app, name, source, target, work, scrubbers, watched, crash)
    app.task(scrubbers.keep_rereading)
    return app


def _add_normalize_agent(
    app: EmbeddedApp,
    name: str,
    source: str,
    target: str,
    normalize: Callable[..., tuple[bytes, Headers]],
    scrubbers: Scrubbers,
    watched: WatchParts | None,
    crash: Crash,
) -> None:
    delivery = Delivery(name, produce=_producer(app), crash=crash)

    async def take(event: Any) -> None:
        app.sender.check_room(target)
        message = event.message
        batch = RawBatch.from_message(message.value, message_headers(message).items())
        batch = without_encoding(batch)
        scrubber = await scrubbers.of(batch.org_id)
        scrubber.take_counts()  # Of a batch that was refused half-way.
        kept = KeptColumns() if watched is not None and await watched.watches(batch.org_id, target) else None
        if kept is not None:
            app.sender.check_room(PANES)
        work = partial(normalize, partition=message.partition, offset=message.offset, scrub=scrubber, keep=kept)
        (value, headers), refused = normalize_apart(work, batch)
        scrubbed = dict(scrubber.take_counts())
        count_scrubbed(scrubbed)
        for record in refused:
            delivery.bury(event, record.reason, part=(record.batch.body, _headers_of(record.batch, message)))
        # The same partition number: it is ours, and what comes of one partition stays in order.
        app.sender.take(event, target, value, partition=message.partition, headers=headers)
        counts = usage_of(batch, target, int(dict(headers)["rows"]), scrubbed)
        app.sender.take(event, USAGE, usage_counts.encode(counts), key=batch.org_id.encode())
        if watched is not None and kept is not None:
            for partition, panes in watched.messages(batch.org_id, target, kept.columns, batch.received_at_ms):
                app.sender.take(event, PANES, panes, partition=partition)

    async def agent(stream: Any) -> None:
        await delivery.each(stream, take)

    app.agent(app.topic(source), name=name)(agent)


def _headers_of(batch: RawBatch, message: Any) -> Headers:
    """The headers of a part of a message: how often it was replayed is kept."""
    own = batch.headers()
    names = {name for name, _ in own}
    return own + [(name, text) for name, text in message_headers(message).items() if name not in names]


def create_store_app(config: TransportConfig, *, stores: Stores, bounds: BlockBounds, crash: Crash) -> EmbeddedApp:
    """Columns -> the stores."""
    app = create_app(STORE_GROUP, config)
    to_store: tuple[tuple[str, str, bytes, Insert], ...] = (
        ("store_logs", LOGS, LOG_MESSAGES.version, columns_into(stores.logs, LOG_MESSAGES)),
        ("store_metrics", METRICS, metric_columns.SCHEMA_VERSION, points_into(stores.metrics)),
        ("store_spans", TRACES, SPAN_MESSAGES.version, columns_into(stores.spans, SPAN_MESSAGES)),
        ("store_rum", RUM, RUM_MESSAGES.version, columns_into(stores.rum, RUM_MESSAGES)),
    )
    agents = [_add_store_agent(app, *each, bounds, crash) for each in to_store]

    async def forget(partitions: set[Any]) -> None:
        dropped = [await agent.stop_writers(partitions) for agent in agents]
        for partition in set().union(*dropped):
            # Nobody will acknowledge them any more, so nobody needs to wait for it.
            app.streams.abandon(partition)

    # A partition that is given up, lost or begun again starts with an empty buffer and the ledger.
    for hooks in (app.streams.before_revoke, app.streams.after_loss, app.streams.after_assign):
        hooks.append(forget)
    return app


def create_watch_app(
    config: TransportConfig, *, flush_usage: Flush, crash: Crash, monitors: FollowedMonitors | None = None
) -> EmbeddedApp:
    """What is keyed -> tables, and what they show: usage, and with `monitors` their states."""
    app = create_app(WATCH_GROUP, config)
    usage = CountUsage(UsageTotals(create_usage_table(app, partitions=config.partitions)), flush_usage)
    delivery = Delivery("count_usage", produce=_producer(app), crash=crash)

    async def agent(stream: Any) -> None:
        await delivery.each(stream, usage.count)

    app.agent(app.topic(USAGE), name="count_usage")(agent)
    app.streams.after_assign.append(usage.assigned)
    app.task(usage.keep_flushing)
    if monitors is not None:
        _add_watch_agent(app, config.partitions, monitors, crash)
    return app


def create_notify_app(
    config: TransportConfig, *, record: Record, recorded: Callable[[], None], public_url: str, crash: Crash
) -> EmbeddedApp:
    """Transitions -> alerts and who is told of them; `recorded` is called when something new may wait in the outbox."""
    app = create_app(NOTIFY_GROUP, config)
    delivery = Delivery("record_alerts", produce=_producer(app), crash=crash)
    recorder = RecordAlerts(record, delivery, recorded=recorded, public_url=public_url)

    async def agent(stream: Any) -> None:
        await recorder.run(stream)

    app.agent(app.topic(ALERTS), name="record_alerts")(agent)
    return app


def _add_watch_agent(app: EmbeddedApp, partitions: int, monitors: FollowedMonitors, crash: Crash) -> None:
    rows = WindowRows(create_windows_table(app, partitions=partitions))
    delivery = Delivery("watch_panes", produce=_producer(app), crash=crash)

    def send(event: Any, message: AlertMessage) -> None:
        app.sender.take(event, ALERTS, transitions.encode(message), key=transitions.key_of(message.monitor_id))

    def send_time(partition: int, tick: bytes) -> None:
        app.sender.take(None, PANES, tick, partition=partition)

    watch = WatchPanes(WatchedGroups(rows, _partition_of_panes(app)), monitors, send=send, send_time=send_time)

    async def take(event: Any) -> None:
        app.sender.check_room(ALERTS)
        await watch.watch(event)

    async def agent(stream: Any) -> None:
        await delivery.each(stream, take)

    app.agent(app.topic(PANES), name="watch_panes")(agent)
    app.streams.after_assign.append(watch.assigned)
    app.task(watch.keep_ticking)


def _partition_of_panes(app: EmbeddedApp) -> Callable[[bytes], int]:
    return lambda key: int(app.sender.key_partition(PANES, key).partition)


def _add_store_agent(
    app: EmbeddedApp, name: str, topic: str, schema: bytes, insert: Insert, bounds: BlockBounds, crash: Crash
) -> StoreBlocks:
    delivery = Delivery(name, produce=_producer(app), crash=crash)
    store = StoreBlocks(app, schema=schema, insert=insert, bounds=bounds, delivery=delivery)

    async def agent(stream: Any) -> None:
        await store.run(stream)

    app.agent(app.topic(topic), name=name)(agent)
    return store


async def learn_topics(app: EmbeddedApp) -> None:
    """Look up the partitions of every topic that an agent may produce to; again until the transport is there."""
    await until_available(partial(app.streams.learn_topics, list(READERS)), who="a worker", what="the topics")


def _producer(app: EmbeddedApp) -> Produce:
    def produce(event: Any, topic: str, value: bytes | None, headers: Headers, key: bytes | None) -> None:
        app.sender.take(event, topic, value, headers=headers, key=key)

    return produce
