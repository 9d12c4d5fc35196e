"""A message that can never succeed: kept with its reason while everything else flows on, and put back by the command line."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from aegis.settings import load_settings
from topics.names import LOGS_RAW
from topics.raw import RawBatch
from topics.redis_streams.entries import encode_entry
from topics.redis_streams.keys import Keys
from topics.redis_streams.wire import Wire

LOG = {"timestamp": "2025-10-31T10:00:00Z", "service": "api", "level": "info", "message": "goes on"}


def put_broken_message(instance: Any, org_id: str) -> None:
    """As no gateway would: a raw batch whose body is not JSON."""
    batch = RawBatch(org_id, "broken", int(time.time() * 1000), 30, b'{"logs": not json at all')
    fields = encode_entry(batch.body, timestamp_ms=batch.received_at_ms, headers=batch.headers())

    async def add() -> None:
        wire = Wire(load_settings(instance.data_dir).transport_url, name="test")
        await wire.call(("XADD", Keys().stream(LOGS_RAW, 0), "0-*", *fields))
        await wire.close()

    asyncio.run(add())


def letters_of(instance: Any, org_id: str, *, replays: int) -> list[dict[str, Any]]:
    """The letters of one organization that were replayed so often, once there are any."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        listed = json.loads(instance.aegis("dead-letters", "list", "--code", "malformed_json", "--json"))[
            "dead_letters"
        ]
        shown = [json.loads(instance.aegis("dead-letters", "show", each["id"], "--json")) for each in listed]
        found = [each for each in shown if ["org", org_id] in each["headers"] and each["replays"] == replays]
        if found:
            return found
    raise AssertionError("no dead letter arrived")


def test_a_broken_message_is_kept_with_its_reason_and_replayed(instance: Any, organization: Any) -> None:
    put_broken_message(instance, organization.org_id)
    organization.send([LOG] * 5)
    assert len(organization.found_in_time(5)) == 5
    (letter,) = letters_of(instance, organization.org_id, replays=0)
    assert (letter["topic"], letter["partition"], letter["agent"]) == (LOGS_RAW, 0, "normalize_logs")
    assert letter["reason"].startswith("cannot read the body")
    assert letter["value"] == '{"logs": not json at all'
    assert "not json" in instance.aegis("dead-letters", "show", letter["id"])
    assert letter["id"] in instance.aegis("dead-letters", "list")

    (replayed,) = json.loads(instance.aegis("dead-letters", "replay", letter["id"], "--json"))["replayed"]
    assert (replayed["id"], replayed["topic"], replayed["replays"]) == (letter["id"], LOGS_RAW, 1)
    assert "replayed already" in instance.aegis("dead-letters", "replay", letter["id"], fails=True)
    (again,) = letters_of(instance, organization.org_id, replays=1)
    assert again["id"] != letter["id"]
    assert again["value"] == letter["value"]
    instance.aegis("dead-letters", "replay", "--all", "--code", "malformed_json")
    letters_of(instance, organization.org_id, replays=2)
    organization.send([LOG])
    assert len(organization.found_in_time(6)) == 6


def test_topics_are_shown_with_owners_and_positions(instance: Any, organization: Any) -> None:
    organization.send([LOG])
    organization.found_in_time(1)
    topics = {topic["name"]: topic["partitions"] for topic in json.loads(instance.aegis("topics", "--json"))["topics"]}
    assert set(topics) >= {"logs.raw", "logs", "dead_letters"}
    for partition in topics["logs.raw"]:
        (group,) = partition["groups"]
        assert group["group"] == "aegis-normalize"
        assert group["owner"]
        assert group["epoch"] >= 1
        assert group["lease_left_ms"] > 0
    assert "dead_letters" in instance.aegis("topics")
    assert "works for it" in instance.aegis("topics", "forget-group", "logs", "aegis-store", "--yes", fails=True)
