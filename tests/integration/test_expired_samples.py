"""Where samples are past their retention, the rollups of an hour answer on the real TimescaleDB, and the answer says so."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest
from asked_metrics import keep_samples

from query.promql.steps import Steps
from query.promql_queries import PromqlQueries
from query.tokens import Principal
from storage.metric_reader import MetricReader
from storage.sample_reader import SampleReader
from storage.scope import OrgScope
from storage.timescale import Timescale, TimescaleAddress

DAY_S = 86_400
OLD_S = (int(time.time()) // DAY_S - 40) * DAY_S
NEW_S = OLD_S + 20 * DAY_S


@pytest.fixture
async def timescale(store_rollups_address: TimescaleAddress) -> AsyncIterator[Timescale]:
    opened = await Timescale.open(store_rollups_address)
    yield opened
    await opened.close()


async def test_the_last_sample_of_each_hour_stands_in_for_what_retention_removed(
    timescale: Timescale, store_rollups_address: TimescaleAddress
) -> None:
    ours, theirs = (Principal("test", OrgScope(str(uuid.uuid4())), "viewer") for _ in range(2))
    samples = [("m", {"n": n}, since + at, float(at)) for n in ("a", "b") for since in (OLD_S, NEW_S)
               for at in range(7, 3 * 3600, 300)]  # fmt: skip
    await keep_samples(timescale, ours.scope, samples)
    queries = PromqlQueries(MetricReader(timescale), SampleReader(timescale))

    async def sums(who: Principal, since: int, query: str = "sum(m)") -> tuple[str, list[tuple[int, float]]]:
        steps = Steps(since * 1000, (since + 3 * 3600) * 1000, 1800_000)
        result, cost = await queries.run(who, query, steps)
        points = [(ms // 1000 - since, value) for _, times, values in result.series()
                  for ms, value in zip(times.tolist(), values.tolist(), strict=True)]  # fmt: skip
        return cost.source, points

    # As they are, the samples answer, however old.
    fine = [
        (1800, 2 * 1507.0),
        (3600, 2 * 3307.0),
        (5400, 2 * 5107.0),
        (7200, 2 * 6907.0),
        (9000, 2 * 8707.0),
        (10800, 2 * 10507.0),
    ]
    assert await sums(ours, OLD_S) == await sums(ours, NEW_S) == ("samples", fine)
    assert await sums(theirs, OLD_S) == ("samples", [])

    database = await asyncpg.connect(store_rollups_address.dsn)
    await database.execute(
        f"CALL refresh_continuous_aggregate('metrics_1h_summaries', to_timestamp({OLD_S}), to_timestamp({OLD_S + DAY_S}))"
    )
    await database.fetch("SELECT drop_chunks('metrics', older_than => INTERVAL '30 days')")
    await database.close()

    # Of each hour the last sample is left, and counts for an hour.
    hourly = [(3600, 2 * 3307.0), (5400, 2 * 3307.0), (7200, 2 * 6907.0), (9000, 2 * 6907.0), (10800, 2 * 10507.0)]
    assert await sums(ours, OLD_S) == ("1h", hourly)
    assert await sums(ours, NEW_S) == ("samples", fine)
    # Functions of ranges see these samples alone.
    assert await sums(ours, OLD_S, "sum(count_over_time(m[1h]))") == (
        "1h", [(at, 2.0) for at in (3600, 5400, 7200, 9000, 10800)]
    )  # fmt: skip
    _, increase = await sums(ours, OLD_S, "sum(increase(m[2h]))")
    assert increase[-1][1] == pytest.approx(2 * 7200, rel=0.3)
    assert await sums(theirs, OLD_S) == ("samples", [])
    # Over both, each with what is left of it.
    result, cost = await queries.run(
        ours, "sum(m)", Steps((OLD_S + 3600) * 1000, (NEW_S + 3600) * 1000, 20 * DAY_S * 1000)
    )
    assert (cost.source, result.values.tolist()) == ("1h", [[2 * 3307.0, 2 * 3307.0]])
