"""An address in; a ClickHouse client that outlives the server's absence, with errors as ours, out.

Wraps clickhouse-connect's native async client (HTTP, also in front of the embedded engine). The client is made on first use and
kept: its pool reconnects by itself. Everything raised is `Refused`, `Unavailable` or `TooExpensive`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any, Generic, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
import clickhouse_connect
import msgspec
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import Error

from storage.clickhouse_errors import failure_in, translate
from topics.errors import Refused, Unavailable

Row = TypeVar("Row")
_NONE: Mapping[str, Any] = MappingProxyType({})
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_CLIENT_ERRORS = (Error, aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError)


@dataclass(frozen=True, slots=True)
class ClickHouseAddress:
    """Where ClickHouse's HTTP interface is. An empty `database` means the user's default one."""

    host: str
    port: int = 8123
    database: str = "aegis"
    user: str = "default"
    password: str = field(default="", repr=False)
    secure: bool = False

    def __post_init__(self) -> None:
        if self.database and not _IDENTIFIER.fullmatch(self.database):
            raise Refused(
                f"cannot use the database name {self.database!r}: it is not an identifier", code="bad_setting"
            )

    @classmethod
    def parse(cls, host: str, port: int, *, database: str, user: str, password: str) -> ClickHouseAddress:
        """Make one from settings; `host` may be a URL (`https://name:8443`), whose parts then win."""
        if "://" not in host:
            return cls(host, port, database, user, password)
        url = urlsplit(host)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise Refused(f"cannot use CLICKHOUSE_HOST {host!r}: it is not http://host:port", code="bad_setting")
        secure = url.scheme == "https"
        return cls(url.hostname, url.port or (8443 if secure else port), database, user, password, secure)


@dataclass(frozen=True, slots=True)
class ReadStats:
    """What the server spent on one query."""

    rows_read: int
    bytes_read: int
    elapsed_ms: float

    def __add__(self, other: ReadStats) -> ReadStats:
        """What two queries, one after the other, spent together."""
        return ReadStats(
            self.rows_read + other.rows_read, self.bytes_read + other.bytes_read, self.elapsed_ms + other.elapsed_ms
        )


@dataclass(frozen=True, slots=True)
class Answer(Generic[Row]):
    """Rows of one query, decoded, and what they cost."""

    rows: list[Row]
    stats: ReadStats


class _Statistics(msgspec.Struct):
    elapsed: float = 0.0
    rows_read: int = 0
    bytes_read: int = 0


class ClickHouse:
    """One database of one ClickHouse. Use it in one event loop; close it, or use `async with`."""

    def __init__(
        self,
        address: ClickHouseAddress,
        *,
        connections_max: int = 16,
        connect_timeout_s: float = 5.0,
        answer_timeout_s: float = 120.0,
        compression: str | None = None,
    ) -> None:
        """Nothing connects yet. `compression` ("lz4", "zstd") of answers is for servers behind a real network; on one machine it
        costs more than it saves. The Arrow buffers of an insert are lz4 already."""
        self.address = address
        self._connections_max = connections_max
        self._connect_timeout_s = connect_timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._compression = compression
        self._client: AsyncClient | None = None
        self._attempt: asyncio.Task[AsyncClient] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, *, timeout_s: float = 5.0) -> None:
        """Close the connections; what still runs after `timeout_s` is cut off. Later calls raise `Unavailable`."""
        self._closed = True
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.gather(self._attempt, return_exceptions=True)
        client, self._client = self._client, None
        if client is None:
            return
        # When the time is up, cancelling the close makes the client drop its connections at once.
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await client.close()

    async def ping(self, *, timeout_s: float = 3.0) -> None:
        """Return when the server answers and the database exists; raise `Unavailable` otherwise."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.command("SELECT 1", doing="reach ClickHouse")
        except TimeoutError as exc:
            raise Unavailable(f"cannot reach ClickHouse: no answer within {timeout_s:g} s") from exc

    async def command(
        self,
        sql: str,
        parameters: Mapping[str, Any] = _NONE,
        settings: Mapping[str, Any] = _NONE,
        *,
        doing: str = "run a statement",
    ) -> Any:
        """Run one statement that gives nothing, or one row; returns that row's value or list of texts."""
        try:
            client = await self._connected()
            return await client.command(sql, parameters=dict(parameters), settings=dict(settings))
        except _CLIENT_ERRORS as exc:
            raise translate(exc, doing, settings, writing=True) from exc

    async def read(
        self,
        sql: str,
        row_type: type[Row],
        parameters: Mapping[str, Any] = _NONE,
        settings: Mapping[str, Any] = _NONE,
        *,
        doing: str,
    ) -> Answer[Row]:
        """Run one SELECT without FORMAT; each row becomes a `row_type`, an array-like msgspec Struct or a tuple.

        JSONCompact, because integers of 64 bits and any text come through exactly, msgspec decodes straight into the rows,
        and the costs stand in the answer. `settings` are the query's limits; passing one raises `TooExpensive`. A call that is
        cancelled ends the query in the server too.
        """
        try:
            client = await self._connected()
            body = await client.raw_query(
                sql, parameters=dict(parameters), settings={**_EXACT_JSON, **settings}, fmt="JSONCompact"
            )
            answer = msgspec.json.decode(body, type=_answer_type(row_type))
        except _CLIENT_ERRORS as exc:
            raise translate(exc, doing, settings, writing=False) from exc
        spent = answer.statistics
        return Answer(answer.data, ReadStats(spent.rows_read, spent.bytes_read, spent.elapsed * 1000))

    async def stream(
        self,
        sql: str,
        row_type: type[Row],
        parameters: Mapping[str, Any] = _NONE,
        settings: Mapping[str, Any] = _NONE,
        *,
        doing: str,
    ) -> AsyncGenerator[list[Row], None]:
        """The rows of one SELECT without FORMAT as they come, some at a time, so that any number of them needs little memory.

        Whoever does not read to the end closes the generator, which ends the query. Raises as `read`, also between rows: what
        came before is right, and not all.
        """
        decoder = msgspec.json.Decoder(row_type)
        given = {**_EXACT_JSON, "wait_end_of_query": 0, **settings}
        try:
            client = await self._connected()
            stream = await client.raw_stream(sql, parameters=dict(parameters), settings=given, fmt="JSONCompactEachRow")
            async with stream as pieces:
                rest = b""
                async for piece in pieces:
                    whole, newline, rest = (rest + piece).rpartition(b"\n")
                    if newline:
                        # JSON escapes it, so it is the server that tells of a failure, in place of the rows to come.
                        if b"\r" in whole:
                            rest = whole + newline + rest
                            break
                        yield decoder.decode_lines(whole)
                if rest:
                    async for piece in pieces:
                        rest += piece
                    raise failure_in(rest)
        except _CLIENT_ERRORS as exc:
            raise translate(exc, doing, settings, writing=False) from exc

    async def insert(
        self, table: str, columns: tuple[str, ...], block: bytes, settings: Mapping[str, Any], *, doing: str
    ) -> None:
        """Insert an Arrow IPC stream into `table`. Names come from code, never from input.

        clickhouse-connect repeats an insert whose connection broke, so the caller's settings must hold a deduplication token.
        """
        if "insert_deduplication_token" not in settings:
            raise ValueError("an insert without a deduplication token could be stored twice")
        try:
            client = await self._connected()
            await client.raw_insert(
                table, columns, insert_block=block, settings={**ONE_BLOCK, **settings}, fmt="ArrowStream"
            )
        except _CLIENT_ERRORS as exc:
            raise translate(exc, doing, settings, writing=True) from exc

    async def _connected(self) -> AsyncClient:
        """The client. All who come while it is being made wait for the same attempt, so that none waits for several."""
        if self._client is not None:
            return self._client
        if self._closed:
            raise Unavailable("cannot use ClickHouse: the client is closed")
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._connect())
            self._attempt.add_done_callback(self._attempted)
        # Shielded, because the others still want it when one of them gives up.
        return await asyncio.shield(self._attempt)

    def _attempted(self, attempt: asyncio.Task[AsyncClient]) -> None:
        self._attempt = None
        if not attempt.cancelled() and attempt.exception() is None:
            self._client = attempt.result()

    async def _connect(self) -> AsyncClient:
        address = self.address
        try:
            return await clickhouse_connect.get_async_client(
                host=address.host,
                port=address.port,
                username=address.user,
                password=address.password,
                database=address.database or None,
                secure=address.secure,
                compress=self._compression or False,
                connect_timeout=self._connect_timeout_s,
                send_receive_timeout=self._answer_timeout_s,
                connector_limit=self._connections_max,
                connector_limit_per_host=self._connections_max,
                query_retries=0,
                # Concurrent queries of one session are refused by the server.
                autogenerate_session_id=False,
            )
        except asyncio.CancelledError:
            # Only `close` cancels this task; those who wait for it were not cancelled themselves.
            raise Unavailable("cannot use ClickHouse: the client is closed") from None


