"""A PromQL text, its times and who asks in; the answer with what it cost out. What /query/metrics and /api/v1 share."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

from query.metric_source import KnownBlocks, OrganizationSource, metric_limits
from query.promql.engine import run
from query.promql.steps import Result, Steps
from query.tokens import Principal
from storage.metric_reader import MetricReader
from storage.sample_reader import SampleReader
from topics.errors import TooExpensive

_NS_A_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class QueryCost:
    """What a query read, from where ("samples", or "1h" for rollups; the coarsest counts), and how long it took."""

    source: str
    series: int
    samples: int
    elapsed_ms: float


class PromqlQueries:
    """Answers PromQL over one store of metrics; one for a process."""

    def __init__(self, metrics: MetricReader, samples: SampleReader) -> None:
        self.metrics = metrics
        self.samples = samples
        self._known = KnownBlocks()

    async def run(
        self, principal: Principal, text: str, steps: Steps, *, seconds_max: float | None = None
    ) -> tuple[Result, QueryCost]:
        """Answer one query within the limits of who asks, and within `seconds_max` if that is less.

        Raises `Refused` (bad_data, execution), `TooExpensive` naming the limit, `Unavailable`.
        """
        principal.limits.check_range(steps.start_ms * _NS_A_MS, steps.end_ms * _NS_A_MS)
        limits = metric_limits(principal.limits)
        if seconds_max is not None:
            limits = replace(limits, seconds=min(limits.seconds, seconds_max))
        source = OrganizationSource(self.samples, self._known, principal.scope, limits, steps.lookback_ms)
        began = time.monotonic()
        try:
            async with asyncio.timeout(limits.seconds):
                result = await run(source, text, steps, limits)
        except TimeoutError:
            raise TooExpensive(f"{limits.seconds:g} seconds", "the time that this query takes") from None
        elapsed_ms = round((time.monotonic() - began) * 1e3, 2)
        return result, QueryCost(source.source, source.series, source.samples, elapsed_ms)
