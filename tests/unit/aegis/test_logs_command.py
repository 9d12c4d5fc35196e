"""How `aegis logs` puts pages together: the newest logs, and then those that come, each once."""

from __future__ import annotations

from typing import Any

from aegis.cli.logs import LogPages


class Stored:
    """Logs that are searched as the API does it, pages of three; more of them arrive whenever the command waits."""

    def __init__(self, *seconds: int) -> None:
        self.logs = [self._log(i, second) for i, second in enumerate(seconds)]
        self.arriving: list[list[int]] = []

    def _log(self, i: int, second: int) -> dict[str, Any]:
        return {"id": str(i), "timestamp": f"2025-10-31T10:00:{second:02d}.000Z"}

    def page(self, *, start: str, end: str, order: str, limit: int, cursor: str | None) -> dict[str, Any]:
        size = min(limit, 3)
        found = sorted((log["timestamp"], int(log["id"])) for log in self.logs if start <= log["timestamp"] < end)
        found = found[::-1] if order == "newest" else found
        if cursor is not None:
            at = (cursor.split()[0], int(cursor.split()[1]))
            found = [each for each in found if (each < at if order == "newest" else each > at)]
        kept = found[:size]
        more = f"{kept[-1][0]} {kept[-1][1]}" if len(found) > size else None
        return {"logs": [{"id": str(i), "timestamp": timestamp} for timestamp, i in kept], "next_cursor": more}

    def wait(self, _seconds: float) -> None:
        if not self.arriving:
            raise KeyboardInterrupt
        self.logs += [self._log(len(self.logs) + i, second) for i, second in enumerate(self.arriving.pop(0))]


def ids(logs: list[dict[str, Any]]) -> list[int]:
    return [int(log["id"]) for log in logs]


def test_the_newest_come_from_as_many_pages_as_it_takes_the_oldest_first() -> None:
    pages = LogPages(Stored(*range(10)).page)
    assert ids(pages.newest(0, 2e9, 7)) == [3, 4, 5, 6, 7, 8, 9]
    assert ids(pages.newest(0, 2e9, 50)) == list(range(10))


def test_what_comes_is_shown_once_also_where_times_are_equal() -> None:
    stored = Stored(1, 2, 2)
    stored.arriving = [[2, 2, 3, 3, 3, 3], [], [3, 4]]
    pages = LogPages(stored.page, wait=stored.wait)
    shown = pages.newest(0, 2e9, 2)
    came = []
    try:
        for log in pages.coming(shown, 0):
            came.append(log)
    except KeyboardInterrupt:
        pass
    assert (ids(shown), ids(came)) == ([1, 2], [3, 4, 5, 6, 7, 8, 9, 10])
