"""Samples by selection, on plain PostgreSQL and on the real TimescaleDB: what is remembered is never old, and nobody else's."""

from __future__ import annotations

import itertools
import math
import struct
import time
import uuid
from collections.abc import Sequence

import numpy as np
import pytest

from storage.metric_selection import LabelMatcher
from storage.metrics import MetricStore, SourceRange
from storage.sample_reader import SampleReader, SampleSelection
from storage.scope import OrgScope
from storage.selection_memory import SelectedSamples
from storage.timescale import Timescale
from topics.errors import Refused, TooExpensive
from topics.metric_columns import MetricBatch, Series, encode_series

STALE_BITS = 0x7FF0000000000002
STALE = struct.unpack("<d", struct.pack("<Q", STALE_BITS))[0]
HOUR_S = 3600
# The beginning of an hour that ended three hours ago.
BEGIN_S = (int(time.time()) // HOUR_S - 4) * HOUR_S

Point = tuple[str, dict[str, str], float, float]


@pytest.fixture
def store(store_timescale: Timescale) -> MetricStore:
    return MetricStore(store_timescale, series_max=10_000)


@pytest.fixture
def reader(store_timescale: Timescale) -> SampleReader:
    return SampleReader(store_timescale)


@pytest.fixture
def scope() -> OrgScope:
    return OrgScope(str(uuid.uuid4()))


async def write(store: MetricStore, scope: OrgScope, points: Sequence[Point], *, since_s: float = BEGIN_S) -> None:
    """(name, labels, seconds after `since_s`, value), one block."""
    texts = [encode_series(Series(name, dict(sorted(labels.items())), "", "")) for name, labels, _, _ in points]
    distinct = list(dict.fromkeys(texts))
    bits = [struct.unpack("<q", struct.pack("<d", value))[0] for *_, value in points]
    columns = MetricBatch(
        distinct,
        np.array([distinct.index(text) for text in texts], np.int32),
        np.array([round((since_s + at) * 1e6) for _, _, at, _ in points], np.int64),
        np.array(bits, np.int64).view(np.float64),
    )
    await store.insert([(scope, columns)], SourceRange(uuid.uuid4().hex, "metrics", 0, 1, 1))


def of(name: str, *matchers: LabelMatcher, start: float = 0, end: float = 3 * HOUR_S) -> SampleSelection:
    begin = BEGIN_S * 1000
    return SampleSelection(
        (LabelMatcher("__name__", "=", name), *matchers), begin + int(start * 1000), begin + int(end * 1000)
    )


def shown(found: SelectedSamples) -> dict[str, list[tuple[float, float]]]:
    """Label n -> (seconds, value) of what lies in the first hours."""
    answer = {}
    for i, labels in enumerate(found.series.labels):
        part = slice(int(found.offsets[i]), int(found.offsets[i + 1]))
        seconds = (found.ts_ms[part] - BEGIN_S * 1000) / 1000
        assert (np.diff(seconds) > 0).all()
        points = list(zip(seconds.tolist(), found.values[part].tolist(), strict=True))
        if points:
            answer[labels.get("n", "")] = points
    return answer


async def test_a_later_write_to_an_hour_that_is_remembered_shows_at_once(
    store: MetricStore, reader: SampleReader, scope: OrgScope
) -> None:
    await write(store, scope, [("m", {"n": "a"}, at, at) for at in (0, 3600, 7200)])
    first = await reader.select(scope, of("m"))
    assert await reader.select(scope, of("m")) is first
    # An old hour, a time that is there already, a series that is new.
    await write(store, scope, [("m", {"n": "a"}, 10, 7.0), ("m", {"n": "a"}, 3600, 8.0)])
    assert shown(await reader.select(scope, of("m"))) == {"a": [(0, 0), (10, 7), (3600, 8), (7200, 7200)]}
    await write(store, scope, [("m", {"n": "b"}, 7300, 1.0), ("other", {}, 0, 1.0)])
    found = shown(await reader.select(scope, of("m")))
    assert found == {"a": [(0, 0), (10, 7), (3600, 8), (7200, 7200)], "b": [(7300, 1)]}
    assert shown(await reader.select(scope, of("m", start=0, end=HOUR_S - 1))) == {"a": [(0, 0), (10, 7)]}


async def test_what_one_organization_remembers_another_does_not_see(
    store: MetricStore, reader: SampleReader, scope: OrgScope
) -> None:
    await write(store, scope, [("m", {"n": "ours"}, 0, 1.0)])
    assert shown(await reader.select(scope, of("m"))) == {"ours": [(0, 1)]}
    other = OrgScope(str(uuid.uuid4()))
    assert shown(await reader.select(other, of("m"))) == {}
    await write(store, other, [("m", {"n": "theirs"}, 0, 2.0)])
    for _ in range(2):
        assert shown(await reader.select(scope, of("m"))) == {"ours": [(0, 1)]}
        assert shown(await reader.select(other, of("m"))) == {"theirs": [(0, 2)]}
    assert [labels["n"] for labels in (await reader.find(other, of("m").matchers)).labels] == ["theirs"]


async def test_remembering_changes_no_answer(store: MetricStore, store_timescale: Timescale, scope: OrgScope) -> None:
    """Writes anywhere in four hours between questions of any range: three readers of different memory agree."""
    random = np.random.default_rng(11)
    readers = [SampleReader(store_timescale, cache_bytes=size) for size in (0, 1 << 30, 60_000)]
    for step in range(12):
        points: list[Point] = [
            ("m", {"n": str(random.integers(0, 5 + step))}, random.integers(0, 16 * HOUR_S) / 4, random.random())
            for _ in range(60)
        ]
        await write(store, scope, points)
        start = int(random.integers(0, 3 * HOUR_S))
        selection = of("m", start=start, end=start + int(random.integers(1, 4)) * 1500)
        answers = []
        for reader in readers:
            found = shown(await reader.select(scope, selection))
            within = {
                n: kept
                for n, points_of in found.items()
                if (kept := [p for p in points_of if start <= p[0] <= selection.end_ms / 1000 - BEGIN_S])
            }
            answers.append(within)
        assert answers[0] == answers[1] == answers[2]
        assert sum(map(len, answers[0].values())) > 0


async def test_nan_keeps_its_bits_and_a_millisecond_holds_one_sample(
    store: MetricStore, reader: SampleReader, scope: OrgScope
) -> None:
    points = [(0.0, STALE), (1.0, math.nan), (2.0001, 1.0), (2.0009, 2.0), (2.001, 3.0), (3601.0, STALE)]
    await write(store, scope, [("m", {}, at, value) for at, value in points])
    for selection in (of("m"), of("m", end=HOUR_S), of("m", end=600)):
        found = await reader.select(scope, selection)
        assert (found.ts_ms[:4] - BEGIN_S * 1000).tolist() == [0, 1000, 2000, 2001]
        assert found.values.view(np.uint64)[0] == STALE_BITS
        assert found.values.view(np.uint64)[1] == struct.unpack("<Q", struct.pack("<d", math.nan))[0]
        assert found.values[2:4].tolist() == [2.0, 3.0]
    assert (await reader.select(scope, of("m"))).values.view(np.uint64)[-1] == STALE_BITS


async def test_times_since_1970_are_read(store: MetricStore, reader: SampleReader, scope: OrgScope) -> None:
    await write(store, scope, [("m", {"n": "a"}, 0, 1.0), ("m", {"n": "a"}, 60, 2.0)], since_s=0)
    selection = SampleSelection((LabelMatcher("__name__", "=", "m"),), -300_000, 60_000)
    assert (await reader.select(scope, selection)).ts_ms.tolist() == [0, 60_000]
    await write(store, scope, [("m", {"n": "a"}, 30, 3.0)], since_s=0)
    assert (await reader.select(scope, selection)).ts_ms.tolist() == [0, 30_000, 60_000]


async def test_many_series_are_read_in_two_parts_and_are_the_same(
    store: MetricStore, store_timescale: Timescale, scope: OrgScope
) -> None:
    points: list[Point] = [("m", {"n": str(n)}, at + n / 10, n * at) for n in range(130) for at in range(0, 7200, 900)]
    await write(store, scope, points)
    await write(store, scope, [("m", {"n": "129"}, 900 + 12.9, -1.0)])
    expected = {str(n): [(at + n / 10, float(n * at)) for at in range(0, 7200, 900)] for n in range(130)}
    expected["129"][1] = (900 + 12.9, -1.0)
    for cache_bytes in (0, 1 << 30):
        found = await SampleReader(store_timescale, cache_bytes=cache_bytes).select(scope, of("m"))
        assert shown(found) == expected


async def test_labels_are_those_of_series_with_a_sample_in_the_time(store: MetricStore, scope: OrgScope) -> None:
    await write(store, scope, [("early", {"a": "1"}, 0, 1.0), ("late", {"b": "2"}, 7200, 1.0), ("bare", {}, 3600, 1.0)])
    begin_us, hour_us = BEGIN_S * 1_000_000, HOUR_S * 1_000_000
    for first, behind, names, metrics in (
        (0, 1, ["__name__", "a"], ["early"]),
        (1, 3 * hour_us, ["__name__", "b"], ["bare", "late"]),
        (hour_us, hour_us + 1, ["__name__"], ["bare"]),
        (1, hour_us, [], []),
    ):
        span = (begin_us + first, begin_us + behind)
        assert await store.label_names(scope, span) == names
        assert await store.label_values(scope, "__name__", span) == metrics
        assert await store.label_values(scope, "b", span) == (["2"] if "b" in names else [])
        assert await store.label_names(OrgScope(str(uuid.uuid4())), span) == []
    assert await store.label_names(scope) == ["__name__", "a", "b"]


HOSTS = ["a1", "a2", "b1", "a", "A1", "a\nb", "é1", "a.b", "axb", "(a|b)", ""]


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("a.|b1", {"a1", "a2", "b1"}),
        ("a", {"a"}),
        ("a|b1|", {"a", "b1", ""}),
        ("(a|b1)", {"a", "b1"}),
        ("(?:a|b1)", {"a", "b1"}),
        (r"\(a\|b\)", {"(a|b)"}),
        (r"a\.b", {"a.b"}),
        ("a.*", {"a1", "a2", "a", "a\nb", "a.b", "axb"}),
        (".+", set(HOSTS) - {""}),
        (".*", set(HOSTS)),
        ("", {""}),
        ("(?i)a1", {"a1", "A1"}),
        (r"\pL\d", {"a1", "a2", "b1", "A1", "é1"}),
        ("a2?", {"a2", "a"}),
        ("ab*1", {"a1"}),
        ("^a1$", {"a1"}),
        (r"[[:lower:]]\d", {"a1", "a2", "b1"}),
        (r"\Qa.b\E", {"a.b"}),
        ("a1{0}", {"a"}),
        # What backtracking takes for ever.
        ("(a*)*b", set()),
    ],
)
async def test_patterns_are_those_of_re2(
    store: MetricStore, reader: SampleReader, scope: OrgScope, pattern: str, matched: set[str]
) -> None:
    await write(store, scope, [("m", {"n": host} if host else {}, 0, 1.0) for host in HOSTS])
    found = await reader.find(scope, (LabelMatcher("__name__", "=", "m"), LabelMatcher("n", "=~", pattern)))
    assert {labels.get("n", "") for labels in found.labels} == matched
    found = await reader.find(scope, (LabelMatcher("__name__", "=", "m"), LabelMatcher("n", "!~", pattern)))
    assert {labels.get("n", "") for labels in found.labels} == set(HOSTS) - matched


