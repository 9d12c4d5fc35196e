"""A PostgreSQL address in; a bounded pool that outlives the server's absence, and its errors as ours, out.

`postgres_errors` is the one place where asyncpg's exceptions become `Refused` or `Unavailable`, by SQLSTATE
(https://www.postgresql.org/docs/current/errcodes-appendix.html).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from topics.errors import Refused, Unavailable

log = logging.getLogger(__name__)

# 42P01 undefined table, 42703 undefined column, 42883 undefined function: the database is older than the code.
_NOT_MIGRATED = frozenset({"42P01", "42703", "42883"})
_CONFLICTS = frozenset({"23001", "23505", "23P01"})
_BAD_VALUES: Mapping[str, str] = {
    "22001": "a text is too long",
    "22003": "a number is out of range",
    "22008": "a time is out of range",
    "22021": "a text has the character U+0000",
    "22P05": "a text has the character U+0000",
}
_NO_PARAMETER_NAMES: Mapping[str, tuple[str, str]] = {}

RELEASE_TIMEOUT_S = 2.0


class _Pool(asyncpg.Pool):
    """A pool that takes a connection back within `RELEASE_TIMEOUT_S`. asyncpg's own waits until the server has acknowledged that
    a statement was cancelled: whoever stops waiting for a server that hangs would go on waiting for as long as a command may."""

    async def release(self, connection: PoolConnectionProxy, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncpg's signature
        # Past the time the connection is cut off; what the caller was about to raise stands.
        with suppress(TimeoutError):
            await super().release(connection, timeout=timeout or RELEASE_TIMEOUT_S)


async def open_pool(
    dsn: str, *, size_max: int, connect_timeout_s: float, command_timeout_s: float, statement_cache_size: int
) -> asyncpg.Pool:
    """Make a pool of at most `size_max` connections; none is opened before it is needed, so the server may be away now.

    `statement_cache_size=0` is for pgbouncer in transaction mode, where a prepared statement may belong to another server.
    """
    return await _Pool(
        dsn,
        min_size=0,
        max_size=size_max,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        connect=None,
        setup=None,
        init=None,
        reset=None,
        loop=None,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        timeout=connect_timeout_s,
        command_timeout=command_timeout_s,
        statement_cache_size=statement_cache_size,
        server_settings={"application_name": "aegis"},
    )


async def close_pool(pool: asyncpg.Pool, *, timeout_s: float = 5.0) -> None:
    """Close the pool; statements that are still running after `timeout_s` are cut off, so that a stop always ends."""
    try:
        async with asyncio.timeout(timeout_s):
            await pool.close()
    except TimeoutError:
        pool.terminate()


@asynccontextmanager
async def connected(dsn: str, doing: str, *, command_timeout_s: float) -> AsyncIterator[asyncpg.Connection]:
    """One connection for an operator's task; errors inside the block become ours, as in `postgres_errors`."""
    with postgres_errors(doing):
        connection: asyncpg.Connection = await asyncpg.connect(
            dsn,
            timeout=5.0,
            command_timeout=command_timeout_s,
            statement_cache_size=0,
            server_settings={"application_name": "aegis"},
        )
        try:
            yield connection
        finally:
            # A server that is gone has closed it already.
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=5.0)


@contextmanager
def postgres_errors(doing: str, constraints: Mapping[str, tuple[str, str]] = _NO_PARAMETER_NAMES) -> Iterator[None]:
    """Run a block of asyncpg calls; `doing` completes the message "cannot <doing>: ...".

    `constraints` maps a constraint's name to (path, reason) for the `Refused` that its violation becomes. A violation of one
    that is not listed is refused all the same, with the constraint's name as the reason.
    """
    try:
        yield
    except asyncpg.ClientConfigurationError as exc:
        raise Refused(f"cannot {doing}: the PostgreSQL address is not acceptable: {exc}", code="bad_setting") from exc
    except UnicodeEncodeError as exc:
        raise Refused(f"cannot {doing}: a text is not valid Unicode", code="invalid_field") from exc
    except asyncpg.PostgresError as exc:
        raise _translated(exc, doing, constraints) from exc
    except TimeoutError as exc:
        raise Unavailable(f"cannot {doing}: PostgreSQL did not answer in time") from exc
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as exc:
        raise Unavailable(f"cannot {doing}: PostgreSQL is away", detail=str(exc) or type(exc).__name__) from exc


def _translated(
    exc: asyncpg.PostgresError, doing: str, constraints: Mapping[str, tuple[str, str]]
) -> Refused | Unavailable:
    state = exc.sqlstate or ""
    if state.startswith("23"):
        name = getattr(exc, "constraint_name", None) or getattr(exc, "column_name", None) or ""
        path, reason = constraints.get(name, ("", f"it breaks {name or 'a constraint'}"))
        return Refused(
            f"cannot {doing}: {reason}", code="conflict" if state in _CONFLICTS else "invalid_field", path=path
        )
    if state.startswith("22"):
        log.info("cannot %s: PostgreSQL refused a value with %s: %s", doing, state, exc)
        return Refused(f"cannot {doing}: {_BAD_VALUES.get(state, 'a value cannot be stored')}", code="invalid_field")
    if state in _NOT_MIGRATED:
        reason = f"cannot {doing}: PostgreSQL has another version's schema; run `aegis migrate`"
        return Unavailable(reason, retry_after_s=5.0, detail=str(exc))
    # The rest (no connection, shutting down, no resources, deadlock, read-only standby, wrong password) may pass without a
    # change to the input, so the caller tries again and the reason shows in its log.
    return Unavailable(f"cannot {doing}: PostgreSQL could not (its error {state})", detail=str(exc))
