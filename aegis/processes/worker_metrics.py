"""The apps of a worker -> Prometheus metrics about their consumer groups, read when /metrics is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from topics.faust_app import EmbeddedApp
from topics.streaming import Status


class GroupMetrics(Collector):
    """What the apps' consumers say of themselves. Costs nothing until it is asked."""

    def __init__(self, apps: Mapping[str, EmbeddedApp]) -> None:
        self._apps = apps

    def collect(self) -> Iterator[Metric]:
        """The metrics now."""
        return collect_statuses([app.streams.status() for app in self._apps.values()])


@contextmanager
def registered(apps: Mapping[str, EmbeddedApp], registry: CollectorRegistry = REGISTRY) -> Iterator[None]:
    """Metrics about these apps are part of /metrics for as long as this lasts."""
    collector = GroupMetrics(apps)
    registry.register(collector)
    try:
        yield
    finally:
        registry.unregister(collector)


def collect_statuses(statuses: list[Status]) -> Iterator[Metric]:
    """One snapshot a group -> metrics. A lag that the transport cannot tell is left out."""
    each = ["group", "topic", "partition"]
    lag = GaugeMetricFamily("aegis_group_lag_messages", "Messages that a group has not committed", labels=each)
    pending = GaugeMetricFamily(
        "aegis_group_pending_messages", "Messages read and not committed yet, by this process", labels=each
    )
    for status in statuses:
        for (topic, partition), count in status.lag.items():
            if count >= 0:
                lag.add_metric([status.group, topic, str(partition)], count)
        for (topic, partition), count in status.pending_messages.items():
            pending.add_metric([status.group, topic, str(partition)], count)
    yield lag
    yield pending
    gauges = {
        "aegis_group_pending_bytes": ("Bytes read and not committed yet, by this process", "pending_bytes"),
        "aegis_group_connected": ("1 while this process renews its leases", "connected"),
    }
    for name, (text, field) in gauges.items():
        gauge = GaugeMetricFamily(name, text, labels=["group"])
        for status in statuses:
            gauge.add_metric([status.group], float(getattr(status, field)))
        yield gauge
    owned = GaugeMetricFamily("aegis_group_partitions", "Partitions that this process owns", labels=["group"])
    for status in statuses:
        owned.add_metric([status.group], len(status.partitions))
    yield owned
    counters = {
        "aegis_group_rebalances": ("Times that partitions came or went", "rebalances"),
        "aegis_group_commits": ("Transactions committed", "commits"),
        "aegis_group_messages_committed": ("Messages done with", "messages_committed"),
        "aegis_group_fenced_partitions": ("Partitions lost with work under way", "fenced"),
    }
    for name, (text, field) in counters.items():
        counter = CounterMetricFamily(name, text, labels=["group"])
        for status in statuses:
            counter.add_metric([status.group], getattr(status.counts, field))
        yield counter
