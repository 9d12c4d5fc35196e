"""What a person wants watched: a JSON object in, a checked definition out, or a refusal with the path of the field at fault.

Four kinds, told apart by `kind`: metric, log, trace, rum. What they share is `Watched`. Absence is an aggregation (`absent`) and
change a field (`change`), because both make sense of any kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from logql.evaluate import patterns_of
from logql.parsing import parse_log_query
from logql.patterns import program_size
from topics.invalid_fields import invalid_field
from topics.metric_records import LABEL_VALUE_MAX, NAME_MAX

State = Literal["OK", "WARN", "ALERT", "NO_DATA"]
Comparison = Literal[">", ">=", "<", "<="]

WINDOW_S_MIN: Final = 10
DAY_S: Final = 86_400
GROUPS_MAX: Final = 5_000
GROUP_BY_MAX: Final = 8
LABELS_MAX: Final = 32
CHANNELS_MAX: Final = 20
TAGS_MAX: Final = 20
QUERY_LENGTH_MAX: Final = 4_000
PROGRAMS_MAX: Final = 5_000
"""Instructions of all regular expressions of a query: with `logql.evaluate.PATTERN_TEXT_MAX` a second for a record at most."""
NEW_GROUP_DELAY_S: Final = 60

QUANTILES: Final[dict[str, float]] = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}
COUNTING: Final = frozenset({"count", "rate", "increase", "request_rate", "error_count", "absent"})
"""What counts: of a window without data it is zero (`absent`: one), and not unknown."""

_TEXT = r"^[^\x00-\x1f\x7f]*$"
_NAME_PATTERN = r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$"
_LABEL_PATTERN = r"^[a-zA-Z_][a-zA-Z0-9_.]{0,63}$"

Label = Annotated[str, Field(pattern=_LABEL_PATTERN, description="name of a label")]
Value = Annotated[str, Field(max_length=LABEL_VALUE_MAX, pattern=r"^[^\x00]*$")]
Text = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
Threshold = Annotated[float, Field(allow_inf_nan=False, ge=-1e300, le=1e300)]


class Watched(BaseModel):
    """What every kind of monitor has. Only `name`, `kind`, `critical` and what to watch must be given.

    Seconds are whole numbers. A field that is null is the same as one that is absent.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = Field(min_length=1, max_length=200, pattern=_NAME_PATTERN, description="unique in the organization")
    enabled: bool = Field(True, description="a disabled monitor is not watched; its open alerts end")
    message: str = Field("", max_length=4_000, description="text of notifications, with {{variables}}")
    tags: list[Annotated[str, Field(min_length=1, max_length=200, pattern=_TEXT)]] = Field(
        default_factory=list, max_length=TAGS_MAX, description="for whoever receives it; downtimes may go by them"
    )
    channels: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        default_factory=list, max_length=CHANNELS_MAX, description="ids of the channels that are notified"
    )

    window_s: int = Field(300, ge=WINDOW_S_MIN, le=DAY_S, description="how far back the window reaches")
    comparison: Comparison = Field(">", description="of the window's value with the thresholds")
    critical: Threshold = Field(description="ALERT past it")
    warning: Threshold | None = Field(None, description="WARN past it")
    critical_recovery: Threshold | None = Field(None, description="ALERT ends only on the other side of it")
    warning_recovery: Threshold | None = Field(None, description="WARN ends only on the other side of it")
    change: Literal["absolute", "percent"] | None = Field(
        None,
        description="compare the window's value with that of the window before it: their difference, or its percentage",
    )

    group_by: list[Label] = Field(
        default_factory=list,
        max_length=GROUP_BY_MAX,
        description="one state for each combination of these labels' values",
    )
    groups_max: int = Field(500, ge=1, le=GROUPS_MAX, description="further groups are counted and not watched")

    for_s: int = Field(0, ge=0, le=DAY_S, description="a threshold must be passed for so long")
    keep_firing_for_s: int = Field(
        0, ge=0, le=DAY_S, description="and not be passed for so long before the state falls"
    )
    evaluation_delay_s: int = Field(0, ge=0, le=3_600, description="decide on the window that ended so long ago")
    new_group_delay_s: int = Field(
        NEW_GROUP_DELAY_S,
        ge=0,
        le=DAY_S,
        description="a group that is new is not decided on for so long; of no effect without group_by",
    )
    require_full_window: bool = Field(
        False, description="decide on a group only when its data reach back a whole window"
    )

    no_data: Literal["ignore", "ok", "notify"] = Field(
        "ignore", description="without data for no_data_timeframe_s: keep the state, go to OK, or go to NO_DATA"
    )
    no_data_timeframe_s: int | None = Field(
        None, ge=2 * WINDOW_S_MIN, le=7 * DAY_S, description="at least twice the window, which is the default"
    )
    auto_resolve_s: int | None = Field(None, ge=60, le=7 * DAY_S, description="end a state without data after so long")

    renotify_s: int | None = Field(
        None, description="notify again so long after the last notification; 0 or null: never"
    )
    renotify_statuses: list[Literal["WARN", "ALERT", "NO_DATA"]] = Field(
        default=["ALERT", "NO_DATA"], min_length=1, max_length=3, description="in these states"
    )
    renotify_max: int | None = Field(None, ge=1, le=1_000, description="and so many times a state at most")

    @property
    def above(self) -> bool:
        """Whether larger values are worse."""
        return self.comparison in (">", ">=")

    @property
    def no_data_after_s(self) -> int:
        """The no-data timeframe, given or by default."""
        return self.no_data_timeframe_s or 2 * self.window_s

    @property
    def new_group_after_s(self) -> int:
        """The delay of a new group; a monitor without groups has none."""
        return self.new_group_delay_s if self.group_by else 0

    def passes(self, value: float, threshold: float) -> bool:
        """Whether a value is past a threshold."""
        match self.comparison:
            case ">":
                return value > threshold
            case ">=":
                return value >= threshold
            case "<":
                return value < threshold
            case _:
                return value <= threshold

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        given = {name: value for name, value in given.items() if value is not None}
        if given.get("renotify_s") == 0 and not isinstance(given["renotify_s"], bool):
            del given["renotify_s"]
        if given.get("aggregation") == "absent":  # It is one or zero, so there is nothing to choose.
            given.setdefault("comparison", ">=")
            given.setdefault("critical", 1.0)
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for path, reason in self._conflicts():
            raise invalid_field(path, reason)
        return self

    def _conflicts(self) -> Iterator[tuple[str, str]]:
        """What is wrong between fields that are each right: path and reason."""
        better = "lower" if self.above else "higher"
        for path, given, bound, equal in (
            ("warning", self.warning, "critical", False),
            ("critical_recovery", self.critical_recovery, "critical", True),
            ("warning_recovery", self.warning_recovery, "warning", True),
        ):
            limit = getattr(self, bound)
            if given is None:
                continue
            if limit is None:
                yield path, f"needs {bound}"
            elif (given - limit) * (1 if self.above else -1) > 0 or (given == limit and not equal):
                yield path, f"expected a value {better} than {bound}, as the comparison is {self.comparison}"
        if len(set(self.group_by)) < len(self.group_by):
            yield "group_by", "a label is named twice"
        if self.no_data_timeframe_s is not None and self.no_data_timeframe_s < 2 * self.window_s:
            yield "no_data_timeframe_s", f"expected at least twice window_s, which is {2 * self.window_s}"
        if self.renotify_s is not None and not 60 <= self.renotify_s <= 7 * DAY_S:
            yield "renotify_s", f"expected 0, or 60 to {7 * DAY_S}"
        if len(set(self.renotify_statuses)) < len(self.renotify_statuses):
            yield "renotify_statuses", "a state is named twice"
        if self.change and 2 * self.window_s > DAY_S:
            yield "window_s", f"expected at most {DAY_S // 2} with change, which looks back two windows"
        if getattr(self, "aggregation", "") == "absent":
            if self.comparison != ">=" or self.critical != 1 or self.warning is not None:
                yield (
                    "critical",
                    "absent is one without data and zero with them: give neither comparison nor thresholds",
                )
            if self.change:
                yield "change", "absence does not change by an amount"
            if self.no_data != "ignore":
                yield "no_data", "absent says the same: give only one of the two"


