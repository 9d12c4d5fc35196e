"""SQL bytes of one request -> Statement: its kind, its output format, and where an INSERT's inline data begin.

This is a scanner, not a parser: it only steps over strings, comments and brackets, so that a keyword inside them is not
mistaken for one. Whether the SQL is right is for the engine to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from aegis.embedded.clickhouse.failures import SYNTAX_ERROR, UNSUPPORTED_METHOD, QueryFailure

Kind = Literal["read", "insert_data", "kill", "other"]

_TOKEN = re.compile(
    rb"""
      (?P<skip> '(?:[^'\\]|\\.|'')*'            # a string
              | "(?:[^"\\]|\\.)*"               # quoted identifiers
              | `(?:[^`\\]|\\.)*`
              | --[^\n]* | \#[!\ ][^\n]*        # comments
              | /\*.*?\*/
              | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ # a heredoc
      )
    | (?P<open>  [(\[{] )
    | (?P<close> [)\]}] )
    | (?P<end>   ; )
    | (?P<word>  [A-Za-z_]\w* )
    """,
    re.VERBOSE | re.DOTALL,
)
_SPACE_AND_COMMENTS = re.compile(rb"(?:\s|--[^\n]*(?:\n|\Z)|#[! ][^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_FORMAT_NAME = re.compile(rb"\s+([A-Za-z_]\w*)")
_DATA_START = re.compile(rb"[ \t\f]*\r?\n?")
_KILL_BY_ID = re.compile(
    r"\s*KILL\s+QUERY\s+WHERE\s+query_id\s*=\s*(?:'((?:[^'\\]|\\.)*)'|\{(\w+):String\})\s*(SYNC|ASYNC|TEST)?\s*;?\s*\Z",
    re.IGNORECASE,
)

_READS = frozenset(
    {b"SELECT", b"WITH", b"FROM", b"SHOW", b"DESCRIBE", b"DESC", b"EXISTS", b"EXPLAIN", b"CHECK", b"VALUES"}
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What the scanner found.

    `text` is the SQL without inline data. For kind "insert_data", `head` is everything before SETTINGS or FORMAT, `settings`
    the SETTINGS clause or nothing, `format` the input format and `data_offset` where the data begin in the scanned bytes.
    For the other kinds `format` is the FORMAT that the SQL itself names, or None. `keyword` is the first word, in capitals.
    """

    kind: Kind
    keyword: bytes
    text: bytes
    format: str | None
    head: bytes = b""
    settings: bytes = b""
    data_offset: int = 0


def scan(sql: bytes) -> Statement:
    """Look at one statement. Raises `QueryFailure` when there is none, when there are several, or when it names a server file."""
    first = _first_word(sql)
    if first == b"INSERT":
        return _scan_insert(sql)
    words = _top_words(sql)
    formats = [i for i, (word, _) in enumerate(words) if word == b"FORMAT"]
    named = _FORMAT_NAME.match(sql, words[formats[-1]][1] + len(b"FORMAT")) if formats else None
    _refuse_files(words)
    kind: Kind = "kill" if first == b"KILL" else "read" if first in _READS or first == b"" else "other"
    return Statement(kind, first, sql, named.group(1).decode() if named else None)


def kill_target(sql: str, parameters: dict[str, str]) -> tuple[str, str] | None:
    """(query id, mode) when the SQL is `KILL QUERY WHERE query_id = '...' [SYNC|ASYNC|TEST]`, else None."""
    found = _KILL_BY_ID.match(sql)
    if found is None:
        return None
    literal, parameter, mode = found.groups()
    query_id = parameters.get(parameter) if parameter else re.sub(r"\\(.)", r"\1", literal or "")
    return None if query_id is None else (query_id, (mode or "ASYNC").upper())


def _scan_insert(sql: bytes) -> Statement:
    settings_at: int | None = None
    depth = 0
    for token in _TOKEN.finditer(sql):
        group = token.lastgroup
        if group == "open":
            depth += 1
        elif group == "close":
            depth -= 1
        elif group == "end" and depth == 0:
            break
        elif group == "word" and depth == 0:
            word = token.group().upper()
            if word == b"SETTINGS" and settings_at is None:
                settings_at = token.start()
            elif word == b"FORMAT":
                return _insert_with_data(sql, token.start(), token.end(), settings_at)
            elif word == b"VALUES":
                return _insert_of_values(sql, token.start(), token.end(), settings_at)
            elif word in (b"SELECT", b"WITH"):
                break
            elif word == b"FROM":
                _refuse_files([(word, token.start()), *_top_words(sql[token.end() :])])
                break
    _top_words(sql)
    return Statement("other", b"INSERT", sql, None)


def _insert_with_data(sql: bytes, format_at: int, format_end: int, settings_at: int | None) -> Statement:
    named = _FORMAT_NAME.match(sql, format_end)
    if named is None:
        raise QueryFailure(SYNTAX_ERROR, "Syntax error: FORMAT of an INSERT names no format")
    start = _DATA_START.match(sql, named.end())
    offset = start.end() if start else named.end()
    head_end = format_at if settings_at is None else settings_at
    return Statement(
        "insert_data",
        b"INSERT",
        sql[: named.end()],
        named.group(1).decode(),
        sql[:head_end],
        _clause(sql, settings_at, format_at),
        data_offset=offset,
    )


def _insert_of_values(sql: bytes, values_at: int, values_end: int, settings_at: int | None) -> Statement:
    head_end = values_at if settings_at is None else settings_at
    return Statement(
        "insert_data",
        b"INSERT",
        sql[:values_end],
        "Values",
        sql[:head_end],
        _clause(sql, settings_at, values_at),
        data_offset=values_end,
    )


def _clause(sql: bytes, settings_at: int | None, end: int) -> bytes:
    return b"" if settings_at is None else sql[settings_at:end].strip()


def _first_word(sql: bytes) -> bytes:
    """The first keyword in capitals; nothing for SQL that begins with a bracket."""
    gap = _SPACE_AND_COMMENTS.match(sql)
    start = gap.end() if gap else 0
    if start == len(sql):
        raise QueryFailure(SYNTAX_ERROR, "Syntax error: Empty query")
    word = re.compile(rb"\w+").match(sql, start)
    return word.group().upper() if word else b""


def _top_words(sql: bytes) -> list[tuple[bytes, int]]:
    """Words outside strings, comments and brackets, in capitals, with their offsets. Refuses a second statement."""
    words: list[tuple[bytes, int]] = []
    depth = 0
    for token in _TOKEN.finditer(sql):
        group = token.lastgroup
        if group == "open":
            depth += 1
        elif group == "close":
            depth -= 1
        elif group == "word" and depth == 0:
            words.append((token.group().upper(), token.start()))
        elif group == "end":
            rest = _SPACE_AND_COMMENTS.match(sql, token.end())
            if sql[rest.end() if rest else token.end() :].strip(b"; \t\r\n"):
                raise QueryFailure(SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed)")
    return words


def _refuse_files(words: list[tuple[bytes, int]]) -> None:
    names = [word for word, _ in words]
    for first, second in ((b"INTO", b"OUTFILE"), (b"FROM", b"INFILE")):
        if any(a == first and b == second for a, b in pairwise(names)):
            pair = f"{first.decode()} {second.decode()}"
            raise QueryFailure(
                UNSUPPORTED_METHOD, f"{pair} names a file of the client, and HTTP clients have none here"
            )
