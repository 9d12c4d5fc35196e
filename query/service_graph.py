"""Statistics of services and of calls between them -> a graph: services as nodes, who calls whom as edges. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from query.red import CountedStep, Red, red_by_service
from storage.span_statistics import Calls


@dataclass(slots=True)
class Node:
    """A service, or `inferred`: somebody of whom only callers speak, with what they say that it is as `type` (service, database,
    messaging). `red` is of its requests (`kinds` as in `ServiceRed`), of an inferred one those that callers saw."""

    service: str
    inferred: bool = False
    type: str = "service"
    kinds: list[str] = field(default_factory=list)
    red: Red = field(default_factory=Red)


@dataclass(slots=True)
class Edge:
    """Calls from one service to another. `inferred` of them are known from the caller alone, by its attributes."""

    caller: str
    callee: str
    red: Red = field(default_factory=Red)
    inferred: int = 0


@dataclass(frozen=True, slots=True)
class ServiceGraph:
    """Nodes by name; edges by their calls, most first."""

    nodes: list[Node]
    edges: list[Edge]


def service_graph(spans: Iterable[CountedStep], calls: Iterable[Calls], peers: Iterable[Calls]) -> ServiceGraph:
    """One range: `spans` by service and kind, `calls` that both sides tell of, `peers` that the callers alone do."""
    nodes = {red.service: Node(red.service, kinds=red.kinds, red=red.total) for red in red_by_service(spans)}
    edges: dict[tuple[str, str], Edge] = {}

    def edge(row: Calls) -> Edge:
        key = row.caller, row.callee
        found = edges.get(key) or edges.setdefault(key, Edge(*key))
        found.red.add(row)
        # One whose spans all began before the range, and who is called or calls in it all the same.
        nodes.setdefault(row.caller, Node(row.caller))
        return found

    for row in calls:
        edge(row)
        nodes.setdefault(row.callee, Node(row.callee))
    asked: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in peers:
        edge(row).inferred += row.count
        asked[row.callee][row.peer_type] += row.count
        node = nodes.setdefault(row.callee, Node(row.callee, inferred=True))
        if node.inferred:
            node.red.add(row)
            # What most callers say that it is.
            node.type = max(sorted(asked[row.callee]), key=asked[row.callee].__getitem__)
    return ServiceGraph(
        [nodes[name] for name in sorted(nodes)],
        sorted(edges.values(), key=lambda each: (-each.red.count, each.caller, each.callee)),
    )
