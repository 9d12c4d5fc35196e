"""RED of services from hourly statistics: what is counted, and its figures."""

from __future__ import annotations

import pytest

from query.red import red_by_operation, red_by_service
from storage.hourly import SpansHour


def hour(service: str, kind: str, count: int, *, at: int = 0, errors: int = 0, bucket: int = 320) -> SpansHour:
    return SpansHour(at, service, "op", kind, count, errors, count * 2_000_000, 1, 9, {bucket: count})


def test_requests_are_counted_where_there_are_any_and_else_every_span() -> None:
    api, job = red_by_service(
        [
            hour("job", "internal", 5),
            hour("api", "server", 10, errors=1),
            hour("api", "consumer", 4),
            hour("api", "client", 100, errors=50),
            hour("job", "client", 2, errors=2),
        ]
    )
    assert (api.service, api.kinds, api.total.count, api.total.errors) == ("api", ["consumer", "server"], 14, 1)
    assert (job.service, job.kinds, job.total.count, job.total.errors) == ("job", ["client", "internal"], 7, 2)


def test_hours_add_up_to_the_total() -> None:
    (api,) = red_by_service([hour("api", "server", 99, at=0), hour("api", "server", 1, at=3600, bucket=400)])
    assert {at: red.count for at, red in api.steps.items()} == {0: 99, 3600: 1}
    # Bucket b ends at 2^(b/16) ns: 320 is some 1 ms, 400 some 34 ms.
    assert api.total.quantile_ms(0.5) == pytest.approx(1.048, rel=0.03)
    assert api.total.quantile_ms(1) == pytest.approx(33.5, rel=0.03)
    assert api.steps[3600].quantile_ms(0.5) == api.total.quantile_ms(1)
    assert api.total.mean_ms == 2.0


def test_operations_stand_by_the_time_that_they_took() -> None:
    def of(operation: str, kind: str, count: int, at: int = 0) -> SpansHour:
        return SpansHour(at, "api", operation, kind, count, 0, count * 1000, 1, 9, {5: count})

    found = red_by_operation(
        [of("b", "server", 2), of("a", "client", 5), of("a", "server", 3), of("b", "server", 4, 3600)]
    )
    assert [(each.operation, each.kind, each.total.count) for each in found] == [
        ("b", "server", 6), ("a", "client", 5), ("a", "server", 3)
    ]  # fmt: skip
    assert {at: red.count for at, red in found[0].steps.items()} == {0: 2, 3600: 4}
