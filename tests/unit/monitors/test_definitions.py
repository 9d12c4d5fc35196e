"""Monitor definitions: what is taken as it stands, and each refusal with its path."""

from __future__ import annotations

from typing import Any

import pytest

from monitors.definitions import LogMonitor, MetricMonitor, RumMonitor, TraceMonitor, parse_monitor, parse_stored
from topics.errors import Refused

METRIC: dict[str, Any] = {"name": "cpu", "kind": "metric", "metric": "cpu_seconds", "critical": 90}


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (METRIC, MetricMonitor),
        ({"name": "errors", "kind": "log", "query": '{service="api"} |= "timeout"', "critical": 5}, LogMonitor),
        ({"name": "slow", "kind": "trace", "aggregation": "p99", "critical": 250}, TraceMonitor),
        ({"name": "lcp", "kind": "rum", "event_name": "LCP", "critical": 2500}, RumMonitor),
        ({"name": "silent", "kind": "rum", "event": "page_view", "aggregation": "absent"}, RumMonitor),
    ],
)
def test_a_minimal_definition_of_each_kind_suffices(given: dict[str, Any], kind: type) -> None:
    definition = parse_monitor(given)
    assert type(definition) is kind
    assert parse_monitor(definition.model_dump()) == definition
    assert parse_monitor(definition.model_dump(mode="json")) == definition


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"kind": "metrics"}, ""),
        ({"metric": None}, "metric"),
        ({"metric": "no name"}, "metric"),
        ({"name": " cpu"}, "name"),
        ({"critical": "90"}, "critical"),
        ({"critical": float("inf")}, "critical"),
        ({"critical": True}, "critical"),
        ({"comparison": "=="}, "comparison"),
        ({"window_s": 9}, "window_s"),
        ({"window_s": 60.5}, "window_s"),
        ({"labels": {"host": 1}}, "labels.host"),
        ({"labels": {"9": "a"}}, "labels"),
        ({"group_by": ["host", "a b"]}, "group_by[1]"),
        ({"group_by": ["host", "host"]}, "group_by"),
        ({"groups_max": 5_001}, "groups_max"),
        ({"warning": 90}, "warning"),
        ({"warning": 95}, "warning"),
        ({"comparison": "<", "warning": 80}, "warning"),
        ({"critical_recovery": 91}, "critical_recovery"),
        ({"warning_recovery": 70}, "warning_recovery"),
        ({"warning": 80, "warning_recovery": 81}, "warning_recovery"),
        ({"no_data": "show"}, "no_data"),
        ({"no_data_timeframe_s": 599}, "no_data_timeframe_s"),
        ({"renotify_s": 59}, "renotify_s"),
        ({"renotify_statuses": []}, "renotify_statuses"),
        ({"renotify_statuses": ["OK"]}, "renotify_statuses[0]"),
        ({"auto_resolve_s": 0}, "auto_resolve_s"),
        ({"channels": ["a", 3]}, "channels[1]"),
        ({"tags": [""]}, "tags[0]"),
        ({"window_s": 86_400, "change": "absolute"}, "window_s"),
        ({"aggregation": "p98"}, "aggregation"),
        ({"aggregation": "absent", "critical": 5}, "critical"),
        ({"aggregation": "absent", "critical": 1, "no_data": "notify"}, "no_data"),
        ({"threshold": 5}, "threshold"),
    ],
)
def test_a_refusal_names_the_field_at_fault(change: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_monitor(METRIC | change)
    assert (refused.value.code, refused.value.path) == ("invalid_field", path)


def test_patterns_that_are_too_large_to_watch_with_are_refused() -> None:
    """Each by itself is fine for a search."""
    given = {"name": "l", "kind": "log", "critical": 5}
    parse_monitor(given | {"query": '{service=~"(a|b|ab){400}"} |~ "(a|b|ab){400}c"'})
    for query in (
        '{service=~"(a|b|ab){400}"} |~ "(a|b|ab){400}c" !~ "(a|b|ab){400}"',
        '{} |~ "((a)|(b)|(ab)){900}c"',
        '{} | regexp "(?P<x>((a)|(b)|(ab)){900})"',
        '{} | json | a="b" or (c="d" and e=~"((a)|(b)|(ab)){900}")',
    ):
        with pytest.raises(Refused) as refused:
            parse_monitor(given | {"query": query})
        assert (refused.value.code, refused.value.path) == ("invalid_field", "query")


def test_groups_are_what_the_kind_has() -> None:
    with pytest.raises(Refused) as refused:
        parse_monitor(
            {"name": "s", "kind": "trace", "aggregation": "p99", "critical": 1, "group_by": ["service", "host"]}
        )
    assert refused.value.path == "group_by[1]"


def test_null_and_zero_are_absence() -> None:
    assert parse_monitor(METRIC | {"warning": None, "for_s": None, "renotify_s": 0}) == parse_monitor(METRIC)


def test_recovery_may_stand_at_the_threshold_and_below_reverses_all() -> None:
    below = {"comparison": "<", "critical": 10, "warning": 20, "critical_recovery": 15, "warning_recovery": 20}
    assert parse_monitor(METRIC | below).warning == 20


def test_what_is_kept_has_name_and_kind_apart() -> None:
    kept = {key: value for key, value in METRIC.items() if key not in ("name", "kind")}
    assert parse_stored("cpu", "metric", kept) == parse_monitor(METRIC)


def test_something_else_than_an_object_is_refused() -> None:
    for given in (None, 3, [], "monitor"):
        with pytest.raises(Refused):
            parse_monitor(given)
