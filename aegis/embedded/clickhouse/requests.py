"""One HTTP request -> Query: the statement, its inline data, settings, parameters and answer options.

https://clickhouse.com/docs/interfaces/http is the source: SQL in `query=`, in the body, or split between the two (a line
break and the body follow the URL's part); `param_x` binds `{x:Type}`; every other URL parameter is a setting.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from aegis.embedded.clickhouse.compression import accepted_encoding, decompress
from aegis.embedded.clickhouse.failures import BAD_ARGUMENTS, NOT_IMPLEMENTED, QueryFailure
from aegis.embedded.clickhouse.sql import Statement, kill_target, scan

# What the HTTP interface takes for itself. Sessions, roles and quotas do not exist here: each request stands alone.
_TRANSPORT = frozenset(
    {
        "query", "database", "user", "password", "query_id", "default_format", "session_id", "session_timeout", "session_check",
        "quota_key", "compress", "decompress", "buffer_size", "wait_end_of_query", "client_protocol_version", "role",
        "stacktrace", "close_session", "enable_http_compression", "http_zlib_compression_level", "log_comment",
        "send_progress_in_http_headers", "http_headers_progress_interval_ms", "add_http_cors_header",
        "cancel_http_readonly_queries_on_client_close",
    }
)  # fmt: skip
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_PART_NAME = re.compile(rb'\bname="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Query:
    """Everything the engine needs. `data` is what follows an INSERT's FORMAT, in one piece."""

    statement: Statement
    data: memoryview
    query_id: str
    database: str
    settings: dict[str, str]
    parameters: dict[str, str]
    default_format: str
    read_only: bool
    buffered: bool
    encoding: str | None
    kill: tuple[str, str] | None


def credentials(query_string: bytes, headers: dict[bytes, bytes]) -> tuple[str, str]:
    """(user, password) from X-ClickHouse-User/-Key, from Basic authentication or from the URL; "default" and "" when absent."""
    if b"x-clickhouse-key" in headers or b"x-clickhouse-user" in headers:
        return headers.get(b"x-clickhouse-user", b"default").decode(), headers.get(b"x-clickhouse-key", b"").decode()
    scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"basic":
        try:
            user, _, password = base64.b64decode(value).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    url = dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True))
    return url.get("user", "default"), url.get("password", "")


def read_query(
    method: str, query_string: bytes, headers: dict[bytes, bytes], body: bytes, body_bytes_max: int
) -> Query:
    """Make the Query of one request. Raises `QueryFailure` for everything that is wrong with the request itself."""
    try:
        return _read_query(method, query_string, headers, body, body_bytes_max)
    except UnicodeDecodeError as exc:
        raise QueryFailure(BAD_ARGUMENTS, f"a header or form field is not UTF-8: {exc.reason}") from exc


def _read_query(
    method: str, query_string: bytes, headers: dict[bytes, bytes], body: bytes, body_bytes_max: int
) -> Query:
    url = dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True))
    encoding = headers.get(b"content-encoding", b"").decode().strip().lower()
    if url.get("decompress") == "1" or url.get("compress") == "1":
        raise QueryFailure(
            NOT_IMPLEMENTED, "compress=1 and decompress=1 (ClickHouse's own block compression) are not served here"
        )
    if encoding not in ("", "identity"):
        body = decompress(body, encoding, body_bytes_max)
    content_type = headers.get(b"content-type", b"")
    if content_type.lower().startswith(b"multipart/form-data"):
        url |= dict(_form_fields(content_type, body))
        body = b""
    statement, data = _statement_and_data(url.get("query", "").encode(), body)
    parameters = {name[6:]: value for name, value in url.items() if name.startswith("param_")}
    accepts = headers.get(b"accept-encoding", b"").decode()
    kill = kill_target(statement.text.decode("utf-8", "replace"), parameters) if statement.kind == "kill" else None
    return Query(
        statement=statement,
        data=data,
        query_id=url.get("query_id") or str(uuid.uuid4()),
        database=url.get("database") or headers.get(b"x-clickhouse-database", b"").decode() or "default",
        settings=_settings(url),
        parameters=parameters,
        default_format=url.get("default_format") or headers.get(b"x-clickhouse-format", b"").decode() or "TabSeparated",
        read_only=method != "POST",
        buffered=url.get("wait_end_of_query", "0") not in ("0", "false", ""),
        encoding=accepted_encoding(accepts)
        if url.get("enable_http_compression", "0") not in ("0", "false", "")
        else None,
        kill=kill,
    )


def _statement_and_data(in_url: bytes, body: bytes) -> tuple[Statement, memoryview]:
    """The statement, and the data of an INSERT; a long body that is nothing but data is not copied."""
    if in_url and body:
        statement = scan(in_url)
        if statement.kind == "insert_data" and statement.data_offset == len(in_url):
            return statement, memoryview(body)
    text = in_url + b"\n" + body if in_url and body else in_url or body
    statement = scan(text)
    return statement, memoryview(text)[statement.data_offset :] if statement.kind == "insert_data" else memoryview(b"")


def _settings(url: dict[str, str]) -> dict[str, str]:
    settings = {name: value for name, value in url.items() if name not in _TRANSPORT and not name.startswith("param_")}
    for name in settings:
        if not _SETTING_NAME.match(name):
            raise QueryFailure(BAD_ARGUMENTS, f"{name[:128]!r} is not the name of a setting")
    return settings


def _form_fields(content_type: bytes, body: bytes) -> Iterable[tuple[str, str]]:
    """Name and text of each part of a multipart form; clickhouse-connect sends long parameters this way."""
    found = re.search(rb'boundary="?([^";]+)"?', content_type)
    if found is None:
        raise QueryFailure(BAD_ARGUMENTS, "the multipart body names no boundary")
    for part in (b"\r\n" + body).split(b"\r\n--" + found.group(1))[1:]:
        head, separator, value = part.partition(b"\r\n\r\n")
        if not separator:
            continue
        name = _PART_NAME.search(head)
        if name is None or b"filename=" in head:
            raise QueryFailure(NOT_IMPLEMENTED, "external data (files in a multipart body) are not served here")
        yield name.group(1).decode(), value.decode()
