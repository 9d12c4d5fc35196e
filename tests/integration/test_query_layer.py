"""What surrounds every question, over a real server, engine and PostgreSQL: clients that leave, and compressed answers."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import httpx
import pytest
from asked_queries import SECRET
from fastapi import Depends, FastAPI, Response
from fastapi.responses import StreamingResponse
from zstandard import ZstdDecompressor

from query.admission import Admission
from query.authorization import permitted
from query.layer import QueryLayer
from query.limits import Limits
from query.tokens import Principal, Tokens
from storage.clickhouse import ClickHouse
from storage.control_plane import ControlPlane
from storage.scope import OrgScope
from storage.search_limits import SearchLimits
from web.bounded_http import serve_bounded
from web.error_replies import install_error_replies
from web.serving import bind, serve

ORG = OrgScope("6f1c9e5a-0000-4000-8000-000000000001")
TOKEN = Tokens(SECRET).issue(ORG, role="viewer", subject="test", lifetime_s=600)
ROWS = [{"id": str(i), "message": f"request {i} of the shop took {i % 97} ms", "service": "api"} for i in range(20_000)]


class _Bounded(FastAPI):
    async def __call__(self, scope, receive, send):  # type: ignore[no-untyped-def,override]  # as query/app.py has it
        await serve_bounded(super().__call__, scope, receive, send)


@dataclass
class Served:
    """An application of questions of this file's own, which take for ever or answer much, behind the real layer."""

    port: int
    admission: Admission
    clickhouse: ClickHouse
    control_plane: ControlPlane
    lines: asyncio.Event

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ask_and_leave(self, path: str, method: str = "GET") -> None:
        """Send a question, wait until it has its turn, and close the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        body = b"{}" if method == "POST" else b""
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        await until(lambda: self.admission.under_way(ORG) == 1)
        await self.until_running(path)
        writer.close()
        await writer.wait_closed()
        del reader

    async def until_running(self, path: str) -> None:
        running = self.statements_of_postgres if "postgres" in path else self.reads_of_clickhouse
        await until(running)

    async def reads_of_clickhouse(self) -> int:
        sql = "SELECT count() FROM system.processes WHERE query LIKE '%1000000000000%' AND query NOT LIKE '%processes%'"
        return (await self.clickhouse.read(sql, tuple[int], doing="look")).rows[0][0]

    async def statements_of_postgres(self) -> int:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(8)' AND state = 'active'"
        rows = await self.control_plane._pool.fetch("look", sql)
        return int(rows[0]["count"])


def unzstd(data: bytes) -> bytes:
    """The frame of a stream does not say how much it holds."""
    return ZstdDecompressor().decompressobj().decompress(data)


async def until(check: Callable[[], object], *, timeout_s: float = 10.0) -> float:
    """Wait until it is true; how long that took, in seconds."""
    began = time.monotonic()
    while True:
        found = check()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return time.monotonic() - began
        assert time.monotonic() - began < timeout_s
        await asyncio.sleep(0.01)


@pytest.fixture
async def served(store_clickhouse: ClickHouse, store_control_plane: ControlPlane) -> AsyncIterator[Served]:
    admission = Admission(Limits())
    lines = asyncio.Event()
    app = _Bounded()
    install_error_replies(app)
    may_read = Depends(permitted(Tokens(SECRET), "logs:read"))
    heavy = "SELECT count() FROM numbers(1000000000000) WHERE cityHash64(toString(number)) = 1"

    @app.get("/query/clickhouse")
    @app.post("/query/clickhouse")
    async def read_for_ever(principal: Principal = may_read) -> Response:
        await store_clickhouse.read(heavy, tuple[int], {}, SearchLimits().settings(), doing="read for ever")
        return Response()

    @app.get("/query/postgres")
    async def sleep(principal: Principal = may_read) -> Response:
        await store_control_plane._pool.fetch("sleep", "SELECT pg_sleep(8)")
        return Response()

    @app.get("/query/large")
    async def much(principal: Principal = may_read) -> Response:
        return Response(json.dumps(ROWS), media_type="application/json")

    @app.get("/query/small")
    async def little(principal: Principal = may_read) -> Response:
        return Response("{}", media_type="application/json")

    @app.get("/query/lines")
    async def stream(principal: Principal = may_read) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b'{"line": 1}\n'
            await lines.wait()
            yield b'{"line": 2}\n'

        return StreamingResponse(parts(), media_type="application/x-ndjson")

    app.add_middleware(QueryLayer, admission=admission)
    sock: socket.socket = bind("127.0.0.1", 0, setting="none")
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(app, sock, stop=stop))
    yield Served(sock.getsockname()[1], admission, store_clickhouse, store_control_plane, lines)
    stop.set()
    await serving


@pytest.mark.parametrize(("method", "path"), [("GET", "/query/clickhouse"), ("POST", "/query/clickhouse")])
async def test_a_read_ends_in_the_engine_when_its_client_leaves(served: Served, method: str, path: str) -> None:
    await served.ask_and_leave(path, method)
    assert await until(lambda: served.admission.under_way(ORG) == 0) < 1

    async def idle() -> bool:
        return await served.reads_of_clickhouse() == 0

    assert await until(idle) < 5


async def test_a_statement_ends_in_postgresql_when_its_client_leaves(served: Served) -> None:
    await served.ask_and_leave("/query/postgres")
    assert await until(lambda: served.admission.under_way(ORG) == 0) < 1

    async def idle() -> bool:
        return await served.statements_of_postgres() == 0

    assert await until(idle) < 5


async def test_a_question_that_waits_for_its_turn_leaves_the_line_with_its_client(served: Served) -> None:
    for _ in range(4):
        await served.admission.take(ORG, "viewer")
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(f"GET /query/small HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n".encode())
    organization = served.admission._organizations[ORG.org_id]
    await until(lambda: len(organization.waiting) == 1)
    writer.close()
    assert await until(lambda: len(organization.waiting) == 0) < 1
    assert served.admission.under_way(ORG) == 4


@pytest.mark.parametrize(
    ("accepts", "encoding"),
    [
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1, zstd;q=0", "gzip"),
        ("br", None),
        ("identity", None),
    ],
)
async def test_an_answer_is_compressed_as_its_client_accepts(
    served: Served, accepts: str, encoding: str | None
) -> None:
    headers = {"authorization": f"Bearer {TOKEN}", "accept-encoding": accepts}
    async with (
        httpx.AsyncClient(base_url=served.url) as http,
        http.stream("GET", "/query/large", headers=headers) as answer,
    ):
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers.get("content-encoding") == encoding
    decoded = {"gzip": gzip.decompress, "zstd": unzstd, None: bytes}[encoding](raw)
    assert json.loads(decoded) == ROWS
    assert encoding is None or (len(raw) < len(decoded) / 4 and "accept-encoding" in answer.headers["vary"].lower())
    async with httpx.AsyncClient(base_url=served.url) as http:
        small = await http.get("/query/small", headers=headers)
        assert (small.text, small.headers.get("content-encoding")) == ("{}", None)
        refused = await http.get("/query/small", headers=headers | {"authorization": "x"})
        assert refused.status_code == 401


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "identity"])
async def test_a_stream_shows_each_line_when_it_is_there(served: Served, encoding: str) -> None:
    headers = {"authorization": f"Bearer {TOKEN}", "accept-encoding": encoding}
    unpack: Callable[[bytes], bytes] = {
        "gzip": zlib.decompressobj(31).decompress,
        "zstd": ZstdDecompressor().decompressobj().decompress,
        "identity": bytes,
    }[encoding]
    text = b""
    async with (
        httpx.AsyncClient(base_url=served.url) as http,
        http.stream("GET", "/query/lines", headers=headers) as answer,
    ):
        async with asyncio.timeout(10):
            async for part in answer.aiter_raw():
                text += unpack(part)
                if text == b'{"line": 1}\n' and not served.lines.is_set():
                    assert served.admission.under_way(ORG) == 1
                    served.lines.set()
    assert text == b'{"line": 1}\n{"line": 2}\n'
    assert answer.headers.get("content-encoding", "identity") == encoding
    await until(lambda: served.admission.under_way(ORG) == 0)