class MetricMonitor(Watched):
    """Points of one metric, of all series that have the given labels."""

    kind: Literal["metric"]
    metric: str = Field(
        min_length=1, max_length=NAME_MAX, pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$", description="its name"
    )
    labels: dict[Label, Value] = Field(
        default_factory=dict,
        max_length=LABELS_MAX,
        description='only series with these labels; "" is a label that is absent',
    )
    aggregation: Literal[
        "avg", "sum", "min", "max", "count", "last", "p50", "p75", "p90", "p95", "p99", "rate", "increase", "absent"
    ] = Field(
        "avg", description="of all points in the window; rate and increase are a counter's, summed over its series"
    )


class LogMonitor(Watched):
    """Logs that a LogQL selector and its filters find."""

    kind: Literal["log"]
    query: str = Field(
        min_length=2, max_length=QUERY_LENGTH_MAX, description='for example {service="api"} |= "timeout"'
    )
    aggregation: Literal["count", "rate", "absent"] = Field(
        "count", description="how many, how many a second, or whether none"
    )


class TraceMonitor(Watched):
    """Spans of a service, an operation, or all."""

    kind: Literal["trace"]
    service: Text | None = Field(None, description="exact service")
    operation: Text | None = Field(None, description="exact operation")
    span_kind: Literal["internal", "server", "client", "producer", "consumer"] | None = Field(
        None, description="server leaves the requests that a service answered"
    )
    aggregation: Literal[
        "error_rate", "error_count", "request_rate", "count", "avg", "max", "p50", "p75", "p90", "p95", "p99", "absent"
    ] = Field(
        description="error_rate is errors by spans, 0 to 1; request_rate is spans a second; the others are of milliseconds"
    )


