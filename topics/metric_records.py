"""A native metrics request: JSON text -> `MetricPoint`s with every bound checked, and their columns.

These Structs are the only model of an ingested point, as in topics/log_records.py. Names and labels are checked once a series:
what was checked is remembered by its bytes, together with the one text of the series (topics/metric_columns.py).
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Raw

from topics.invalid_fields import invalid_field, reason_and_path
from topics.json_requests import (
    DOUBLE_SCHEMA,
    EMPTY_OBJECT,
    TIME_SCHEMA,
    RequestReader,
    check_object,
    read_times,
)
from topics.metric_columns import Series, encode_series

POINTS_MAX: Final = 5000
LABELS_MAX: Final = 64
LABEL_NAME_MAX: Final = 200
LABEL_VALUE_MAX: Final = 2000
LABELS_BYTES_MAX: Final = 16_384
NAME_MAX: Final = 200

# Names are any text, as in Prometheus 3 and OpenTelemetry.
_TEXT = re.compile(r"[^\x00]*")

# The patterns are checked once a series, below; msgspec would check them once a point.
_TEXT_SCHEMA = {"pattern": r"^[^\u0000]*$"}
_LABELS_SCHEMA = {
    "type": ["object", "null"],
    "maxProperties": LABELS_MAX,
    "propertyNames": {
        "pattern": r"^[^\u0000]*$",
        "minLength": 1,
        "maxLength": LABEL_NAME_MAX,
        "not": {"const": "__name__"},
    },
    "additionalProperties": {"type": "string", "maxLength": LABEL_VALUE_MAX, "pattern": r"^[^\u0000]*$"},
}


class MetricPoint(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One value of one series."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=NAME_MAX,
            description="metric name, for example `http_requests_total`; any text, as in Prometheus 3",
            extra_json_schema=_TEXT_SCHEMA,
        ),
    ]
    value: Annotated[
        float | Literal["NaN", "+Inf", "-Inf", "StaleNaN"],
        Meta(
            description="a number within the range of a double, or one of the texts; StaleNaN says that the series has ended",
            extra_json_schema=DOUBLE_SCHEMA,
        ),
    ]
    timestamp: Annotated[
        str | int | float | None,
        Meta(
            description="as a log's, kept to the microsecond; without one it is the time of arrival",
            extra_json_schema=TIME_SCHEMA,
        ),
    ] = None
    type: Annotated[
        Literal["gauge", "counter", "histogram", "summary"] | None,
        Meta(description="what the metric is; the points of a histogram are its _bucket, _sum and _count series"),
    ] = None
    unit: Annotated[
        Annotated[str, Meta(max_length=64, extra_json_schema=_TEXT_SCHEMA)] | None,
        Meta(description="for example seconds or bytes"),
    ] = None
    labels: Annotated[
        Raw,
        Meta(
            description="up to 64 texts by name, 16,384 bytes in all; an empty text is the same as no label",
            extra_json_schema=_LABELS_SCHEMA,
        ),
    ] = msgspec.field(default_factory=lambda: EMPTY_OBJECT)


class MetricsRequest(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """Body of POST /v1/metrics: 1 to 5000 points."""

    metrics: Annotated[list[MetricPoint], Meta(min_length=1, max_length=POINTS_MAX)]


_READER: RequestReader[MetricPoint] = RequestReader(MetricsRequest, "metrics", POINTS_MAX)
_LABELS = msgspec.json.Decoder(dict[str, str] | None)
_ANY_LABELS = msgspec.json.Decoder(dict[str, Raw])

# Prometheus' stale marker: a NaN of its own (model/value in prometheus/prometheus).
_STALE = np.array([0x7FF0_0000_0000_0002], np.int64).view(np.float64)

_SeriesKey = tuple[str, bytes, str | None, str | None]


class KnownSeries:
    """Series that were checked before, by what was sent: bounded, and begun again when full."""

    ENTRY_BYTES = 500  # of a dictionary entry with its objects, beside their texts

    def __init__(self, bytes_max: int) -> None:
        self.texts: dict[_SeriesKey, bytes] = {}
        self._bytes_max = bytes_max
        self._bytes = 0

    def add(self, key: _SeriesKey, text: bytes) -> None:
        """Remember the text of a series."""
        size = self.ENTRY_BYTES + len(key[0]) + len(key[1]) + len(text)
        if self._bytes + size > self._bytes_max:
            self.texts.clear()
            self._bytes = 0
        self.texts[key] = text
        self._bytes += size


_KNOWN = KnownSeries(64 << 20)


def read_metrics(body: bytes) -> list[MetricPoint]:
    """Decode and check a native metrics body, all but names, labels and timestamps: `read_series` and
    `read_metric_timestamps` check those. Raises `Refused` as `RequestReader.read`."""
    return _READER.read(body)


def read_series(points: list[MetricPoint], known: KnownSeries = _KNOWN) -> tuple[list[bytes], list[int]]:
    """The texts of the points' series, each once, and for each point which of them is its own.

    Raises `Refused` with a path like `metrics[3].labels.pod`.
    """
    texts = known.texts
    numbers: dict[bytes, int] = {}
    index: list[int] = []
    for i, point in enumerate(points):
        key = (point.name, bytes(point.labels), point.type, point.unit)
        text = texts.get(key)
        if text is None:
            text = _series_text(point, i)
            known.add(key, text)
        index.append(numbers.setdefault(text, len(numbers)))
    return list(numbers), index


def read_metric_timestamps(points: list[MetricPoint], *, received_at_ms: int) -> npt.NDArray[np.int64]:
    """The points' timestamps as unix microseconds. Raises `Refused` with path `metrics[i].timestamp`."""
    given = [point.timestamp for point in points if point.timestamp is not None]
    if len(given) == len(points):
        return read_times(given, "metrics", "timestamp") // 1000
    column = np.full(len(points), received_at_ms * 1000, np.int64)
    places = [i for i, point in enumerate(points) if point.timestamp is not None]
    column[places] = read_times(given, "metrics", "timestamp", places) // 1000
    return column


