"""The published schema is what the gateway does: what it allows is accepted and normalized, all else refused by its path."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.normalize_logs import normalize_logs
from agents.normalize_metrics import normalize_metrics
from agents.normalize_rum import normalize_rum
from agents.normalize_traces import normalize_traces
from gateway.ingest import WireFormat
from gateway.native_logs import NATIVE_LOGS
from gateway.native_metrics import NATIVE_METRICS
from gateway.native_rum import NATIVE_RUM
from gateway.native_traces import NATIVE_TRACES
from gateway.published import ROUTES, ingest_schemas
from topics.errors import Refused
from topics.raw import RawBatch
from topics.timestamps import parse_timestamp

SCHEMAS = ingest_schemas()
REF = "#/components/schemas/"


@dataclass
class Signal:
    """A signal's request in the published schema, its check in the gateway, and its normalizer."""

    wire: WireFormat
    normalize: Callable[..., Any]

    @cached_property
    def schema(self) -> dict[str, Any]:
        return {"$ref": REF + ROUTES[f"/v1/{self.wire.signal}"].request.__name__}

    @cached_property
    def validator(self) -> Any:
        document = self.schema | {"components": {"schemas": SCHEMAS}}
        return jsonschema_rs.Draft202012Validator(document, validate_formats=True, formats={"timestamp": is_timestamp})

    def refusal(self, body: bytes) -> Refused | None:
        """Why the gateway refuses a body; None when it accepts it and it could be normalized."""
        try:
            self.wire.check(body)
        except Refused as exc:
            return exc
        batch = RawBatch("0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11", "r", 1_000, 30, body)
        try:
            self.normalize(batch, partition=0, offset=1)
        except Refused as exc:
            raise AssertionError(f"accepted, and then refused by the normalizer: {exc.path} {exc.reason}") from exc
        return None


SIGNALS = [
    Signal(NATIVE_LOGS, normalize_logs),
    Signal(NATIVE_METRICS, normalize_metrics),
    Signal(NATIVE_TRACES, normalize_traces),
    Signal(NATIVE_RUM, normalize_rum),
]
each_signal = pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.wire.signal)
bounded = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
timestamp_texts = st.one_of(
    st.datetimes(datetime(1970, 1, 2), datetime(2262, 4, 10)).map(lambda moment: moment.isoformat()),
    st.datetimes(datetime(1970, 1, 2), datetime(2262, 4, 10)).map(lambda moment: moment.isoformat(" ") + "+05:30"),
    st.dates(datetime(1970, 1, 2).date(), datetime(2262, 4, 10).date()).map(str),
    st.integers(10**8, 9_223_372_036).map(lambda seconds: f"{seconds:09d}"),
)


def is_timestamp(text: str) -> bool:
    """What a pattern cannot say: that the day exists, and lies in the range."""
    try:
        parse_timestamp(text)
    except Refused:
        return False
    return True


# --- A schema -> values that it allows, at its bounds in particular.


