"""The Authorization header as clients of Prometheus can send it -> who asks.

Bearer is the rule. Basic is for those that have no way to say it, as promtool before 2.46, which takes only an address: the token
is the password in it, `http://any:TOKEN@host:port`.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Header, Request

from query.authorization import permitted
from query.tokens import Permission, Principal, Tokens


def permitted_client(tokens: Tokens, permission: Permission) -> Callable[..., Awaitable[Principal]]:
    """As `permitted`, for these clients."""
    by_bearer = permitted(tokens, permission)

    async def principal(request: Request, authorization: Annotated[str | None, Header()] = None) -> Principal:
        return await by_bearer(request, as_bearer(authorization))

    return principal


def as_bearer(header: str | None) -> str | None:
    """Basic -> Bearer with its password; anything else, and what is no Basic, as it is."""
    scheme, _, credentials = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return header
    try:
        _, _, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except ValueError:  # No base64, no ASCII, or no UTF-8 in it.
        return header
    return f"Bearer {password}"
