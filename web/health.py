"""Checks of dependencies -> GET /health, /ready and /metrics, the same on every process.

/health answers 200 while the process works, with each dependency's state in the body; /ready answers 503 while the process
should get no traffic. /metrics is Prometheus text with names `aegis_<noun>_<unit>_total` beside the process's own figures.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from topics.errors import Unavailable
from web.error_replies import install_error_replies

Check = Callable[[], Awaitable[None]]
"""Returns when the dependency can be used, raises `Unavailable` saying why not."""

CHECK_TIMEOUT_S = 2.0


class Health:
    """The state of one process: its name, its dependencies, and whether it wants traffic.

    `required` names the dependencies without which the process is not ready. `facts` adds process-specific figures to the
    body of /health.
    """

    def __init__(
        self,
        process: str,
        checks: Mapping[str, Check],
        *,
        required: frozenset[str] = frozenset(),
        facts: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self.process = process
        self.draining = False
        self._checks = dict(checks)
        self._required = required
        self._facts = facts
        self._started = time.monotonic()

    async def look(self) -> dict[str, Any]:
        """Run all checks at once, each bounded by `CHECK_TIMEOUT_S`, and describe what came of them."""
        states = await asyncio.gather(*(self._state(check) for check in self._checks.values()))
        dependencies = dict(zip(self._checks, states, strict=True))
        down = [name for name, state in dependencies.items() if state["status"] != "ok"]
        answer: dict[str, Any] = {
            "status": "degraded" if down else "ok",
            "process": self.process,
            "ready": not self.draining and not self._required.intersection(down),
            "uptime_s": round(time.monotonic() - self._started, 1),
            "dependencies": dependencies,
        }
        if self._facts is not None:
            answer.update(self._facts())
        return answer

    @staticmethod
    async def _state(check: Check) -> dict[str, Any]:
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await check()
        except TimeoutError:
            return {"status": "down", "reason": f"no answer within {CHECK_TIMEOUT_S:g} s"}
        except Unavailable as exc:
            return {"status": "down", "reason": exc.reason}
        return {"status": "ok", "ms": round((time.perf_counter() - begin) * 1e3, 2)}


def health_router(health: Health) -> APIRouter:
    """The three routes."""
    router = APIRouter(tags=["operations"])

    @router.get("/health", summary="State of this process and of what it depends on")
    async def get_health() -> Response:
        return _json(await health.look(), 200)

    @router.get("/ready", summary="200 when this process wants traffic, else 503")
    async def get_ready() -> Response:
        answer = await health.look()
        return _json(answer, 200 if answer["ready"] else 503)

    @router.get("/metrics", summary="Prometheus text")
    async def get_metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


def operations_app(title: str, health: Health) -> FastAPI:
    """An application of the three routes and nothing else, for a port of a process's own."""
    app = FastAPI(title=title, openapi_url=None)
    install_error_replies(app)
    app.include_router(health_router(health))
    return app


def _json(answer: dict[str, Any], status: int) -> Response:
    return Response(orjson.dumps(answer), status, media_type="application/json")
