"""A breach sent over HTTP -> a signed webhook, on a running instance; and what people and the command line do with it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import yaml
from webhook_receiver import Received, ThreadedReceiver

SECRET = "a secret of a channel"


def send_errors(organization: Any, value: float, host: str = "a") -> None:
    point = {"name": "errors_total", "value": value, "timestamp": time.time(), "labels": {"host": host}}
    response = organization.post(json.dumps({"metrics": [point]}).encode(), path="/v1/metrics")
    assert response.status_code == 202, response.text


def test_a_worker_that_dies_in_an_incident_loses_and_doubles_nothing(
    instance: Any, organization: Any, threaded_receiver: ThreadedReceiver
) -> None:
    organization = organization.as_member()
    config = {"url": threaded_receiver.url, "secret": SECRET}
    organization.asked("POST", "/channels", {"name": "hook", "kind": "webhook", "config": config}, 201)
    definition = monitor_of("hook", window_s=3600, message="")
    organization.asked("POST", "/monitors", definition, 201)
    hosts = {f"host=h{i}" for i in range(60)}
    until_watched(organization, threaded_receiver)
    for i in range(60):
        send_errors(organization, 7, f"h{i}")
        if i in (20, 40):
            instance.kill("worker")
    deadline = time.monotonic() + 60
    told: dict[str, set[str]] = {}
    while not hosts <= told.keys() and time.monotonic() < deadline:
        told = {}
        for each in list(threaded_receiver.received):
            for one in each.json.get("notifications", [each.json]):
                if one["state"] == "ALERT":
                    told.setdefault(one["group"], set()).add(one["dedup_key"])
        time.sleep(0.1)
    assert told.keys() >= hosts
    # One transition a group, so one key, however often it was sent.
    assert {group: len(keys) for group, keys in told.items() if group in hosts} == dict.fromkeys(hosts, 1)
    alerts = organization.asked("GET", "/alerts?limit=1000")["alerts"]
    assert sorted(each["group"] for each in alerts if each["group"] in hosts) == sorted(hosts)


def monitor_of(channel: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": "errors",
        "kind": "metric",
        "metric": "errors_total",
        "aggregation": "max",
        "window_s": 60,
        "critical": 5,
        "group_by": ["host"],
        "new_group_delay_s": 0,
        "channels": [channel],
        **changes,
    }


def until_watched(organization: Any, threaded_receiver: ThreadedReceiver) -> tuple[Received, float]:
    """Breach until it is told: the engine follows monitors as they are announced, and what is sent before is not watched.
    Returns what was told, and when the breach was sent."""
    told = len(threaded_receiver.received)
    for _ in range(30):
        began = time.monotonic()
        send_errors(organization, 7)
        try:
            return threaded_receiver.wait_for(told + 1, timeout_s=1.0)[told], began
        except TimeoutError:
            continue
    raise AssertionError("nothing was told")


def test_a_breach_is_told_acknowledged_and_resolved(
    instance: Any, organization: Any, threaded_receiver: ThreadedReceiver, tmp_path: Path
) -> None:
    organization.token = json.loads(instance.aegis("token", organization.org_id, "--role", "member", "--json"))["token"]
    cli = ("--org", organization.org_id)
    config = {"url": threaded_receiver.url, "secret": SECRET}
    organization.asked("POST", "/channels", {"name": "hook", "kind": "webhook", "config": config}, 201)
    assert json.loads(instance.aegis("channels", "test", "hook", *cli, "--json"))["ok"]
    threaded_receiver.wait_for(1)
    file = tmp_path / "monitors.yaml"
    definition = monitor_of("hook", message="{{group.host}} is at {{value}}")
    file.write_text(yaml.safe_dump({"monitors": [definition]}))
    done = json.loads(instance.aegis("monitors", "import", str(file), *cli, "--json"))
    assert done["created"] == ["errors"]
    (monitor,) = json.loads(instance.aegis("monitors", "list", *cli, "--json"))["monitors"]
    breach, began = until_watched(organization, threaded_receiver)
    print(f"breach to webhook: {(breach.at_s - began) * 1000:.0f} ms")
    assert breach.is_signed_with(SECRET)
    told = breach.json
    assert (told["state"], told["previous_state"], told["monitor_id"], told["monitor_name"]) == (
        "ALERT", "OK", monitor["id"], "errors"
    )  # fmt: skip
    assert (told["group"], told["value"], told["threshold"], told["message"]) == ("host=a", 7.0, 5.0, "a is at 7")
    alert = told["url"].rpartition("/")[2]
    found = organization.asked("GET", f"/alerts/{alert}")
    assert (found["state"], found["ended_at"], found["evidence"] != {}) == ("ALERT", None, True)
    deadline = time.monotonic() + 10
    while found["notifications"][0]["state"] != "sent" and time.monotonic() < deadline:
        found = organization.asked("GET", f"/alerts/{alert}")
    assert [(each["channel_name"], each["state"]) for each in found["notifications"]] == [("hook", "sent")]
    assert "errors" in instance.aegis("alerts", "list", *cli)
    assert "hook" in instance.aegis("alerts", "show", alert, *cli)
    assert json.loads(instance.aegis("alerts", "acknowledge", alert, *cli, "--json"))["acknowledged_at"]
    assert json.loads(instance.aegis("alerts", "resolve", alert, *cli, "--json"))["ended_at"]
    recovery = threaded_receiver.wait_for(3)[2].json
    assert (recovery["state"], recovery["previous_state"], recovery["group"]) == ("OK", "ALERT", "host=a")
    instance.aegis("monitors", "mute", "errors", *cli)
    send_errors(organization, 9)
    deadline = time.monotonic() + 20
    reasons: list[str] = []
    while reasons != ["muted"] and time.monotonic() < deadline:
        newest = organization.asked("GET", f"/alerts?monitor_id={monitor['id']}&limit=1")["alerts"][0]
        told_of = organization.asked("GET", f"/alerts/{newest['id']}/notifications")["notifications"]
        reasons = [each["reason"] for each in told_of]
        time.sleep(0.1)
    assert reasons == ["muted"]
    assert len(threaded_receiver.received) == 3
    exported = yaml.safe_load(instance.aegis("monitors", "export", *cli))
    assert [each["name"] for each in exported["monitors"]] == ["errors"]
    instance.aegis("monitors", "delete", "errors", *cli)
    assert json.loads(instance.aegis("monitors", "list", *cli, "--json"))["monitors"] == []
