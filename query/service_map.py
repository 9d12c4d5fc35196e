"""GET /query/service-map: a time range -> services with rate, errors and durations, and who of them calls whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response

from query.answers import STATS_EXAMPLE, answers, json_answer, shown_stats
from query.authorization import permitted
from query.red import RED_EXAMPLE, shown_red
from query.service_graph import Edge, Node, ServiceGraph, service_graph
from query.time_ranges import END, START, read_range
from query.tokens import Principal, Tokens
from storage.span_statistics import CALLS_MAX, SpanStatistics
from topics.timestamps import format_timestamp

_SECOND_NS: Final = 10**9
_EXAMPLE: Final[dict[str, Any]] = {
    "start": "2025-10-31T10:00:00.000Z",
    "end": "2025-10-31T11:00:00.000Z",
    "nodes": [
        {"service": "api", "inferred": False, "type": "service", "kinds": ["server"], **RED_EXAMPLE},
        {"service": "postgresql", "inferred": True, "type": "database", "kinds": [], **RED_EXAMPLE},
    ],
    "edges": [{"caller": "api", "callee": "postgresql", "inferred_count": 7200, **RED_EXAMPLE}],
    "truncated": False,
    "stats": STATS_EXAMPLE,
}


def service_map_router(
    statistics: SpanStatistics, tokens: Tokens, *, now: Callable[[], float] = time.time
) -> APIRouter:
    """The question who calls whom; `now` is unix seconds."""
    router = APIRouter(prefix="/query/service-map", tags=["traces"])

    may_read = Depends(permitted(tokens, "traces:read"))

    @router.get(
        "",
        summary="Services and who calls whom",
        description="A call is a span of the range whose parent is a span of another service, a request or a message; an edge's"
        " figures are of the callee's spans. A client or producer span without a child is a call to somebody who is not"
        " instrumented, named by `peer.service`, `db.system.name`, `db.system` or `messaging.system`: such a node is `inferred`,"
        " and `inferred_count` of an edge's calls are known in this way. A parent is found when it began within 15 minutes of"
        " the range; a span whose parent is not there makes no edge. A call that was tried again counts again, a span that was"
        " sent twice does not. At most 2000 edges of each kind, the busiest; `truncated` says when there are more.",
        response_description="`{start, end, nodes, edges, truncated, stats}`",
        responses=answers(_EXAMPLE),
    )
    async def get_service_map(
        start: Annotated[str, Query(max_length=64, description=START)],
        end: Annotated[str, Query(max_length=64, description=END)],
        principal: Principal = may_read,
    ) -> Response:
        start_ns, end_ns = read_range(start, end)
        asked = (principal.scope, principal.limits)
        # One after the other, because together they would take the memory and the threads of three questions.
        spans = await statistics.steps(*asked, start_ns=start_ns, end_ns=end_ns, step_ns=_whole(start_ns, end_ns))
        calls = await statistics.calls(*asked, start_ns=start_ns, end_ns=end_ns, calls_max=CALLS_MAX + 1)
        peers = await statistics.peers(*asked, start_ns=start_ns, end_ns=end_ns, calls_max=CALLS_MAX + 1)
        # In a thread, as in services.py.
        graph = await asyncio.to_thread(service_graph, spans.rows, calls.rows[:CALLS_MAX], peers.rows[:CALLS_MAX])
        answer = {
            "start": format_timestamp(start_ns),
            "end": format_timestamp(end_ns),
            **_shown(graph, start_ns, end_ns, int(now() * _SECOND_NS)),
            "truncated": max(len(calls.rows), len(peers.rows)) > CALLS_MAX,
            "stats": shown_stats(spans.stats + calls.stats + peers.stats),
        }
        return json_answer(answer)

    return router


def _whole(start_ns: int, end_ns: int) -> int:
    """A step of whole seconds that is not shorter than the range; two such steps may touch it, which are added up."""
    return (end_ns - start_ns) // _SECOND_NS * _SECOND_NS + _SECOND_NS


def _shown(graph: ServiceGraph, start_ns: int, end_ns: int, now_ns: int) -> dict[str, Any]:
    def node(each: Node) -> dict[str, Any]:
        red = shown_red(each.red, start_ns, end_ns, now_ns)
        return {"service": each.service, "inferred": each.inferred, "type": each.type, "kinds": each.kinds, **red}

    def edge(each: Edge) -> dict[str, Any]:
        red = shown_red(each.red, start_ns, end_ns, now_ns)
        return {"caller": each.caller, "callee": each.callee, "inferred_count": each.inferred, **red}

    return {"nodes": [node(each) for each in graph.nodes], "edges": [edge(each) for each in graph.edges]}
