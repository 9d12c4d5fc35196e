"""Records -> signed requests to a gateway. Used by the demo, the tests and the benchmarks; small enough to copy the idea from.

async with IngestClient("http://127.0.0.1:3000", org_key="obs_...", secret="...") as client:
    await client.send_logs([{"timestamp": ..., "service": "api", "level": "info", "message": "hello"}])

A request is sent again when it was not answered, and is taken once all the same: it carries a key that the gateway remembers for
24 hours. What cannot be sent is an error of topics/errors.py, or `FateUnknown`.
"""

from __future__ import annotations

import asyncio
import hmac
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx
import orjson

from topics.content_encoding import IDENTITY, encoded
from topics.errors import AegisError, RateLimited, Refused, Unavailable
from topics.log_records import LOGS_MAX
from topics.metric_records import POINTS_MAX
from topics.rum_records import EVENTS_MAX
from topics.span_records import SPANS_MAX

RETRIES = 5
WAIT_MAX_S = 30.0
BODY_BYTES_MAX = 5 << 20
_FIRST_WAIT_S = 0.1
_AGAIN = frozenset({429, 500, 502, 503, 504})
"""Statuses that may be others the next time; 502 and 504 come from what stands before a gateway, 500 from a defect in it."""


class FateUnknown(Unavailable):
    """A request was sent, and no answer came: it may have been accepted. Sent again with its key, it is so once."""


def sign(body: bytes, *, org_key: str, secret: str, timestamp_ms: int, with_time: bool = False) -> dict[str, str]:
    """The headers that a gateway asks for (gateway/signatures.py); `with_time` makes the signature cover the time as well."""
    signed, scheme = (b"%d.%b" % (timestamp_ms, body), "v2") if with_time else (body, "sha256")
    return {
        "content-type": "application/json",
        "x-org-key": org_key,
        "x-timestamp": str(timestamp_ms),
        "x-signature": f"{scheme}={hmac.digest(secret.encode(), signed, 'sha256').hex()}",
    }


@dataclass(frozen=True, slots=True)
class Accepted:
    """One 202 or several: how many records, the requests' ids, which name them in logs, and how many had been taken before."""

    accepted: int
    request_ids: tuple[str, ...]
    repeated: int = 0


