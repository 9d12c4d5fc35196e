"""Fields that several routes of the control API take, with their bounds, and how they show what they keep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from query.time_ranges import read_instant
from query.tokens import Permission, Principal, Role
from topics.errors import Refused
from topics.timestamps import format_timestamp

ADMINISTERS: Final[Permission] = "org:admin"
LIFETIME_MAX: Final = timedelta(days=3660)

Email = Annotated[str, Field(min_length=3, max_length=254, description="compared without case")]
Name = Annotated[str, Field(max_length=100, description="for people")]
RoleName = Literal["owner", "admin", "member", "viewer"]
Expiry = Annotated[str, Field(max_length=64)] | int | float | None


class Form(BaseModel):
    """A body: unknown fields and other types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


def read_expiry(value: str | int | float | None) -> datetime | None:
    """`expires_at` in any form of timestamp, None for never. Raises `Refused` with its path."""
    if value is None:
        return None
    at = datetime.fromtimestamp(read_instant("expires_at", value) / 1e9, UTC)
    if not timedelta(0) < at - datetime.now(UTC) <= LIFETIME_MAX:
        raise Refused(
            f"must be in the future, by {LIFETIME_MAX.days} days at most", code="invalid_field", path="expires_at"
        )
    return at


def check_grants(principal: Principal, role: Role) -> None:
    """Raise `Refused` (forbidden) unless who asks may give this role: only an owner makes owners."""
    if role == "owner" and not principal.is_owner:
        raise Refused("cannot give the role owner: only an owner does", code="forbidden", path="role")


def shown_at(at: datetime | None) -> str | None:
    """A time as the API shows it."""
    return None if at is None else format_timestamp(int(at.timestamp() * 1000) * 1_000_000)


def listed(noun: str, items: list[dict[str, Any]], next_cursor: str | None = None) -> dict[str, Any]:
    """The form of every list."""
    return {noun: items, "next_cursor": next_cursor}
