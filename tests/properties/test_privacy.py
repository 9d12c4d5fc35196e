"""Whatever surrounds a secret it goes, whatever has none stays as it is, and twice is once."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from privacy.policy import DEFAULT_POLICY, Policy
from privacy.scrub import Scrubber

SCRUBBERS = [Scrubber(Policy(strategy=strategy), b"k" * 16) for strategy in ("redact", "mask", "hash")]
VALUES = (
    "zoe.quux@example.com", "4111 1111 1111 1111", "5555555555554444", "219-09-9999", "+49 30 9018207", "(555) 123-4567",
    "AKIAIOSFODNN7EXAMPLE", "ghp_0123456789abcdefghijklmnopqrstuvwxyz", "DE89370400440532013000",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
)  # fmt: skip
KEYS = (
    "password",
    "db_password",
    "client-secret",
    "apiKey",
    "X-Auth-Token",
    "AWS_SECRET_ACCESS_KEY",
    "http.authorization",
)
SECRET = "quuxsecretquux"
SECRETS = (f'"{SECRET}"', f'["x",{{"y":"{SECRET}"}}]', f'{{"}}":"\\"{SECRET}"}}', f'"\\u0071{SECRET[1:]}"')

words = st.text(st.sampled_from("abcxyz ,;:/|()\n\t\"'\\éж日😀-_."), max_size=12)
names = st.text(st.sampled_from('abcxyz_.-é日"\\'), max_size=8)
clean = st.one_of(st.none(), st.booleans(), st.integers(-999_999, 999_999), words)
Json = Any


@st.composite
def escaped(draw: st.DrawFn, text: str) -> str:
    """The same JSON string, some of its characters escaped."""
    which = draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text)))
    return "".join(f"\\u{ord(c):04x}" if yes else c for c, yes in zip(text, which, strict=True))


@st.composite
def nests(draw: st.DrawFn, core: str) -> str:
    """JSON text with `core`, itself JSON text, somewhere deep in it: in objects, arrays and JSON in strings."""
    for kind in draw(st.lists(st.sampled_from(["object", "array", "string"]), max_size=5)):
        if kind == "object":
            core = f"{{{json.dumps('a' + draw(names))}:{json.dumps(draw(clean))},{json.dumps('b' + draw(names))}: {core} }}"
        elif kind == "array":
            core = f"[{json.dumps(draw(clean))},{core},{json.dumps(draw(clean), ensure_ascii=False)}]"
        else:
            core = json.dumps(core, ensure_ascii=draw(st.booleans()))
    return core


def said(text: str) -> str:
    """Everything that a JSON text says at any depth, JSON in its strings included."""
    parts: list[str] = []

    def look(value: Json) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                look(key)
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)
        else:
            parts.append(str(value))
            if isinstance(value, str) and value[:1] in ("{", "[", '"'):
                try:
                    look(json.loads(value))
                except ValueError:
                    return

    look(json.loads(text))
    return "\n".join(parts)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_planted_value_survives(data: st.DataObject) -> None:
    value = data.draw(st.sampled_from(VALUES))
    # A space on both sides: what may touch a value without being a part of it is the corpus' business.
    string = json.dumps(data.draw(words) + " ", ensure_ascii=False)[:-1] + data.draw(escaped(value)) + ' "'
    core = data.draw(st.sampled_from([string, f"{{{string}:1}}"]))
    document = data.draw(nests(core))
    assert value in said(document)
    for scrubber in SCRUBBERS:
        [_, out] = scrubber.json_texts(["{}", document])
        assert value not in said(out)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_value_of_a_sensitive_key_survives(data: st.DataObject) -> None:
    key = data.draw(escaped(data.draw(st.sampled_from(KEYS))))
    value = data.draw(st.sampled_from(SECRETS))
    space = data.draw(st.sampled_from(["", " ", "\n "]))
    document = data.draw(nests(f'{{"{key}"{space}:{space}{value}}}'))
    assert SECRET in said(document)
    for scrubber in SCRUBBERS:
        [out] = scrubber.json_texts([document])
        assert SECRET not in said(out)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(words, st.sampled_from(VALUES), st.sampled_from([f"{key}=x1" for key in KEYS])), max_size=8))
@example(["x@y.zz", "@", "a.bc"])
def test_twice_is_once(parts: list[str]) -> None:
    text = "".join(parts)
    document = json.dumps({"a": text, text: [text]})
    for scrubber in SCRUBBERS:
        once = list(scrubber.texts([text]))
        assert scrubber.texts(once) is once
        stored = list(scrubber.json_texts([document]))
        json.loads(stored[0])
        assert scrubber.json_texts(stored) is stored


nested = st.recursive(
    clean,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz_", max_size=6), inner, max_size=4),
)
texts = st.lists(st.text(max_size=60), max_size=20)


@settings(max_examples=200, deadline=None)
@given(texts)
def test_any_text_goes_through_and_clean_neighbours_are_untouched(column: list[str]) -> None:
    scrubber = Scrubber(DEFAULT_POLICY, b"k" * 16)
    column = [text.encode("utf-8", "ignore").decode() for text in column]
    mixed = [part for text in column for part in (text, "bob@example.com")]
    out = scrubber.texts(mixed)
    assert len(out) == len(mixed)
    for before, after in zip(mixed, out, strict=True):
        # The prefilter never hides what a rule would find, and what is not found is the same object.
        assert after == scrubber.text(before)
        assert after is before or after != before


@settings(max_examples=200, deadline=None)
@given(nested)
def test_clean_json_comes_back_bit_for_bit(value: Json) -> None:
    column = [json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)]
    assert SCRUBBERS[0].json_texts(column) is column
    raw = [text.encode() for text in column]
    assert SCRUBBERS[0].json_texts(raw) is raw
