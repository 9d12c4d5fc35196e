"""The lines of a stream of logs: what they end with when the stream ends, is cut off, or fails."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from query.accepted_media import prefers
from query.log_lines import LINES, log_lines
from storage.logs import LogRow
from storage.record_selection import RecordCursor
from topics.errors import AegisError, TooExpensive, Unavailable


def row(i: int) -> LogRow:
    return LogRow(10**18 + i, i, "api", "info", f"m{i}", "", "", "", "", "", f'{{"n": {i}}}', 0)


class Stream:
    """Rows in parts of two, and then perhaps a failure; remembers whether it was closed."""

    def __init__(self, rows: int, failure: AegisError | None = None) -> None:
        self.closed = False
        self._rows, self._failure = rows, failure

    async def parts(self) -> AsyncGenerator[list[LogRow], None]:
        try:
            for i in range(0, self._rows, 2):
                yield [row(each) for each in range(i, min(i + 2, self._rows))]
            if self._failure is not None:
                raise self._failure
        finally:
            self.closed = True


async def read(stream: Stream, limit: int) -> tuple[list[str], dict[str, Any]]:
    text = b"".join([piece async for piece in await log_lines(stream.parts(), limit)])
    *logs, last = [json.loads(line) for line in text.splitlines()]
    assert stream.closed
    return [log["message"] for log in logs], last["end"]


async def test_all_of_them() -> None:
    assert await read(Stream(5), 5) == (
        ["m0", "m1", "m2", "m3", "m4"],
        {"complete": True, "logs": 5, "next_cursor": None},
    )
    assert await read(Stream(0), 5) == ([], {"complete": True, "logs": 0, "next_cursor": None})


@pytest.mark.parametrize("limit", [3, 4])
async def test_the_bound_says_where_to_go_on(limit: int) -> None:
    messages, end = await read(Stream(7), limit)
    assert messages == [f"m{i}" for i in range(limit)]
    cursor = RecordCursor(10**18 + limit - 1, limit - 1).encode()
    assert end == {"complete": False, "logs": limit, "next_cursor": cursor}


async def test_a_failure_in_the_midst_is_told_behind_what_came() -> None:
    messages, end = await read(Stream(4, TooExpensive("max_execution_time = 30.0", "the running time")), 100)
    assert (messages, end["complete"], end["logs"]) == (["m0", "m1", "m2", "m3"], False, 4)
    assert end["next_cursor"] == RecordCursor(10**18 + 3, 3).encode()
    assert (end["error"]["code"], end["error"]["details"][0]["path"]) == ("too_expensive", "max_execution_time = 30.0")


async def test_a_failure_before_the_first_log_is_an_ordinary_one() -> None:
    stream = Stream(0, Unavailable("cannot search logs"))
    with pytest.raises(Unavailable):
        await log_lines(stream.parts(), 100)
    assert stream.closed


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("application/x-ndjson", True), ("text/html, Application/X-NDJSON;q=0.9", True), ("*/*", False), ("", False),
        ("application/json", False), ("application/json, application/x-ndjson", True), ("application/x-ndjson;q=0", False),
        ("application/json, application/x-ndjson;q=0.5", False),
    ],
)  # fmt: skip
def test_lines_are_for_those_who_accept_them_by_name(accept: str, wanted: bool) -> None:
    assert prefers(accept, LINES, at_par=True) is wanted
