"""A stream of logs -> lines of JSON (application/x-ndjson): a log a line, and a last one that says whether that was all.

The last line is `{"end": {"complete": true, "logs": 250, "next_cursor": null}}`. `complete` is false where the bound cut the
answer off, or a failure, which then stands in `error` as in other answers; `next_cursor` is where to go on in either case. An
answer without such a line is a connection that broke.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import orjson

from query.shown_logs import shown_log
from storage.logs import LogRow
from storage.record_selection import RecordCursor
from topics.errors import AegisError
from web.error_replies import error_reply

LINES: Final = "application/x-ndjson"
LINES_MAX: Final = 100_000


async def log_lines(stream: AsyncGenerator[list[LogRow], None], limit: int) -> AsyncIterator[bytes]:
    """The lines of a stream, once there are some: what fails before is an ordinary refusal.

    `limit` logs at most; the stream may have one more, so that the end knows whether it is one.
    """
    try:
        first: list[LogRow] = await anext(stream, [])
    except BaseException:
        await stream.aclose()
        raise
    return _lines(first, stream, limit)


async def _lines(rows: list[LogRow], stream: AsyncGenerator[list[LogRow], None], limit: int) -> AsyncIterator[bytes]:
    sent = 0
    last: LogRow | None = None
    more = False
    failure: AegisError | None = None
    async with aclosing(stream):
        try:
            while rows and not more:
                kept = rows[: limit - sent]
                if kept:
                    sent, last = sent + len(kept), kept[-1]
                    yield b"".join(orjson.dumps(shown_log(row)) + b"\n" for row in kept)
                more = len(kept) < len(rows)
                if not more:
                    rows = await anext(stream, [])
        except AegisError as exc:
            failure = exc
    complete = not more and failure is None
    go_on = None if complete or last is None else RecordCursor(last.ts_ns, last.record_id).encode()
    end: dict[str, Any] = {"complete": complete, "logs": sent, "next_cursor": go_on}
    if failure is not None:
        end["error"] = orjson.loads(error_reply(failure).body)["error"]
    yield orjson.dumps({"end": end}) + b"\n"
