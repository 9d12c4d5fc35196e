"""Results -> the JSON of Prometheus' HTTP API, byte for byte as it prints numbers and times.

https://prometheus.io/docs/prometheus/latest/querying/api/; numbers as util/jsonutil in prometheus/prometheus writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from fastapi import Response

from query.promql.steps import Result
from query.promql_queries import QueryCost


def success(data: bytes, *, warnings: Sequence[str] = (), infos: Sequence[str] = ()) -> Response:
    """The envelope around data that is JSON already; annotations are there when there are some."""
    notes = b""
    for name, texts in ((b"warnings", warnings), (b"infos", infos)):
        if texts:
            notes += b',"' + name + b'":' + orjson.dumps(list(texts))
    return Response(b'{"status":"success","data":' + data + notes + b"}", media_type="application/json")


def data_of(result: Result, at_ms: int) -> bytes:
    """`data` of query and query_range; scalars and strings carry the time of the query."""
    if result.kind == "scalar":
        body = f'[{shown_time(at_ms)},"{shown_number(float(result.values[0, 0]))}"]'
    elif result.kind == "string":
        body = f"[{shown_time(at_ms)},{orjson.dumps(result.text).decode()}]"
    elif result.kind == "vector":
        body = f"[{','.join(_vector(result))}]"
    else:
        body = f"[{','.join(_matrix(result))}]"
    return f'{{"resultType":"{result.kind}","result":{body}}}'.encode()


def _vector(result: Result) -> Iterable[str]:
    time = shown_time(int(result.times_ms[0]))
    for labels, value in zip(result.labels, shown_numbers(result.values[:, 0]), strict=True):
        yield f'{{"metric":{shown_labels(labels)},"value":[{time},"{value}"]}}'


def _matrix(result: Result) -> Iterable[str]:
    known: dict[int, str] = {}
    for labels, times_ms, values in result.series():
        # Series share their steps, so each time is written once.
        times = [known.get(ms) or known.setdefault(ms, shown_time(ms)) for ms in times_ms.tolist()]
        points = [f'[{time},"{value}"]' for time, value in zip(times, shown_numbers(values), strict=True)]
        yield f'{{"metric":{shown_labels(labels)},"values":[{",".join(points)}]}}'


def shown_labels(labels: Mapping[str, str]) -> str:
    """A label set, names in order."""
    return orjson.dumps(labels, option=orjson.OPT_SORT_KEYS).decode()


def shown_time(ms: int) -> str:
    """Unix milliseconds as seconds: 1435781451.781, without a fraction where there is none."""
    sign, (seconds, fraction) = "-" if ms < 0 else "", divmod(abs(ms), 1000)
    return f"{sign}{seconds}.{fraction:03d}" if fraction else f"{sign}{seconds}"


def shown_numbers(values: npt.NDArray[np.float64]) -> list[str]:
    """Each as `shown_number`."""
    return [shown_number(value) for value in values.tolist()]


def shown_number(value: float) -> str:
    """The shortest digits that read back as the same double, with an exponent below 1e-6 and from 1e21 on."""
    text = repr(value)
    if text.endswith(".0"):
        return text[:-2]
    if text[-1] in "fn":
        return {"inf": "+Inf", "-inf": "-Inf"}.get(text, "NaN")
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        # Python writes an exponent below 1e-4 already, so this is it.
        return text
    power = int(exponent)
    if power < -6 or power >= 21:
        return f"{mantissa.removesuffix('.0')}e{power:+03d}"
    return _without_exponent(mantissa, power)


def _without_exponent(mantissa: str, power: int) -> str:
    sign = "-" if mantissa[0] == "-" else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).rstrip("0") if power < 0 else whole + fraction
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    return f"{sign}{digits.ljust(power + 1, '0')}"


def stats_of(cost: QueryCost) -> dict[str, Any]:
    """`stats` of an answer, in Prometheus' names. One time is taken, from the question to its result, and no others are known."""
    seconds = cost.elapsed_ms / 1000
    return {
        "timings": {
            "evalTotalTime": seconds,
            "resultSortTime": 0,
            "queryPreparationTime": 0,
            "innerEvalTime": seconds,
            "execQueueTime": 0,
            "execTotalTime": seconds,
        },
        "samples": {"totalQueryableSamples": cost.samples, "peakSamples": cost.samples},
    }


def listed(values: Any) -> bytes:
    """Any other data."""
    return orjson.dumps(values)
