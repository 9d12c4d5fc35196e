"""What the metric store must do, on plain PostgreSQL and on the real TimescaleDB."""

from __future__ import annotations

import asyncio
import math
import struct
import time
import uuid
from collections.abc import Sequence

import asyncpg
import numpy as np
import pytest

from storage.metric_reader import MetricPoint
from storage.metric_selection import LabelMatcher, MetricSelection
from storage.metrics import AlreadyStored, MetricsStored, MetricStore, SourceRange, _advance
from storage.scope import OrgScope
from storage.timescale import Timescale, TimescaleAddress
from topics.errors import Refused, TooExpensive, Unavailable
from topics.metric_columns import MetricBatch, Series, encode_series

STALE_BITS = 0x7FF0000000000002
STALE = struct.unpack("<d", struct.pack("<Q", STALE_BITS))[0]
S = 1_000_000
# An hour that is over, so that every step has whole buckets.
HOUR_US = (int(time.time()) // 3600 - 1) * 3600 * S

Point = tuple[dict[str, str], int, float]


@pytest.fixture
def store(store_timescale: Timescale) -> MetricStore:
    return MetricStore(store_timescale, series_max=1000)


@pytest.fixture
def scope() -> OrgScope:
    return OrgScope(str(uuid.uuid4()))


def batch(points: Sequence[Point], *, name: str = "requests", type_: str = "counter", unit: str = "1") -> MetricBatch:
    """(labels, seconds after HOUR_US, value) as a message has them."""
    series = [encode_series(Series(name, dict(sorted(labels.items())), type_, unit)) for labels, _, _ in points]
    distinct = list(dict.fromkeys(series))
    return MetricBatch(
        distinct,
        np.array([distinct.index(text) for text in series], np.int32),
        np.array([HOUR_US + at * S for _, at, _ in points], np.int64),
        np.array([struct.unpack("<q", struct.pack("<d", value))[0] for _, _, value in points], np.int64).view(
            np.float64
        ),
    )


class Offsets:
    """One message after the other of one partition."""

    def __init__(self) -> None:
        self.incarnation = uuid.uuid4().hex
        self.next = 1

    def take(self, messages: int = 1) -> SourceRange:
        self.next += messages
        return SourceRange(self.incarnation, "metrics", 0, self.next - messages, self.next - 1)


async def insert(store: MetricStore, scope: OrgScope, points: Sequence[Point], **metric: str) -> MetricsStored:
    return await store.insert([(scope, batch(points, **metric))], Offsets().take())


def selected(*labels: LabelMatcher, name: str = "requests", start: int = 0, end: int = 3600) -> MetricSelection:
    return MetricSelection(name, HOUR_US + start * S, HOUR_US + end * S, labels)


def seconds(points: list[MetricPoint]) -> list[tuple[int, float]]:
    return [((point.ts_us - HOUR_US) // S, point.value) for point in points]


# Writing.


async def test_points_and_offset_are_stored_together(store: MetricStore, scope: OrgScope) -> None:
    offsets = Offsets()
    assert await store.stored_through(offsets.incarnation, "metrics", 0) == 0
    blocks = [
        (scope, batch([({"host": "a"}, 0, 1.0), ({"host": "b"}, 0, 2.0)])),
        (scope, batch([({"host": "a"}, 15, 3.0)])),
    ]
    assert await store.insert(blocks, offsets.take(2)) == MetricsStored(points=3, refused_points=0, new_series=2)
    assert await store.stored_through(offsets.incarnation, "metrics", 0) == 3
    assert await store.stored_through(offsets.incarnation, "metrics", 1) == 0
    assert await store.stored_through("another", "metrics", 0) == 0
    assert await store.insert([(scope, batch([({"host": "b"}, 15, 4.0)]))], offsets.take()) == MetricsStored(1, 0, 0)
    series = [known.id for known in await store.find_series(scope, selected())]
    samples = await store.read_samples(scope, series, HOUR_US, HOUR_US + 60 * S)
    assert samples.value.tolist() == [1.0, 3.0, 2.0, 4.0]
    assert (samples.ts_us - HOUR_US).tolist() == [0, 15 * S, 0, 15 * S]


async def test_a_range_that_is_stored_is_refused_and_changes_nothing(store: MetricStore, scope: OrgScope) -> None:
    offsets = Offsets()
    await store.insert([(scope, batch([({}, 0, 1.0)]))], offsets.take(5))
    for first, last in ((1, 5), (5, 5), (3, 9)):
        again = SourceRange(offsets.incarnation, "metrics", 0, first, last)
        with pytest.raises(AlreadyStored) as refusal:
            await store.insert([(scope, batch([({}, 30, 99.0)]))], again)
        assert refusal.value.next_offset == 6
    assert await store.stored_through(offsets.incarnation, "metrics", 0) == 6
    assert seconds(await store.query(scope, selected(), step_us=3600 * S, aggregation="sum")) == [(0, 1.0)]


async def test_the_same_range_at_once_is_stored_once(store: MetricStore, scope: OrgScope) -> None:
    source = Offsets().take(3)
    runs = await asyncio.gather(
        *(store.insert([(scope, batch([({}, 0, 1.0)]))], source) for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(run, MetricsStored) for run in runs) == 1
    assert sum(isinstance(run, AlreadyStored) for run in runs) == 3
    assert seconds(await store.query(scope, selected(), step_us=60 * S, aggregation="count")) == [(0, 1.0)]


async def test_a_block_that_cannot_be_stored_leaves_nothing(store: MetricStore, scope: OrgScope) -> None:
    offsets = Offsets()
    source = offsets.take()
    for bad in (b"[not a series", b'["x",{"a":"\\u0000"},"",""]', encode_series(Series("n" * 1025, {}, "", ""))):
        good = batch([({"host": "a"}, 0, 1.0)])
        columns = MetricBatch([*good.series, bad], good.index, good.ts_us, good.value)
        with pytest.raises(Refused):
            await store.insert([(scope, columns)], source)
    beyond = batch([({"host": "a"}, 0, 1.0)])
    for ts_us in (2**62, -(2**62), 2**63 - 1, -(2**63)):
        far = MetricBatch(beyond.series, beyond.index, np.array([ts_us]), beyond.value)
        with pytest.raises(Refused, match="1 to 9999"):
            await store.insert([(scope, far)], source)
    assert await store.stored_through(offsets.incarnation, "metrics", 0) == 0
    assert await store.catalog(scope) == []
    assert (await store.insert([(scope, batch([({"host": "a"}, 0, 1.0)]))], source)).new_series == 1


async def test_an_empty_block_moves_the_offset(store: MetricStore, scope: OrgScope) -> None:
    offsets = Offsets()
    assert await store.insert([], offsets.take(2)) == MetricsStored(0, 0, 0)
    assert await store.stored_through(offsets.incarnation, "metrics", 0) == 3


async def test_of_equal_times_the_later_write_counts(store: MetricStore, scope: OrgScope) -> None:
    await insert(store, scope, [({}, 0, 1.0), ({}, 0, 2.0), ({}, 30, 10.0)])
    await insert(store, scope, [({}, 30, 5.0), ({}, 0, 7.0)])
    series = [known.id for known in await store.find_series(scope, selected())]
    assert (await store.read_samples(scope, series, HOUR_US, HOUR_US + 60 * S)).value.tolist() == [7.0, 5.0]
    for step in (20, 60):
        points = await store.query(scope, selected(end=60), step_us=step * S, aggregation="count")
        assert sum(point.value for point in points) == 2
    for aggregation, value in (("avg", 6.0), ("sum", 12.0), ("min", 5.0), ("max", 7.0)):
        assert seconds(await store.query(scope, selected(end=60), step_us=60 * S, aggregation=aggregation)) == [
            (0, value)
        ]
    # 7 -> 5 is a reset; the values that were overwritten do not count.
    assert seconds(await store.increase(scope, selected(end=60), step_us=60 * S)) == [(0, 5.0)]
    assert [sample.value for sample in await store.latest(scope, "requests", at_us=HOUR_US + 60 * S)] == [5.0]


async def test_nan_keeps_its_bits_and_counts_nowhere(store: MetricStore, scope: OrgScope) -> None:
    await insert(
        store, scope, [({}, 0, 1.0), ({}, 15, STALE), ({}, 30, math.nan), ({}, 45, 3.0), ({"b": "1"}, 0, STALE)]
    )
    series = [known.id for known in await store.find_series(scope, selected())]
    samples = await store.read_samples(scope, series, HOUR_US, HOUR_US + 60 * S)
    bits = samples.value.view(np.uint64)
    # New series are numbered in order of their labels' text, where {"b":"1"} comes before {}.
    assert bits[0] == bits[2] == STALE_BITS
    assert bits[3] == struct.unpack("<Q", struct.pack("<d", math.nan))[0]
    for step in (60, 20 * 60):
        for aggregation, value in (("avg", 2.0), ("sum", 4.0), ("count", 2.0), ("max", 3.0)):
            points = await store.query(scope, selected(), step_us=step * S, aggregation=aggregation)
            assert seconds(points) == [(0, value)], (step, aggregation)
    assert seconds(await store.increase(scope, selected(), step_us=60 * S)) == [(0, 2.0)]


async def test_huge_values_stop_nothing(store: MetricStore, scope: OrgScope) -> None:
    await insert(store, scope, [({}, at, 1.7e308 * sign) for at, sign in ((0, 1), (15, 1), (30, -1), (45, -1))])
    await insert(store, scope, [({}, at, value) for at, value in ((60, math.inf), (75, 1.0), (90, -math.inf))])
    other = OrgScope(str(uuid.uuid4()))
    await insert(store, other, [({}, 0, 1.0)])
    await store._pool.execute("SELECT count(summary) FROM metrics_1m_summaries")
    assert seconds(await store.query(other, selected(), step_us=60 * S, aggregation="sum")) == [(0, 1.0)]
    assert seconds(await store.query(scope, selected(start=60, end=120), step_us=60 * S, aggregation="max")) == [
        (60, math.inf)
    ]


# The limit of series.


async def test_series_beyond_the_limit_are_refused_and_counted(store_timescale: Timescale, scope: OrgScope) -> None:
    store = MetricStore(store_timescale, series_max=3)
    assert await insert(store, scope, [({"n": str(n)}, 0, 1.0) for n in range(5)]) == MetricsStored(3, 2, 3)
    # Those that are known go on, whether this process remembers them or not.
    for one in (store, MetricStore(store_timescale, series_max=3)):
        assert await insert(one, scope, [({"n": str(n)}, 15, 1.0) for n in range(5)]) == MetricsStored(3, 2, 0)
    assert len(await store.find_series(scope, selected())) == 3
    # Another organization has its own limit, and a higher one lets the rest in.
    assert (await insert(store, OrgScope(str(uuid.uuid4())), [({}, 0, 1.0)])).new_series == 1
    wider = MetricStore(store_timescale, series_max=5)
    assert await insert(wider, scope, [({"n": str(n)}, 30, 1.0) for n in range(5)]) == MetricsStored(5, 0, 2)


async def test_the_limit_is_exact_when_many_add_at_once(store_timescale: Timescale, scope: OrgScope) -> None:
    stores = [MetricStore(store_timescale, series_max=20) for _ in range(4)]
    points = [[({"n": str((7 * k + n) % 40)}, 0, 1.0) for n in range(30)] for k in range(4)]
    runs = await asyncio.gather(*(insert(one, scope, some) for one, some in zip(stores, points, strict=True)))
    assert sum(run.new_series for run in runs) == 20
    assert len(await stores[0].find_series(scope, selected())) == 20
    assert all(run.points + run.refused_points == 30 for run in runs)


async def test_a_cache_that_is_too_small_only_asks_more_often(store_timescale: Timescale, scope: OrgScope) -> None:
    store = MetricStore(store_timescale, series_max=100, cached_series_max=4)
    for at in (0, 15, 30):
        stored = await insert(store, scope, [({"n": str(n)}, at, 1.0) for n in range(30)])
        assert stored == MetricsStored(30, 0, 30 if at == 0 else 0)
    assert seconds(await store.query(scope, selected(), step_us=60 * S, aggregation="count")) == [(0, 90.0)]


# Reading.


@pytest.mark.parametrize(
    ("operator", "operand", "hosts"),
    [
        ("=", "a1", {"a1"}),
        ("!=", "a1", {"a2", "b1", None}),
        ("=~", "a.|b1", {"a1", "a2", "b1"}),
        ("=~", "a", set()),
        ("!~", "a.*", {"b1", None}),
        ("=", "", {None}),
        ("!=", "", {"a1", "a2", "b1"}),
        ("=~", ".*", {"a1", "a2", "b1", None}),
        ("=", "a1' OR '1'='1", set()),
    ],
)
async def test_label_matchers(
    store: MetricStore, scope: OrgScope, operator: str, operand: str, hosts: set[str | None]
) -> None:
    labels: list[dict[str, str]] = [{"host": "a1"}, {"host": "a2"}, {"host": "b1"}, {"region": "eu"}]
    await insert(store, scope, [(some, 0, 1.0) for some in labels])
    matcher = LabelMatcher("host", operator, operand)  # type: ignore[arg-type]  # each is one of the four
    found = await store.find_series(scope, selected(matcher))
    assert {series.labels.get("host") for series in found} == hosts
    points = await store.query(scope, selected(matcher), step_us=60 * S, aggregation="count")
    assert sum(point.value for point in points) == len(hosts)


async def test_what_cannot_be_asked_is_refused(store: MetricStore, scope: OrgScope) -> None:
    await insert(store, scope, [({"host": "a"}, 0, 1.0)])
    with pytest.raises(Refused):
        await store.find_series(scope, selected(LabelMatcher("host", "=~", "(")))
    with pytest.raises(Refused, match="aggregation"):
        await store.query(scope, selected(), step_us=S, aggregation="median")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(TooExpensive):
        await store.query(scope, selected(), step_us=1000, aggregation="avg")


async def test_increase_over_resets_gaps_and_borders(store: MetricStore, scope: OrgScope) -> None:
    # A sample every 15 s; b falls at 60 s, exactly between two minutes, and a within the first.
    a = [(0, 10.0), (15, 14.0), (30, 3.0), (45, 5.0), (60, 6.0), (300, 16.0)]
    b = [(0, 100.0), (45, 160.0), (60, 20.0), (75, 25.0)]
    await insert(store, scope, [({"s": "a"}, *p) for p in a] + [({"s": "b"}, *p) for p in b])
    expected = {"a": [(0, 4 + 3 + 2.0), (60, 1.0), (300, 10.0)], "b": [(0, 60.0), (60, 25.0)]}
    for name, points in expected.items():
        only = LabelMatcher("s", "=", name)
        assert seconds(await store.increase(scope, selected(only), step_us=60 * S)) == points
        total = sum(value for _, value in points)
        assert seconds(await store.increase(scope, selected(only), step_us=3600 * S)) == [(0, total)]
        assert sum(v for _, v in seconds(await store.increase(scope, selected(only), step_us=10 * S))) == total
    both = seconds(await store.rate(scope, selected(), step_us=60 * S))
    assert both == [(0, 69 / 60), (60, 26 / 60), (300, 10 / 60)]
    # A range that begins later still counts the rise over its border.
    assert seconds(await store.increase(scope, selected(start=60, end=120), step_us=60 * S)) == [(60, 26.0)]


async def test_buckets_are_whole_and_agree_for_every_step(store: MetricStore, scope: OrgScope) -> None:
    random = np.random.default_rng(7)
    values = random.integers(0, 1000, 240).astype(float)
    await insert(store, scope, [({"n": str(i % 2)}, i * 15, value) for i, value in enumerate(values)])
    for step in (15, 60, 300, 3600):
        groups = values.reshape(-1, step // 15)
        for aggregation, expected in (
            ("sum", groups.sum(axis=1)), ("min", groups.min(axis=1)), ("max", groups.max(axis=1)),
            ("avg", groups.mean(axis=1)),
        ):  # fmt: skip
            points = await store.query(scope, selected(), step_us=step * S, aggregation=aggregation)
            assert [p.value for p in points] == pytest.approx(expected.tolist()), (step, aggregation)
    points = await store.query(scope, selected(start=130, end=170), step_us=60 * S, aggregation="count")
    assert seconds(points) == [(120, 4.0)]


async def test_latest(store: MetricStore, scope: OrgScope) -> None:
    await insert(store, scope, [({"h": "often"}, at, float(at)) for at in (0, 3000, 3590)])
    await insert(store, scope, [({"h": "seldom"}, 10, 1.5), ({"h": "ended"}, 20, 1.0), ({"h": "ended"}, 30, STALE)])
    await insert(store, scope, [({"h": "long ago"}, -20 * 86400, 2.5), ({"h": "future"}, 3700, 9.0)])
    found = {sample.labels["h"]: sample for sample in await store.latest(scope, "requests", at_us=HOUR_US + 3600 * S)}
    assert {host: sample.value for host, sample in found.items()} == {"often": 3590.0, "seldom": 1.5, "long ago": 2.5}
    assert found["often"].ts_us == HOUR_US + 3590 * S
    only = (LabelMatcher("h", "=", "often"),)
    assert [s.value for s in await store.latest(scope, "requests", only, at_us=HOUR_US + 3000 * S)] == [3000.0]


async def test_catalog_and_active_series(store: MetricStore, scope: OrgScope) -> None:
    await insert(store, scope, [({"n": str(n)}, 0, 1.0) for n in range(3)], name="cpu", type_="gauge", unit="")
    await insert(store, scope, [({}, 900, 1.0)], name="requests", type_="", unit="")
    await insert(store, scope, [({}, 901, 1.0)], name="requests", type_="counter", unit="1")
    found = [(known.name, known.type, known.unit, known.series) for known in await store.catalog(scope)]
    assert found == [("cpu", "gauge", "", 3), ("requests", "counter", "1", 1)]
    assert [known.name for known in await store.catalog(scope, after="cpu")] == ["requests"]
    assert [known.name for known in await store.catalog(scope, limit=1)] == ["cpu"]
    assert await store.active_series(scope, HOUR_US, HOUR_US + 3600 * S) == 4
    assert await store.active_series(scope, HOUR_US + 60 * S, HOUR_US + 3600 * S) == 1
    assert await store.active_series(scope, HOUR_US + 60 * S, HOUR_US + 900 * S) == 0


async def test_another_organization_sees_nothing(store: MetricStore, scope: OrgScope) -> None:
    await insert(store, scope, [({"host": "a"}, 0, 1.0), ({"host": "a"}, 15, 2.0)])
    series = [known.id for known in await store.find_series(scope, selected())]
    other = OrgScope(str(uuid.uuid4()))
    for step in (10, 60, 300, 3600):
        assert await store.query(other, selected(), step_us=step * S, aggregation="sum") == []
        assert await store.increase(other, selected(), step_us=step * S) == []
        assert await store.rate(other, selected(), step_us=step * S) == []
    assert await store.latest(other, "requests", at_us=HOUR_US + 60 * S) == []
    assert await store.catalog(other) == []
    assert await store.find_series(other, selected()) == []
    assert await store.active_series(other, HOUR_US, HOUR_US + 3600 * S) == 0
    # With the ids in hand too.
    assert len((await store.read_samples(other, series, HOUR_US, HOUR_US + 60 * S)).value) == 0
    assert len((await store.read_samples(scope, series, HOUR_US, HOUR_US + 60 * S)).value) == 2
    # The same name and labels are a series of its own.
    await insert(store, other, [({"host": "a"}, 0, 50.0)])
    assert seconds(await store.query(scope, selected(), step_us=60 * S, aggregation="max")) == [(0, 2.0)]
    assert seconds(await store.query(other, selected(), step_us=60 * S, aggregation="min")) == [(0, 50.0)]


async def test_without_a_statement_cache(store_metrics_address: TimescaleAddress, scope: OrgScope) -> None:
    """As behind pgbouncer."""
    timescale = await Timescale.open(store_metrics_address, statement_cache_size=0)
    store = MetricStore(timescale, series_max=10)
    await insert(store, scope, [({}, 0, 1.0)])
    series = [known.id for known in await store.find_series(scope, selected())]
    assert len((await store.read_samples(scope, series, HOUR_US, HOUR_US + S)).value) == 1
    await timescale.close()


async def test_a_server_that_is_away_or_not_migrated_is_unavailable(store_dsn: str, scope: OrgScope) -> None:
    away = await Timescale.open(TimescaleAddress("127.0.0.1", 1, "aegis", "aegis"), connect_timeout_s=1.0)
    with pytest.raises(Unavailable):
        await insert(MetricStore(away, series_max=1), scope, [({}, 0, 1.0)])
    await away.close()
    connection = await asyncpg.connect(store_dsn)
    port, database = connection.get_server_pid() and store_dsn.rpartition(":")[2].split("/")
    await connection.close()
    bare = await Timescale.open(TimescaleAddress("127.0.0.1", int(port), database, "aegis"))
    with pytest.raises(Unavailable, match="aegis migrate"):
        await bare.capabilities()
    await bare.close()


async def test_blocks_are_stored_once_whatever_becomes_of_the_connection(
    store_plain_metrics_address: TimescaleAddress, scope: OrgScope
) -> None:
    """Every connection of the store is cut off again and again, in the middle of inserts and of commits."""
    timescale = await Timescale.open(store_plain_metrics_address)
    store, offsets = MetricStore(timescale, series_max=1000), Offsets()
    killer = await asyncpg.connect(store_plain_metrics_address.dsn)
    stop, cut = asyncio.Event(), 0

    async def cut_off() -> None:
        nonlocal cut
        while not stop.is_set():
            cut += await killer.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name = 'aegis' AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.05)

    cutting = asyncio.create_task(cut_off())
    lost = number = 0
    while number < 60 or (lost < 3 and number < 3000):
        points: list[Point] = [({"n": str(n % 50), "b": str(number % 7)}, number, 1.0) for n in range(500)]
        block, source = (
            batch([(labels, at * 10 + n // 50, 1.0) for n, (labels, at, _) in enumerate(points)]),
            offsets.take(),
        )
        for _ in range(1000):
            try:
                await store.insert([(scope, block)], source)
                break
            except AlreadyStored:
                break
            except Unavailable:
                lost += 1
        number += 1
    stop.set()
    await cutting
    await killer.close()
    assert cut >= lost >= 3
    assert await store.stored_through(offsets.incarnation, "metrics", 0) == number + 1
    stored = await timescale.pool.fetchval(
        "SELECT count(*) FROM metrics WHERE series_id IN (SELECT id FROM series WHERE org_id = $1)", scope.org_id
    )
    assert stored == number * 500
    counted = await timescale.pool.fetchval("SELECT series FROM series_counts WHERE org_id = $1", scope.org_id)
    assert counted == len(await store.find_series(scope, selected())) == 350
    await timescale.close()


# What must not go without bound.


async def test_too_many_samples_are_refused_and_the_pool_goes_on(store: MetricStore, scope: OrgScope) -> None:
    await insert(store, scope, [({}, at, float(at)) for at in range(3000)])
    [series] = [known.id for known in await store.find_series(scope, selected())]
    whole = (HOUR_US, HOUR_US + 3600 * S)
    for _ in range(6):  # More often than the pool has connections.
        with pytest.raises(TooExpensive):
            await store.read_samples(scope, [series], *whole, samples_max=2999)
    assert len((await store.read_samples(scope, [series], *whole, samples_max=3000)).value) == 3000


@pytest.mark.parametrize("step", [60, 20])
async def test_values_whose_sum_overflows_are_infinite_and_no_error(
    store: MetricStore, scope: OrgScope, step: int
) -> None:
    big = 1.5e308
    await insert(store, scope, [({}, 0, -big), ({}, 5, big), ({}, 10, big)])
    await insert(
        store,
        scope,
        [({}, 61, 1.0), ({}, 62, math.inf), ({}, 63, math.inf)],
    )
    sums = dict(seconds(await store.query(scope, selected(end=120), step_us=step * S, aggregation="sum")))
    assert math.isnan(sums[0])  # Minus and plus infinite.
    assert sums[60] == math.inf
    highest = seconds(await store.query(scope, selected(end=120), step_us=step * S, aggregation="max"))
    assert highest == [(0, big), (60, math.inf)]
    assert seconds(await store.increase(scope, selected(end=120), step_us=step * S)) == [(0, math.inf), (60, math.inf)]


async def test_a_writer_that_stops_in_its_transaction_is_ended_by_the_server(
    store_plain_metrics_address: TimescaleAddress, scope: OrgScope
) -> None:
    timescale = await Timescale.open(store_plain_metrics_address)
    store = MetricStore(timescale, series_max=10, abandoned_after_s=0.5)
    source = Offsets().take()

    async def stop_after_the_offset() -> None:
        """As `insert` of a worker that gets SIGSTOP: its connection stays open and says nothing."""
        async with timescale.pool.acquire() as connection, connection.transaction():
            await _advance(connection, source, "500ms")
            stopped.set()
            await asyncio.sleep(3600)

    stopped = asyncio.Event()
    predecessor = asyncio.create_task(stop_after_the_offset())
    await asyncio.wait_for(stopped.wait(), 30)
    try:
        stored = await asyncio.wait_for(store.insert([(scope, batch([({}, 0, 1.0)]))], source), 30)
        assert stored.points == 1
        # And the settings ended with their transaction.
        assert await timescale.pool.fetchval("SHOW statement_timeout") == "0"
    finally:
        predecessor.cancel()
        await asyncio.gather(predecessor, return_exceptions=True)
        await timescale.close()
