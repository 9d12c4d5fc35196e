"""The routes of alerting over a real PostgreSQL, with two organizations that do not know each other (fixture `alerting_api`)."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from channels.destinations import Destinations
from channels.outgoing_http import OutgoingHttp
from channels.sending import Senders
from query.admission import Admission
from query.alerting.app import Alerting, alerting_router
from query.layer import QueryLayer
from query.limits import Limits
from query.tokens import Role, Tokens
from storage.control_plane import ControlPlane
from storage.scope import OrgScope
from storage.sealing import Sealer
from topics.errors import Unavailable
from topics.panes import Resolve, decode
from topics.transitions import AlertMessage
from web.bounded_http import serve_bounded
from web.error_replies import install_error_replies

SECRET = "s" * 32
MONITOR: dict[str, Any] = {
    "name": "errors",
    "kind": "metric",
    "metric": "errors_total",
    "aggregation": "sum",
    "critical": 5.0,
    "group_by": ["host"],
}


@dataclass
class AlertingApi:
    """The application, and what its tests make in it."""

    http: httpx.AsyncClient
    plane: ControlPlane
    senders: Senders
    ours: OrgScope
    theirs: OrgScope
    told: list[tuple[str, Any, bytes]] = field(default_factory=list)
    engine_is_away: bool = False

    async def tell_engine(self, topic: str, value: bytes, key: bytes) -> None:
        if self.engine_is_away:
            raise Unavailable("cannot enqueue: away")
        message = decode(value)
        assert isinstance(message, Resolve)
        self.told.append((topic, message, key))

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: Role = "member",
        scope: OrgScope | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        token = Tokens(SECRET).issue(scope or self.ours, role=role, subject="cli", lifetime_s=60)
        sent = {"authorization": f"Bearer {token}", **(headers or {})}
        return await self.http.request(method, path, headers=sent, json=body, **more)

    async def made(self, path: str, body: Any, **options: Any) -> dict[str, Any]:
        answer = await self.ask("POST", path, body, **options)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def channel(self, url: str, name: str = "hook", **config: Any) -> dict[str, Any]:
        given = {"url": url, "secret": "a secret of a channel", **config}
        return await self.made("/channels", {"name": name, "kind": "webhook", "config": given})

    async def alert(
        self,
        monitor_id: str,
        sequence: int = 1,
        state: str = "ALERT",
        group: str = "host=a",
        evidence: dict[str, Any] | None = None,
    ) -> str:
        """Record a transition of ours as the agent does, telling nobody; its id."""
        before = "OK" if state != "OK" else "ALERT"
        message = AlertMessage(
            self.ours.org_id,
            monitor_id,
            group,
            sequence,
            0,
            state,
            before,
            1_772_366_400_000 + sequence,
            evidence=evidence or {},
        )
        assert await self.plane.notifications.record([message], lambda _: []) == []
        return (await self.plane.alerts.list_in(self.ours, limit=1))[0].id


@pytest.fixture
async def alerting_api(control_dsn: str) -> AsyncIterator[AlertingApi]:
    async with await ControlPlane.open(control_dsn, Sealer(os.urandom(32))) as plane:
        ours = (await plane.organizations.create(f"ours {uuid.uuid4().hex}")).scope
        theirs = (await plane.organizations.create(f"theirs {uuid.uuid4().hex}")).scope
        outgoing = OutgoingHttp(Destinations((ip_network("127.0.0.1/32"),)), total_timeout_s=1.0)
        senders = Senders(outgoing, None)
        app = FastAPI()
        install_error_replies(app)

        async def bounded(scope: Any, receive: Any, send: Any) -> None:
            await serve_bounded(app, scope, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(bounded), base_url="http://query") as http:
            api = AlertingApi(http, plane, senders, ours, theirs)
            app.include_router(alerting_router(Alerting(plane, senders, api.tell_engine), Tokens(SECRET)))
            app.add_middleware(QueryLayer, admission=Admission(Limits()))
            yield api
        await outgoing.close()
