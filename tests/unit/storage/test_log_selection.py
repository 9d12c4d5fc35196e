"""A selection that makes sense is taken, anything else refused with its path; cursors come back, forgeries do not."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from logql.parsing import parse_log_query
from storage.log_conditions import add_query
from storage.log_selection import LogSelection
from storage.record_selection import RecordCursor
from storage.record_table import Conditions
from topics.errors import Refused


@pytest.mark.parametrize("ts_ns", [-(1 << 63), -1, 0, 1_761_818_400_123_456_789, (1 << 63) - 1])
@pytest.mark.parametrize("record_id", [0, 1, (1 << 64) - 1])
def test_a_cursor_comes_back(ts_ns: int, record_id: int) -> None:
    cursor = RecordCursor(ts_ns, record_id)
    assert RecordCursor.decode(cursor.encode()) == cursor


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "AAAA",
        "'; DROP TABLE logs; --",
        "é" * 23,
        "\x00" * 23,
        RecordCursor(1, 2).encode() + "=",
        RecordCursor(1, 2).encode() + "A",
        RecordCursor(1, 2).encode()[:-1],
        RecordCursor(1, 2).encode()[:-1] + "J",  # the last character's unused bits set
        base64.urlsafe_b64encode(b"\x02" + bytes(16)).decode().rstrip("="),
        " " + RecordCursor(1, 2).encode(),
        "A" * 100_000,
    ],
)
def test_a_cursor_that_no_search_gave_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        LogSelection(start_ns=0, end_ns=1, cursor=text)
    assert caught.value.path == "cursor"


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"start_ns": 2, "end_ns": 1}, "end"),
        ({"start_ns": -(1 << 63)}, "start"),
        ({"end_ns": 1 << 63}, "end"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"order": "ts; DROP TABLE logs"}, "order"),
        ({"service": "x" * 1001}, "service"),
        ({"search": "\ud800"}, "search"),
        ({"level": "\udfff"}, "level"),
        ({"trace_id": "y" * 1001}, "trace_id"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused) as caught:
        LogSelection(**{"start_ns": 0, "end_ns": 1, **changes})
    assert caught.value.path == path


def test_a_parser_that_is_repeated_costs_as_one() -> None:
    """Fifteen of them were analyzed for longer than a question may take."""
    made = []
    for stages in (" | json | logfmt", " | json | logfmt" * 15):
        conditions = Conditions([], [], {})
        add_query(conditions, parse_log_query('{service="api"}' + stages + ' | a_b_c_d_e_f_g_h="x"'))
        made.append(conditions)
    assert made[0] == made[1]


def test_what_is_asked_is_looked_for_within_the_organization() -> None:
    conditions = Conditions([], [], {})
    conditions.add_place("org_id = {org_id:String}", org_id="x")
    assert conditions.where == "WHERE (org_id = {org_id:String})"
    conditions.add("level = 'a' OR level = 'b'")
    conditions.add("service = {service:String}", service="api")
    assert conditions.where == (
        "PREWHERE (level = 'a' OR level = 'b') AND (service = {service:String})\nWHERE (org_id = {org_id:String})"
    )
    assert conditions.parameters == {"org_id": "x", "service": "api"}
