"""Query in, Answer out: chDB run in one process, a fresh handle for every query, rows streamed where the format allows it.

Why a fresh handle: a handle keeps what SET and USE did to it (and `readonly` cannot be taken back), so a reused one would
leak one query's settings into the next. Opening and closing one costs about 70 us, no more than setting them back would.

All methods block and belong into threads; chDB releases the GIL while it works.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aegis.embedded.clickhouse.deduplication_logs import forget_unstored_blocks
from aegis.embedded.clickhouse.extension import load_extension
from aegis.embedded.clickhouse.failures import EngineFailure
from aegis.embedded.clickhouse.requests import Query
from topics.errors import Refused

# A format can be streamed when its blocks, one after another, are themselves a document in that format.
_STREAMED = frozenset(
    name.lower()
    for name in (
        "Native", "RowBinary", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "JSONEachRow", "JSONLines", "NDJSON",
        "JSONStringsEachRow", "JSONCompactEachRow", "JSONCompactStringsEachRow", "LineAsString", "RawBLOB",
    )
)  # fmt: skip
# chDB returns the result of every other statement whole.
_STREAMABLE = (b"SELECT", b"WITH")
_FIRST_BYTES = 256 * 1024

# Of the engine's memory, for decompressed blocks of columns. A page of logs costs what it decompresses: one row takes its whole
# granule of messages and attributes, 3 MB, so a page of rare logs takes 400 MB; the next page, or the same question again, finds
# them here. clickhouse-local, which chDB is, has no such cache.
_UNCOMPRESSED_CACHE_SHARE = 16

# chDB is built like clickhouse-local; these make a handle behave like a server's connection.
_SERVER_LIKE = "implicit_select=0, allow_introspection_functions=0, async_insert=0"


@dataclass(slots=True)
class Summary:
    """What X-ClickHouse-Summary tells; counts of rows and bytes."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0


@dataclass(slots=True)
class Answer:
    """The outcome of a query: `body` is all of it, or its beginning when `rest` is there."""

    body: bytes
    format: str
    summary: Summary = field(default_factory=Summary)
    rest: RowStream | None = None


class RowStream:
    """The rest of a result. `next_chunk` until it returns None, and `close` in any case.

    Any thread may call: a request that is cancelled closes its stream while a thread may still wait for the next chunk.
    """

    def __init__(self, handle: Any, result: Any) -> None:
        self._handle = handle
        self._result = result
        self._one_at_a_time = threading.Lock()

    def next_chunk(self) -> tuple[bytes, int] | None:
        """Bytes and rows of the next block, None after the last. Raises `EngineFailure` when the query fails now."""
        with self._one_at_a_time:
            if self._handle is None:
                return None
            try:
                chunk = self._handle.streaming_fetch_result(self._result)
            except RuntimeError as exc:
                self._release()
                raise EngineFailure(str(exc)) from exc
            rows: int = chunk.rows_read()
            if rows == 0:
                self._release()
                return None
            return chunk.bytes(), rows

    def close(self) -> None:
        """Stop the query if it still runs, and free its handle."""
        with self._one_at_a_time:
            if self._handle is not None:
                with suppress(RuntimeError):
                    self._handle.streaming_cancel_query(self._result)
                self._release()

    def _release(self) -> None:
        handle, self._handle = self._handle, None
        handle.close()