class IngestClient:
    """Sends to one gateway as one API key, over kept-alive connections.

    `compression` is identity, gzip, deflate or zstd. With `sign_time` signatures cover the time. With `keyed` every request has
    an idempotency key, which the gateway remembers for 24 hours; it does so for half a million requests of an organization by
    default, so who sends more says False: a repeat is then known by its signature and time, for ten minutes.
    """

    def __init__(
        self,
        url: str,
        *,
        org_key: str,
        secret: str,
        timeout_s: float = 10.0,
        retries: int = RETRIES,
        compression: str = IDENTITY,
        sign_time: bool = False,
        keyed: bool = True,
    ) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout_s)
        self._org_key = org_key
        self._secret = secret
        self._retries = retries
        self._compression = compression
        self._sign_time = sign_time
        self._keyed = keyed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send_logs(self, logs: Sequence[dict[str, Any]], *, key: str | None = None) -> Accepted:
        """Send logs. See `send_records`."""
        return await self.send_records("/v1/logs", "logs", logs, records_max=LOGS_MAX, key=key)

    async def send_metrics(self, points: Sequence[dict[str, Any]], *, key: str | None = None) -> Accepted:
        """Send metric points. See `send_records`."""
        return await self.send_records("/v1/metrics", "metrics", points, records_max=POINTS_MAX, key=key)

    async def send_spans(self, spans: Sequence[dict[str, Any]], *, key: str | None = None) -> Accepted:
        """Send spans. See `send_records`."""
        return await self.send_records("/v1/traces", "spans", spans, records_max=SPANS_MAX, key=key)

    async def send_rum(self, events: Sequence[dict[str, Any]], *, key: str | None = None) -> Accepted:
        """Send RUM events. See `send_records`."""
        return await self.send_records("/v1/rum", "events", events, records_max=EVENTS_MAX, key=key)

    async def send_records(
        self, path: str, field: str, records: Sequence[dict[str, Any]], *, records_max: int, key: str | None = None
    ) -> Accepted:
        """Send records in as many requests as they need, one after another. Raises what `send_body` raises.

        Those before the one that failed were accepted then. Sending the whole list again under the same `key` is safe: the same
        list makes the same requests, and each has its number behind the key.
        """
        accepted, repeated = 0, 0
        request_ids: list[str] = []
        for number, body in enumerate(_bodies(field, records, records_max)):
            numbered = key if key is None or not number else f"{key}/{number}"
            answer = await self.send_body(path, body, key=numbered)
            accepted += answer.accepted
            repeated += answer.repeated
            request_ids += answer.request_ids
        return Accepted(accepted, tuple(request_ids), repeated)

    async def send_body(self, path: str, body: bytes, *, key: str | None = None) -> Accepted:
        """Sign and send one body, again after the gateway's Retry-After when it is 429 or 503, or was not answered.

        Raises `Refused` for any other 4xx. When the tries are used up, or when the gateway asks to wait longer than
        `WAIT_MAX_S`: `RateLimited` or `Unavailable` as it answered the last time, or `FateUnknown` when one try had no answer.
        """
        content = encoded(body, self._compression)
        if key is None and self._keyed:
            key = uuid.uuid4().hex
        headers: dict[str, str] = {}
        unanswered: FateUnknown | None = None
        for attempt in range(self._retries + 1):
            # Without a key the gateway knows a repeat by its signature and time, so these must stay.
            if key is not None or not headers:
                headers = self._headers(content, key)
            failure, wait_s = await self._try(path, content, headers, attempt)
            if isinstance(failure, Accepted):
                return failure
            if isinstance(failure, FateUnknown):
                unanswered = failure
            if wait_s is None or wait_s > WAIT_MAX_S or attempt == self._retries:
                raise failure if isinstance(failure, Refused) else unanswered or failure
            # Not all that were turned away together shall come back together.
            await asyncio.sleep(wait_s * random.uniform(1.0, 1.2))
        raise AssertionError("unreachable")

    def _headers(self, content: bytes, key: str | None) -> dict[str, str]:
        headers = sign(
            content,
            org_key=self._org_key,
            secret=self._secret,
            timestamp_ms=int(time.time() * 1000),
            with_time=self._sign_time,
        )
        if key is not None:
            headers["x-idempotency-key"] = key
        if self._compression != IDENTITY:
            headers["content-encoding"] = self._compression
        return headers

    async def _try(
        self, path: str, content: bytes, headers: dict[str, str], attempt: int
    ) -> tuple[Accepted | AegisError, float | None]:
        """What came of one try, and after how many seconds another makes sense; None: never."""
        backoff_s = min(_FIRST_WAIT_S * 2.0**attempt, WAIT_MAX_S)
        try:
            response = await self._http.post(path, content=content, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as exc:
            where = self._http.base_url
            return Unavailable(f"cannot reach the gateway at {where}: {exc or type(exc).__name__}"), backoff_s
        except httpx.HTTPError as exc:
            return FateUnknown(f"cannot tell what became of a request: {exc or type(exc).__name__}"), backoff_s
        if response.status_code == 202:
            answer = orjson.loads(response.content)
            repeated = int("x-idempotent-replay" in response.headers)
            return Accepted(answer["accepted"], (answer["request_id"],), repeated), None
        failure = _failure(response)
        if response.status_code not in _AGAIN:
            return failure, None
        return failure, failure.retry_after_s if isinstance(failure, Unavailable) else backoff_s


def _bodies(field: str, records: Sequence[dict[str, Any]], records_max: int) -> Iterator[bytes]:
    """Requests of at most so many records, and of at most `BODY_BYTES_MAX` unless one record alone is larger."""
    for at in range(0, len(records), records_max):
        part = records[at : at + records_max]
        body = orjson.dumps({field: part})
        if len(body) > BODY_BYTES_MAX and len(part) > 1:
            yield from _bodies(field, part, (len(part) + 1) // 2)
        else:
            yield body


def _failure(response: httpx.Response) -> AegisError:
    path = ""
    try:
        error = orjson.loads(response.content)["error"]
        message, code = f"{response.status_code} {error['message']}", str(error["code"])
        if error["details"]:
            path = str(error["details"][0]["path"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message, code = f"{response.status_code} {response.text[:200]}", "refused"
    wait_s = _seconds(response, "retry-after", 1)
    if response.status_code == 429:
        limit, reset_s = _seconds(response, "ratelimit-limit", 0), _seconds(response, "ratelimit-reset", 0)
        return RateLimited(message, retry_after_s=wait_s, limit=limit, reset_s=reset_s)
    if response.status_code in _AGAIN:
        return Unavailable(message, retry_after_s=wait_s)
    return Refused(message, code=code, path=path)


def _seconds(response: httpx.Response, header: str, default: int) -> int:
    value = response.headers.get(header, "")
    return int(value) if value.isdigit() else default
