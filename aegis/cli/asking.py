"""A question of the command line in; the query API's answer out, over HTTP, with a token that is made where none is given."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
import typer

from aegis.access import opened_control_plane, tokens
from aegis.settings import Settings
from storage.organizations import Organization
from topics.errors import Refused, Unavailable

Org = Annotated[
    str | None, typer.Option("--org", metavar="ORG", help="whose; not needed where there is one", show_default=False)
]
Url = Annotated[
    str | None, typer.Option("--url", help="of the query API, by default this instance's", show_default=False)
]
Token = Annotated[
    str | None, typer.Option("--token", help="a bearer token, by default one for ORG is made", show_default=False)
]

_TOKEN_LIFETIME_S = 60
_TIMEOUT_S = 60.0


def ask(
    settings: Settings,
    path: str,
    parameters: Mapping[str, Any],
    *,
    body: Mapping[str, Any] | None = None,
    org: str | None,
    url: str | None,
    token: str | None,
) -> dict[str, Any]:
    """GET `path` of the query API, or POST a body to it.

    Raises `Refused` with the API's words, and `Unavailable` where there is no answer.
    """
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    place = (url or f"http://{host}:{settings.port}").rstrip("/")
    return _request(f"{place}{path}", parameters, body, token or asyncio.run(_make_token(settings, org)))


async def _make_token(settings: Settings, name: str | None) -> str:
    """A viewer's, for a minute."""
    issuer = tokens(settings)
    async with opened_control_plane(settings, with_secrets=False) as control_plane:
        if name is not None:
            owner = await control_plane.organizations.get(name)
        else:
            owner = _the_only(await control_plane.organizations.list_all())
    return issuer.issue(owner.scope, role="viewer", subject="cli", lifetime_s=_TOKEN_LIFETIME_S)


def _the_only(known: list[Organization]) -> Organization:
    if len(known) != 1:
        raise Refused(f"cannot tell whose: there are {len(known)} organizations; say --org ORG or --token TOKEN")
    return known[0]


def _request(url: str, parameters: Mapping[str, Any], body: Mapping[str, Any] | None, token: str) -> dict[str, Any]:
    import httpx  # Imported here, because other commands shall start quickly.

    try:
        headers = {"authorization": f"Bearer {token}"}
        method = "GET" if body is None else "POST"
        response = httpx.request(method, url, params=dict(parameters), json=body, headers=headers, timeout=_TIMEOUT_S)
        answer = orjson.loads(response.content)
        if response.status_code == 200:
            return dict(answer)
        message = str(answer["error"]["message"])
    except httpx.InvalidURL as exc:
        raise Refused(f"cannot ask {url}: {exc}") from exc
    except httpx.HTTPError as exc:
        raise Unavailable(f"cannot ask {url}: {exc}") from exc
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as exc:
        raise Unavailable(f"cannot read the answer of {url}: it is not the query API's") from exc
    raise Refused(message) if response.status_code < 500 else Unavailable(message)