class Engine:
    """The one owner of a data path.

    Raises `Refused` when the folder is in use by another process or cannot be opened.
    """

    def __init__(self, path: Path, *, memory_bytes_max: int, mark_cache_bytes: int = 128 << 20) -> None:
        self._path = _usable(path)
        self._chdb = load_extension()
        forget_unstored_blocks(self._path)
        options = f"max_server_memory_usage={memory_bytes_max}&mark_cache_size={mark_cache_bytes}"
        options += f"&uncompressed_cache_size={memory_bytes_max // _UNCOMPRESSED_CACHE_SHARE}"
        try:
            # Held open for as long as the process lives: the engine ends with its last handle.
            self._root = self._chdb.connect(f"{self._path}?{options}")
        except RuntimeError as exc:
            raise Refused(
                f"cannot open {self._path} as ClickHouse data: {self._owner() or exc}", code="data_path_in_use"
            ) from exc
        self.version, self.timezone = self._one_row("SELECT version(), timezone()")

    def execute(self, query: Query) -> Answer:
        """Run one query. For a streamed answer the caller owns `rest` and must close it. Raises `EngineFailure`."""
        started = time.perf_counter_ns()
        handle = self._open_handle(query)
        kept = False
        try:
            answer = self._insert(handle, query) if query.statement.kind == "insert_data" else self._read(handle, query)
            kept = answer.rest is not None
            answer.summary.elapsed_ns = time.perf_counter_ns() - started
            return answer
        except RuntimeError as exc:
            raise EngineFailure(str(exc)) from exc
        finally:
            if not kept:
                handle.close()

    def kill(self, query_id: str, mode: str = "ASYNC") -> Answer:
        """Stop the queries that came with this query id; the answer lists them as KILL QUERY does."""
        handle = self._chdb.connect(str(self._path))
        try:
            where = f"Settings['log_comment'] = {_quoted(query_id)}"
            rows: bytes = handle.query(f"KILL QUERY WHERE {where} {mode}", "TabSeparated").bytes()
            return Answer(rows, "TabSeparated")
        except RuntimeError as exc:
            raise EngineFailure(str(exc)) from exc
        finally:
            handle.close()

    def kill_all(self) -> None:
        """Stop every query that came over HTTP."""
        self._one_row("KILL QUERY WHERE Settings['log_comment'] != '' ASYNC")

    def close(self) -> None:
        """Flush and let go of the data path. Queries must have ended."""
        self._root.close()

    def _open_handle(self, query: Query) -> Any:
        handle = self._chdb.connect(str(self._path))
        prelude = f"SET {_SERVER_LIKE}, log_comment={_quoted(query.query_id)}"
        prelude += "".join(f", {name}={_quoted(value)}" for name, value in query.settings.items() if name != "readonly")
        if query.database != "default":
            prelude = f"USE {_quoted_name(query.database)}; {prelude}"
        # Last, because nothing can be set after it; a GET may read only, as with a server.
        readonly = query.settings.get("readonly", "2" if query.read_only else "0")
        if readonly != "0":
            prelude += f"; SET readonly={_quoted(readonly)}"
        try:
            handle.query(prelude, "TabSeparated")
        except RuntimeError as exc:
            handle.close()
            raise EngineFailure(str(exc)) from exc
        return handle

    def _read(self, handle: Any, query: Query) -> Answer:
        statement = query.statement
        named = statement.format or query.default_format
        if (
            query.buffered
            or statement.kind != "read"
            or named.lower() not in _STREAMED
            or statement.keyword not in _STREAMABLE
        ):
            result = handle.query(statement.text, query.default_format, params=query.parameters)
            summary = Summary(result.storage_rows_read(), result.storage_bytes_read(), result_rows=result.rows_read())
            body: bytes = result.bytes()
            summary.result_bytes = len(body)
            return Answer(body, named, summary)
        stream = RowStream(handle, handle.send_query(statement.text, query.default_format, params=query.parameters))
        return _begin(stream, named)

    def _insert(self, handle: Any, query: Query) -> Answer:
        """The data go to the engine as a file in memory: chDB cuts binary data off that stand inside the SQL text."""
        statement = query.statement
        with _file_of(query.data) as path:
            parts = (statement.head, _quoted(path).encode(), statement.settings, (statement.format or "").encode())
            sql = b"%s FROM INFILE %s %s FORMAT %s" % parts
            try:
                result = handle.query(sql, "TabSeparated", params=query.parameters)
            except RuntimeError as exc:
                # Every error of a row repeats the name of our file, which means nothing to a client.
                raise EngineFailure(str(exc).replace(f" (in file/uri {path})", "")) from exc
        return Answer(
            b"", query.default_format, Summary(written_rows=result.rows_read(), written_bytes=len(query.data))
        )

    def _one_row(self, sql: str) -> list[str]:
        handle = self._chdb.connect(str(self._path))
        try:
            text: str = handle.query(sql, "TabSeparated").bytes().decode()
        finally:
            handle.close()
        return text.rstrip("\n").split("\t")

    def _owner(self) -> str:
        """Who holds the folder, from the `status` file that ClickHouse keeps locked in it; nothing when nobody does."""
        try:
            lines = (self._path / "status").read_text().splitlines()
        except OSError:
            return ""
        pid = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("PID:")), "")
        return f"process {pid} uses it" if pid and Path(f"/proc/{pid}").exists() and pid != str(os.getpid()) else ""


def _usable(path: Path) -> Path:
    """The folder, made if need be; what chDB would fail on without saying why is refused here."""
    path = path.resolve()
    if "?" in str(path):
        raise Refused(
            f"cannot open {path} as ClickHouse data: the engine takes what follows a ? for options", code="bad_path"
        )
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise Refused(f"cannot open {path} as ClickHouse data: {exc.strerror}", code="bad_path") from exc
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise Refused(f"cannot open {path} as ClickHouse data: this user may not write there", code="bad_path")
    return path


def _begin(stream: RowStream, name: str) -> Answer:
    """Fetch until the result has ended or some 256 KB are there, so that small answers need no streaming."""
    parts: list[bytes] = []
    size = 0
    summary = Summary()
    while size < _FIRST_BYTES:
        chunk = stream.next_chunk()
        if chunk is None:
            summary.result_bytes = size
            return Answer(b"".join(parts), name, summary)
        parts.append(chunk[0])
        size += len(chunk[0])
        summary.result_rows += chunk[1]
    return Answer(b"".join(parts), name, summary, stream)


@contextmanager
def _file_of(data: memoryview) -> Iterator[str]:
    """A path under which the engine reads these bytes; in memory on Linux, in the temporary folder elsewhere."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("insert", os.MFD_CLOEXEC)
        try:
            _write_all(descriptor, data)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            _write_all(file.fileno(), data)
            yield file.name


def _write_all(descriptor: int, data: memoryview) -> None:
    written = 0
    while written < len(data):
        written += os.write(descriptor, data[written:])


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quoted_name(value: str) -> str:
    return "`" + value.replace("\\", "\\\\").replace("`", "\\`") + "`"
