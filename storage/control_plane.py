"""The control plane in PostgreSQL: an address in; its eight models, each with a store of its own, out.

    organizations  api_keys  users  memberships  monitors  alerts  slos  usage
                   sessions  api_tokens      audit: who changed them
    channels  downtimes  notifications  outbox: who is told of alerts

They share one pool (storage/control_plane_pool.py). Every operation raises `Unavailable` while PostgreSQL is away, and `Refused`
for input that can never be stored, with the path of the parameter at fault. SQL stands in queries/<store>.sql.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from storage.actor import Actor
from storage.alerts import Alerts
from storage.api_keys import ApiKeys
from storage.api_tokens import ApiTokens
from storage.audit import Audit
from storage.channels import Channels
from storage.control_plane_pool import ControlPlanePool
from storage.downtimes import Downtimes
from storage.memberships import Memberships
from storage.monitors import Monitors
from storage.named_queries import load_queries
from storage.notifications import Notifications
from storage.organizations import Organizations
from storage.outbox import Outbox
from storage.sealing import Sealer
from storage.sessions import Sessions
from storage.slos import Slos
from storage.usage import Usage
from storage.users import Users

_SQL = load_queries("control_plane.sql")


class ControlPlane:
    """All of it. Make one with `ControlPlane.open`; close it, or use `async with`."""

    def __init__(self, pool: ControlPlanePool, sealer: Sealer | None) -> None:
        self._pool = pool
        self._sealer = sealer
        self.organizations = Organizations(pool)
        self.api_keys = ApiKeys(pool, sealer)
        self.users = Users(pool)
        self.memberships = Memberships(pool)
        self.monitors = Monitors(pool)
        self.alerts = Alerts(pool)
        self.slos = Slos(pool)
        self.usage = Usage(pool)
        self.audit = Audit(pool)
        self.sessions = Sessions(pool)
        self.api_tokens = ApiTokens(pool)
        self.channels = Channels(pool, sealer)
        self.downtimes = Downtimes(pool)
        self.notifications = Notifications(pool)
        self.outbox = Outbox(pool, sealer)

    def acting(self, actor: Actor) -> ControlPlane:
        """The same control plane, whose changes the audit log ascribes to `actor`: whatever changes something for somebody
        calls a store of this. It costs nothing to make and is not closed; a change through the plain one is the system's."""
        return ControlPlane(self._pool.acting(actor), self._sealer)

    @classmethod
    async def open(
        cls,
        dsn: str,
        sealer: Sealer | None = None,
        *,
        pool_size_max: int = 4,
        connect_timeout_s: float = 5.0,
        command_timeout_s: float = 10.0,
        statement_cache_size: int = 100,
    ) -> Self:
        """Make the pool; PostgreSQL may be away. Without a `sealer` everything works that touches no secret.

        `statement_cache_size=0` is for a dsn that leads through pgbouncer in transaction mode.
        """
        pool = await ControlPlanePool.open(
            dsn,
            size_max=pool_size_max,
            connect_timeout_s=connect_timeout_s,
            command_timeout_s=command_timeout_s,
            statement_cache_size=statement_cache_size,
        )
        return cls(pool, sealer)

    async def close(self) -> None:
        """Close every connection, within seconds."""
        await self._pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def ping(self) -> None:
        """Return when PostgreSQL answers and the migrations have run; raise `Unavailable` otherwise."""
        await self._pool.fetch("reach the control plane", _SQL["ping"])
