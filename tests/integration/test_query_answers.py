"""What traces, services, RUM events and usage are answered, over the whole application and real stores."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from asked_queries import MS, NOON, TRACE, Asked, keep_a_trace, keep_usage, span


async def test_a_trace_is_a_waterfall_with_its_logs(asked: Asked) -> None:
    await keep_a_trace(asked)
    response = await asked.get(f"/query/traces/0x{TRACE.upper()}")
    assert response.status_code == 200, response.text
    trace = response.json()
    spans = {each["span_id"]: each for each in trace.pop("spans")}
    assert list(spans) == ["root", "db", "early", "lost"]
    assert [spans[name]["depth"] for name in spans] == [0, 1, 2, 0]
    assert [spans[name]["self_time_ms"] for name in spans] == [40, 50, 10, 10]
    assert [spans[name]["critical_path"] for name in spans] == [True, True, True, False]
    assert [spans[name]["problems"] for name in spans] == [[], [], ["clock_skew"], ["orphan"]]
    assert (spans["early"]["clock_skew_ms"], spans["early"]["offset_ms"]) == (5, 10)
    assert spans["early"]["start_time"] == "2025-10-31T12:00:00.005Z"
    assert (spans["root"]["attributes"], spans["root"]["events"]) == ({"http.status_code": 500}, [{"name": "retry"}])
    assert (spans["root"]["parent_span_id"], spans["early"]["status_message"]) == (None, "slow")
    assert [log["message"] for log in trace.pop("logs")] == ["within", "late"]
    assert trace.pop("stats")["rows_read"] > 0
    assert trace == {
        "trace_id": TRACE,
        "root_service": "api",
        "root_operation": "op root",
        "start_time": "2025-10-31T12:00:00.000Z",
        "duration_ms": 100,
        "span_count": 4,
        "services": ["api", "db", "disk"],
        "errors": 1,
        "repeats": 0,
        "truncated": False,
        "logs_truncated": False,
    }


async def test_a_trace_is_cut_where_it_is_asked_to_be(asked: Asked) -> None:
    await keep_a_trace(asked)
    cut = (await asked.get(f"/query/traces/{TRACE}", limit=2, logs_limit=1)).json()
    assert ([each["span_id"] for each in cut["spans"]], cut["truncated"]) == (["root", "early"], True)
    assert (len(cut["logs"]), cut["logs_truncated"]) == (1, True)
    without = (await asked.get(f"/query/traces/{TRACE}", logs_limit=0)).json()
    assert (without["logs"], without["logs_truncated"]) == ([], False)
    for wrong in ({"limit": 0}, {"limit": 10_001}, {"logs_limit": -1}, {"logs_limit": 1001}):
        response = await asked.get(f"/query/traces/{TRACE}", **wrong)
        assert (response.status_code, response.json()["error"]["details"][0]["path"]) == (422, next(iter(wrong)))


@pytest.mark.parametrize("trace_id", ["unknown", "0" * 32, "' OR 1=1 --", "%00", "{x:String}"])
async def test_a_trace_that_is_not_there_is_404(asked: Asked, trace_id: str) -> None:
    await keep_a_trace(asked)
    response = await asked.get(f"/query/traces/{trace_id}")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


async def test_traces_are_found_by_one_span_that_meets_everything(asked: Asked) -> None:
    await keep_a_trace(asked)
    await asked.keep("spans", {"trace_id": "other", "span_id": "1", "operation": "x", "ts": NOON + MS})

    async def found(**search: Any) -> list[str]:
        return [trace["trace_id"] for trace in (await asked.post("/query/traces/search", **search)).json()["traces"]]

    assert await found() == [TRACE, "other"]
    assert await found(order="oldest") == [TRACE, "other"]
    assert await found(service="db") == [TRACE]
    assert await found(operation="x") == ["other"]
    assert await found(status="error") == [TRACE]
    assert await found(service="api", status="error") == []
    assert await found(min_duration_ms=100) == [TRACE]
    assert await found(min_duration_ms=100.001) == []
    assert await found(max_duration_ms=10, service="api", min_duration_ms=10, operation="x") == ["other"]
    assert await found(end="2025-10-31T12:00:00Z") == []
    (summary,) = (await asked.post("/query/traces/search", service="db")).json()["traces"]
    assert summary == {
        "trace_id": TRACE,
        "root_service": "api",
        "root_operation": "op root",
        "start_time": "2025-10-31T12:00:00.000Z",
        "duration_ms": 100,
        "span_count": 4,
        "services": ["api", "db", "disk"],
        "errors": 1,
    }


async def test_traces_are_found_by_attributes_of_a_span(asked: Asked) -> None:
    attributes = {
        "a": '{"http.method": "GET", "http.status_code": 200, "service": "inner", "deep": {"er": true}}',
        "b": '{"http.method": "POST", "http.status_code": 503, "retry": "3"}',
        "c": '{"http.method": "GET", "http.status_code": 503.0, "url": "/Orders/7?x=%25"}',
        "d": "{}",
    }
    await asked.keep(
        "spans",
        *({"trace_id": name, "span_id": "1", "attributes": text, "ts": NOON} for name, text in attributes.items()),
        # Its conditions are met by two spans, and by none alone.
        {"trace_id": "e", "span_id": "1", "attributes": '{"http.method": "PUT"}', "ts": NOON + 1},
        {"trace_id": "e", "span_id": "2", "attributes": '{"http.status_code": 418}', "ts": NOON + 2},
    )

    async def found(*filters: tuple[Any, ...], **exact: Any) -> str:
        named = [dict(zip(("field", "op", "value"), each, strict=False)) for each in filters]
        page = await asked.post("/query/traces/search", attributes=exact, filters=named)
        assert page.status_code == 200, page.text
        return "".join(sorted(trace["trace_id"] for trace in page.json()["traces"]))

    assert await found(**{"http.method": "GET"}) == "ac"
    assert await found(**{"http.method": "get"}) == ""
    assert await found(**{"http.status_code": 503}) == "bc"
    assert await found(**{"http.status_code": "503", "http.method": "POST"}) == "b"
    assert await found(**{"http.method": "PUT", "http.status_code": 418}) == ""
    assert await found(service="inner") == "a"
    assert await found(**{"deep.er": True}) == "a"
    assert await found(("http.status_code", ">=", 418)) == "bce"
    assert await found(("retry", "<", 10)) == "b"
    assert await found(("attributes.url", "contains", "Orders")) == "c"
    assert await found(("url", "contains", "orders")) == await found(("url", "contains", "%27")) == ""
    assert await found(("url", "regex", "^/Orders/[0-9]")) == "c"
    assert await found(("retry", "exists")) == "b"
    assert await found(("http.method", "not_exists")) == "de"
    assert await found(("http.method", "!=", "GET"), ("http.method", "exists")) == "be"
    injected = "x' OR 1=1 --"
    assert await found((injected, "=", injected)) == await found(**{injected: "{org_id:String}"}) == ""
    pages, cursor = [], None
    for _ in range(3):
        body = {"limit": 1, "filters": [{"field": "http.status_code", "op": ">", "value": 1}]}
        page = (await asked.post("/query/traces/search", **body, **({"cursor": cursor} if cursor else {}))).json()
        pages += [trace["trace_id"] for trace in page["traces"]]
        cursor = page["next_cursor"]
    assert pages == ["e", "c", "b"]


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_pages_of_traces_and_events_go_on_where_the_last_one_ended(asked: Asked, order: str) -> None:
    await asked.keep("spans", *({"trace_id": f"t{i}", "span_id": "1", "ts": NOON + i // 2} for i in range(7)))
    await asked.keep("rum", *({"name": f"n{i}", "type": "action", "ts": NOON + i // 2} for i in range(7)))
    for path, noun, name in (("/query/traces/search", "traces", "trace_id"), ("/query/rum/search", "events", "name")):
        seen: list[str] = []
        sizes = []
        cursor: str | None = None
        while cursor is not None or not sizes:
            page = (await asked.post(path, limit=3, order=order, **({"cursor": cursor} if cursor else {}))).json()
            seen += [each[name] for each in page[noun]]
            sizes.append(len(page[noun]))
            cursor = page["next_cursor"]
        assert sizes == [3, 3, 1]
        letter = seen[0][0]
        wanted = [f"{letter}{i}" for i in range(7)]
        assert seen == (wanted if order == "oldest" else wanted[::-1])


async def test_rum_events_are_found_and_shown_whole(asked: Asked) -> None:
    error = {"error_type": "TypeError", "error_message": "x is undefined", "country": "NO", "latitude": 59.9}
    await asked.keep(
        "rum",
        {"type": "web_vital", "session_id": "s1", "page_path": "/a", "name": "LCP", "value": 1840.5, "is_bot": 1},
        {"type": "error", "session_id": "s2", "page_path": "/a", "client": '{"screen": "x"}', "ts": NOON + 1, **error},
    )

    async def found(**search: Any) -> list[str]:
        return [event["type"] for event in (await asked.post("/query/rum/search", **search)).json()["events"]]

    assert await found() == ["error", "web_vital"]
    assert await found(type="error") == ["error"]
    assert await found(page_path="/a", session_id="s1") == ["web_vital"]
    assert await found(page_path="/A") == []
    assert await found(start=1_761_912_001, end=1_761_912_002) == []
    assert await found(error_type="TypeError", country="NO") == ["error"]
    assert await found(name="LCP", min_value=1840.5, max_value=1840.5, is_bot=True) == ["web_vital"]
    assert await found(min_value=1841) == await found(is_bot=True, type="error") == []
    assert await found(search="IS UNDEF") == ["error"]
    assert await found(search="lcp") == ["web_vital"]
    assert await found(search="%") == await found(search="_") == []
    failed, vital = (await asked.post("/query/rum/search")).json()["events"]
    assert failed["error"] == {"type": "TypeError", "message": "x is undefined", "stack": None}
    assert (failed["location"]["country"], failed["location"]["latitude"]) == ("NO", 59.9)
    assert (failed["client"], failed["value"], failed["is_bot"]) == ({"screen": "x"}, None, False)
    assert failed["timestamp"] == "2025-10-31T12:00:00.000000001Z"
    assert (vital["name"], vital["value"], vital["error"], vital["is_bot"]) == ("LCP", 1840.5, None, True)


async def test_services_have_rate_errors_and_durations(asked: Asked) -> None:
    await asked.keep(
        "spans",
        *(
            {"trace_id": str(i), "span_id": "1", "duration_ns": (i + 1) * MS, "status": "error" if i < 9 else "ok"}
            for i in range(90)
        ),
        *({"trace_id": str(i), "span_id": "2", "kind": "client", "duration_ns": 5000 * MS} for i in range(50)),
        *({"service": "job", "kind": "internal", "ts": NOON + 3600 * 1000 * MS} for _ in range(36)),
    )
    # Half hours: the hours that they touch are counted whole, and said.
    asking = {"start": "2025-10-31T12:30:00Z", "end": "2025-10-31T13:30:00Z"}
    answer = (await asked.get("/query/services", **asking, step="1h")).json()
    assert (answer["start"], answer["end"]) == ("2025-10-31T12:00:00.000Z", "2025-10-31T14:00:00.000Z")
    api, job = answer["services"]
    assert (api["service"], api["kinds"], api["count"], api["errors"]) == ("api", ["server"], 90, 9)
    assert (api["rate_per_s"], api["error_share"], api["mean_ms"]) == (90 / 7200, 0.1, 45.5)
    assert [api[name] for name in ("p50_ms", "p95_ms", "p99_ms")] == [
        pytest.approx(ms, rel=0.03) for ms in (45, 85, 89)
    ]
    assert [(hour["start"], hour["rate_per_s"]) for hour in job["steps"]] == [("2025-10-31T13:00:00.000Z", 0.01)]
    assert job["kinds"] == ["internal"]
    (only,) = (await asked.get("/query/services", **asking, service="job")).json()["services"]
    assert (only["service"], "steps" in only) == ("job", False)


async def test_services_in_all_are_of_any_range(asked: Asked) -> None:
    await keep_a_trace(asked)
    await asked.keep("spans", span("later", ts=NOON + 40 * 3600 * 1000 * MS, duration_ns=20 * MS))
    found = (await asked.get("/query/services", start="2001-01-01", end="2026-12-31", service="api")).json()
    assert [(each["count"], each["mean_ms"]) for each in found["services"]] == [(3, 130 / 3)]
    operations = await asked.get("/query/services/api/operations", start="2001-01-01", end="2026-12-31")
    assert len(operations.json()["operations"]) == 3


async def test_too_long_a_range_names_the_limit(asked: Asked) -> None:
    for path, limit in (("/query/services", "1500 steps"), ("/query/usage", "36525 days")):
        response = await asked.get(path, start="1970-01-01", end="2262-01-01", step="1h")
        assert (response.status_code, response.json()["error"]["code"]) == (422, "too_expensive")
        assert response.json()["error"]["details"][0]["path"] == limit


async def test_usage_by_day_and_for_the_month(asked: Asked) -> None:
    await keep_usage(asked)
    answer = (await asked.get("/query/usage", start="2025-10-30", end="2025-10-31T01:00:00Z")).json()
    none = {"logs_bytes": 0, "metrics_count": 0, "spans_count": 0, "rum_events": 0}
    assert answer["days"] == [
        {"date": "2025-10-30", "logs_count": 1, "logs_bytes": 2, "metrics_count": 3, "spans_count": 4, "rum_events": 5,
         "scrubbed": {}},
        {"date": "2025-10-31", "logs_count": 6, **none, "scrubbed": {"email": 2}},
    ]  # fmt: skip
    assert len((await asked.get("/query/usage", start="2025-10-30", end="2025-10-31")).json()["days"]) == 1
    month = (await asked.get("/query/usage")).json()
    today = datetime.now(UTC).date()
    so_far = 100 if today.day > 1 else 50
    assert month["days"][-1]["date"] == today.isoformat()
    assert sum(day["logs_count"] for day in month["days"]) == month["month"]["to_date"]["logs_count"] == so_far
    assert month["month"]["month"] == f"{today:%Y-%m}"
    assert so_far <= month["month"]["projected"]["logs_count"] <= so_far + 31 * 50


async def test_usage_as_csv(asked: Asked) -> None:
    await keep_usage(asked)
    headers = asked.token() | {"accept": "text/csv"}
    response = await asked.http.get("/query/usage?start=2025-10-30&end=2025-11-01", headers=headers)
    assert response.headers["content-type"].startswith("text/csv")
    assert response.text.split("\r\n") == [
        "date,logs_count,logs_bytes,metrics_count,spans_count,rum_events",
        "2025-10-30,1,2,3,4,5",
        "2025-10-31,6,0,0,0,0",
        "",
    ]


async def test_a_number_past_a_double_spoils_no_answer(asked: Asked) -> None:
    await asked.keep("logs", {"attributes": '{"a": 1e999}', "trace_id": TRACE})
    await asked.keep("spans", span("1", attributes='{"a": 1e999}', events='[{"n": -1e999}]', links='[{"n": 1e400}]'))
    await asked.keep("rum", {"type": "action", "attributes": '{"a": 1e999}', "client": '{"b": 1e999}'})
    (log,) = orjson.loads((await asked.post("/query/logs/search")).content)["logs"]
    trace = orjson.loads((await asked.get(f"/query/traces/{TRACE}")).content)
    (event,) = orjson.loads((await asked.post("/query/rum/search")).content)["events"]
    (shown,) = trace["spans"]
    assert [each["attributes"] for each in (log, shown, event, *trace["logs"])] == [{"a": "1e999"}] * 4
    assert (event["client"], shown["events"], shown["links"]) == ({"b": "1e999"}, [{"n": "-1e999"}], [{"n": "1e400"}])
