"""A question of the command line in; the query API's answer out, over HTTP, with a token that is made where none is given."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
import typer

from aegis.access import opened_control_plane, tokens
from aegis.settings import Settings
from query.tokens import Role
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
    method, content = ("GET", None) if body is None else ("POST", orjson.dumps(body))
    made = token or _made_token(settings, org)
    asked = _request(method, _place(settings, url) + path, made, parameters=parameters, content=content)
    return dict(_read(asked))


def send(
    settings: Settings,
    method: str,
    path: str,
    *,
    org: str | None,
    url: str | None,
    token: str | None,
    body: Any = None,
    content: bytes | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Change something through the API, as a member: `body` as JSON, or `content` as it is. Empty for an answer without one.

    Raises as `ask`.
    """
    sent = content if body is None else orjson.dumps(body)
    made = token or _made_token(settings, org, role="member")
    asked = _request(method, _place(settings, url) + path, made, parameters=parameters or {}, content=sent)
    return {} if asked.status_code == 204 else dict(_read(asked))


def fetch_text(settings: Settings, path: str, *, org: str | None, url: str | None, token: str | None) -> str:
    """GET an answer that is not JSON. Raises as `ask`."""
    asked = _request("GET", _place(settings, url) + path, token or _made_token(settings, org), parameters={})
    if asked.status_code != 200:
        _read(asked)
    return str(asked.text)


def _place(settings: Settings, url: str | None) -> str:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    return (url or f"http://{host}:{settings.port}").rstrip("/")


def _made_token(settings: Settings, name: str | None, *, role: Role = "viewer") -> str:
    return asyncio.run(_make_token(settings, name, role))


async def _make_token(settings: Settings, name: str | None, role: Role) -> str:
    """For a minute."""
    issuer = tokens(settings)
    async with opened_control_plane(settings, with_secrets=False) as control_plane:
        if name is not None:
            owner = await control_plane.organizations.get(name)
        else:
            owner = _the_only(await control_plane.organizations.list_all())
    return issuer.issue(owner.scope, role=role, subject="cli", lifetime_s=_TOKEN_LIFETIME_S)


def _the_only(known: list[Organization]) -> Organization:
    if len(known) != 1:
        raise Refused(f"cannot tell whose: there are {len(known)} organizations; say --org ORG or --token TOKEN")
    return known[0]


def _request(method: str, url: str, token: str, *, parameters: Mapping[str, Any], content: bytes | None = None) -> Any:
    import httpx  # Imported here, because other commands shall start quickly.

    headers = {"authorization": f"Bearer {token}"} | ({"content-type": "application/json"} if content else {})
    try:
        return httpx.request(method, url, params=dict(parameters), headers=headers, content=content, timeout=_TIMEOUT_S)
    except httpx.InvalidURL as exc:
        raise Refused(f"cannot ask {url}: {exc}") from exc
    except httpx.HTTPError as exc:
        raise Unavailable(f"cannot ask {url}: {exc}") from exc


def _read(response: Any) -> dict[str, Any]:
    try:
        answer = orjson.loads(response.content)
        if 200 <= response.status_code < 300:
            return dict(answer)
        message = str(answer["error"]["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as exc:
        raise Unavailable(f"cannot read the answer of {response.url}: it is not the query API's") from exc
    raise Refused(message) if response.status_code < 500 else Unavailable(message)
