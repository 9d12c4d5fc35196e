"""Monitors, channels, downtimes and alerts over HTTP, on a real control plane and with a real receiver."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from alerting_api import MONITOR, AlertingApi
from webhook_receiver import WebhookReceiver

from query.alerting.monitor_files import read_monitor_file
from topics.errors import Refused, TooExpensive
from topics.names import PANES


async def refusal(answer: Any) -> tuple[int, str]:
    response = await answer
    details = response.json()["error"]["details"]
    return response.status_code, details[0]["path"] if details else ""


async def test_a_monitor_is_created_changed_by_version_and_deleted(alerting_api: AlertingApi) -> None:
    channel = await alerting_api.channel("http://127.0.0.1:9999/x")
    made = await alerting_api.made("/monitors", MONITOR | {"channels": ["hook"], "message": "{{group.host}} {{value}}"})
    assert (
        made.items() >= (MONITOR | {"channels": [channel["id"]], "enabled": True, "version": 1, "muted": None}).items()
    )
    path = f"/monitors/{made['id']}"
    got = await alerting_api.ask("GET", path)
    assert (got.json(), got.headers["etag"]) == (made, '"1"')
    changed = await alerting_api.ask("PATCH", path, {"critical": 9.0}, headers={"if-match": '"1"'})
    assert (changed.json()["critical"], changed.json()["metric"], changed.json()["version"]) == (9.0, "errors_total", 2)
    assert await refusal(alerting_api.ask("PATCH", path, {"critical": 8.0}, headers={"if-match": '"1"'})) == (
        409,
        "version",
    )
    assert await refusal(alerting_api.ask("PUT", path, MONITOR, headers={"if-match": "x"})) == (422, "if-match")
    replaced = (await alerting_api.ask("PUT", path, MONITOR | {"enabled": False})).json()
    assert (replaced["critical"], replaced["channels"], replaced["enabled"]) == (5.0, [], False)
    assert (await alerting_api.ask("DELETE", path)).status_code == 204
    assert (await alerting_api.ask("GET", path)).status_code == 404
    assert (await alerting_api.ask("GET", "/monitors")).json()["monitors"] == []


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": ""}, "name"),
        ({"kind": "pigeon"}, "kind"),
        ({"aggregation": "median"}, "aggregation"),
        ({"critical": "5"}, "critical"),
        ({"message": "{{nothing}}"}, "message"),
        ({"message": "{{group.region}}"}, "message"),
        ({"channels": ["nobody"]}, "channels[0]"),
        ({"unknown": 1}, "unknown"),
    ],
)
async def test_a_bad_monitor_is_refused_by_its_field(
    alerting_api: AlertingApi, changes: dict[str, Any], path: str
) -> None:
    status, found = await refusal(alerting_api.ask("POST", "/monitors", MONITOR | changes))
    assert (status, found) == (422, path)


async def test_large_numbers_stay_numbers_that_json_has(alerting_api: AlertingApi) -> None:
    """PostgreSQL gives 1e25 back as an integer of 26 digits."""
    made = await alerting_api.made("/monitors", MONITOR | {"critical": 1e300, "warning": -(2.0**63) - 4096})
    assert (made["critical"], made["warning"]) == (1e300, -(2.0**63) - 4096)
    changed = await alerting_api.ask("PATCH", f"/monitors/{made['id']}", {"critical": 2**53})
    assert (changed.json()["critical"], changed.json()["version"]) == (2**53, 2)
    assert (await alerting_api.ask("GET", "/monitors")).status_code == 200
    assert yaml.safe_load((await alerting_api.ask("GET", "/monitors/export")).text)["monitors"][0]["critical"] == 2**53
    evidence = {"window": {"values": [[1_772_366_400_000, 1e25]]}, "id": 2**63 - 1}
    alert = await alerting_api.alert(made["id"], evidence=evidence)
    (listed,) = (await alerting_api.ask("GET", "/alerts")).json()["alerts"]
    assert listed["evidence"] == (await alerting_api.ask("GET", f"/alerts/{alert}")).json()["evidence"] == evidence


async def test_monitors_come_in_pages(alerting_api: AlertingApi) -> None:
    for name in "abcde":
        await alerting_api.made("/monitors", MONITOR | {"name": name})
    assert await refusal(alerting_api.ask("POST", "/monitors", MONITOR | {"name": "a"})) == (409, "name")
    names, cursor = [], None
    while True:
        page = (
            await alerting_api.ask("GET", "/monitors", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        ).json()
        names += [each["name"] for each in page["monitors"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == list("abcde")


async def test_a_muted_monitor_says_so(alerting_api: AlertingApi) -> None:
    path = f"/monitors/{(await alerting_api.made('/monitors', MONITOR))['id']}"
    assert (await alerting_api.ask("POST", f"{path}/mute")).json()["until"] is None
    assert (await alerting_api.ask("GET", path)).json()["muted"] == {"until": None, "group": {}}
    until = "2100-01-01T00:00:00Z"
    muted = await alerting_api.ask("POST", f"{path}/mute", {"until": until, "group": {"host": "a"}})
    assert muted.json()["until"] == "2100-01-01T00:00:00.000Z"
    assert (await alerting_api.ask("GET", "/monitors")).json()["monitors"][0]["muted"]["group"] == {"host": "a"}
    assert await refusal(alerting_api.ask("POST", f"{path}/mute", {"until": "2000-01-01T00:00:00Z"})) == (
        422,
        "ends_at",
    )
    assert (await alerting_api.ask("POST", f"{path}/unmute")).json()["muted"] is False
    assert (await alerting_api.ask("GET", path)).json()["muted"] is None


async def test_a_channel_keeps_what_is_not_said_anew(
    alerting_api: AlertingApi, webhook_receiver: WebhookReceiver
) -> None:
    channel = await alerting_api.channel(webhook_receiver.url)
    path = f"/channels/{channel['id']}"
    tried = (await alerting_api.ask("POST", f"{path}/test")).json()
    assert (tried["ok"], tried["status"], tried["error"]) == (True, 200, "")
    assert webhook_receiver.received[0].is_signed_with("a secret of a channel")
    assert webhook_receiver.received[0].json["kind"] == "test"
    changed = await alerting_api.ask("PATCH", path, {"config": {"secret": "another secret", "group_wait_s": 5}})
    assert changed.json()["config"] == {"group_wait_s": 5, "origin": f"http://127.0.0.1:{webhook_receiver.port}"}
    await alerting_api.ask("POST", f"{path}/test")
    assert webhook_receiver.received[1].is_signed_with("another secret")
    removed = await alerting_api.ask("PATCH", path, {"config": {"secret": None}})
    assert removed.json()["secrets"] == {"url": True, "secret": False, "headers": False}
    await alerting_api.ask("POST", f"{path}/test")
    assert "x-aegis-signature" not in webhook_receiver.received[2].headers
    assert await refusal(alerting_api.ask("PATCH", path, {"kind": "slack"})) == (422, "kind")
    assert await refusal(alerting_api.ask("PATCH", path, {"config": {"url": None}})) == (422, "config.url")


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"url": "http://169.254.169.254/latest/meta-data/"}, "config.url"),
        ({"url": "http://[::1]:8123/"}, "config.url"),
        ({"url": "http://10.0.0.1/"}, "config.url"),
        ({"url": "http://127.0.0.2/"}, "config.url"),
        ({"url": "https://hooks.example.com/", "secret": "short"}, "config.secret"),
    ],
)
async def test_a_channel_into_our_networks_is_refused(
    alerting_api: AlertingApi, config: dict[str, Any], path: str
) -> None:
    body = {"name": "x", "kind": "webhook", "config": config}
    assert await refusal(alerting_api.ask("POST", "/channels", body)) == (422, path)


async def test_a_channel_in_use_stays(alerting_api: AlertingApi) -> None:
    channel = await alerting_api.channel("http://127.0.0.1:9999/x")
    monitor = await alerting_api.made("/monitors", MONITOR | {"channels": [channel["id"]]})
    answer = await alerting_api.ask("DELETE", f"/channels/{channel['id']}")
    assert (answer.status_code, "errors" in answer.json()["error"]["message"]) == (409, True)
    await alerting_api.ask("DELETE", f"/monitors/{monitor['id']}")
    assert (await alerting_api.ask("DELETE", f"/channels/{channel['id']}")).status_code == 204


async def test_a_monitor_is_tested_on_each_of_its_channels(
    alerting_api: AlertingApi, webhook_receiver: WebhookReceiver
) -> None:
    channels = [await alerting_api.channel(webhook_receiver.url, name) for name in ("good", "bad")]
    await alerting_api.ask("PATCH", f"/channels/{channels[1]['id']}", {"config": {"url": "http://127.0.0.1:9999/x"}})
    monitor = await alerting_api.made("/monitors", MONITOR | {"channels": ["good", "bad"]})
    tried = (await alerting_api.ask("POST", f"/monitors/{monitor['id']}/test")).json()["results"]
    assert [(each["name"], each["ok"]) for each in tried] == [("good", True), ("bad", False)]
    assert tried[1]["error"] == "cannot reach 127.0.0.1:9999: it refuses connections"
    assert webhook_receiver.received[0].json["monitor_name"] == "errors"


async def test_tests_have_a_limit(alerting_api: AlertingApi) -> None:
    channel = await alerting_api.channel("http://127.0.0.1:9999/x")
    statuses = [(await alerting_api.ask("POST", f"/channels/{channel['id']}/test")).status_code for _ in range(31)]
    # A minute may end meanwhile.
    assert statuses[:30] == [200] * 30
    assert statuses[30] in (429, 200)


async def test_downtimes_are_kept_in_one_form_and_replaced(alerting_api: AlertingApi) -> None:
    weekly = {"days": ["mon"], "time": "22:00", "duration_s": 3600, "timezone": "Europe/Berlin"}
    made = await alerting_api.made("/downtimes", {"name": "night", "recurrence": weekly, "ends_at": 4102444800})
    assert (made["ends_at"], made["recurrence"]) == ("2100-01-01T00:00:00.000Z", weekly)
    path = f"/downtimes/{made['id']}"
    replaced = await alerting_api.ask(
        "PUT", path, {"name": "now", "ends_at": "2100-01-01"}, headers={"if-match": '"1"'}
    )
    assert (replaced.json()["active"], replaced.json()["version"]) == (True, 2)
    assert "recurrence" not in replaced.json()
    assert await refusal(alerting_api.ask("PUT", path, {"name": "x"}, headers={"if-match": '"1"'})) == (409, "version")
    assert await refusal(alerting_api.ask("PUT", path, {})) == (422, "name")
    assert await refusal(alerting_api.ask("PUT", path, {"name": "x", "days": []})) == (422, "days")
    assert (await alerting_api.ask("DELETE", path)).status_code == 204


async def test_alerts_are_listed_by_what_is_asked_and_in_pages(alerting_api: AlertingApi) -> None:
    monitors = [(await alerting_api.made("/monitors", MONITOR | {"name": name}))["id"] for name in ("a", "b")]
    await alerting_api.alert(monitors[0], 1, "ALERT")
    await alerting_api.alert(monitors[0], 2, "OK")
    await alerting_api.alert(monitors[1], 3, "WARN")

    async def listed(**asked: Any) -> list[tuple[str, str]]:
        found, cursor = [], ""
        while cursor is not None:
            page = (
                await alerting_api.ask("GET", "/alerts", params=asked | ({"cursor": cursor} if cursor else {}))
            ).json()
            found += [(each["monitor_name"], each["state"]) for each in page["alerts"]]
            cursor = page["next_cursor"]
        return found

    assert await listed() == await listed(limit=1) == [("b", "WARN"), ("a", "OK"), ("a", "ALERT")]
    assert await listed(monitor_id=monitors[0], state="ALERT") == [("a", "ALERT")]
    assert await listed(open="true") == [("b", "WARN")]
    for name, value in (("state", "SIDEWAYS"), ("limit", 1001), ("cursor", "x")):
        assert await refusal(alerting_api.ask("GET", "/alerts", params={name: value})) == (422, name)


async def test_a_monitor_says_how_each_of_its_groups_stands(alerting_api: AlertingApi) -> None:
    monitors = [(await alerting_api.made("/monitors", MONITOR | {"name": name}))["id"] for name in ("a", "b")]
    for sequence, (group, state) in enumerate(
        [("host=b", "ALERT"), ("host=a", "WARN"), ("host=b", "OK"), ("host=c", "NO_DATA"), ("host=d", "ALERT")], 1
    ):
        alert = await alerting_api.alert(monitors[0], sequence, state, group)
    await alerting_api.alert(monitors[1], 6, "ALERT", "host=z")
    path = f"/monitors/{monitors[0]}/state"
    found = (await alerting_api.ask("GET", path)).json()
    assert (found["monitor_id"], found["state"]) == (monitors[0], "ALERT")
    assert found["not_ok"] == {"ALERT": 1, "NO_DATA": 1, "WARN": 1}
    assert [(each["group"], each["state"]) for each in found["groups"]] == [
        ("host=a", "WARN"), ("host=b", "OK"), ("host=c", "NO_DATA"), ("host=d", "ALERT")
    ]  # fmt: skip
    # When the test's alerts began: see AlertingApi.alert.
    assert [each["since"] for each in found["groups"]] == [f"2026-03-01T12:00:00.00{i}Z" for i in (2, 3, 4, 5)]
    assert found["groups"][3]["alert_id"] == alert
    paged, cursor = [], ""
    while cursor is not None:
        asked = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = (await alerting_api.ask("GET", path, params=asked)).json()
        paged += page["groups"]
        cursor = page["next_cursor"]
    assert paged == found["groups"]
    await alerting_api.ask("POST", f"/alerts/{alert}/resolve")
    found = (await alerting_api.ask("GET", path)).json()
    assert (found["state"], found["not_ok"]["ALERT"], found["groups"][3]["state"]) == ("NO_DATA", 0, "OK")
    assert await refusal(alerting_api.ask("GET", path, params={"limit": 0})) == (422, "limit")
    plain = await alerting_api.made("/monitors", MONITOR | {"name": "c", "group_by": []})
    found = (await alerting_api.ask("GET", f"/monitors/{plain['id']}/state")).json()
    assert (found["state"], found["next_cursor"]) == ("OK", None)
    assert [(each["group"], each["state"], each["since"]) for each in found["groups"]] == [
        ("*", "OK", plain["created_at"])
    ]


async def test_an_alert_is_acknowledged_and_resolved_here_and_in_the_engine(alerting_api: AlertingApi) -> None:
    monitor = (await alerting_api.made("/monitors", MONITOR))["id"]
    path = f"/alerts/{await alerting_api.alert(monitor)}"
    assert (await alerting_api.ask("POST", f"{path}/acknowledge")).json()["acknowledged_at"]
    alerting_api.engine_is_away = True
    assert (await alerting_api.ask("POST", f"{path}/resolve")).status_code == 503
    assert (await alerting_api.ask("GET", path)).json()["ended_at"] is None
    alerting_api.engine_is_away = False
    assert (await alerting_api.ask("POST", f"{path}/resolve")).json()["ended_at"]
    ((topic, message, key),) = alerting_api.told
    assert (topic, message.org_id, message.monitor_id, message.group, key) == (
        PANES, alerting_api.ours.org_id, monitor, "host=a", monitor.encode()
    )  # fmt: skip
    # What is over stays so, and the engine is not told of a group that may be in a new breach by now.
    await alerting_api.ask("POST", f"{path}/resolve")
    assert len(alerting_api.told) == 1


async def test_monitors_go_out_and_in_as_a_file(alerting_api: AlertingApi) -> None:
    await alerting_api.channel("http://127.0.0.1:9999/x")
    await alerting_api.made("/monitors", MONITOR | {"channels": ["hook"]})
    await alerting_api.made("/monitors", MONITOR | {"name": "kept: as é it is", "enabled": False})
    text = (await alerting_api.ask("GET", "/monitors/export")).text
    assert [each["channels"] for each in yaml.safe_load(text)["monitors"]] == [["hook"], []]

    async def imported(data: str, scope: Any = None, **params: Any) -> Any:
        return await alerting_api.ask(
            "POST", "/monitors/import", content=data.encode(), params=params, scope=scope or alerting_api.ours
        )

    again = (await imported(text)).json()
    assert again == {"dry_run": False, "created": [], "updated": [], "unchanged": ["errors", "kept: as é it is"]}
    changed = text.replace("5.0", "6.0", 1).replace("kept: as é it is", "new")
    dry = (await imported(changed, dry_run="true")).json()
    assert dry == {"dry_run": True, "created": ["new"], "updated": ["errors"], "unchanged": []}
    assert (await alerting_api.ask("GET", "/monitors/export")).text == text
    assert (await imported(changed)).json() == dry | {"dry_run": False}
    names = [
        (each["name"], each["critical"]) for each in (await alerting_api.ask("GET", "/monitors")).json()["monitors"]
    ]
    assert names == [("errors", 6.0), ("kept: as é it is", 5.0), ("new", 5.0)]
    # Names of channels are those of whoever imports.
    foreign = await imported(text, scope=alerting_api.theirs)
    assert (foreign.status_code, foreign.json()["error"]["details"][0]["path"]) == (422, "monitors[0].channels[0]")
    assert (await alerting_api.ask("GET", "/monitors", scope=alerting_api.theirs)).json()["monitors"] == []
    twice = await imported(json.dumps({"monitors": [MONITOR, MONITOR]}))
    assert twice.json()["error"]["details"][0]["path"] == "monitors[1].name"


BOMB = "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(10)) + "monitors: []\n"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"monitors: 5", b"monitors: []\nother: 1", b"monitors: [", b"\xff\xfe", b"\x00",
        b"!!python/object/apply:os.system [id]", b"monitors: !!python/name:os.system", b"monitors: []\n? {a: b}\n: c",
        b"monitors: " + b"[" * 5000, BOMB.encode(),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        read_monitor_file(data)


def test_a_file_has_bounds() -> None:
    assert len(read_monitor_file(b"monitors: [" + b"{}, " * 1000 + b"]")) == 1000
    with pytest.raises(TooExpensive):
        read_monitor_file(b"monitors: [" + b"{}, " * 1001 + b"]")


async def test_a_file_larger_than_its_bound_is_not_read(alerting_api: AlertingApi) -> None:
    answer = await alerting_api.ask("POST", "/monitors/import", content=b"#" * ((1 << 20) + 1))
    assert answer.status_code == 413
    fits = await alerting_api.ask("POST", "/monitors/import", content=b"#" * (1 << 19) + b"\nmonitors: []\n")
    assert fits.status_code == 200
    assert (await alerting_api.ask("POST", "/channels", content=b"#" * (1 << 17))).status_code == 413
