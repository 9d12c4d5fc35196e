"""Who calls whom, put together from what the store counted."""

from __future__ import annotations

from query.service_graph import service_graph
from storage.span_statistics import Calls, SpansStep


def spans(service: str, kind: str, count: int, begin_s: int = 0) -> SpansStep:
    return SpansStep(begin_s, service, "", kind, count, 0, count * 1000, {160: count})


def calls(caller: str, callee: str, count: int, peer_type: str = "", errors: int = 0) -> Calls:
    return Calls(caller, callee, peer_type, count, errors, count * 2000, {176: count})


def test_nodes_have_their_requests_and_edges_their_calls() -> None:
    graph = service_graph(
        [
            spans("web", "client", 9),
            spans("api", "server", 4),
            spans("api", "client", 70),
            spans("api", "server", 5, 60),
        ],
        [calls("web", "api", 9, errors=2)],
        [],
    )
    api, web = graph.nodes
    assert (api.service, api.kinds, api.red.count, api.inferred) == ("api", ["server"], 9, False)
    assert (web.service, web.kinds, web.red.count) == ("web", ["client"], 9)
    (edge,) = graph.edges
    assert (edge.caller, edge.callee, edge.red.count, edge.red.errors, edge.inferred) == ("web", "api", 9, 2, 0)


def test_who_is_only_spoken_of_is_inferred_and_named_by_most() -> None:
    graph = service_graph(
        [spans("api", "server", 1), spans("job", "internal", 1)],
        [],
        [
            calls("api", "orders", 3, "database"),
            calls("job", "orders", 2, "service"),
            calls("job", "api", 4, "service"),
        ],
    )
    nodes = {node.service: node for node in graph.nodes}
    assert list(nodes) == ["api", "job", "orders"]
    assert (nodes["orders"].inferred, nodes["orders"].type, nodes["orders"].red.count) == (True, "database", 5)
    # What callers say of a service that speaks for itself does not change its figures.
    assert (nodes["api"].inferred, nodes["api"].red.count) == (False, 1)
    assert [(each.caller, each.callee, each.red.count, each.inferred) for each in graph.edges] == [
        ("job", "api", 4, 4), ("api", "orders", 3, 3), ("job", "orders", 2, 2)
    ]  # fmt: skip


def test_calls_seen_by_both_sides_and_by_one_are_one_edge() -> None:
    graph = service_graph([spans("api", "server", 5)], [calls("web", "api", 5)], [calls("web", "api", 2, "service")])
    (edge,) = graph.edges
    assert (edge.red.count, edge.inferred) == (7, 2)
    # The caller's own spans began before the range.
    assert [(node.service, node.red.count, node.inferred) for node in graph.nodes] == [
        ("api", 5, False),
        ("web", 0, False),
    ]
