"""Cleans metric points: topic `metrics.raw` (request bodies) -> topic `metrics` (series and columns), one message each."""

from __future__ import annotations

import numpy as np

from agents.arrival_times import clamp_future
from agents.raw_batches import Keep, read_batch
from agents.scrubbing import UNSCRUBBED, Scrub
from enrichment.attributes import Enrichment
from topics.metric_columns import SCHEMA_VERSION, MetricBatch, encode
from topics.metric_records import read_metric_timestamps, read_metrics, read_series, read_values
from topics.raw import Headers, RawBatch

_READERS = {"native": read_metrics}
"""Wire format -> how its bodies are read."""


def normalize_metrics(
    batch: RawBatch,
    *,
    partition: int,
    offset: int,
    enrichment: Enrichment | None = None,
    scrub: Scrub = UNSCRUBBED,
    keep: Keep | None = None,
) -> tuple[bytes, Headers]:
    """The message on `metrics` for one raw batch; points have no ids, so where it stood does not matter.

    Every series becomes one text, with its labels sorted; a point without a timestamp has that of its arrival. Nothing is
    enriched: a label more would be another series. Raises `Refused` for a body that the gateway should not have let through.
    """
    points = read_batch(batch, _READERS)
    series, index = read_series(points)
    # Labels are scrubbed once a series; two that only differed in what is gone become one, and the later point wins.
    series = list(scrub.json_texts(series))
    times = read_metric_timestamps(points, received_at_ms=batch.received_at_ms)
    # What a time was before is not kept: a point has no attributes, and a label more would be another series.
    times = clamp_future(times * 1000, received_at_ms=batch.received_at_ms, signal="metrics")[0] // 1000
    columns = MetricBatch(
        series=series,
        index=np.array(index, np.int32),
        ts_us=times,
        value=read_values(points),
    )
    if keep is not None:
        keep(columns)
    size = columns.index.nbytes + columns.ts_us.nbytes + columns.value.nbytes + sum(map(len, series))
    return encode(columns), [
        ("schema", SCHEMA_VERSION),
        ("rows", b"%d" % columns.points),
        ("bytes", b"%d" % size),
        ("org", batch.org_id.encode()),
    ]
