"""When nobody is to be told: a JSON object in, a checked definition out; a time and a group in, until when it holds out.

A downtime is once, from `starts_at` to `ends_at`, or comes again on days of the week at a time of the day in a time zone: the
clock there decides, also in the week in which it is changed. How long it lasts is in seconds that pass.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from topics.errors import Refused
from topics.timestamps import parse_timestamp

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FOR_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
_WEEK_S: Final = 7 * 86_400


class Recurrence(BaseModel):
    """Days of the week and a time of the day; each time it lasts `duration_s`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    days: list[Day] = Field(min_length=1, max_length=7, description="on which it begins")
    time: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="HH:MM in the time zone")
    duration_s: int = Field(ge=60, le=_WEEK_S, description="how long it lasts")
    timezone: str = Field("UTC", min_length=1, max_length=64, description="a name of the IANA database: Europe/Berlin")

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            # Names only: a path would be looked for among the system's files.
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+/-]*", value):
                raise ValueError
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("there is no such time zone") from None
        return value

    def end_of(self, at: datetime) -> datetime | None:
        """The end of the latest occurrence that `at` lies in."""
        zone = ZoneInfo(self.timezone)
        hour, minute = map(int, self.time.split(":"))
        today = at.astimezone(zone).date()
        ends = []
        for ago in range(-1, 9):
            day: date = today - timedelta(days=ago)
            if DAYS[day.weekday()] in self.days:
                # To UTC first, since times of one zone are compared and added by their clocks.
                start = datetime.combine(day, time(hour, minute), zone).astimezone(UTC)
                end = start + timedelta(seconds=self.duration_s)
                if start <= at < end:
                    ends.append(end)
        return max(ends, default=None)


class Downtime(BaseModel):
    """Whom it concerns: what is given must all be so, and without any of it everything is concerned."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    monitor_ids: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        default_factory=list, max_length=100, description="one of these monitors"
    )
    tags: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default_factory=list, max_length=20, description="a monitor that has every one of these"
    )
    group: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=1000)]] = Field(
        default_factory=dict, max_length=8, description="groups with these labels; a value may end in *"
    )
    starts_at: str | int | None = Field(None, description="by default now, or always for a recurrence")
    ends_at: str | int | None = Field(None, description="by default never")
    recurrence: Recurrence | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        start, end = self.starts, self.ends
        if end <= start:
            raise ValueError("ends_at must be later than starts_at")
        return self

    @property
    def starts(self) -> datetime:
        """When it holds at the earliest."""
        return _moment(self.starts_at, "starts_at") or datetime(1970, 1, 1, tzinfo=UTC)

    @property
    def ends(self) -> datetime:
        """When it no longer holds."""
        return _moment(self.ends_at, "ends_at") or FOR_EVER

    def until(self, at: datetime) -> datetime | None:
        """Until when it holds, when it holds at `at`; a moment at which to look again."""
        if not self.starts <= at < self.ends:
            return None
        if self.recurrence is None:
            return self.ends
        end = self.recurrence.end_of(at)
        return None if end is None else min(end, self.ends)

    def concerns(self, monitor_id: str, tags: Collection[str], labels: Mapping[str, str]) -> bool:
        """Whether a group of a monitor is in its scope."""
        if self.monitor_ids and monitor_id not in self.monitor_ids:
            return False
        if not set(self.tags) <= set(tags):
            return False
        return all(name in labels and _matches(labels[name], wanted) for name, wanted in self.group.items())


def parse_downtime(given: Any) -> Downtime:
    """A JSON value -> a downtime. Raises `Refused` "invalid_field" with the path of the field at fault."""
    try:
        return Downtime.model_validate(given)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        # A time may be a text or a number, and pydantic says of which it speaks.
        parts = first["loc"][:1] if first["loc"][:1] in (("starts_at",), ("ends_at",)) else first["loc"]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")
        raise Refused(
            str(first["msg"]).removeprefix("Value error, "), code="invalid_field", path=path or "ends_at"
        ) from None


def _moment(value: str | int | None, path: str) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromtimestamp(parse_timestamp(value) // 1_000_000 / 1000, UTC)
    except Refused as exc:
        raise Refused(exc.reason, code="invalid_field", path=path) from exc


def _matches(value: str, wanted: str) -> bool:
    return value.startswith(wanted[:-1]) if wanted.endswith("*") else value == wanted
