"""Requests of a gateway -> one step of Redis each: limits, memory of what was taken, enqueue (intake_scripts.py).

What arrives in one turn of the event loop goes out as one script call. A large body goes beside it in a transaction of its own,
because Lua would copy it. When the connection breaks before the answer, the same call is made again: the identity of the request
makes that harmless, and its answer says what the first call did.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import hiredis

from topics.errors import RateLimited, Refused, Unavailable
from topics.intake import Allowance, Taken, Terms
from topics.raw import Headers
from topics.redis_streams.entries import encode_entry
from topics.redis_streams.errors import OutcomeUnknown
from topics.redis_streams.intake_scripts import CHARGE, SETTLE, TAKE
from topics.redis_streams.keys import Keys
from topics.redis_streams.pipelined_connection import Arg, PipelinedConnection
from topics.redis_streams.stream_producer import StreamProducer

LARGE_BYTES: Final = 64 << 10
"""From this body size on a transaction costs less than Lua's copy."""

BATCH_MAX: Final = 32
AGAIN_WITHIN_S: Final = 3.0
"""How long a broken connection is waited for, to ask what became of a request."""

_TAKE_SHA, _CHARGE_SHA = (hashlib.sha1(script.encode()).hexdigest() for script in (TAKE, CHARGE))
_WAIT_TO_RETRY_S = 0.02


@dataclass(slots=True)
class _Asked:
    """One request on its way: the arguments of the script, and who waits for its answer."""

    arguments: tuple[Arg, ...]
    entry: list[Any]
    answer: asyncio.Future[Any]