_EXACT_JSON: Mapping[str, Any] = MappingProxyType(
    {
        "output_format_json_quote_64bit_integers": 0,
        # An error after the first bytes would otherwise arrive inside the answer, under status 200.
        "wait_end_of_query": 1,
        # The server ends a read whose connection is closed, as that of a cancelled call is; of readonly queries only.
        "readonly": 1,
        "cancel_http_readonly_queries_on_client_close": 1,
        # A line may have as many pairs of key and value as it has room for.
        "regexp_max_matches_per_row": 1 << 18,
    }
)

ONE_BLOCK: Mapping[str, Any] = MappingProxyType(
    {
        # One block however many record batches the stream has: the deduplication token stands for the block as a whole.
        "max_insert_threads": 1,
        "min_insert_block_size_rows": 1 << 32,
        "min_insert_block_size_bytes": 1 << 40,
        "input_format_parallel_parsing": 0,
        # A stream without org_id would otherwise be stored under an empty one.
        "input_format_arrow_allow_missing_columns": 0,
        # Newer servers insert asynchronously by default, which would merge blocks of different tokens.
        "async_insert": 0,
        "deduplicate_blocks_in_dependent_materialized_views": 1,
    }
)


def _answer_type(row_type: type[Row]) -> Any:
    decoded = _ANSWER_TYPES.get(row_type)
    if decoded is None:
        fields = [("data", list[row_type]), ("statistics", _Statistics)]  # type: ignore[valid-type]  # a type at run time
        decoded = _ANSWER_TYPES[row_type] = msgspec.defstruct("Answer", fields)
    return decoded


_ANSWER_TYPES: dict[Any, Any] = {}
