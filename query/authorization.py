"""The Authorization header of a request -> who asks and within which limits, for FastAPI; the question's turn is taken here too.

Apart from tokens.py, which commands use without a server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated

from fastapi import Header, Request

from query.layer import turn_of
from query.tokens import Permission, Principal, Tokens, read_bearer


def permitted(tokens: Tokens, permission: Permission) -> Callable[..., Awaitable[Principal]]:
    """A FastAPI dependency: who asks, refused unless the token is good and its role grants `permission`.

    Dependencies run before a question's fields are looked at, so who asks is settled first. The question has its
    turn from here on, and `Principal.limits` what it may cost; without a turn in time it is `RateLimited`.
    """

    async def principal(request: Request, authorization: Annotated[str | None, Header()] = None) -> Principal:
        found = read_bearer(authorization, tokens)
        found.require(permission)
        return replace(found, limits=await turn_of(request).take(found.scope, found.role))

    return principal
