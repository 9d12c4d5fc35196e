"""A logs body is read whole, or refused with the path of the field at fault."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from topics.errors import Refused
from topics.log_records import LogsRequest, read_log_timestamps, read_logs

LOG: dict[str, Any] = {"timestamp": "2025-10-31T10:00:00Z", "service": "api", "level": "error", "message": "failed"}


def body(*logs: Any) -> bytes:
    return json.dumps({"logs": list(logs)}).encode()


def refusal(raw: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        read_log_timestamps(read_logs(raw))
    return caught.value


def test_a_whole_log_is_read() -> None:
    full = LOG | {"trace_id": "ab", "host": None, "attributes": {"a": {"b": [1, "ü"]}}}
    (log,) = read_logs(body(full))
    assert (log.service, log.trace_id, log.host) == ("api", "ab", None)
    assert json.loads(bytes(log.attributes)) == {"a": {"b": [1, "ü"]}}


@pytest.mark.parametrize("missing", ["timestamp", "service", "level", "message"])
def test_a_missing_field_is_named(missing: str) -> None:
    log = {name: value for name, value in LOG.items() if name != missing}
    found = refusal(body(LOG, log))
    assert (found.code, found.path) == ("invalid_field", f"logs[1].{missing}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timestamp", True),
        ("timestamp", None),
        ("timestamp", []),
        ("timestamp", "noon"),
        ("service", ""),
        ("service", 5),
        ("service", "s" * 201),
        ("level", 3),
        ("level", "l" * 33),
        ("message", None),
        ("message", "m" * 262_145),
        ("trace_id", 7),
        ("host", "h" * 201),
        ("attributes", []),
        ("attributes", "text"),
        ("attributes", 5),
        ("attributes", True),
        ("attributes", {"a": "x" * 65_536}),
        ("colour", "red"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    found = refusal(body(LOG, LOG, LOG | {field: value}))
    assert (found.code, found.path) == ("invalid_field", f"logs[2].{field}")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "malformed_json"),
        (b"{", "malformed_json"),
        (b"not json", "malformed_json"),
        (body(LOG) + b" x", "malformed_json"),
        (body(LOG)[:-3], "malformed_json"),
        (b'{"logs":[{"attributes":{"x":NaN}}]}', "malformed_json"),
        (b'{"logs":[{"attributes":{"x":"\\ud800"}}]}', "malformed_json"),
        (b'{"logs":[{"attributes":' + b"[" * 200_000 + b"]" * 200_000 + b"}]}", "malformed_json"),
        (body(LOG).replace(b"failed", b"\xff\xfe"), "invalid_utf8"),
        (body(LOG | {"attributes": {"a": "b"}}).replace(b'"b"', b'"\xed\xa0\x80"'), "invalid_utf8"),
        (b"[]", "invalid_field"),
        (b'{"log":[]}', "invalid_field"),
        (body(), "invalid_field"),
    ],
)
def test_a_body_that_is_no_request_is_refused(raw: bytes, code: str) -> None:
    assert refusal(raw).code == code


def test_a_thousand_logs_fit_and_one_more_does_not() -> None:
    assert len(read_logs(body(*[LOG] * 1000))) == 1000
    found = refusal(body(*[LOG] * 1001))
    assert (found.code, found.path) == ("too_many_records", "logs")


def test_the_published_schema_carries_the_bounds() -> None:
    _, schemas = msgspec.json.schema_components([LogsRequest])
    assert schemas["LogsRequest"]["properties"]["logs"]["maxItems"] == 1000
    log = schemas["LogRecord"]
    assert log["required"] == ["timestamp", "service", "level", "message"]
    assert log["properties"]["service"] | {"description": ""} == {
        "type": "string", "minLength": 1, "maxLength": 200, "description": "",
    }  # fmt: skip
    assert log["properties"]["attributes"]["type"] == ["object", "null"]
