"""Failures -> the errors of Prometheus' HTTP API: {"status": "error", "errorType", "error"} with its status codes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

import orjson
from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from topics.errors import AegisError, RateLimited, Refused, TooExpensive, Unavailable
from web.error_replies import STATUS_OF_CODE, error_reply, field_path

_STATUS_OF_TYPE: Final = {"bad_data": 400, "execution": 422, "timeout": 503, "unavailable": 503, "not_found": 404}
_TYPE_OF_STATUS: Final = {401: "unauthorized", 403: "forbidden", 404: "not_found", 429: "too_many_requests"}


class PrometheusRoute(APIRoute):
    """A route whose every failure has Prometheus' shape, those of tokens and parameters included."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI asks for it."""
        answer = super().get_route_handler()

        async def answer_or_fail(request: Request) -> Response:
            try:
                return await answer(request)
            except AegisError as exc:
                return failure_of(exc)
            except RequestValidationError as exc:
                where = "; ".join(f'invalid parameter "{field_path(e["loc"])}": {e["msg"]}' for e in exc.errors())
                return failure("bad_data", where)
            except HTTPException as exc:
                return failure(_TYPE_OF_STATUS.get(exc.status_code, "bad_data"), str(exc.detail), exc.status_code)

        return answer_or_fail


def failure_of(exc: AegisError) -> Response:
    """The answer for a failure raised on purpose."""
    if isinstance(exc, TooExpensive):
        # As Prometheus: too many samples are the query's fault, too much time is not known to be.
        return failure("timeout" if exc.limit.endswith("seconds") else "execution", str(exc))
    if isinstance(exc, Refused):
        if exc.code == "execution":
            return failure("execution", exc.reason)
        status = STATUS_OF_CODE.get(exc.code, 400)
        error_type = _TYPE_OF_STATUS.get(status, "bad_data")
        headers = error_reply(exc).headers
        reason = f'invalid parameter "{exc.path}": {exc.reason}' if exc.path else exc.reason
        return failure(error_type, reason, 400 if error_type == "bad_data" else status, headers)
    if isinstance(exc, Unavailable):
        reply = error_reply(exc)
        error_type = "too_many_requests" if isinstance(exc, RateLimited) else "unavailable"
        return failure(error_type, exc.reason, reply.status, reply.headers)
    return failure("internal", "something went wrong here, see the log", 500)


def failure(error_type: str, error: str, status: int | None = None, headers: dict[str, str] | None = None) -> Response:
    """One error, by default with the status of its type."""
    body = {"status": "error", "errorType": error_type, "error": error}
    return Response(
        orjson.dumps(body),
        status if status is not None else _STATUS_OF_TYPE.get(error_type, 500),
        headers=headers,
        media_type="application/json",
    )
