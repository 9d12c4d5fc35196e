"""Records -> signed requests to a gateway. Used by the demo, the tests and the benchmarks; small enough to copy the idea from.

async with IngestClient("http://127.0.0.1:3000", org_key="obs_...", secret="...") as client:
    await client.send_logs([{"timestamp": ..., "service": "api", "level": "info", "message": "hello"}])
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx
import orjson

from topics.errors import Refused, Unavailable

RETRIES = 5


def sign(body: bytes, *, org_key: str, secret: str, timestamp_ms: int) -> dict[str, str]:
    """The headers that a gateway asks for (mission.md section 3)."""
    return {
        "content-type": "application/json",
        "x-org-key": org_key,
        "x-timestamp": str(timestamp_ms),
        "x-signature": f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}",
    }


@dataclass(frozen=True, slots=True)
class Accepted:
    """A 202: how many records, and the id that names the request in logs."""

    accepted: int
    request_id: str


class IngestClient:
    """Sends to one gateway as one API key, over kept-alive connections."""

    def __init__(self, url: str, *, org_key: str, secret: str, timeout_s: float = 10.0, retries: int = RETRIES) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout_s)
        self._org_key = org_key
        self._secret = secret
        self._retries = retries

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send_logs(self, logs: Sequence[dict[str, Any]]) -> Accepted:
        """Send up to 1000 logs. See `send_body`."""
        return await self.send_body("/v1/logs", orjson.dumps({"logs": logs}))

    async def send_metrics(self, points: Sequence[dict[str, Any]]) -> Accepted:
        """Send up to 5000 metric points. See `send_body`."""
        return await self.send_body("/v1/metrics", orjson.dumps({"metrics": points}))

    async def send_spans(self, spans: Sequence[dict[str, Any]]) -> Accepted:
        """Send up to 500 spans. See `send_body`."""
        return await self.send_body("/v1/traces", orjson.dumps({"spans": spans}))

    async def send_rum(self, events: Sequence[dict[str, Any]]) -> Accepted:
        """Send up to 1000 RUM events. See `send_body`."""
        return await self.send_body("/v1/rum", orjson.dumps({"events": events}))

    async def send_body(self, path: str, body: bytes) -> Accepted:
        """Sign and send one body; 503 and 429 are tried again after the gateway's Retry-After.

        Raises `Refused` for any other 4xx, `Unavailable` when the tries are used up or the gateway cannot be reached.
        A connection that broke is not tried again, since the gateway may have accepted what it was sending.
        """
        for attempt in range(self._retries + 1):
            headers = sign(body, org_key=self._org_key, secret=self._secret, timestamp_ms=int(time.time() * 1000))
            try:
                response = await self._http.post(path, content=body, headers=headers)
            except httpx.HTTPError as exc:
                raise Unavailable(
                    f"cannot reach the gateway at {self._http.base_url}: {exc or type(exc).__name__}"
                ) from exc
            if response.status_code == 202:
                answer = orjson.loads(response.content)
                return Accepted(answer["accepted"], answer["request_id"])
            if response.status_code not in (429, 503) or attempt == self._retries:
                raise _failure(response)
            await asyncio.sleep(min(float(response.headers.get("retry-after", "1")), 10.0))
        raise AssertionError("unreachable")


def _failure(response: httpx.Response) -> Refused | Unavailable:
    try:
        error = orjson.loads(response.content)["error"]
        message, code = f"{response.status_code} {error['message']}", error["code"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message, code = f"{response.status_code} {response.text[:200]}", "refused"
    if response.status_code in (429, 503):
        return Unavailable(message)
    return Refused(message, code=code)
