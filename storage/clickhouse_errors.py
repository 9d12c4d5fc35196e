"""An exception of clickhouse-connect in; `Refused`, `Unavailable` or `TooExpensive` out.

By ClickHouse's error codes (https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp), never by text,
with two exceptions that are said below.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from clickhouse_connect.driver.exceptions import Error

from topics.errors import AegisError, Refused, TooExpensive, Unavailable

# The limit's code -> (what passed it, the setting that names it).
_LIMITS: Mapping[int, tuple[str, str]] = {
    158: ("the rows to read", "max_rows_to_read"),
    159: ("the running time", "max_execution_time"),
    160: ("the estimated running time", "max_execution_time"),
    307: ("the bytes to read", "max_bytes_to_read"),
    396: ("the size of the answer", "max_result_bytes"),
}
_MEMORY_LIMIT = 241
_SYNTAX_ERROR = 62

# The bytes of an insert, not the server's state, are at fault: the same block fails for ever.
_BAD_BLOCK = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        8,  # THERE_IS_NO_COLUMN
        25,  # CANNOT_PARSE_ESCAPE_SEQUENCE
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        32,  # ATTEMPT_TO_READ_AFTER_EOF
        33,  # CANNOT_READ_ALL_DATA
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        50,  # UNKNOWN_TYPE
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        131,  # TOO_LARGE_STRING_SIZE
        190,  # SIZES_OF_ARRAYS_DONT_MATCH
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        376,  # CANNOT_PARSE_UUID
        407,  # DECIMAL_OVERFLOW
        467,  # CANNOT_PARSE_BOOL
        469,  # VIOLATED_CONSTRAINT
    }
)

# UNKNOWN_DATABASE, UNKNOWN_TABLE, NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_IDENTIFIER, NOT_FOUND_COLUMN_IN_BLOCK: an older schema.
_NOT_MIGRATED = frozenset({81, 60, 16, 47, 10})

_FIGURE = re.compile(r"(?:current (?:rows|bytes): |elapsed |would use )([0-9.]+(?: [A-Za-z]+)?)")
_CODE = re.compile(r"Code: (\d+)\.")
_LONG_TAIL = re.compile(r"\s*\(for url [^)]*\)|\s*\(version [^)]*(?:\([^)]*\))?\)")


def translate(exc: Exception, doing: str, limits: Mapping[str, object], *, writing: bool) -> AegisError:
    """Make ours of theirs; `doing` completes "cannot <doing>: ...", `limits` are the settings that the query ran under.

    Unknown codes become `Unavailable`: a batch that is retried for nothing can be seen and stopped, a lost one cannot be undone.
    """
    code = exc.code if isinstance(exc, Error) else None
    if code is None:
        return Unavailable(f"cannot {doing}: ClickHouse is away", detail=_short(exc))
    if code in _NOT_MIGRATED:
        reason = f"cannot {doing}: ClickHouse has another version's schema; run `aegis migrate`"
        return Unavailable(reason, retry_after_s=5.0, detail=_short(exc))
    if writing:
        if code in _BAD_BLOCK:
            return Refused(f"cannot {doing}: {_short(exc)}", code="bad_block")
    elif code in _LIMITS:
        what, setting = _LIMITS[code]
        return TooExpensive(f"{setting} = {limits.get(setting, 'the limit of the server')}", _asked(what, exc))
    elif code == _MEMORY_LIMIT and "(total)" not in str(exc) and "max_memory_usage" in limits:
        # One code for two things, told apart by text only: a query past its own bound, or a server with no memory left.
        return TooExpensive(f"max_memory_usage = {limits['max_memory_usage']}", _asked("the memory", exc))
    elif code == _SYNTAX_ERROR and "Max query size exceeded" in str(exc):
        # Our statements have no errors of syntax, but as many conditions as a question asks.
        return TooExpensive("max_query_size = 262144", "the statement with all its conditions")
    return Unavailable(f"cannot {doing}: ClickHouse could not (its error {code})", detail=_short(exc))


def _asked(what: str, exc: Exception) -> str:
    """What passed the limit, with the server's figure for it where its text has one: for people, nothing depends on it."""
    figure = _FIGURE.search(str(exc))
    return f"{what} of this query" + (f" ({figure[1]}, or more)" if figure else "")


def failure_in(body: bytes) -> Error:
    """What the server wrote into an answer that had begun, as the exception that its client would have raised before.

    https://clickhouse.com/docs/interfaces/http#http_response_codes_caveats
    """
    text = body.decode(errors="replace")
    found = _CODE.search(text)
    if found is None:
        return Error(f"the answer ends in its midst: {text[-200:]}")
    return Error(text[found.start() :], code=int(found[1]))


def _short(exc: Exception) -> str:
    """The reason on one line, without address, version and stack, at most 500 characters."""
    text = _LONG_TAIL.sub("", str(exc) or type(exc).__name__)
    return " ".join(text.split())[:500]
