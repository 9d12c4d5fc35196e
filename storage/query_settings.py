"""What an installation or an organization says of the limits of questions: JSON in, checked, out. What holds: query/limits.py."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Limits of one role. None leaves what holds anyway.

    `range_days` of time asked for; `rows` and `bytes` that one statement reads, `seconds` that it runs, `result_bytes` of its
    answer and `memory_bytes` while it runs; `concurrent` questions of the organization under way in one process.
    """

    range_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    rows: Annotated[int, Meta(ge=1, le=10**13)] | None = None
    bytes: Annotated[int, Meta(ge=1, le=10**15)] | None = None
    # A client of ClickHouse waits 120 s for an answer.
    seconds: Annotated[int, Meta(ge=1, le=110)] | None = None
    result_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] | None = None
    memory_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 40)] | None = None
    concurrent: Annotated[int, Meta(ge=1, le=1000)] | None = None


class QuerySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """By role; an owner has the limits of an admin."""

    viewer: LimitSettings = LimitSettings()
    member: LimitSettings = LimitSettings()
    admin: LimitSettings = LimitSettings()


def read_query_settings(text: str) -> QuerySettings:
    """Settings from their JSON. Raises ValueError that says what is wrong with them and where."""
    try:
        return msgspec.json.decode(text, type=QuerySettings, strict=True)
    except msgspec.MsgspecError as exc:
        raise ValueError(f"must be limits by role as JSON: {exc}") from None