def read_values(points: list[MetricPoint]) -> npt.NDArray[np.float64]:
    """The points' values; a stale marker is Prometheus' own NaN, bit by bit."""
    values = [point.value for point in points]
    try:
        return np.fromiter(values, np.float64, len(values))  # float() reads "NaN", "+Inf" and "-Inf"
    except ValueError:
        column = np.fromiter((0.0 if each == "StaleNaN" else each for each in values), np.float64, len(values))
        column[[i for i, each in enumerate(values) if each == "StaleNaN"]] = _STALE
        return column


def _series_text(point: MetricPoint, i: int) -> bytes:
    """Check what the series of point `i` is made of, and make its text."""
    path = f"metrics[{i}]"
    if _TEXT.fullmatch(point.name) is None:
        raise invalid_field(f"{path}.name", "expected text without U+0000")
    if point.unit is not None and _TEXT.fullmatch(point.unit) is None:
        raise invalid_field(f"{path}.unit", "expected text without U+0000")
    return encode_series(Series(point.name, _labels(point.labels, i), point.type or "", point.unit or ""))


def _labels(raw: Raw, i: int) -> dict[str, str]:
    check_object(raw, "metrics", i, "labels", LABELS_BYTES_MAX)
    path = f"metrics[{i}].labels"
    try:
        labels = _LABELS.decode(raw) or {}
    except msgspec.ValidationError as exc:
        raise invalid_field(_label_at_fault(raw, path), reason_and_path(str(exc))[0]) from None
    if len(labels) > LABELS_MAX:
        raise invalid_field(path, f"at most {LABELS_MAX} labels are allowed")
    for name, value in labels.items():
        if name == "__name__":
            raise invalid_field(f"{path}.__name__", "the metric's name is the field `name`")
        if not 1 <= len(name) <= LABEL_NAME_MAX or "\0" in name:
            raise invalid_field(
                path, f"{name[:60]!r} is no label name: expected 1 to {LABEL_NAME_MAX} characters, none of them U+0000"
            )
        if len(value) > LABEL_VALUE_MAX or "\0" in value:
            raise invalid_field(f"{path}.{name}", f"expected at most {LABEL_VALUE_MAX} characters, none of them U+0000")
    # By Prometheus' data model a label with an empty value is no label.
    return {name: value for name, value in labels.items() if value}


def _label_at_fault(raw: Raw, path: str) -> str:
    """The path of the first label that is no text."""
    for name, value in _ANY_LABELS.decode(raw).items():
        if memoryview(value)[0] != ord('"'):
            return f"{path}.{name[:LABEL_NAME_MAX]}"
    return path
