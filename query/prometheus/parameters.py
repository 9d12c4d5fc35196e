"""The URL and the form of a request -> the parameters of Prometheus' HTTP API, checked, or a refusal that names one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request

from query.metric_source import POINTS_MAX
from query.promql.engine import parse
from query.promql.nodes import Selector
from query.promql.steps import LOOKBACK_MS, Steps
from storage.metric_selection import LabelMatcher
from topics.errors import Refused
from topics.timestamps import parse_timestamp

_FIELDS_MAX: Final = 1000
_DURATION: Final = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
_DURATION_MS: Final = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_FLOAT: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# Of the years 1 and 9999.
_TIME_MS_MIN: Final = -62_135_596_800_000
_TIME_MS_MAX: Final = 253_402_300_799_999
# How clients write Prometheus' least and greatest time.
_ENDS_OF_TIME: Final = {"-292273086-05-16T16:47:06Z": _TIME_MS_MIN, "292277025-08-18T07:12:54.999999999Z": _TIME_MS_MAX}
_DURATION_MS_MAX: Final = 100 * 31_536_000_000


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a request gave, by name: those of the form first, then those of the URL."""

    given: Mapping[str, Sequence[str]]

    @classmethod
    async def of(cls, request: Request) -> Parameters:
        """Raises `Refused` for a form that is none."""
        texts = [request.url.query]
        if request.method == "POST":
            media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if media == "application/x-www-form-urlencoded":
                try:
                    texts.insert(0, (await request.body()).decode("ascii"))
                except UnicodeDecodeError:
                    raise bad_data("", "error parsing form values: it is not ASCII") from None
        given: dict[str, list[str]] = {}
        for text in texts:
            try:
                pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict")
            except ValueError as exc:
                raise bad_data("", f"error parsing form values: {exc}") from None
            for name, value in pairs:
                given.setdefault(name, []).append(value)
        return cls(given)

    def text(self, name: str) -> str:
        """One parameter, empty when it is not there."""
        return self.given.get(name, ("",))[0]

    def time_ms(self, name: str, absent_ms: int | None = None) -> int:
        """A time in unix milliseconds: RFC 3339, or unix seconds."""
        text = self.text(name)
        if not text and absent_ms is not None:
            return absent_ms
        if _FLOAT.fullmatch(text):
            fraction, whole = math.modf(float(text))
            ms = int(whole) * 1000 + round(fraction * 1000) if math.isfinite(whole) else _TIME_MS_MAX + 1
        else:
            try:
                ms = parse_timestamp(text) // 1_000_000
            except Refused:
                raise bad_data(name, f'cannot parse "{text[:64]}" to a valid timestamp') from None
        if not _TIME_MS_MIN <= ms <= _TIME_MS_MAX:
            raise bad_data(name, f'cannot parse "{text[:64]}" to a valid timestamp: it is outside the years 1 to 9999')
        return ms

    def span_us(self) -> tuple[int, int] | None:
        """start and end of a search for series, unix microseconds, the end excluded; None when neither is there.

        What is missing is open, and a number beyond the calendar is its end, since clients say "ever" in this way.
        """
        if not self.text("start") and not self.text("end"):
            return None
        start, end = self._open_ms("start", _TIME_MS_MIN), self._open_ms("end", _TIME_MS_MAX)
        if end < start:
            raise bad_data("end", "end timestamp must not be before start time")
        return start * 1000, end * 1000 + 999

    def _open_ms(self, name: str, absent_ms: int) -> int:
        text = self.text(name)
        if text in _ENDS_OF_TIME:
            return _ENDS_OF_TIME[text]
        if _FLOAT.fullmatch(text) and not _TIME_MS_MIN < float(text) * 1000 < _TIME_MS_MAX:
            return _TIME_MS_MIN if float(text) < 0 else _TIME_MS_MAX
        return self.time_ms(name, absent_ms)

    def duration_ms(self, name: str) -> int | None:
        """A duration in milliseconds, None when it is not there: "1h30m", or seconds."""
        text = self.text(name)
        return None if not text else read_duration(name, text)

    def limit(self) -> int:
        """How many items an answer may have; 0 for any number."""
        text = self.text("limit")
        if not text:
            return 0
        if not re.fullmatch(r"\+?\d{1,18}", text, re.ASCII):
            raise bad_data("limit", f'"{text[:64]}" is not a whole number that is not negative')
        return int(text)

    def steps(self) -> Steps:
        """start, end, step and lookback_delta of a range query."""
        start, end = self.time_ms("start"), self.time_ms("end")
        if end < start:
            raise bad_data("end", "end timestamp must not be before start time")
        step = self.duration_ms("step")
        if step is None:
            raise bad_data("step", 'cannot parse "" to a valid duration')
        return checked_steps(start, end, step, self.lookback_ms())

    def lookback_ms(self) -> int:
        """lookback_delta, which is positive."""
        given = self.duration_ms("lookback_delta")
        if given is None:
            return LOOKBACK_MS
        if given <= 0:
            raise bad_data("lookback_delta", "it must be more than 0")
        return given

    def seconds(self) -> float | None:
        """timeout."""
        given = self.duration_ms("timeout")
        return None if given is None else max(given, 0) / 1000

    def matches(self) -> list[tuple[LabelMatcher, ...]]:
        """match[], each a selector."""
        return [read_selector(text) for text in self.given.get("match[]", ())]


def read_duration(name: str, text: str) -> int:
    """A duration in milliseconds: "1h30m", or a number of seconds. Raises `Refused` naming the parameter."""
    if _FLOAT.fullmatch(text):
        ms = float(text) * 1000
    else:
        found = _DURATION.fullmatch(text) if text else None
        if found is None:
            raise bad_data(name, f'cannot parse "{text[:64]}" to a valid duration')
        parts = zip(found.groups(), _DURATION_MS, strict=True)
        ms = float(sum(int(part[:18]) * unit for part, unit in parts if part is not None))
    if abs(ms) > _DURATION_MS_MAX:
        raise bad_data(name, f'"{text[:64]}" is more than 100 years')
    return int(ms)


def checked_steps(start_ms: int, end_ms: int, step_ms: int, lookback_ms: int = LOOKBACK_MS) -> Steps:
    """The steps of a range query. Raises `Refused` for a step that is none, and for too many."""
    if step_ms <= 0:
        raise bad_data("step", "zero or negative query resolution step widths are not accepted. Try a positive integer")
    if (end_ms - start_ms) // step_ms >= POINTS_MAX:
        raise bad_data(
            "step",
            f"exceeded maximum resolution of {POINTS_MAX:,} points per timeseries: {(end_ms - start_ms) // step_ms + 1:,}."
            " Try decreasing the query resolution (?step=XX)",
        )
    return Steps(start_ms, end_ms, step_ms, lookback_ms)


def read_selector(text: str) -> tuple[LabelMatcher, ...]:
    """A selector of series, as in match[]. Raises `Refused` for anything else."""
    root = parse(text).root
    if not isinstance(root, Selector) or root.offset_ms or root.at is not None:
        raise bad_data("match[]", f"{text[:64]!r} is no selector of series")
    return tuple(LabelMatcher(matcher.label, matcher.op, matcher.value) for matcher in root.matchers)


def bad_data(path: str, reason: str) -> Refused:
    """The refusal of one parameter."""
    return Refused(reason, code="bad_data", path=path)
