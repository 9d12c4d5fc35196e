"""aegis topics: what flows, who works on it and how far they are; a look at messages, and a hand on them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, TypeVar

import typer

from aegis.cli.console import (
    DataDir,
    Json,
    bytes_as_json,
    headers_as_json,
    print_json,
    print_table,
    say,
    settings_of,
    shown_fact,
    shown_moment,
    shown_text,
)
from topics.errors import Refused
from topics.redis_streams.keys import Keys
from topics.redis_streams.overview import PartitionOverview, forget_group, read_overview
from topics.redis_streams.wire import Wire
from topics.stream_store import PeekedMessage, StreamStore, parse_place

topics = typer.Typer(help="Topics: partitions, owners, positions and lag.", invoke_without_command=True)

T = TypeVar("T")

Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="for example logs.raw")]


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
    topic: Topic,
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


@topics.command("peek")
def peek(
    topic: Topic,
    partition: Annotated[int | None, typer.Option(min=0, help="only this one", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="most messages shown")] = 20,
    preview: Annotated[int, typer.Option(min=0, max=65536, help="bytes of each value that are shown")] = 120,
    cursor: Annotated[str | None, typer.Option(help="go on behind this one", show_default=False)] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show messages of a topic, oldest first, as no group: nobody's position moves."""
    first, after = parse_place(cursor) if cursor else (partition or 0, 0)

    async def work(store: StreamStore) -> list[PeekedMessage]:
        found: list[PeekedMessage] = []
        begin = after
        for number in range(first, await store.partitions(topic)) if partition is None else (partition,):
            while len(found) < limit and (
                more := await store.peek(topic, number, after=begin, limit=limit - len(found), preview_bytes=preview)
            ):
                found += more
                begin = more[-1].offset
            begin = 0
        return found

    found = _with_store(data_dir, work)
    # Whether there is more behind a full page is only known by looking: an empty page says so.
    next_cursor = f"{found[-1].partition}-{found[-1].offset}" if len(found) == limit else None
    if json:
        print_json({"messages": [_peeked_as_json(each) for each in found], "next_cursor": next_cursor})
        return
    columns = ("message", "added", "key", "bytes", "headers", "value")
    print_table(f"messages of {topic}", columns, [_peeked_row(each) for each in found])
    if next_cursor is not None:
        say(f"there may be more: --cursor {next_cursor}")


@topics.command("trim")
def trim(topic: Topic, data_dir: DataDir = None, json: Json = False) -> None:
    """Remove what every group has read. Commits do it all along; what a group has not read is never removed."""
    removed = _with_store(data_dir, lambda store: store.trim(topic))
    if json:
        print_json({"topic": topic, "removed_messages": removed})
    else:
        say(f"{removed} messages of {topic} were removed")


@topics.command("add")
def add(
    topic: Topic,
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(metavar="FILE", help="what the message says; - reads standard input")
    ],
    header: Annotated[list[str] | None, typer.Option(help="NAME=TEXT; repeat for several", show_default=False)] = None,
    key: Annotated[str | None, typer.Option(help="chooses the partition", show_default=False)] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Add one message, as the gateway would: within the same bounds, and confirmed."""
    pairs = [each.partition("=") for each in header or ()]
    if wrong := [name for name, equals, _ in pairs if not (name and equals)]:
        raise Refused(f"cannot add: --header {wrong[0]!r} is not NAME=TEXT")
    headers = [(name, text.encode()) for name, _, text in pairs]
    value = file.read()

    async def work(store: StreamStore) -> None:
        await store.partitions(topic)
        await store.add(topic, value, headers, key=None if key is None else key.encode())

    _with_store(data_dir, work, adds_to=[topic])
    if json:
        print_json({"topic": topic, "bytes": len(value)})
    else:
        say(f"added {len(value)} bytes to {topic}")


def _peeked_as_json(each: PeekedMessage) -> dict[str, Any]:
    return {
        "partition": each.partition,
        "offset": each.offset,
        "added_at": shown_moment(each.timestamp_ms),
        "key": None if each.key is None else bytes_as_json(each.key),
        "headers": headers_as_json(each.headers),
        "bytes": each.value_bytes,
        "preview": bytes_as_json(each.preview),
    }


def _peeked_row(each: PeekedMessage) -> tuple[Any, ...]:
    headers = ", ".join(f"{name}={shown_text(value) or value.hex()}" for name, value in each.headers)
    key = None if each.key is None else shown_fact(shown_text(each.key) or each.key.hex())
    preview = shown_fact(each.preview.decode(errors="replace"))
    place = f"{each.partition}-{each.offset}"
    return (place, shown_moment(each.timestamp_ms), key, each.value_bytes, shown_fact(headers), preview)


def _with_store(data_dir: Any, work: Callable[[StreamStore], Awaitable[T]], *, adds_to: Sequence[str] = ()) -> T:
    from aegis.wiring import opened_stream_store  # Imported here, because it loads every store's client.

    async def run() -> T:
        async with opened_stream_store(settings_of(data_dir), adds_to=adds_to) as store:
            return await work(store)

    return asyncio.run(run())


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