class RumMonitor(Watched):
    """Events of real users: a web vital's values, or how many errors there are."""

    kind: Literal["rum"]
    event: Literal["page_view", "web_vital", "error", "action", "resource", "long_task"] = Field(
        "web_vital", description="type of the events"
    )
    event_name: Text | None = Field(
        None, description="exact name: of the web vital (LCP, INP, CLS), action or resource"
    )
    page_path: Text | None = Field(None, description="exact path of the page")
    aggregation: Literal["count", "rate", "avg", "sum", "min", "max", "p50", "p75", "p90", "p95", "p99", "absent"] = (
        Field("p75", description="count, or what becomes of the events' values")
    )


Definition = Annotated[MetricMonitor | LogMonitor | TraceMonitor | RumMonitor, Field(discriminator="kind")]
KINDS: Final = ("metric", "log", "trace", "rum")
GROUP_LABELS: Final[dict[str, frozenset[str] | None]] = {
    "metric": None,
    "log": None,
    "trace": frozenset({"service", "operation", "kind", "status"}),
    "rum": frozenset({"event_name", "page_path", "country", "region", "city", "browser", "os", "device_type"}),
}
"""By what a kind may be grouped; None is any label: a log's are its columns, then its attributes."""

AnyMonitor = MetricMonitor | LogMonitor | TraceMonitor | RumMonitor
_DEFINITION: TypeAdapter[AnyMonitor] = TypeAdapter(Definition)


def parse_monitor(given: Any) -> AnyMonitor:
    """A JSON value -> a definition. Raises `Refused` "invalid_field" with the path of the first field at fault."""
    try:
        definition = _DEFINITION.validate_python(given)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False)[0]
        raise invalid_field(_path(first["loc"]), first["msg"]) from None
    if isinstance(definition, LogMonitor):
        size = sum(map(program_size, patterns_of(parse_log_query(definition.query))))
        if size > PROGRAMS_MAX:
            reason = f"its regular expressions are too large to watch all logs with: {size} instructions, at most {PROGRAMS_MAX}"
            raise invalid_field("query", reason)
    allowed = GROUP_LABELS[definition.kind]
    for i, label in enumerate(definition.group_by):
        if allowed is not None and label not in allowed:
            raise invalid_field(
                f"group_by[{i}]", f"a {definition.kind} monitor is grouped by {', '.join(sorted(allowed))}"
            )
    return definition


def parse_stored(name: str, kind: str, definition: Mapping[str, Any]) -> AnyMonitor:
    """A definition as it is kept (storage/monitors.py), where name and kind have columns of their own. Raises `Refused`."""
    return parse_monitor({**definition, "name": name, "kind": kind})


def _path(location: tuple[int | str, ...]) -> str:
    """`("metric", "group_by", 1)` -> `group_by[1]`: without the kind and the names that pydantic gives members of unions."""
    parts = list(location)
    if parts and parts[0] in KINDS:
        parts = parts[1:]
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", part):
            text += f".{part}" if text else part
    return text