async def test_series_are_found_without_a_name_and_by_patterns_of_names(
    store: MetricStore, reader: SampleReader, scope: OrgScope
) -> None:
    names = ("up", "http_requests_total", "http:errors:rate5m")
    await write(store, scope, [(name, {"job": job}, 0, 1.0) for name, job in itertools.product(names, ("x", "y"))])

    async def found(*matchers: tuple[str, str, str]) -> list[str]:
        asked = tuple(LabelMatcher(*each) for each in matchers)  # type: ignore[arg-type]  # each is one of the four
        return sorted(f"{labels['__name__']}/{labels['job']}" for labels in (await reader.find(scope, asked)).labels)

    assert await found(("job", "=", "x")) == ["http:errors:rate5m/x", "http_requests_total/x", "up/x"]
    assert await found(("__name__", "=~", "http.*"), ("job", "!=", "x")) == [
        "http:errors:rate5m/y", "http_requests_total/y"
    ]  # fmt: skip
    assert await found(("__name__", "=~", "up|down"), ("job", "=~", "x|y")) == ["up/x", "up/y"]
    assert await found(("__name__", "!~", "http.*"), ("job", "=", "y")) == ["up/y"]
    assert await found(("__name__", "!=", "up"), ("job", "=", "y")) == ["http:errors:rate5m/y", "http_requests_total/y"]
    assert await found(("job", "=", "x"), ("job", "=", "y")) == []
    assert await found(("__name__", "=", "up"), ("__name__", "=", "down")) == []
    assert await found(("absent", "=", ""), ("job", "=", "x"), ("__name__", "=", "up")) == ["up/x"]
    with pytest.raises(Refused) as refusal:
        await found(("job", "=~", "a("))
    assert refusal.value.path == "labels"


