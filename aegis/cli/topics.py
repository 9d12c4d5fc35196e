"""aegis topics: what flows, who works on it and how far they are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer

from aegis.cli.console import DataDir, Json, print_json, print_table, say, settings_of
from topics.errors import Refused
from topics.redis_streams.keys import Keys
from topics.redis_streams.overview import PartitionOverview, forget_group, read_overview
from topics.redis_streams.wire import Wire

topics = typer.Typer(help="Topics: partitions, owners, positions and lag.", invoke_without_command=True)

T = TypeVar("T")


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.add_typer(topics, name="topics")


@topics.callback()
def list_topics(context: typer.Context, data_dir: DataDir = None, json: Json = False) -> None:
    """Show every topic: its partitions, and who works on them; lag is what a group has not committed."""
    if context.invoked_subcommand is not None:
        return
    found = _with_wire(data_dir, read_overview)
    if json:
        print_json({"topics": _by_topic(found), "next_cursor": None})
        return
    if not found:
        say("no topics are declared yet: a gateway or a worker declares them when it starts")
    for name in dict.fromkeys(each.topic for each in found):
        rows = [row for each in found if each.topic == name for row in _rows(each)]
        print_table(name, ("no", "messages", "KiB", "group", "next", "lag", "owner", "epoch", "lease s"), rows)


@topics.command("forget-group")
def forget(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="for example logs.raw")],
    group: Annotated[str, typer.Argument(metavar="GROUP", help="for example aegis-normalize")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Let trimming no longer wait for a group that will not come back. What only it had not read is removed.

    A group that this version of Aegis runs is registered again, at the oldest message left, when a process starts.
    """
    if not yes and not typer.confirm(
        f"forget how far {group} is on {topic}, and remove what only it has not read?", err=True
    ):
        raise Refused("nothing was changed", code="not_confirmed")

    async def work(wire: Wire, keys: Keys) -> int:
        return await forget_group(wire, keys, topic, group)

    removed = _with_wire(data_dir, work)
    if json:
        print_json({"topic": topic, "group": group, "removed_messages": removed})
    else:
        say(f"{topic} no longer waits for {group}; {removed} messages were removed")


def _with_wire(data_dir: Any, work: Callable[[Wire, Keys], Awaitable[T]]) -> T:
    async def run() -> T:
        wire = Wire(settings_of(data_dir).transport_url, name="aegis-topics")
        try:
            return await work(wire, Keys())
        finally:
            await wire.close()

    return asyncio.run(run())


def _by_topic(found: list[PartitionOverview]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(each.topic for each in found))
    return [
        {
            "name": name,
            "partitions": [
                {
                    "partition": each.partition,
                    "messages": each.entries,
                    "last_offset": each.last_offset,
                    "bytes": each.size_bytes,
                    "groups": [position._asdict() for position in each.groups],
                }
                for each in found
                if each.topic == name
            ],
        }
        for name in names
    ]


def _rows(each: PartitionOverview) -> list[tuple[Any, ...]]:
    facts = (each.partition, each.entries, f"{each.size_bytes / 1024:.1f}")
    if not each.groups:
        return [(*facts, None, None, None, None, None, None)]
    rows = []
    for position in each.groups:
        lease_s = f"{position.lease_left_ms / 1000:.1f}" if position.owner else None
        known = (position.group, position.next_offset, position.lag, position.owner or None, position.epoch, lease_s)
        rows.append((*facts, *known))
    return rows
