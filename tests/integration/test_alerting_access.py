"""Who may ask about monitors, channels, downtimes and alerts, and that nobody reaches another organization's."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from alerting_api import MONITOR, SECRET, AlertingApi
from webhook_receiver import WebhookReceiver

from query.tokens import PERMISSIONS, Tokens

ONE = {
    "monitors": MONITOR | {"name": "theirs"},
    "channels": {"name": "theirs", "kind": "webhook", "config": {"url": "http://127.0.0.1:9999/x"}},
    "downtimes": {"name": "theirs"},
}
OF_ONE = [
    ("GET", "/monitors/{monitors}", None, "monitors:read"),
    ("GET", "/monitors/{monitors}/state", None, "monitors:read"),
    ("PUT", "/monitors/{monitors}", ONE["monitors"], "monitors:write"),
    ("PATCH", "/monitors/{monitors}", {"critical": 6.0}, "monitors:write"),
    ("POST", "/monitors/{monitors}/test", None, "monitors:write"),
    ("POST", "/monitors/{monitors}/mute", {}, "monitors:write"),
    ("POST", "/monitors/{monitors}/unmute", None, "monitors:write"),
    ("GET", "/channels/{channels}", None, "monitors:read"),
    ("PATCH", "/channels/{channels}", {"name": "stolen"}, "monitors:write"),
    ("POST", "/channels/{channels}/test", None, "monitors:write"),
    ("GET", "/downtimes/{downtimes}", None, "monitors:read"),
    ("PUT", "/downtimes/{downtimes}", ONE["downtimes"], "monitors:write"),
    ("GET", "/alerts/{alerts}", None, "monitors:read"),
    ("GET", "/alerts/{alerts}/notifications", None, "monitors:read"),
    ("POST", "/alerts/{alerts}/acknowledge", None, "monitors:write"),
    ("POST", "/alerts/{alerts}/resolve", None, "monitors:write"),
    ("DELETE", "/monitors/{monitors}", None, "monitors:write"),
    ("DELETE", "/channels/{channels}", None, "monitors:write"),
    ("DELETE", "/downtimes/{downtimes}", None, "monitors:write"),
]
OF_ALL = [
    ("GET", "/monitors", None, "monitors:read"),
    ("POST", "/monitors", ONE["monitors"], "monitors:write"),
    ("GET", "/monitors/export", None, "monitors:read"),
    ("POST", "/monitors/import", {"monitors": []}, "monitors:write"),
    ("GET", "/channels", None, "monitors:read"),
    ("POST", "/channels", ONE["channels"], "monitors:write"),
    ("GET", "/downtimes", None, "monitors:read"),
    ("POST", "/downtimes", ONE["downtimes"], "monitors:write"),
    ("GET", "/alerts", None, "monitors:read"),
]


@pytest.fixture
async def kept(alerting_api: AlertingApi) -> dict[str, str]:
    """One of each in our organization, by noun."""
    found = {noun: (await alerting_api.made(f"/{noun}", body))["id"] for noun, body in ONE.items()}
    found["alerts"] = await alerting_api.alert(found["monitors"])
    return found


async def everything(api: AlertingApi) -> str:
    """All that our organization has, as the API shows it."""
    return "\n".join(
        [(await api.ask("GET", f"/{noun}")).text for noun in ("monitors", "channels", "downtimes", "alerts")]
    )


@pytest.mark.parametrize(("method", "path", "body", "_permission"), OF_ONE)
async def test_what_another_organization_has_is_not_there(
    alerting_api: AlertingApi, kept: dict[str, str], method: str, path: str, body: Any, _permission: str
) -> None:
    before = await everything(alerting_api)
    answer = await alerting_api.ask(method, path.format(**kept), body, role="owner", scope=alerting_api.theirs)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    unknown = dict.fromkeys(kept, "00000000-0000-4000-8000-000000000000")
    assert (await alerting_api.ask(method, path.format(**unknown), body, role="owner")).status_code == 404
    assert (await alerting_api.ask(method, path.format(**dict.fromkeys(kept, "no id")), body)).status_code == 404
    assert await everything(alerting_api) == before
    assert alerting_api.told == []


async def test_lists_show_nothing_of_another_organization(alerting_api: AlertingApi, kept: dict[str, str]) -> None:
    for noun in ("monitors", "channels", "downtimes", "alerts"):
        assert len((await alerting_api.ask("GET", f"/{noun}")).json()[noun]) == 1
        foreign = await alerting_api.ask("GET", f"/{noun}", role="owner", scope=alerting_api.theirs)
        assert foreign.json() == {noun: [], "next_cursor": None}
    monitor = {"monitor_id": kept["monitors"]}
    foreign = await alerting_api.ask("GET", "/alerts", scope=alerting_api.theirs, params=monitor)
    assert foreign.json()["alerts"] == []
    exported = await alerting_api.ask("GET", "/monitors/export", scope=alerting_api.theirs)
    assert exported.text == "monitors: []\n"


async def test_a_channel_of_another_organization_cannot_be_used(
    alerting_api: AlertingApi, kept: dict[str, str]
) -> None:
    for named in (kept["channels"], "theirs"):
        answer = await alerting_api.ask("POST", "/monitors", MONITOR | {"channels": [named]}, scope=alerting_api.theirs)
        assert (answer.status_code, answer.json()["error"]["details"][0]["path"]) == (422, "channels[0]")


@pytest.mark.parametrize(("method", "path", "body", "permission"), OF_ONE + OF_ALL)
async def test_a_bad_token_and_a_role_without_the_permission_get_no_answer(
    alerting_api: AlertingApi,
    kept: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    body: Any,
    permission: str,
) -> None:
    path = path.format(**kept)
    forged = Tokens("f" * 32).issue(alerting_api.ours, role="owner", subject="x", lifetime_s=60)
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": f"Bearer {forged}"}):
        answer = await alerting_api.http.request(method, path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "bad_token")
    if permission == "monitors:read":
        assert (await alerting_api.ask(method, path, body, role="viewer")).status_code == 200
        # No role lacks it, so it is taken from the viewer.
        monkeypatch.setitem(PERMISSIONS, "viewer", frozenset(PERMISSIONS["viewer"] - {permission}))
    before = await everything(alerting_api)
    answer = await alerting_api.ask(method, path, body, role="viewer")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    assert permission in answer.json()["error"]["message"]
    assert await everything(alerting_api) == before


async def test_no_answer_to_anybody_holds_a_secret_of_a_channel(
    alerting_api: AlertingApi, webhook_receiver: WebhookReceiver
) -> None:
    secrets = ["SECRETPATH", "SECRETKEY00000000", "SECRETHEADER"]
    config = {
        "url": f"{webhook_receiver.url}/SECRETPATH?token=SECRETPATH",
        "secret": "SECRETKEY00000000",
        "headers": {"x-token": "SECRETHEADER"},
    }
    answers = [await alerting_api.ask("POST", "/channels", {"name": "a", "kind": "webhook", "config": config})]
    slack = {"name": "b", "kind": "slack", "config": {"url": config["url"]}}
    answers.append(await alerting_api.ask("POST", "/channels", slack))
    ids = [answer.json()["id"] for answer in answers]
    webhook_receiver.answer = lambda _: b"HTTP/1.1 500 X\r\ncontent-length: 16\r\n\r\nSECRETPATH inner"
    for id_ in ids:
        for role in ("viewer", "owner"):
            answers.append(await alerting_api.ask("GET", f"/channels/{id_}", role=role))  # type: ignore[arg-type]  # a role
        answers.append(await alerting_api.ask("PATCH", f"/channels/{id_}", {"name": f"c{id_}"}))
        answers.append(await alerting_api.ask("POST", f"/channels/{id_}/test"))
    answers.append(await alerting_api.ask("GET", "/channels"))
    entries = await alerting_api.plane._pool.fetch(
        "look", "SELECT * FROM audit_log WHERE organization_id::text = $1", alerting_api.ours.org_id
    )
    texts = [answer.text for answer in answers] + [json.dumps([dict(each) for each in entries], default=str)]
    assert len(entries) >= 4
    for text in texts:
        assert not [secret for secret in secrets if secret in text], text
    assert answers[0].json()["secrets"] == {"url": True, "secret": True, "headers": True}
    assert len(webhook_receiver.received) == 2
    assert webhook_receiver.received[0].headers["x-token"] == "SECRETHEADER"


async def test_the_published_document_shows_every_route(alerting_api: AlertingApi) -> None:
    document = (await alerting_api.http.get("/openapi.json")).json()
    for method, path, _, _ in OF_ONE + OF_ALL:
        # {monitors} -> {monitor_id}
        operation = document["paths"][re.sub(r"\{(\w+)s\}", r"{\1_id}", path)][method.lower()]
        assert operation["summary"]
    assert SECRET not in json.dumps(document)

    def body_of(path: str) -> Any:
        return document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]

    kinds = {each["properties"]["kind"]["const"]: each["properties"] for each in body_of("/monitors")["oneOf"]}
    assert kinds.keys() == {"metric", "log", "trace", "rum"}
    assert {"metric", "labels", "aggregation", "for_s"} <= kinds["metric"].keys()
    assert body_of("/downtimes")["properties"]["recurrence"]["anyOf"][0]["required"] == ["days", "time", "duration_s"]
    (channel,) = [each for name, each in document["components"]["schemas"].items() if name == "CreateChannel"]
    assert "secret" in channel["properties"]["config"]["oneOf"][0]["properties"]
