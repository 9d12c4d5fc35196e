"""A message that can never succeed: kept with its reason while everything else flows on, and put back by the command line."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from aegis.settings import load_settings
from topics.dead_letters import DeadLetter
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
        found = [
            each for each in shown if {"name": "org", "text": org_id} in each["headers"] and each["replays"] == replays
        ]
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


def put(instance: Any, stream: str, *fields: bytes) -> None:
    async def add() -> None:
        wire = Wire(load_settings(instance.data_dir).transport_url, name="test")
        await wire.call(("XADD", stream, "0-*", *fields))
        await wire.close()

    asyncio.run(add())


def test_an_entry_that_nobody_of_ours_wrote_is_buried_and_the_rest_flows_on(instance: Any, organization: Any) -> None:
    """Such an entry once ended every worker that read it, one after the other."""
    restarts = instance.processes()["worker"]["restarts"]
    for partition in range(4):
        put(instance, Keys().stream(LOGS_RAW, partition), b"t", b"noon", b"h", b"no msgpack")
    organization.send([LOG] * 3)
    assert len(organization.found_in_time(3)) == 3
    listed = json.loads(instance.aegis("dead-letters", "list", "--code", "bad_message", "--json"))["dead_letters"]
    assert len(listed) >= 4
    assert instance.processes()["worker"]["restarts"] == restarts


def test_a_letter_that_cannot_go_back_does_not_keep_the_others(instance: Any, organization: Any) -> None:
    code = f"gone_{organization.org_id[:8]}"
    for topic in (LOGS_RAW, "no.such.topic\x1b]0;[red]", LOGS_RAW):
        letter = DeadLetter(topic, 0, 1, "a", code, "[bold]why", 10**18, (("[/x]\x1b", b"v"), ("b", b"\xff")))
        fields = encode_entry(b"{", timestamp_ms=1, headers=letter.message_headers())
        put(instance, Keys().stream("dead_letters", 0), *(str(f).encode() if isinstance(f, int) else f for f in fields))
    listed = json.loads(instance.aegis("dead-letters", "list", "--code", code, "--json"))["dead_letters"]
    assert "\x1b" not in instance.aegis("dead-letters", "show", listed[1]["id"])
    headers = json.loads(instance.aegis("dead-letters", "show", listed[1]["id"], "--json"))["headers"]
    assert headers == [{"name": "[/x]\x1b", "text": "v"}, {"name": "b", "hex": "ff"}]
    answer = json.loads(instance.aegis("dead-letters", "replay", "--all", "--code", code, "--json", exit_code=2))
    assert [each["id"] for each in answer["replayed"]] == [listed[0]["id"], listed[2]["id"]]
    assert [each["id"] for each in answer["failed"]] == [listed[1]["id"]]
    left = json.loads(instance.aegis("dead-letters", "list", "--code", code, "--json"))["dead_letters"]
    assert [each["id"] for each in left] == [listed[1]["id"]]

    assert "either ids of letters or --older-than" in instance.aegis("dead-letters", "discard", "--yes", fails=True)
    none = json.loads(
        instance.aegis("dead-letters", "discard", "--older-than", "1d", "--code", code, "--yes", "--json")
    )
    assert none["discarded"] == []  # It says that it is of the far future.
    gone = json.loads(instance.aegis("dead-letters", "discard", left[0]["id"], "--yes", "--json"))
    assert gone["discarded"] == [left[0]["id"]]
    again = json.loads(instance.aegis("dead-letters", "discard", left[0]["id"], "--yes", "--json", exit_code=2))
    assert again["failed"][0]["code"] == "not_found"
    assert json.loads(instance.aegis("dead-letters", "list", "--code", code, "--json"))["dead_letters"] == []


def test_messages_are_added_peeked_at_and_buried(instance: Any, organization: Any, tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    file.write_bytes(b"\xff no json")
    marked = ("--header", f"org={organization.org_id}")
    instance.aegis("topics", "add", "dead_letters", str(file), *marked, "--key", "k")
    peeked = json.loads(instance.aegis("topics", "peek", "dead_letters", "--limit", "1000", "--json"))["messages"]
    (mine,) = (each for each in peeked if {"name": "org", "text": organization.org_id} in each["headers"])
    assert (mine["bytes"], mine["key"], mine["preview"]) == (9, {"text": "k"}, {"hex": "ff206e6f206a736f6e"})
    first = json.loads(instance.aegis("topics", "peek", "dead_letters", "--limit", "1", "--json"))
    assert first["next_cursor"] == f"{first['messages'][0]['partition']}-{first['messages'][0]['offset']}"
    assert "no json" in instance.aegis("topics", "peek", "dead_letters", "--partition", str(mine["partition"]))
    assert json.loads(instance.aegis("topics", "trim", "dead_letters", "--json"))["removed_messages"] == 0
    assert "no topic" in instance.aegis("topics", "trim", "nowhere", fails=True)
    assert "NAME=TEXT" in instance.aegis("topics", "add", "logs", str(file), "--header", "x", fails=True)
    listed = json.loads(instance.aegis("dead-letters", "list", "--limit", "1000", "--json"))["dead_letters"]
    assert {each["id"]: each["code"] for each in listed}[f"{mine['partition']}-{mine['offset']}"] == "unreadable_letter"
    instance.aegis("dead-letters", "discard", "--older-than", "0s", "--code", "unreadable_letter", "--yes")
    left = json.loads(instance.aegis("dead-letters", "list", "--code", "unreadable_letter", "--json"))["dead_letters"]
    assert left == []


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
