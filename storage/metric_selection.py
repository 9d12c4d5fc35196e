"""What somebody asks of the metrics in, checked; the values that statements bind out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from topics.errors import Refused, TooExpensive

BUCKETS_MAX = 11_000
"""Of one answer, as in Prometheus."""

Operator = Literal["=", "!=", "=~", "!~"]
Aggregation = Literal["avg", "sum", "min", "max", "count"]

_OPERATORS = ("=", "!=", "=~", "!~")
# A pattern may name many values.
_LABEL_BYTES_MAX = 65_536
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The Monday that `time_bucket` counts from, in microseconds.
_BUCKET_ORIGIN_US = 946_857_600_000_000
# Years 1 and 9999, which is what datetime can say.
TS_US_MIN = -62_135_596_800_000_000
TS_US_MAX = 253_402_300_799_999_999


@dataclass(frozen=True, slots=True)
class LabelMatcher:
    """One condition on a label; =~ and !~ take a pattern of RE2's that must match the whole value
    (storage/label_patterns.py).

    A label that a series does not have is the empty text. Raises `Refused` with path "labels".
    """

    label: str
    operator: Operator
    operand: str

    def __post_init__(self) -> None:
        if self.operator not in _OPERATORS:
            raise _refused("labels", f"{self.operator!r} is none of {' '.join(_OPERATORS)}")
        for text in (self.label, self.operand):
            _check_text("labels", text)


@dataclass(frozen=True, slots=True)
class MetricSelection:
    """Samples of `metric` with `start_us` <= ts < `end_us` (unix microseconds), of the series that meet every matcher.

    Raises `Refused` with the path of the field at fault.
    """

    metric: str
    start_us: int
    end_us: int
    labels: tuple[LabelMatcher, ...] = ()

    def __post_init__(self) -> None:
        _check_text("metric", self.metric)
        check_range(self.start_us, self.end_us)


@dataclass(frozen=True, slots=True)
class BucketRange:
    """Whole buckets of `step_us`: a selection's start moved down and its end moved up."""

    start_us: int
    end_us: int
    step_us: int

    @classmethod
    def of(cls, selection: MetricSelection, step_us: int) -> BucketRange:
        """Raises `Refused` for a step that is not positive, `TooExpensive` for more than BUCKETS_MAX buckets."""
        if step_us <= 0:
            raise _refused("step", "it is not more than 0")
        start = (selection.start_us - _BUCKET_ORIGIN_US) // step_us * step_us + _BUCKET_ORIGIN_US
        end = -((_BUCKET_ORIGIN_US - selection.end_us) // step_us * step_us) + _BUCKET_ORIGIN_US
        if (end - start) // step_us > BUCKETS_MAX:
            raise TooExpensive(f"{BUCKETS_MAX} buckets", f"{(end - start) // step_us} buckets")
        check_range(start, end)
        return cls(start, end, step_us)


def check_range(start_us: int, end_us: int) -> None:
    """Raises `Refused` for times that no calendar has, and for an end before the start."""
    for path, us in (("start", start_us), ("end", end_us)):
        if not TS_US_MIN <= us <= TS_US_MAX:
            raise _refused(path, "the time is outside the years 1 to 9999")
    if end_us < start_us:
        raise _refused("end", "it is before start")


def as_time(us: int) -> datetime:
    """Unix microseconds -> what asyncpg binds, exactly."""
    return _EPOCH + timedelta(microseconds=us)


def as_us(time: datetime) -> int:
    """The other way round."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def _check_text(path: str, text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _refused(path, "it is not valid Unicode") from None
    if size > _LABEL_BYTES_MAX:
        raise _refused(path, f"it has more than {_LABEL_BYTES_MAX} bytes")
    if "\0" in text:
        raise _refused(path, "it has the character U+0000")


def _refused(path: str, why: str) -> Refused:
    return Refused(f"cannot query metrics: {path}: {why}", code="invalid_field", path=path)
