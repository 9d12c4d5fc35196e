"""The version of what is changed: If-Match in, ETag out (RFC 9110 section 8.8.3), so that nobody undoes another's work unseen."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Header, Response

from query.answers import json_answer
from topics.errors import Refused

IfMatch = Annotated[
    str | None, Header(max_length=32, description="ETag of what was read; without it the last one who writes wins")
]


def read_version(if_match: str | None, current: int) -> int:
    """The version that the client has read, by default the current one. Raises `Refused` for a tag that is none of ours."""
    if if_match is None or if_match.strip() == "*":
        return current
    found = re.fullmatch(r'(?:W/)?"(\d{1,9})"', if_match.strip())
    if found is None:
        raise Refused("expected an ETag of this resource", code="invalid_field", path="if-match")
    return int(found[1])


def versioned(answer: dict[str, Any], version: int, status: int = 200) -> Response:
    """An answer with its ETag."""
    response = json_answer(answer, status)
    response.headers["etag"] = f'"{version}"'
    return response
