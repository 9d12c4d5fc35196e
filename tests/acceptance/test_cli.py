"""The command line beside a running instance, and without one: results for scripts, and words when it cannot."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

LOG: dict[str, Any] = {"timestamp": "2025-10-31T10:00:00Z", "service": "api", "level": "error", "message": "hello"}


def test_an_organization_made_by_commands_sends_and_asks(instance: Any) -> None:
    name = f"shop {time.time_ns()}"
    made = json.loads(instance.aegis("org", "create", name, "--json"))
    key = json.loads(instance.aegis("key", "create", name, "--name", "web", "--expires-days", "1", "--json"))
    token = json.loads(instance.aegis("token", made["id"], "--role", "viewer", "--json"))
    assert made["id"] == key["org_id"] == token["org_id"]
    organization = instance.organization(f"{name} helper")
    organization.org_id, organization.org_key = made["id"], key["org_key"]
    organization.secret, organization.token = key["secret"], token["token"]
    organization.send([LOG])
    assert [log["message"] for log in organization.found_in_time(1)] == ["hello"]
    listed = json.loads(instance.aegis("key", "list", name, "--json"))["keys"]
    assert [(each["prefix"], each["name"], each["revoked_at"]) for each in listed] == [(key["org_key"], "web", None)]
    assert "secret" not in listed[0]
    assert name in {each["name"] for each in json.loads(instance.aegis("org", "list", "--json"))["organizations"]}


def test_tables_for_people(instance: Any) -> None:
    assert "development" in instance.aegis("org", "list")
    assert "obs_" in instance.aegis("key", "list", "development")
    assert instance.aegis("token", "development").count(".") == 2
    assert "worker" in instance.aegis("status")


def test_refusals_name_what_is_wrong(instance: Any) -> None:
    assert "another organization has this name" in instance.aegis("org", "create", "development", fails=True)
    assert "nobody" in instance.aegis("key", "create", "nobody", fails=True)
    assert "--role god" in instance.aegis("token", "development", "--role", "god", fails=True)
    assert "--signal smoke" in instance.aegis("key", "create", "development", "--signal", "smoke", fails=True)
    assert "there is no key" in instance.aegis("key", "revoke", "obs_none", fails=True)


def test_migrate_finds_every_store_up_to_date(instance: Any) -> None:
    assert json.loads(instance.aegis("migrate", "--json"))["migrations"] == []
    assert json.loads(instance.aegis("migrate", "--dry-run", "--json")) == {"migrations": [], "dry_run": True}


def test_the_demo_sends_what_it_says(instance: Any) -> None:
    organization = instance.organization(f"demo reader {time.time_ns()}")
    organization.token, organization.org_id = instance.facts["token"], instance.facts["org_id"]
    before = {signal: len(organization.stored(signal)) for signal in ("metrics", "traces", "rum")}
    summary = json.loads(instance.aegis("demo", "--rate", "500", "--seconds", "2", "--json"))
    assert summary["accepted"] == 1000
    assert 1.5 < summary["seconds"] < 10
    now = time.time()
    logs = organization.found_in_time(1000, start=now - 120, end=now + 60)
    assert len({log["id"] for log in logs}) == len(logs) >= 1000
    assert {log["environment"] for log in logs} == {"demo"}
    assert len({log["service"] for log in logs}) > 5
    for signal, field in (("metrics", "metrics"), ("traces", "spans"), ("rum", "rum")):
        sent = before[signal] + summary[field]
        assert len(organization.stored_in_time(signal, sent)) == sent > before[signal]


def test_without_an_instance_commands_say_what_to_do(new_instance: Callable[..., Any]) -> None:
    absent = new_instance(
        REDIS_PORT="1", CLICKHOUSE_PORT="1", TIMESCALE_PORT="1", DATABASE_URL="postgresql://aegis@127.0.0.1:1/aegis"
    )
    assert "aegis up" in absent.aegis("status", fails=True)
    assert "cannot create the organization" in absent.aegis("org", "create", "x", fails=True)
    document = json.loads(_doctor(absent))
    wrong = {finding["subject"]: finding["remedy"] for finding in document["findings"] if finding["state"] == "wrong"}
    assert {"redis", "postgresql", "timescaledb", "clickhouse", "JWT_SECRET", "AEGIS_MASTER_KEY"} <= set(wrong)
    assert "REDIS_HOST" in wrong["redis"]
    assert "DATABASE_URL" in wrong["postgresql"]
    assert "TIMESCALE_HOST" in wrong["timescaledb"]


def test_a_bad_setting_is_named(new_instance: Callable[..., Any]) -> None:
    for name, value in (("AEGIS_PARTITIONS", "0"), ("JWT_SECRET", "short"), ("AEGIS_MASTER_KEY", "xyz")):
        assert name in new_instance(**{name: value}).aegis("up", fails=True)


def _doctor(instance: Any) -> str:
    """Doctor exits with 1 when something is wrong, and still prints its findings."""
    return str(instance.aegis("doctor", "--json", exit_code=1))
