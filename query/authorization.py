"""The Authorization header of a request -> who asks, for FastAPI. Apart from tokens.py, which commands use without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Header

from query.tokens import Permission, Principal, Tokens, read_bearer


def permitted(tokens: Tokens, permission: Permission) -> Callable[..., Principal]:
    """A FastAPI dependency: who asks, refused unless the token is good and its role grants `permission`.

    Dependencies run before a question's fields are looked at, so who asks is settled first.
    """

    def principal(authorization: Annotated[str | None, Header()] = None) -> Principal:
        found = read_bearer(authorization, tokens)
        found.require(permission)
        return found

    return principal
