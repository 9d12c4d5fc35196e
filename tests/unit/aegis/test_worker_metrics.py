"""What /metrics says of a worker's consumer groups, and which groups count as stopped."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from aegis.processes.worker_metrics import collect_statuses
from topics.redis_streams.overview import GroupPosition, PartitionOverview, StoppedGroup, stopped_groups
from topics.streaming import Counts, Status


def status(group: str, lag: dict[tuple[str, int], int]) -> Status:
    counts = Counts(commits=3, messages_committed=40, fenced=1, rebalances=2)
    return Status(group, "me", True, "i", [0, 1], lag, {("a", 0): 5}, 1234, counts)


def shown(*statuses: Status) -> str:
    class Fixed(Collector):
        def collect(self):  # type: ignore[no-untyped-def]  # the protocol's own type is looser
            return collect_statuses(list(statuses))

    registry = CollectorRegistry()
    registry.register(Fixed())
    return generate_latest(registry).decode()


def test_each_group_has_its_figures_under_our_names() -> None:
    text = shown(status("g", {("a", 0): 7, ("a", 1): 0}), status("h", {}))
    for line in (
        'aegis_group_lag_messages{group="g",partition="0",topic="a"} 7.0',
        'aegis_group_lag_messages{group="g",partition="1",topic="a"} 0.0',
        'aegis_group_pending_messages{group="g",partition="0",topic="a"} 5.0',
        'aegis_group_pending_bytes{group="g"} 1234.0',
        'aegis_group_connected{group="h"} 1.0',
        'aegis_group_partitions{group="g"} 2.0',
        'aegis_group_rebalances_total{group="g"} 2.0',
        'aegis_group_commits_total{group="g"} 3.0',
        'aegis_group_messages_committed_total{group="h"} 40.0',
        'aegis_group_fenced_partitions_total{group="g"} 1.0',
    ):
        assert line in text.splitlines()


def test_a_lag_that_is_not_known_is_left_out_rather_than_shown_as_minus_one() -> None:
    assert "aegis_group_lag_messages{" not in shown(status("g", {("a", 0): -1}))


def test_a_group_is_stopped_when_nobody_owns_any_of_its_partitions_and_something_waits() -> None:
    def partition(number: int, *groups: GroupPosition) -> PartitionOverview:
        return PartitionOverview("a", number, 9, 9, 1000, list(groups))

    overview = [
        partition(0, GroupPosition("alive", 1, 9, "me", 1, 900), GroupPosition("gone", 3, 7, "", 4, 0)),
        # Between two owners: somebody works for the group all the same.
        partition(1, GroupPosition("alive", 1, 9, "", 1, 0), GroupPosition("gone", 10, 0, "", 4, 0)),
        partition(2, GroupPosition("idle", 10, 0, "", 1, 0)),
    ]
    assert stopped_groups(overview) == [StoppedGroup("a", "gone", 7, 1000)]