def allowed(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        known = SCHEMAS[schema["$ref"].removeprefix(REF)]
        return st.one_of(
            [allowed(known | {"required": known["required"] + more["required"]}) for more in schema["anyOf"]]
            if "anyOf" in schema
            else [allowed(known)]
        )
    if "anyOf" in schema:
        shared = {name: value for name, value in schema.items() if name in ("minimum", "maximum")}
        return st.one_of([allowed(shared | each) for each in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if isinstance(schema["type"], list):
        return st.one_of([allowed(schema | {"type": each}) for each in schema["type"]])
    return KINDS[schema["type"]](schema)


def _strings(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "timestamp":
        return timestamp_texts
    least, most = schema.get("minLength", 0), schema.get("maxLength", 50)
    if "pattern" in schema:
        found = st.from_regex(re.compile(schema["pattern"].removesuffix("$") + r"\Z", re.ASCII), fullmatch=True)
        return found.filter(lambda text: least <= len(text) <= most and not _has_surrogates(text))
    edge = st.sampled_from(["x" * most, "é" * most, "\0" * least])
    short = st.text(st.characters(exclude_categories=["Cs"]), min_size=least, max_size=min(most, 20))
    return st.one_of(*[short] * 9, edge)  # An edge may be 262,144 characters long.


def _has_surrogates(text: str) -> bool:
    return any(0xD800 <= ord(each) <= 0xDFFF for each in text)


def _numbers(schema: dict[str, Any]) -> st.SearchStrategy[float]:
    low = schema.get("minimum", -1e300)
    high = schema.get("maximum", schema.get("exclusiveMaximum", 1e300))
    below = "exclusiveMaximum" in schema
    last = math.nextafter(high, 0) if below else high
    whole = st.integers(
        math.ceil(max(low, -(2**70))), math.ceil(min(high, 2**70)) - 1 if below else int(min(high, 2**70))
    )
    return whole | st.floats(float(low), last) | st.sampled_from([low, last])


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    known = {name: allowed(each) for name, each in schema.get("properties", {}).items()}
    more = schema.get("additionalProperties", True)
    if more is False:
        required = set(schema.get("required", ()))
        return st.fixed_dictionaries(
            {name: each for name, each in known.items() if name in required},
            optional={name: each for name, each in known.items() if name not in required},
        )
    if more is True:
        return st.dictionaries(texts, json_values, max_size=4)
    names = _strings({"type": "string"} | schema["propertyNames"]).filter(lambda name: name != "__name__")
    return st.dictionaries(names, allowed(more), max_size=6)


KINDS: dict[str, Callable[[dict[str, Any]], st.SearchStrategy[Any]]] = {
    "string": _strings,
    "number": _numbers,
    "null": lambda _: st.none(),
    "array": lambda schema: st.lists(allowed(schema["items"]), min_size=schema.get("minItems", 0), max_size=3),
    "object": _objects,
}


def in_order(body: dict[str, Any]) -> dict[str, Any]:
    """A span's times as its schema says in words: it does not end before it begins."""
    for span in body.get("spans", ()):
        if "end_time" in span and parse_timestamp(span["end_time"]) < parse_timestamp(span["start_time"]):
            span["start_time"], span["end_time"] = span["end_time"], span["start_time"]
    return body


# --- Bodies that are allowed, and their mutations.


@dataclass(frozen=True)
class Mutated:
    """A body with one place changed, and the beginning of the path that a refusal must have."""

    body: Any
    path: str


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a body, down to where anything may stand."""
    yield at
    if isinstance(value, list):
        for i, each in enumerate(value):
            yield from places(each, (*at, i))
    elif isinstance(value, dict) and at[-1:] not in (("attributes",), ("client",)):
        for name, each in value.items():
            yield from places(each, (*at, name))


def path_of(place: tuple[Any, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")


def put(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    inner = put(body[place[0]], place[1:], value)
    if isinstance(body, list):
        return [inner if i == place[0] else each for i, each in enumerate(body)]
    return body | {place[0]: inner}


def at(body: Any, place: tuple[Any, ...]) -> Any:
    for part in place:
        body = body[part]
    return body


def most_of(place: tuple[Any, ...]) -> int:
    """One more than a list may have."""
    return {"logs": 1001, "metrics": 5001, "spans": 501}.get(place[-1], 1001 if len(place) == 1 else 129)


@st.composite
def mutations(draw: st.DrawFn, bodies: st.SearchStrategy[Any]) -> Mutated:
    body = draw(bodies)
    place = draw(st.sampled_from(list(places(body))))
    old = at(body, place)
    path = path_of(place)
    free = place[-1:] in (("attributes",), ("client",))
    how = draw(st.sampled_from(["replace", "stretch", "drop", "add"]))
    if how == "drop" and isinstance(old, dict) and old and not free:
        name = draw(st.sampled_from(sorted(old)))
        return Mutated(put(body, place, {key: old[key] for key in old if key != name}), path)
    if how == "add" and isinstance(old, dict) and not free and place[-1:] != ("labels",):
        return Mutated(put(body, place, old | {"surprise": 1}), f"{path}.surprise".lstrip("."))
    if how == "stretch" and isinstance(old, str) and old:
        return Mutated(put(body, place, old * (300_000 // len(old) + 1)), path)
    if how == "stretch" and isinstance(old, list) and old and len(json.dumps(old[0])) < 2000:
        return Mutated(put(body, place, old[:1] * most_of(place)), path)
    if how == "stretch" and free:
        return Mutated(put(body, place, {"a": "x" * 65_530}), path)
    return Mutated(put(body, place, draw(json_values)), path)


@each_signal
@bounded
@given(data=st.data())
def test_what_the_schema_allows_is_accepted_and_normalized(signal: Signal, data: st.DataObject) -> None:
    body = data.draw(allowed(signal.schema).map(in_order))
    signal.validator.validate(body)
    assert signal.refusal(json.dumps(body, ensure_ascii=data.draw(st.booleans())).encode()) is None


@each_signal
@settings(bounded, max_examples=100)
@given(data=st.data())
def test_a_change_that_the_schema_does_not_allow_is_refused_by_its_path(signal: Signal, data: st.DataObject) -> None:
    mutated = data.draw(mutations(allowed(signal.schema).map(in_order)))
    valid = signal.validator.is_valid(mutated.body)
    refusal = signal.refusal(json.dumps(mutated.body).encode())
    if refusal is None:
        assert valid
        return
    assert refusal.code in ("invalid_field", "too_many_records")
    # A bound of bytes is one of a whole field, also where one label is what makes it too long.
    in_bytes = "bytes" in refusal.reason
    assert refusal.path.startswith(mutated.path) or (in_bytes and mutated.path.startswith(refusal.path))
    # Of what a schema cannot say only these are left: sizes in bytes, and which of two times is later.
    assert not valid or in_bytes or refusal.path.endswith(".end_time"), (refusal.path, refusal.reason)


ODD_JSON = [
    *(f"{sign}{number}" for sign in ("", "-") for number in ("0", "1e999", "1e-999", "9" * 400, "0." + "0" * 400 + "1")),
    *(f'"{text}"' for text in (r"\u0000", r"\ud800", r"\udc00\ud800", r"\ud83d\ude00", r"\u00", r"\x", "\0", "\x1f", "\x7f")),
    *(f'{{"a":{"[" * depth}{"]" * depth}}}' for depth in (62, 63, 64, 65, 500, 960, 975, 980, 985, 990, 995, 2000, 30_000)),
    '{"a":1,"a":2}', '{"":{"":""}}', '{"a":NaN}', '{"a":Infinity}', "{'a':1}", '{"a":01}', '{"a":1.}', "[,]", "{,}", "tru",
    '{"__proto__":{}}', "/**/1", "\ufeff1", '{"a":1e999}', r'{"\udc00":1}', r'{"a":"\ud800 and more text behind it"}',
]  # fmt: skip


@each_signal
@settings(bounded, max_examples=100)
@given(data=st.data())
def test_whatever_text_the_gateway_accepts_the_normalizer_reads(signal: Signal, data: st.DataObject) -> None:
    """Two parsers, or one at two depths of the stack, must not disagree: what was answered 202 would be a dead letter."""
    body = data.draw(allowed(signal.schema).map(in_order))
    place = data.draw(st.sampled_from(list(places(body))))
    odd = data.draw(st.sampled_from(ODD_JSON))
    text = json.dumps(put(body, place, "@odd@")).replace('"@odd@"', odd).encode()
    if data.draw(st.booleans()):
        i = data.draw(st.integers(0, len(text) - 1))
        text = text[:i] + data.draw(st.binary(max_size=2)) + text[i + 1 :]
    refusal = signal.refusal(text)
    assert refusal is None or refusal.code in {"invalid_field", "too_many_records", "malformed_json", "invalid_utf8"}


@pytest.mark.parametrize("field", ["attributes", "client"])
def test_the_depth_that_is_accepted_is_the_same_wherever_the_reader_is_called_from(field: str) -> None:
    signal = SIGNALS[3]

    def called_from(frames: int, body: bytes) -> str:
        if frames:
            return called_from(frames - 1, body)
        refusal = signal.refusal(body)
        return "accepted" if refusal is None else refusal.path

    event = '{"timestamp":1,"type":"action","session_id":"s","%s":{"a":%s}}'
    for depth, outcome in ((63, "accepted"), (64, f"events[1].{field}")):
        value = "[" * depth + "]" * depth
        body = f'{{"events":[{event % (field, 1)},{event % (field, value)}]}}'.encode()
        assert {called_from(frames, body) for frames in (0, 100, 400, 700)} == {outcome}


def test_every_number_past_a_bound_of_the_schema_is_refused_and_the_last_one_before_it_is_not() -> None:
    schemas = SCHEMAS["LogRecord"]["properties"]["timestamp"]["anyOf"]
    ranges = [each for each in schemas if each["type"] == "number"]
    assert len(ranges) == 4
    for each in ranges:
        past = each["exclusiveMaximum"]
        assert parse_timestamp(math.nextafter(float(past), 0)) >= 0
        assert parse_timestamp(each["minimum"]) >= 0
        for beyond in (float(past), math.ceil(past)):
            with pytest.raises(Refused):
                parse_timestamp(beyond)
    for negative in (-1, -1e-300, -0.5):
        with pytest.raises(Refused):
            parse_timestamp(negative)
    assert parse_timestamp(-0.0) == 0