class RedisIntake:
    """The `Intake` of topics/intake.py. `producer` knows the streams and their bounds, and is its owner's."""

    def __init__(self, producer: StreamProducer) -> None:
        self._producer = producer
        self._connection: PipelinedConnection = producer.connection
        keys = Keys(producer.namespace)
        self._prefixes = (keys.limits, keys.replays, keys.idempotency)
        self._asked: list[_Asked] = []

    async def take(self, topic: str, value: bytes, headers: Headers, terms: Terms) -> Taken:
        """See `Intake.take`."""
        stream = self._producer.next_stream(topic) or await self._producer.find_next_stream(topic)
        entry = encode_entry(value, headers=headers, timestamp_ms=int(time.time() * 1000))
        arguments = (stream, *terms)
        ask = self._ask_large if len(value) >= LARGE_BYTES else self._ask
        give_up_s = 0.0
        while True:
            try:
                reply = await ask(arguments, entry)
                break
            except OutcomeUnknown as exc:
                # Sent, and the connection broke: only Redis can say what became of it.
                give_up_s = give_up_s or time.monotonic() + AGAIN_WITHIN_S
                unknown: Unavailable = exc
            except Unavailable:
                if not give_up_s:
                    raise  # Never sent.
            if time.monotonic() > give_up_s:
                raise unknown
            await asyncio.sleep(_WAIT_TO_RETRY_S)
        return _taken(reply, terms)

    async def charge(self, terms: Terms) -> Allowance:
        """See `Intake.charge`."""
        reply = await self._evaluate(_CHARGE_SHA, CHARGE, terms[:4])
        return _taken(reply, terms).allowance

    async def ping(self) -> None:
        """See `Intake.ping`."""
        await self._producer.ping()

    async def close(self) -> None:
        """See `Intake.close`."""
        await self._producer.close()

    def _ask(self, arguments: tuple[Arg, ...], entry: list[Any]) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        asked = _Asked(arguments, entry, loop.create_future())
        if not self._asked:
            loop.call_soon(self._send)
        self._asked.append(asked)
        return asked.answer

    def _send(self) -> None:
        """Everything that was asked in this turn, in as few calls as the bound allows."""
        waiting, self._asked = self._asked, []
        for start in range(0, len(waiting), BATCH_MAX):
            batch = waiting[start : start + BATCH_MAX]
            arguments: list[Arg] = []
            for asked in batch:
                arguments += asked.arguments
                arguments.append(len(asked.entry))
                arguments += asked.entry
            try:
                call = self._connection.call("EVALSHA", _TAKE_SHA, 3, *self._prefixes, *arguments)
            except Unavailable as exc:
                _fail(batch, exc)
            else:
                call.add_done_callback(partial(self._answered, batch, arguments))

    def _answered(self, batch: list[_Asked], arguments: list[Arg], call: asyncio.Future[Any]) -> None:
        if call.cancelled():
            _fail(batch, OutcomeUnknown("cannot say whether Redis took it: the call was cancelled"))
        elif (exc := call.exception()) is None:
            for asked, reply in zip(batch, call.result(), strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(reply)
        elif isinstance(exc, hiredis.ReplyError) and str(exc).startswith("NOSCRIPT"):
            # A fresh Redis: with its text the script is known from now on. Nothing of the call was done.
            try:
                again = self._connection.call("EVAL", TAKE, 3, *self._prefixes, *arguments)
            except Unavailable as away:
                _fail(batch, away)
            else:
                again.add_done_callback(partial(self._answered, batch, arguments))
        else:
            _fail(batch, _failure(exc))

    async def _ask_large(self, arguments: tuple[Arg, ...], entry: list[Any]) -> Any:
        # With the script's text: a script that Redis does not know would leave the entry behind.
        sent = self._connection.call_all(
            ("MULTI",),
            ("XADD", arguments[0], "0-*", *entry),
            ("EVAL", SETTLE, 3, *self._prefixes, *arguments),
            ("EXEC",),
        )
        *queued, done = await asyncio.gather(*sent, return_exceptions=True)
        if isinstance(done, BaseException):
            raise _failure(next((each for each in queued if isinstance(each, hiredis.ReplyError)), done))
        return done[-1]

    async def _evaluate(self, sha: str, script: str, arguments: tuple[Any, ...]) -> Any:
        try:
            return await self._connection.call("EVALSHA", sha, 3, *self._prefixes, *arguments)
        except hiredis.ReplyError as exc:
            if not str(exc).startswith("NOSCRIPT"):
                raise _failure(exc) from exc
        try:
            return await self._connection.call("EVAL", script, 3, *self._prefixes, *arguments)
        except hiredis.ReplyError as exc:
            raise _failure(exc) from exc


def _fail(batch: list[_Asked], exc: BaseException) -> None:
    for asked in batch:
        if not asked.answer.done():
            asked.answer.set_exception(exc)


def _failure(exc: BaseException) -> BaseException:
    """Redis' no -> ours. Out of memory, loading, read-only, failing to write the AOF: it was not taken, and may be later."""
    if isinstance(exc, hiredis.ReplyError):
        return Unavailable(f"cannot enqueue: Redis says {exc}", retry_after_s=2.0)
    return exc


def _taken(reply: Any, terms: Terms) -> Taken:
    """A script's answer -> what came of the request, or the refusal. See `decide` in intake_scripts.py."""
    if isinstance(reply, hiredis.ReplyError):
        raise _failure(reply)
    what = reply[0]
    if what == 5:
        raise Unavailable(f"cannot enqueue: Redis says {bytes(reply[1]).decode('utf-8', 'replace')}", retry_after_s=2.0)
    allowance = Allowance(reply[1], reply[2], reply[3])
    if what == 0:
        return Taken(terms.answer, False, allowance)
    if what == 1:
        answer = bytes(reply[4])
        # Our own answer comes back when the call was made twice, over a connection that broke.
        return Taken(answer, answer != terms.answer, allowance)
    if what == 2:
        who = "this organization" if reply[5] == b"organization" else "this address"
        raise RateLimited(
            f"cannot accept: {who} may send {allowance.limit} requests a minute",
            retry_after_s=reply[4] / 1000,
            limit=allowance.limit,
            reset_s=allowance.reset_s,
        )
    if what == 3:
        raise Refused(
            "cannot accept: the idempotency key was used with another body within the last 24 h", code="conflict"
        )
    raise RateLimited(
        f"cannot accept: this organization has {terms.keys_max} idempotency keys in use, the most it may have"
        " (AEGIS_IDEMPOTENCY_KEYS_MAX)",
        retry_after_s=3600.0,
        limit=terms.keys_max,
        reset_s=3600,
    )
