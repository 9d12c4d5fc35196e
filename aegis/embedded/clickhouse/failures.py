"""The engine's error text -> its code and the HTTP status that a ClickHouse server answers with.

Codes: ClickHouse's ErrorCodes.cpp. Statuses: exceptionCodeToHTTPStatus in its HTTP handler.
"""

from __future__ import annotations

import re

UNSUPPORTED_METHOD = 1
SYNTAX_ERROR = 62
UNKNOWN_EXCEPTION = 1002
BAD_ARGUMENTS = 36
NOT_IMPLEMENTED = 48
CANNOT_DECOMPRESS = 271
TOO_MANY_SIMULTANEOUS_QUERIES = 202
QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING = 216
REQUEST_TOO_LARGE = 307  # TOO_MANY_BYTES
AUTHENTICATION_FAILED = 516
QUERY_WAS_CANCELLED = 394

_NAMES = {
    UNSUPPORTED_METHOD: "UNSUPPORTED_METHOD",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    UNKNOWN_EXCEPTION: "UNKNOWN_EXCEPTION",
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    CANNOT_DECOMPRESS: "CANNOT_DECOMPRESS",
    TOO_MANY_SIMULTANEOUS_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
    REQUEST_TOO_LARGE: "TOO_MANY_BYTES",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    QUERY_WAS_CANCELLED: "QUERY_WAS_CANCELLED",
}

# What cannot be parsed or converted is the client's fault; what is not known is not found.
_BAD_REQUEST = frozenset(
    {6, 26, 27, 32, 33, 36, 38, 41, 43, 53, 62, 70, 72, 117, 130, 131, 321, 407, 427, 456, 457, 467, 675}
)
_NOT_FOUND = frozenset({46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336})
_STATUS = {
    UNSUPPORTED_METHOD: 501,
    NOT_IMPLEMENTED: 501,
    TOO_MANY_SIMULTANEOUS_QUERIES: 503,
    REQUEST_TOO_LARGE: 413,
    CANNOT_DECOMPRESS: 400,
    AUTHENTICATION_FAILED: 403,
    159: 408,  # TIMEOUT_EXCEEDED
    209: 503,  # SOCKET_TIMEOUT
    439: 503,  # CANNOT_SCHEDULE_TASK
    164: 403,  # READONLY
}
_CODE = re.compile(r"Code: (\d+)\. ")


class QueryFailure(Exception):
    """A query that failed, as a ClickHouse server would report it: `code`, `status` and the text for the body."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {reason}. ({_NAMES.get(code, 'ERROR')})")
        self.code = code

    @property
    def status(self) -> int:
        """The HTTP status for this code."""
        if self.code in _STATUS:
            return _STATUS[self.code]
        return 400 if self.code in _BAD_REQUEST else 404 if self.code in _NOT_FOUND else 500


class EngineFailure(QueryFailure):
    """A failure that the engine itself reported; its text is passed on unchanged."""

    def __init__(self, text: str) -> None:
        start = text.find("Code: ")
        text = text[start:] if start > 0 else text
        found = _CODE.match(text)
        Exception.__init__(self, text)
        self.code = int(found.group(1)) if found else UNKNOWN_EXCEPTION
