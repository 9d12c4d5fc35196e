"""Who asks in; what a question of theirs may cost, and how many may be under way, out: the one place of these limits.

Where several say something, the last one counts: the defaults of a role below, the installation (AEGIS_QUERY_LIMITS), the
organization (`query` of its settings). The organizations' settings are a snapshot, reread every `refresh_s`; while the control
plane is away the last one holds, or the installation's limits alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from query.tokens import Role
from storage.query_settings import LimitSettings, QuerySettings
from storage.scope import OrgScope
from storage.search_limits import SearchLimits
from topics.errors import Unavailable

log = logging.getLogger(__name__)

_DAY_S: Final = 86400
# A long range over little data costs nothing, and much data is bounded by rows and bytes; shorter ones are an operator's choice.
_LONG_S: Final = 36_500 * _DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleLimits(SearchLimits):
    """What each statement of a question may cost, and how many questions its organization may have under way in one process when
    another one is asked by this role: those of few rights leave room for the others."""

    concurrent_max: int


_VIEWER: Final = RoleLimits(
    range_s_max=_LONG_S,
    rows_to_read_max=200_000_000,
    bytes_to_read_max=20 << 30,
    seconds_max=15.0,
    result_bytes_max=32 << 20,
    memory_bytes_max=1 << 30,
    concurrent_max=4,
)
_MEMBER: Final = RoleLimits(
    range_s_max=_LONG_S,
    rows_to_read_max=1_000_000_000,
    bytes_to_read_max=100 << 30,
    seconds_max=30.0,
    result_bytes_max=64 << 20,
    memory_bytes_max=2 << 30,
    concurrent_max=8,
)
_ADMIN: Final = RoleLimits(
    range_s_max=_LONG_S,
    rows_to_read_max=5_000_000_000,
    bytes_to_read_max=500 << 30,
    seconds_max=60.0,
    result_bytes_max=128 << 20,
    memory_bytes_max=4 << 30,
    concurrent_max=12,
)
DEFAULTS: Final[Mapping[Role, RoleLimits]] = MappingProxyType(
    {"viewer": _VIEWER, "member": _MEMBER, "admin": _ADMIN, "owner": _ADMIN}
)

LoadSettings = Callable[[], Awaitable[Mapping[str, QuerySettings]]]
"""Organization id -> its own limits, of those that have some."""


_UNSAID: Final = QuerySettings()


async def _none() -> Mapping[str, QuerySettings]:
    return {}


class Limits:
    """The limits of every organization and role."""

    def __init__(
        self, installation: QuerySettings = _UNSAID, load: LoadSettings = _none, *, refresh_s: float = 3.0
    ) -> None:
        self._by_role = {role: changed(limits, _of_role(installation, role)) for role, limits in DEFAULTS.items()}
        self._load = load
        self._refresh_s = refresh_s
        self._own: Mapping[str, QuerySettings] = {}

    def of(self, scope: OrgScope, role: Role) -> RoleLimits:
        """What holds for this role in this organization now."""
        own = self._own.get(scope.org_id)
        return self._by_role[role] if own is None else changed(self._by_role[role], _of_role(own, role))

    async def reread(self) -> None:
        """Take the organizations' settings as they are now. Raises `Unavailable`."""
        self._own = await self._load()

    async def keep_rereading(self) -> None:
        """Reread for ever; while the control plane is away the last settings serve on."""
        away = False
        while True:
            try:
                await self.reread()
            except Unavailable as exc:
                if not away:
                    log.warning("cannot reread organizations' limits, the last known ones hold: %s", exc)
                away = True
            except Exception:
                # A bug here must not end the rereading in silence.
                log.exception("cannot reread organizations' limits")
            else:
                away = False
            await asyncio.sleep(self._refresh_s)


def changed(limits: RoleLimits, settings: LimitSettings) -> RoleLimits:
    """The limits with what the settings say instead."""
    said: dict[str, Any] = {
        "range_s_max": settings.range_days and settings.range_days * _DAY_S,
        "rows_to_read_max": settings.rows,
        "bytes_to_read_max": settings.bytes,
        "seconds_max": settings.seconds and float(settings.seconds),
        "result_bytes_max": settings.result_bytes,
        "memory_bytes_max": settings.memory_bytes,
        "concurrent_max": settings.concurrent,
    }
    return replace(limits, **{name: value for name, value in said.items() if value is not None})


def _of_role(settings: QuerySettings, role: Role) -> LimitSettings:
    return {
        "viewer": settings.viewer,
        "member": settings.member,
        "admin": settings.admin,
        "owner": settings.admin,
    }[role]
