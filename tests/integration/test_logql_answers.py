"""Searches of generated logs in ClickHouse, and the predicate of monitors, answer as a plain reading of docs/logql.md does.

And nothing that is asked, however it is written, shows another organization's logs.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from logs_to_try import FILTERS, LOGS, QUERIES, quoted, rendered
from plain_logql import Log, filter_says, query_says
from pydantic import ValidationError

from logql.evaluate import LogLine, compile_query
from logql.parsing import parse_log_query
from query.logs import LogSearch
from storage.clickhouse import ClickHouse, ClickHouseAddress
from storage.log_filters import FieldFilter
from storage.log_selection import LogSelection
from storage.logs import LogStore
from storage.scope import OrgScope
from topics.errors import Refused
from topics.log_columns import SCHEMA

NOON = 1_761_912_000_000_000_000
RECEIVED_MS = 1_795_435_200_000
# Nothing is shrunk: every step of it would ask the database, for minutes. What differs is small as it is, and is shown.
_EXAMPLES = settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


class Asking:
    """One client in one loop for all examples of a test, each of which takes organizations of its own."""

    def __init__(self, address: ClickHouseAddress, block: Callable[..., bytes]) -> None:
        self._loop = asyncio.new_event_loop()
        self._clickhouse = ClickHouse(address)
        self._logs = LogStore(self._clickhouse)
        self._block = block

    def close(self) -> None:
        self.run(self._clickhouse.close())
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    def keep(self, logs: list[Log]) -> OrgScope:
        scope = OrgScope(str(uuid.uuid4()))
        rows = [
            {
                "org_id": scope.org_id,
                "ts": NOON + i,
                "record_id": i,
                "received_at": RECEIVED_MS,
                "retention_days": 0,
                **log,
            }
            for i, log in enumerate(logs)
        ]
        self.run(self._logs.insert(self._block(rows, SCHEMA), rows=len(rows), token=uuid.uuid4().hex))
        return scope

    def found(self, scope: OrgScope, **asked: Any) -> list[int]:
        selection = LogSelection(start_ns=NOON, end_ns=NOON + 10**9, limit=1000, order="oldest", **asked)
        return [row.record_id for row in self.run(self._logs.search(scope, selection)).rows]

    def asked(self, scope: OrgScope, question: dict[str, Any]) -> list[str]:
        """Messages that a question over HTTP would show, none where it is refused."""
        day = {"start": "2025-10-31T00:00:00Z", "end": "2025-11-01T00:00:00Z"}
        try:
            selection = LogSearch.model_validate(day | question).selection(limit=1000, cursor=question.get("cursor"))
        except (Refused, ValidationError):
            return []
        return [row.message for row in self.run(self._logs.search(scope, selection)).rows]


@pytest.fixture(scope="module")
def asking(
    store_migrated_address: ClickHouseAddress, store_block: Callable[[Any, pa.Schema], bytes]
) -> Iterator[Asking]:
    asking = Asking(store_migrated_address, store_block)
    yield asking
    asking.close()


@given(st.lists(LOGS, min_size=3, max_size=12), st.lists(QUERIES, min_size=6, max_size=10))
@_EXAMPLES
def test_logql_says_the_same_everywhere(asking: Asking, logs: list[Log], queries: list[Any]) -> None:
    scope = asking.keep(logs)
    for query in queries:
        text = rendered(query)
        read = parse_log_query(text)
        expected = [i for i, log in enumerate(logs) if query_says(query, log)]
        compiled = compile_query(read)
        predicted = [i for i, log in enumerate(logs) if compiled.matches(LogLine(**log))]
        assert predicted == expected, difference(logs, predicted, expected, text)
        found = asking.found(scope, query=read)
        assert found == expected, difference(logs, found, expected, text)


@given(
    st.lists(LOGS, min_size=3, max_size=12),
    st.lists(st.lists(FILTERS, min_size=1, max_size=3), min_size=6, max_size=10),
)
@_EXAMPLES
def test_filters_say_what_they_mean(asking: Asking, logs: list[Log], asked: list[list[dict[str, Any]]]) -> None:
    scope = asking.keep(logs)
    for filters in asked:
        expected = [i for i, log in enumerate(logs) if all(filter_says(each, log) for each in filters)]
        found = asking.found(scope, filters=tuple(FieldFilter(**each) for each in filters))
        assert found == expected, difference(logs, found, expected, json.dumps(filters))


def difference(logs: list[Log], found: list[int], expected: list[int], asked: str) -> str:
    """What was asked, and one log about which two disagree."""
    at = min({*found} ^ {*expected})
    return f"{asked}\nsays {at in found} and should say {at in expected} of {logs[at]}"


HOSTILE = st.sampled_from(
    [
        "' OR 1=1 --", "') OR ('1'='1", "\\' OR 1=1 --", "{org_id:String}", "$conditions", "${conditions}", "%' OR '%", "x\x00y",
        "`org_id`", "*/ OR 1=1 /*", "'; SELECT 1", "org_id", "attributes.org_id", "\\", "'", '"', "?", "{query_0:String}", "1=1",
        "\\x27 OR 1 --", "\\0",
    ]
)  # fmt: skip


@given(
    st.lists(HOSTILE | st.text(max_size=8), min_size=12, max_size=12), st.sampled_from(["=", "!=", "contains", "regex"])
)
@_EXAMPLES
def test_nothing_that_is_asked_shows_another_organization(asking: Asking, texts: list[str], op: str) -> None:
    logs = [{**_ANY, "message": "ours", "attributes": '{"k": "ours"}'}]
    ours, theirs = asking.keep(logs), asking.keep([{**_ANY, "message": "secret", "attributes": '{"k": "secret"}'}] * 3)
    a, b, c, field, search, service, d, e, f, cursor, trace_id, g = texts
    logql = (
        f"{{service!={quoted(a)}}} != {quoted(b)} | json x={quoted(json_path(c))} | logfmt y={quoted(d)}"
        f" | x!={quoted(e)} or y={quoted(f)} or trace_id!={quoted(g)}"
    )
    for asked in (
        {"search": search}, {"service": service}, {"trace_id": trace_id}, {"cursor": cursor}, {"level": a},
        {"query": logql}, {"query": "{} |= " + quoted(a)}, {"query": "{} !~ " + quoted(b)}, {"query": "{" + a + "}"},
        {"query": a},
        {"filters": [{"field": field, "op": op, "value": a}]}, {"filters": [{"field": field, "op": "not_exists"}]},
    ):  # fmt: skip
        for found in asking.asked(ours, asked):
            assert found == "ours", asked
        assert set(asking.asked(theirs, asked)) <= {"secret"}, asked


_ANY: Log = {
    "service": "api", "level": "info", "host": "", "environment": "", "version": "", "trace_id": "", "span_id": "",
}  # fmt: skip


def json_path(name: str) -> str:
    return f"[{quoted(name)}]"
