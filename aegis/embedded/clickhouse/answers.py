"""Answer or failure in, ClickHouse's response headers and mid-stream error footer out."""

from __future__ import annotations

import json
import secrets

from aegis.embedded.clickhouse.engine import Answer
from aegis.embedded.clickhouse.failures import QueryFailure
from aegis.embedded.clickhouse.requests import Query

Headers = list[tuple[bytes, bytes]]

_CONTENT_TYPES = {
    "json": "application/json; charset=UTF-8",
    "jsoncompact": "application/json; charset=UTF-8",
    "jsoneachrow": "application/x-ndjson; charset=UTF-8",
    "csv": "text/csv; charset=UTF-8; header=absent",
    "csvwithnames": "text/csv; charset=UTF-8; header=present",
    "tabseparated": "text/tab-separated-values; charset=UTF-8",
    "tsv": "text/tab-separated-values; charset=UTF-8",
    "native": "application/octet-stream",
    "rowbinary": "application/octet-stream",
    "arrow": "application/octet-stream",
    "arrowstream": "application/octet-stream",
    "parquet": "application/octet-stream",
}


def result_headers(
    query: Query, answer: Answer, timezone: str, *, encoding: str | None = None, tag: str = ""
) -> Headers:
    """Headers of a successful answer. A statement without a result set names no format, which clients rely on.

    `tag` marks where an error would stand in a streamed body.
    """
    summary = answer.summary
    counts = {
        "read_rows": summary.read_rows,
        "read_bytes": summary.read_bytes,
        "written_rows": summary.written_rows,
        "written_bytes": summary.written_bytes,
        "result_rows": summary.result_rows,
        "result_bytes": summary.result_bytes,
        "elapsed_ns": summary.elapsed_ns,
    }
    headers = [
        (b"x-clickhouse-query-id", query.query_id.encode("utf-8", "replace")),
        (b"x-clickhouse-timezone", timezone.encode()),
        (b"x-clickhouse-server-display-name", b"aegis-embedded"),
        (b"x-clickhouse-summary", json.dumps({name: str(value) for name, value in counts.items()}).encode()),
        (b"content-type", _CONTENT_TYPES.get(answer.format.lower(), "text/plain; charset=UTF-8").encode()),
    ]
    if query.statement.kind in ("read", "kill") or answer.body:
        headers.append((b"x-clickhouse-format", answer.format.encode()))
    if tag:
        headers.append((b"x-clickhouse-exception-tag", tag.encode()))
    if encoding is not None:
        headers.append((b"content-encoding", encoding.encode()))
    return headers


def error_headers(failure: QueryFailure) -> Headers:
    """Headers of a failed answer."""
    headers = [
        (b"content-type", b"text/plain; charset=UTF-8"),
        (b"x-clickhouse-exception-code", str(failure.code).encode()),
        (b"x-clickhouse-server-display-name", b"aegis-embedded"),
    ]
    if failure.status == 503:
        headers.append((b"retry-after", b"1"))
    return headers


def exception_tag() -> str:
    """Sixteen letters that no result contains by chance."""
    return secrets.token_hex(8)


def exception_footer(failure: QueryFailure, tag: str) -> bytes:
    """An error behind rows that were sent already; the format of ClickHouse 25.11 and later."""
    text = str(failure).encode()
    return b"\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n" % (
        tag.encode(),
        text,
        len(text) + 1,
        tag.encode(),
    )
