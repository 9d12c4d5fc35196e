"""Logs, LogQL queries and filters to try, for hypothesis: small pools of names and texts, so that they meet."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from plain_logql import STREAM, Log

# Rendering


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f").replace("\\/", "/")


def rendered_test(test: tuple[Any, ...]) -> str:
    kind, *rest = test
    if kind in ("and", "or", ","):
        return "(" + {"and": " and ", "or": " or ", ",": ", "}[kind].join(map(rendered_test, rest)) + ")"
    name, op, value = rest
    return f"{name} {op} {value if kind == 'number' else quoted(value)}"


def rendered(query: list[tuple[Any, ...]]) -> str:
    """The LogQL text of a question."""
    text = "{" + ", ".join(rendered_test(part[1]) for part in query if part[0] == "stream") + "}"
    for kind, *rest in query:
        if kind == "line":
            text += f" {rest[0]} " + " or ".join(map(quoted, rest[1]))
        elif kind == "test":
            text += f" | {rendered_test(rest[0])}"
        elif kind == "parser":
            name, fields = rest[0]
            text += f" | {name}"
            if name == "regexp":
                text += f" {quoted(fields)}"
            elif fields:
                text += " " + ", ".join(f"{a}={quoted(_path(b) if name == 'json' else b)}" for a, b in fields)
    return text


def _path(path: list[str | int]) -> str:
    return "".join(f"[{quoted(part) if isinstance(part, str) else part}]" for part in path)


_KEYS = [
    "a",
    "b",
    "a.b",
    "a_b",
    "http.status",
    "http",
    "status",
    "1st",
    "é",
    "",
    "level",
    "host",
    "user",
    "trace_id",
    "b c",
    'q"\\',
]
_TEXTS = ["", "a", "b", "error", "warn", "1.5s", "250ms", "-3m", "1.5KB", "2MiB", "10", "1e3", "-0", "é", "E r", "a.b", "x=y",
          "user@host", "007", "😀", "a\nb", "%_\\'\"", "5 ", "1h2m3.5s"]  # fmt: skip
_NUMBERS = ["0", "1", "-1", "10", "500", "1.50", "1e3", "1E-7", "-0", "-0.0", "0.1e-3", "9007199254740993",
            "18446744073709551615", "18446744073709551616", "1e21", "123456789.25", "1e400", "0.30000000000000004"]  # fmt: skip
_TEXT = st.sampled_from(_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


def _written(value: Any) -> str:
    """JSON text of strings, written numbers, lists, and objects as lists of pairs."""
    if isinstance(value, tuple):
        kind, inner, ascii_only = value
        if kind == "object":
            return "{" + ", ".join(f"{json.dumps(k, ensure_ascii=ascii_only)}: {_written(v)}" for k, v in inner) + "}"
        if kind == "text":
            return json.dumps(inner, ensure_ascii=ascii_only)
        return "[" + ",".join(map(_written, inner)) + "]"
    return str(value)


_LEAF = st.one_of(
    st.tuples(st.just("text"), _TEXT, st.booleans()),
    st.sampled_from(_NUMBERS[:12]),
    st.sampled_from(["true", "false", "null"]),
)


def _object(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just("object"), st.lists(st.tuples(st.sampled_from(_KEYS), values), max_size=5), st.booleans())


_VALUE = st.recursive(
    _LEAF,
    lambda inner: _object(inner) | st.tuples(st.just("list"), st.lists(inner, max_size=2), st.just(True)),
    max_leaves=6,
)
OBJECTS = _object(_VALUE).map(_written) | _object(st.sampled_from(_NUMBERS) | _LEAF).map(_written)
_PAIR = st.builds(
    lambda key, value, form: f"{key}={json.dumps(value) if form == 'json' else form.format(value)}",
    st.sampled_from(["a", "b", "a.b", "1st", "status", "level", "took", "é"]),
    _TEXT,
    st.sampled_from(["json", "{}", '"{}', '"{}"']),
)  # fmt: skip
_MESSAGES = st.one_of(
    OBJECTS,
    st.lists(_PAIR | _TEXT, max_size=4).map(" ".join),
    st.sampled_from(
        ["Timeout after 30ms\nerror: x", "GET /a 200", "", "[1]", "{", '"a"', '{"a": "\\ud800"}', "100%_done"]
    ),
)
_SOME = st.sampled_from(["", "h", "1.5", "10"])
LOGS: st.SearchStrategy[Log] = st.fixed_dictionaries(
    {
        "service": st.sampled_from(["api", "web", "Api"]),
        "level": st.sampled_from(["error", "warn", "info"]),
        "message": _MESSAGES,
        "host": _SOME,
        "environment": st.just(""),
        "version": _SOME,
        "trace_id": st.sampled_from(["", "t1"]),
        "span_id": st.just(""),
        "attributes": OBJECTS | st.just("{}"),
    }
)

_NAMES = st.sampled_from(
    ["a", "b", "a_b", "http_status", "status", "_1st", "_", "level", "level_extracted", "host", "host_extracted", "version",
     "user", "trace_id", "span_id", "service", "service_name", "__error__", "took", "a_b_c", "b_c", "a_a", "a_b_a_b"]
)  # fmt: skip
_PATTERNS = st.sampled_from(
    [
        "",
        ".*",
        ".+",
        "a|b",
        "[0-9]+",
        "(?i)ERR.*",
        "e.r",
        "é+",
        "a\\.b",
        "[^a]*",
        "1\\.5.?",
        "error|warn",
        "a.b",
        "\\d+ms",
    ]
)
_QUANTITIES = st.sampled_from(
    [
        "0",
        "1",
        "-1",
        "1.5",
        "1000",
        "500",
        "1e3",
        "1500ms",
        "1.5s",
        "250ms",
        "-3m",
        "1h2m3.5s",
        "1.5KB",
        "2MiB",
        "10B",
        "9007199254740993",
    ]
)
_TEXT_TESTS = st.one_of(
    st.tuples(
        st.just("text"),
        _NAMES,
        st.sampled_from(["=", "!="]),
        _TEXT | st.sampled_from(["warning", "ERR", "500", "1000", "true"]),
    ),
    st.tuples(st.just("text"), _NAMES, st.sampled_from(["=~", "!~"]), _PATTERNS),
)
_NUMBER_TESTS = st.tuples(
    st.just("number"), _NAMES, st.sampled_from(["=", "==", "!=", ">", ">=", "<", "<="]), _QUANTITIES
)
TESTS = st.recursive(
    _TEXT_TESTS | _NUMBER_TESTS,
    lambda inner: st.builds(
        lambda kind, parts: (kind, *parts), st.sampled_from(["and", "or", ","]), st.lists(inner, min_size=2, max_size=3)
    ),
    max_leaves=4,
)
_PATHS = st.lists(st.sampled_from(_KEYS[:9]) | st.integers(0, 2), min_size=1, max_size=3)
_JSON_FIELDS = st.dictionaries(st.sampled_from(["a", "took", "level", "x"]), _PATHS, min_size=1, max_size=2)
_LOGFMT_FIELDS = st.dictionaries(
    st.sampled_from(["a", "took"]), st.sampled_from(["a", "a.b", "1st", "é"]), min_size=1, max_size=2
)
_REGEXPS = st.sampled_from(["(?P<took>[0-9]+)ms", "(?P<a>.)(x)?(?P<b>y)?", "status=(?P<status>\\S+)"])
_PARSERS = st.one_of(
    st.just(("json", ())),
    st.just(("logfmt", ())),
    _JSON_FIELDS.map(lambda fields: ("json", [*fields.items()])),
    _LOGFMT_FIELDS.map(lambda fields: ("logfmt", [*fields.items()])),
    _REGEXPS.map(lambda pattern: ("regexp", pattern)),
)
_PARTS = _TEXT | st.sampled_from(["err", "%", "TIMEOUT"])
_STREAMS = st.builds(lambda name, test: ("stream", (test[0], name, *test[2:])), st.sampled_from([*STREAM]), _TEXT_TESTS)
_STAGES = st.one_of(
    st.tuples(st.just("test"), TESTS),
    st.tuples(st.just("test"), TESTS),
    st.tuples(st.just("parser"), _PARSERS),
    st.tuples(st.just("line"), st.sampled_from(["|=", "!="]), st.lists(_PARTS, min_size=1, max_size=2)),
    st.tuples(st.just("line"), st.sampled_from(["|~", "!~"]), st.lists(_PATTERNS, min_size=1, max_size=2)),
)  # fmt: skip
QUERIES: st.SearchStrategy[list[tuple[Any, ...]]] = st.builds(
    lambda streams, stages: [*streams, *stages], st.lists(_STREAMS, max_size=2), st.lists(_STAGES, max_size=4)
)

_FIELDS = st.sampled_from(
    ["service", "level", "message", "host", "version", "trace_id", "a", "b", "a.b", "http.status", "attributes.http",
     "attributes.level", "1st", "é", "b c", "a.a", "a.b.a", "http.http.status", "a_b", 'q"\\']
)  # fmt: skip
FILTERS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {"field": _FIELDS, "op": st.sampled_from(["=", "!=", "contains", "not_contains"]), "value": _TEXT}
    ),
    st.fixed_dictionaries({"field": _FIELDS, "op": st.sampled_from(["regex", "not_regex"]), "value": _PATTERNS}),
    st.fixed_dictionaries({"field": _FIELDS, "op": st.sampled_from(["exists", "not_exists"])}),
    st.fixed_dictionaries(
        {
            "field": _FIELDS,
            "op": st.sampled_from(["=", "!=", ">", ">=", "<", "<="]),
            "value": st.sampled_from([0, 1, -1, 1.5, 1000, 500, 9007199254740992, 0.30000000000000004]),
        }
    ),
    st.fixed_dictionaries({"field": _FIELDS, "op": st.sampled_from(["=", "!="]), "value": st.booleans()}),
)
