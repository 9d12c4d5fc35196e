"""A RUM body is read whole, or refused with the path of the field at fault."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.native_rum import check_native_rum
from topics.errors import Refused
from topics.rum_records import RumRequest, read_rum_events

EVENT: dict[str, Any] = {"timestamp": "2025-10-31T10:00:00Z", "type": "page_view", "session_id": "s"}


def body(*events: Any) -> bytes:
    return json.dumps({"events": list(events)}).encode()


def refusal(raw: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        check_native_rum(raw)
    return caught.value


def test_a_whole_event_is_read() -> None:
    full = EVENT | {
        "type": "error", "view_id": "v", "page_url": "https://a/b", "page_path": "/b", "user_id": "u", "name": "n",
        "value": 1, "error": {"message": "m", "type": "TypeError", "stack": "at x"}, "client": {"user_agent": "x"},
        "attributes": {"a": {"b": 1}},
    }  # fmt: skip
    (event,) = read_rum_events(body(full))
    assert (event.page_path, event.user_id, event.value) == ("/b", "u", 1.0)
    assert event.error is not None
    assert (event.error.message, event.error.type, event.error.stack) == ("m", "TypeError", "at x")
    assert json.loads(bytes(event.client)) == {"user_agent": "x"}


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("timestamp", "noon", "timestamp"),
        ("timestamp", None, "timestamp"),
        ("type", "click", "type"),
        ("type", None, "type"),
        ("session_id", "", "session_id"),
        ("session_id", "s" * 201, "session_id"),
        ("view_id", "v" * 201, "view_id"),
        ("page_url", "u" * 8193, "page_url"),
        ("page_path", "p" * 4097, "page_path"),
        ("user_id", "u" * 201, "user_id"),
        ("name", "n" * 1001, "name"),
        ("value", "5", "value"),
        ("value", True, "value"),
        ("value", 10**400, "value"),
        ("error", "text", "error"),
        ("error", {"message": "m" * 16_385}, "error.message"),
        ("error", {"type": "t" * 201}, "error.type"),
        ("error", {"stack": "s" * 65_537}, "error.stack"),
        ("error", {"cause": "x"}, "error.cause"),
        ("client", [], "client"),
        ("client", {"a": "x" * 16_384}, "client"),
        ("attributes", "text", "attributes"),
        ("attributes", {"a": "x" * 65_536}, "attributes"),
        ("colour", "red", "colour"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any, path: str) -> None:
    found = refusal(body(EVENT, EVENT, EVENT | {field: value}))
    assert (found.code, found.path) == ("invalid_field", f"events[2].{path}")


@pytest.mark.parametrize("missing", ["timestamp", "type", "session_id"])
def test_a_missing_field_is_named(missing: str) -> None:
    event = {name: value for name, value in EVENT.items() if name != missing}
    found = refusal(body(EVENT, event))
    assert (found.code, found.path) == ("invalid_field", f"events[1].{missing}")


@pytest.mark.parametrize("kind", ["page_view", "web_vital", "error", "action", "resource", "long_task"])
def test_every_type_and_every_absent_field_is_accepted(kind: str) -> None:
    absent = dict.fromkeys(
        ["view_id", "page_url", "page_path", "user_id", "name", "value", "error", "client", "attributes"]
    )
    assert check_native_rum(body(EVENT | {"type": kind}, EVENT | absent | {"type": kind})) == 2


def test_a_thousand_events_fit_and_one_more_does_not() -> None:
    assert check_native_rum(body(*[EVENT] * 1000)) == 1000
    found = refusal(body(*[EVENT] * 1001))
    assert (found.code, found.path) == ("too_many_records", "events")


def test_the_published_schema_carries_the_bounds() -> None:
    _, schemas = msgspec.json.schema_components([RumRequest])
    assert schemas["RumRequest"]["properties"]["events"]["maxItems"] == 1000
    assert schemas["RumEvent"]["required"] == ["timestamp", "type", "session_id"]
    assert schemas["RumEvent"]["properties"]["session_id"]["maxLength"] == 200
