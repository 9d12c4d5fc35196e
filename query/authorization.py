"""The Authorization header of a request -> who asks and within which limits, for FastAPI; the question's turn is taken here too.

Apart from tokens.py, which commands use without a server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated

from fastapi import Header, Request

from query.layer import turn_of
from query.tokens import Permission, Principal, Tokens
from topics.errors import Refused


def permitted(
    tokens: Tokens, permission: Permission, *, takes_turn: bool = True
) -> Callable[..., Awaitable[Principal]]:
    """A FastAPI dependency: who asks, refused unless the token is good and its role grants `permission`.

    Dependencies run before a question's fields are looked at, so who asks is settled first. The question has its turn from here,
    and `Principal.limits` what it may cost; without a turn in time it is `RateLimited`. Without `takes_turn` it costs the stores
    of records nothing, and is answered however many questions are under way.
    """

    async def principal(request: Request, authorization: Annotated[str | None, Header()] = None) -> Principal:
        found = await identified(tokens, request, authorization)
        found.require(permission)
        if not takes_turn:
            return found
        return replace(found, limits=await turn_of(request).take(found.scope, found.role))

    return principal


async def identified(tokens: Tokens, request: Request, authorization: str | None) -> Principal:
    """Who asks, and from where; whatever its role grants. Two Authorization headers are refused, as nobody says which counts."""
    if len(request.headers.getlist("authorization")) > 1:
        raise Refused("cannot accept: header authorization is there twice", code="duplicate_header")
    found = await tokens.identify(authorization)
    return replace(found, address=address_of(request))


def address_of(request: Request) -> str:
    """The client's address, as web/client_address.py found it for the whole request."""
    return "" if request.client is None else request.client.host
