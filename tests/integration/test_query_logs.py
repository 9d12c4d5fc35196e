"""What the questions about logs answer: searches, lines, counts over time, values of fields, and what surrounds a log."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from asked_queries import DAY, MS, NOON, Asked

from storage.clickhouse import ClickHouse

HOUR = 3600 * 1000 * MS


async def keep_some(asked: Asked) -> None:
    await asked.keep(
        "logs",
        {"message": "Timeout after 30ms", "level": "error", "host": "a",
         "attributes": '{"http.status_code": 503, "user": {"id": "u-1"}}'},
        {"message": '{"took": "2s", "ok": false}', "level": "info", "ts": NOON + 1, "attributes": '{"http.status_code": 200}'},
        {"message": "took=150ms path=/a", "level": "info", "service": "web", "ts": NOON + 2, "host": "b"},
        {"message": "timeout", "level": "warn", "service": "web", "ts": NOON + HOUR, "host": "a"},
    )  # fmt: skip


async def messages(asked: Asked, **body: Any) -> list[str]:
    response = await asked.post("/query/logs/search", order="oldest", **body)
    assert response.status_code == 200, response.text
    return [log["message"][:7] for log in response.json()["logs"]]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"filters": [{"field": "http.status_code", "op": ">=", "value": 500}]}, ["Timeout"]),
        ({"filters": [{"field": "attributes.user.id", "op": "=", "value": "u-1"}]}, ["Timeout"]),
        ({"filters": [{"field": "user", "op": "exists"}]}, ["Timeout"]),
        ({"filters": [{"field": "host", "op": "not_exists"}]}, ['{"took"']),
        ({"filters": [{"field": "message", "op": "contains", "value": "imeout"}]}, ["Timeout", "timeout"]),
        ({"filters": [{"field": "message", "op": "regex", "value": "^[tT]"}]}, ["Timeout", "took=15", "timeout"]),
        ({"filters": [{"field": "level", "op": "=", "value": "WARNING"}]}, ["timeout"]),
        ({"filters": [{"field": "service", "op": "!=", "value": "api"}, {"field": "host", "op": "!=", "value": "b"}]},
         ["timeout"]),
        ({"query": '{service="api"} |= "Timeout"'}, ["Timeout"]),
        ({"query": "{} | http_status_code >= 500"}, ["Timeout"]),
        ({"query": "{} | json | took > 1s"}, ['{"took"']),
        ({"query": "{} | logfmt | took < 1s and path=~`/.*`"}, ["took=15"]),
        ({"query": '{host="a"}', "level": "warning"}, ["timeout"]),
        ({"query": '{service=~"a.*"}', "search": "TIMEOUT"}, ["Timeout"]),
    ],
)  # fmt: skip
async def test_filters_and_logql(asked: Asked, body: dict[str, Any], found: list[str]) -> None:
    await keep_some(asked)
    assert await messages(asked, **body) == found


@pytest.mark.parametrize(
    ("body", "path", "word"),
    [
        ({"query": '{service="api"'}, "query", "line 1, column 15"),
        ({"query": "rate({}[5m])"}, "query", "metric queries come later"),
        ({"query": ""}, "query", "at least 1"),
        ({"filters": [{"field": "a", "op": "like", "value": "b"}]}, "filters[0].op", "not_contains"),
        ({"filters": [{"field": "a", "op": ">", "value": "b"}]}, "filters[0].value", "a number"),
        ({"filters": [{"field": "a", "op": "regex", "value": "("}]}, "filters[0].value", "missing )"),
        ({"filters": [{"field": "a", "op": "regex", "value": "\\Qa"}]}, "filters[0].value", "missing )"),
        ({"query": "{} |~ `\\Qa`"}, "query", "missing )"),
        ({"query": "{service=~`\\Qa`}"}, "query", "missing )"),
        ({"query": "{} | regexp `(?P<a>b)\\Qa`"}, "query", "missing )"),
        ({"filters": [{"field": "a", "op": "="}]}, "filters[0].value", "needs one"),
        ({"filters": [{"field": "a", "op": "exists", "value": 1}]}, "filters[0].value", "takes none"),
        ({"filters": [{"field": "", "op": "exists"}]}, "filters[0].field", "at least 1"),
        ({"filters": [{"field": "attributes.", "op": "exists"}]}, "filters[0].field", "characters"),
        ({"filters": [{"field": "a", "op": "exists"}] * 51}, "filters", "at most 50"),
        ({"limit": 1001}, "limit", "x-ndjson"),
        ({"total": "some"}, "total", "exact"),
    ],
)
async def test_a_wrong_search_names_its_field(asked: Asked, body: dict[str, Any], path: str, word: str) -> None:
    response = await asked.post("/query/logs/search", **body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["details"][0]["path"]) == (422, "invalid_field", path)
    assert word in error["message"]


async def test_a_query_of_too_many_conditions_names_the_limit(asked: Asked) -> None:
    """ClickHouse reads statements of 256 KiB."""
    query = "{} | json | " + " or ".join(f'a_b_c_d_e_f_{n}="x"' for n in range(99))
    response = await asked.post("/query/logs/search", query=query)
    assert (response.status_code, response.json()["error"]["code"]) == (422, "too_expensive")
    assert "max_query_size" in response.json()["error"]["message"]


async def test_pages_of_a_query_hold_every_log_once(asked: Asked) -> None:
    await asked.keep(
        "logs", *({"ts": NOON + i // 3, "message": f"m{i}", "attributes": f'{{"n": {i}}}'} for i in range(20))
    )
    body = {"query": "{} | n >= 5", "limit": 4}
    seen, cursor = [], None
    while True:
        page = (await asked.post("/query/logs/search", **body, cursor=cursor)).json()
        seen += [log["attributes"]["n"] for log in page["logs"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == list(range(19, 4, -1))


async def test_totals_and_costs(asked: Asked) -> None:
    await asked.keep("logs", *({"ts": NOON + i, "message": f"m{i % 4}"} for i in range(400)))
    for total in ("exact", "estimate"):
        answer = (await asked.post("/query/logs/search", query='{} |= "m3"', limit=5, total=total)).json()
        assert len(answer["logs"]) == 5
        assert (answer["stats"]["total"], answer["stats"]["estimated"]) == (100, False)
    assert "total" not in (await asked.post("/query/logs/search")).json()["stats"]
    cost = (await asked.post("/query/logs/search", dry_run=True)).json()
    assert (cost["rows"], cost["parts"]) == (400, 1)
    assert cost["bytes"] > 400 * 20
    nothing = await asked.post("/query/logs/search", asked.theirs, dry_run=True)
    assert nothing.json()["rows"] == 0


async def lines(asked: Asked, **body: Any) -> tuple[httpx.Response, list[Any]]:
    headers = asked.token() | {"accept": "application/x-ndjson"}
    response = await asked.http.post("/query/logs/search", json=DAY | body, headers=headers)
    return response, [json.loads(line) for line in response.text.splitlines()]


async def test_lines_end_with_whether_that_was_all(asked: Asked) -> None:
    await asked.keep("logs", *({"ts": NOON + i, "message": f"m{i}"} for i in range(3000)))
    response, (*logs, end) = await lines(asked, limit=100_000, order="oldest")
    assert response.headers["content-type"].startswith("application/x-ndjson")
    assert [log["message"] for log in logs] == [f"m{i}" for i in range(3000)]
    assert end == {"end": {"complete": True, "logs": 3000, "next_cursor": None}}
    assert logs[0] == (await asked.post("/query/logs/search", order="oldest", limit=1)).json()["logs"][0]
    _, (*first, end) = await lines(asked, limit=2000)
    assert (len(first), end["end"]["complete"]) == (2000, False)
    _, (*rest, end) = await lines(asked, limit=1000, cursor=end["end"]["next_cursor"])
    assert ([log["message"] for log in first + rest], end["end"]["complete"]) == (
        [f"m{i}" for i in range(2999, -1, -1)],
        True,
    )
    _, nothing = await lines(asked, service="none")
    assert nothing == [{"end": {"complete": True, "logs": 0, "next_cursor": None}}]
    response, (refusal,) = await lines(asked, query="{")
    assert (response.status_code, refusal["error"]["details"][0]["path"]) == (422, "query")


async def test_counts_over_time_by_level_and_by_an_attribute(asked: Asked) -> None:
    await keep_some(asked)
    answer = (await asked.post("/query/logs/histogram", step="1h")).json()
    assert (answer["start"], answer["step_s"], answer["total"], answer["source"]) == (
        "2025-10-31T00:00:00.000Z",
        3600,
        4,
        "hourly",
    )
    assert len(answer["buckets"]) == 24
    noon, one = answer["buckets"][12:14]
    assert noon == {"start": "2025-10-31T12:00:00.000Z", "count": 3, "groups": {"error": 1, "info": 2}}
    assert (one["count"], one["groups"]) == (1, {"warn": 1})
    assert answer["groups"][0] == {"value": "info", "count": 2}
    # The same, counted from the records.
    asked_again = (await asked.post("/query/logs/histogram", step="1h", query="{}")).json()
    assert asked_again["source"] == "logs"
    assert {**answer, "source": "", "stats": ""} == {**asked_again, "source": "", "stats": ""}
    by_status = (await asked.post("/query/logs/histogram", by="http.status_code", service="api")).json()
    assert (by_status["step_s"], by_status["total"]) == (900, 2)
    assert {group["value"] for group in by_status["groups"]} == {"200", "503"}
    alone = (await asked.post("/query/logs/histogram", by=None, query='{} |~ "(?i)timeout"')).json()
    assert (alone["groups"], alone["total"]) == ([], 2)


async def test_rare_values_of_a_histogram_are_counted_together(asked: Asked) -> None:
    await asked.keep("logs", *({"host": f"h{min(i, 29):02d}", "ts": NOON + i} for i in range(40)))
    answer = (await asked.post("/query/logs/histogram", step="1d", by="host")).json()
    groups = {group["value"]: group["count"] for group in answer["groups"]}
    assert (len(groups), groups["h29"], groups["other"], answer["total"]) == (21, 11, 10, 40)


async def test_a_histogram_of_too_many_steps_names_the_limit(asked: Asked) -> None:
    response = await asked.post("/query/logs/histogram", step="1s")
    assert (response.status_code, response.json()["error"]["code"]) == (422, "too_expensive")
    assert response.json()["error"]["details"][0]["path"] == "1500 steps"


async def test_values_of_fields_with_their_counts(asked: Asked) -> None:
    await keep_some(asked)
    answer = (await asked.post("/query/logs/facets", fields=["level", "user.id", "host"], top=2)).json()
    level, user, host = answer["facets"]
    assert level["values"] == [{"value": "info", "count": 2}, {"value": "error", "count": 1}]
    assert (level["different"], level["logs"], level["exact"]) == (3, 4, True)
    assert (user["values"], user["logs"]) == ([{"value": "u-1", "count": 1}], 1)
    assert host["values"] == [{"value": "a", "count": 2}, {"value": "b", "count": 1}]
    narrowed = (await asked.post("/query/logs/facets", fields=["host"], query='{} |= "took"')).json()
    assert narrowed["facets"][0]["values"] == [{"value": "b", "count": 1}]
    wrong = await asked.post("/query/logs/facets", fields=["host", "attributes."])
    assert (wrong.status_code, wrong.json()["error"]["details"][0]["path"]) == (422, "fields[1]")


async def test_what_surrounds_a_log(asked: Asked) -> None:
    await asked.keep(
        "logs", *({"ts": NOON + i // 2, "message": f"m{i}", "host": "a" if i % 2 else "b"} for i in range(20))
    )
    log = next(each for each in (await asked.post("/query/logs/search")).json()["logs"] if each["message"] == "m9")

    async def around(**body: Any) -> tuple[list[str], list[str]]:
        body = {"id": log["id"], "timestamp": log["timestamp"]} | body
        response = await asked.http.post("/query/logs/context", json=body, headers=asked.token())
        assert response.json()["log"] == log
        before, after = (response.json()[side] for side in ("before", "after"))
        return [each["message"] for each in before], [each["message"] for each in after]

    assert await around(before=2, after=3) == (["m5", "m7"], ["m11", "m13", "m15"])
    assert await around(before=2, after=2, same=[]) == (["m7", "m8"], ["m10", "m11"])
    assert await around(before=0, after=0) == ([], [])
    assert (len((await around())[0]), len((await around(before=200, same=[]))[0])) == (4, 9)
    for changed in ({"id": "77"}, {"timestamp": NOON}, {"id": "99999999999999999999"}):
        body = {"id": log["id"], "timestamp": log["timestamp"]} | changed
        response = await asked.http.post("/query/logs/context", json=body, headers=asked.token())
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


async def test_an_index_leaves_few_rows_for_the_value_of_an_attribute(
    asked: Asked, store_clickhouse: ClickHouse
) -> None:
    """Of many granules only those are read that may hold the value; merges build the index."""
    rows = [{"ts": NOON + i, "record_id": i, "attributes": f'{{"user": "u-{i}"}}'} for i in range(50_000)]
    await asked.keep("logs", *rows)
    await store_clickhouse.command("OPTIMIZE TABLE logs FINAL")
    whole = (await asked.post("/query/logs/search", dry_run=True)).json()["rows"]
    assert whole == 50_000
    for body in ({"query": '{} | user="u-31337"'}, {"filters": [{"field": "user", "op": "=", "value": "u-31337"}]}):
        assert (await asked.post("/query/logs/search", **body, dry_run=True)).json()["rows"] <= 2 * 8192
        assert [log["attributes"] for log in (await asked.post("/query/logs/search", **body)).json()["logs"]] == [
            {"user": "u-31337"}
        ]