async def test_past_a_limit_it_says_which(store: MetricStore, reader: SampleReader, scope: OrgScope) -> None:
    await write(store, scope, [("m", {"n": str(i % 4)}, i, 1.0) for i in range(400)])
    assert len((await reader.select(scope, of("m"), series_max=4, samples_max=400)).ts_ms) == 400
    for series_max, samples_max, said in ((3, 400, "3 series"), (4, 399, "399 samples")):
        for one in (reader, SampleReader(store._timescale)):
            with pytest.raises(TooExpensive, match=said):
                await one.select(scope, of("m"), series_max=series_max, samples_max=samples_max)
    # A part of an hour may be within them.
    assert len((await reader.select(scope, of("m", end=98.5), samples_max=399)).ts_ms) == 99


async def test_versions_of_hours_past_retention_are_forgotten(store_timescale: Timescale, scope: OrgScope) -> None:
    now = [float(BEGIN_S)]
    store = MetricStore(store_timescale, series_max=10)
    store._clock = lambda: now[0]
    for hours in (0, 1, 40 * 24):
        now[0] = BEGIN_S + hours * HOUR_S
        await write(store, scope, [("m", {}, 0, 1.0)], since_s=now[0])
    kept = await store_timescale.pool.fetch("SELECT hour FROM metric_hours WHERE org_id = $1", scope.org_id)
    assert [row["hour"] for row in kept] == [BEGIN_S // HOUR_S + 40 * 24]
    # What nobody remembers has no version.
    await write(store, scope, [("m", {}, 0, 1.0)], since_s=0)
    assert len(await store_timescale.pool.fetch("SELECT FROM metric_hours WHERE org_id = $1", scope.org_id)) == 1
