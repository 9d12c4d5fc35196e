"""The demo's traffic is accepted as it is, hangs together over the signals, and repeats with its seed."""

from __future__ import annotations

import orjson

from aegis.demo import ROUTES, SERVICES, ShopTraffic, Traffic
from gateway.native_logs import check_native_logs
from gateway.native_metrics import check_native_metrics
from gateway.native_rum import check_native_rum
from gateway.native_traces import check_native_traces
from topics.metric_records import read_metrics, read_series

NOW_NS = 1_761_904_800 * 10**9


def traffic(seed: int = 1) -> Traffic:
    return ShopTraffic(seed).batch(200, now_ns=NOW_NS)


def test_every_signal_is_accepted_as_it_is() -> None:
    made = traffic()
    assert check_native_logs(orjson.dumps({"logs": made.logs})) == len(made.logs) == 200
    assert check_native_metrics(orjson.dumps({"metrics": made.metrics})) == len(made.metrics) > 50
    assert check_native_traces(orjson.dumps({"spans": made.spans})) == len(made.spans) > 200
    assert check_native_rum(orjson.dumps({"events": made.rum})) == len(made.rum) > 200


def test_logs_spans_and_events_belong_to_the_same_traces() -> None:
    made = traffic()
    spans = {(span["trace_id"], span["span_id"]) for span in made.spans}
    assert {(log["trace_id"], log["span_id"]) for log in made.logs} <= spans
    assert all((span["trace_id"], span["parent_span_id"]) in spans for span in made.spans if span["parent_span_id"])
    roots = [span for span in made.spans if not span["parent_span_id"]]
    assert len(roots) == len({span["trace_id"] for span in made.spans})
    named = {event["attributes"]["trace_id"] for event in made.rum if event["type"] == "resource"}
    assert named == {root["trace_id"] for root in roots}
    assert {span["service"] for span in made.spans} <= set(SERVICES)
    assert all(set(services) <= set(SERVICES) for services in ROUTES.values())


def test_metrics_count_what_was_asked_and_come_now_and_then() -> None:
    shop = ShopTraffic(1)
    first = shop.batch(200, now_ns=NOW_NS)
    requests = dict.fromkeys(("gateway", "checkout"), 0.0)
    for point in first.metrics:
        if point["name"] == "http_requests_total" and point["labels"]["service"] in requests:
            requests[point["labels"]["service"]] += point["value"]
    spans = [span["service"] for span in first.spans]
    assert requests == {name: spans.count(name) for name in requests}
    assert shop.batch(10, now_ns=NOW_NS + 10**9).metrics == []
    later = shop.batch(10, now_ns=NOW_NS + 6 * 10**9).metrics
    series, _ = read_series(read_metrics(orjson.dumps({"metrics": later})))
    assert len(series) == len(later), "no series twice"


def test_the_same_seed_gives_the_same_traffic() -> None:
    assert traffic(3) == traffic(3)
    assert traffic(3) != traffic(4)
