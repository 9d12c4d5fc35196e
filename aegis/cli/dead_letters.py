"""aegis dead-letters: what agents could not work on; putting it back, and throwing it away."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer
from rich.markup import escape

from aegis.cli.console import (
    DataDir,
    Json,
    bytes_as_json,
    headers_as_json,
    out,
    print_json,
    print_table,
    say,
    settings_of,
    shown_fact,
    shown_moment,
    shown_text,
)
from topics.dead_letters import DeadLetters, LetterPage, Replayed, StoredLetter
from topics.errors import Refused
from topics.stream_store import Removed

dead_letters = typer.Typer(
    help="Messages that can never succeed: look at them, put them back, throw them away.", no_args_is_help=True
)

T = TypeVar("T")

Id = Annotated[str, typer.Argument(metavar="ID", help="<partition>-<offset>, as `list` shows it")]
Agent = Annotated[str | None, typer.Option(help="only of this agent", show_default=False)]
Code = Annotated[str | None, typer.Option(help="only with this code", show_default=False)]

_LETTERS_A_PAGE = 100


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.add_typer(dead_letters, name="dead-letters")


@dead_letters.command("list")
def list_letters(
    agent: Agent = None,
    code: Code = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="most letters shown")] = 50,
    cursor: Annotated[str | None, typer.Option(help="go on behind this one", show_default=False)] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List dead letters, each with its reason."""

    async def work(letters: DeadLetters) -> tuple[LetterPage, Removed]:
        return await letters.page(cursor=cursor, limit=limit, agent=agent, code=code), await letters.removed()

    page, removed = _with_letters(data_dir, work)
    if json:
        print_json(
            {
                "dead_letters": [_facts(each) for each in page.letters],
                "next_cursor": page.next_cursor,
                "removed_to_keep_the_bound": removed._asdict(),
            }
        )
        return
    if removed.messages:
        say(f"{removed.messages} older ones were removed: see AEGIS_DEAD_LETTERS_BYTES_MAX")
    columns = ("id", "refused_at", "topic", "agent", "code", "replays", "reason")
    rows = [[shown_fact(facts[column])[:200] for column in columns] for facts in map(_facts, page.letters)]
    if not rows:
        say("there are no dead letters" + (" such as these" if agent or code or cursor else ""))
        return
    print_table("dead letters", columns, rows)
    if page.next_cursor is not None:
        say(f"there are more: --cursor {page.next_cursor}")


@dead_letters.command("show")
def show_letter(letter_id: Id, data_dir: DataDir = None, json: Json = False) -> None:
    """Show one dead letter: where it was, why it is here, its headers, and its value where it is text."""

    async def work(letters: DeadLetters) -> tuple[StoredLetter, bytes | None]:
        return await letters.get(letter_id), await letters.read_value(letter_id)

    stored, value = _with_letters(data_dir, work)
    headers, key = stored.letter.headers, stored.key
    if json:
        shown_key = None if key is None else bytes_as_json(key)
        print_json({**_facts(stored), "key": shown_key, "headers": headers_as_json(headers), **_value_as_json(value)})
        return
    rows = [*_facts(stored).items(), *([("key", shown_text(key) or key.hex())] if key is not None else [])]
    rows += [(f"header {name}", shown_text(content) or content.hex()) for name, content in headers]
    print_table(f"dead letter {stored.id}", ("", ""), [(shown_fact(name), shown_fact(fact)) for name, fact in rows])
    text = None if value is None else shown_text(value)
    if value is None:
        say("there is no value: the message was a tombstone")
    elif text is None:
        say(f"the value is {len(value)} bytes that are no text; --json gives them in base64")
    else:
        out.print(text, markup=False, highlight=False, soft_wrap=True)


@dead_letters.command("replay")
def replay_letters(
    letter_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="one letter", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="every letter, or those that --agent and --code choose")] = False,
    agent: Agent = None,
    code: Code = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Put messages back on the topics they came from, and take their letters away.

    What still cannot succeed becomes a new letter, with the number of its replays.
    """
    if (letter_id is None) != every:
        raise Refused("cannot replay: give either the id of a letter or --all")
    if letter_id is not None and (agent or code):
        raise Refused("cannot replay: --agent and --code choose among --all")

    done: list[Replayed] = []
    failed: list[dict[str, str]] = []

    async def work(letters: DeadLetters) -> None:
        for each in [letter_id] if letter_id is not None else await _chosen(letters, agent, code):
            try:
                done.append(await letters.replay(each))
            except Refused as exc:
                # One that cannot go back must not keep the others here.
                failed.append({"id": each, "code": exc.code, "reason": exc.reason})

    try:
        _with_letters(data_dir, work)
    finally:
        # Also when Redis went away in the middle: what was replayed has been replayed.
        _say_replayed(done, failed, json=json)
    if failed:
        raise typer.Exit(2)


@dead_letters.command("discard")
def discard_letters(
    letter_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", show_default=False)] = None,
    older_than: Annotated[
        str | None, typer.Option(help="every letter older than this: 30d, 12h, 45m or 10s", show_default=False)
    ] = None,
    agent: Agent = None,
    code: Code = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Remove dead letters for good, by their ids or by their age. What they hold is in no store."""
    if bool(letter_ids) == (older_than is not None):
        raise Refused("cannot discard: give either ids of letters or --older-than")
    if letter_ids and (agent or code):
        raise Refused("cannot discard: --agent and --code choose among --older-than")
    before_ms = time.time() * 1000 - _duration_s(older_than) * 1000 if older_than else None
    what = f"every letter older than {older_than}" if older_than else f"{len(letter_ids or ())} letters"
    if not yes and not typer.confirm(f"remove {what} for good?", err=True):
        raise Refused("nothing was changed", code="not_confirmed")

    done: list[str] = []
    failed: list[dict[str, str]] = []

    async def work(letters: DeadLetters) -> None:
        for each in letter_ids or await _chosen(letters, agent, code, before_ms):
            try:
                await letters.discard(each)
                done.append(each)
            except Refused as exc:
                failed.append({"id": each, "code": exc.code, "reason": exc.reason})

    try:
        _with_letters(data_dir, work)
    finally:
        if json:
            print_json({"discarded": done, "failed": failed, "next_cursor": None})
        else:
            for letter in failed[:50]:
                say(f"[red]{shown_fact(letter['id'])}:[/] {shown_fact(letter['reason'])}")
            say(f"discarded {len(done)} dead letters")
    if failed:
        raise typer.Exit(2)


def _duration_s(text: str) -> float:
    """`30d` -> seconds."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise Refused(f"cannot read {text!r}: an age is a number and one of s, m, h, d, for example 30d")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def _say_replayed(done: list[Replayed], failed: list[dict[str, str]], *, json: bool) -> None:
    if json:
        print_json({"replayed": [each._asdict() for each in done], "failed": failed, "next_cursor": None})
        return
    for each in done[:50]:
        place = escape(f"{each.topic}[{each.partition}]")
        say(f"{each.id} is back on {place} at offset {each.offset}, replay {each.replays}")
    for letter in failed[:50]:
        say(f"[red]{letter['id']} stays:[/] {shown_fact(letter['reason'])}")
    say(f"replayed {len(done)} dead letters" + (f", {len(failed)} could not be" if failed else ""))


async def _chosen(
    letters: DeadLetters, agent: str | None, code: str | None, before_ms: float | None = None
) -> list[str]:
    """The ids of what is there now: what fails again while this runs must not be replayed for ever.

    Without `before_ms` only what can go back somewhere; an entry that is no dead letter has no topic.
    """
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = await letters.page(cursor=cursor, limit=_LETTERS_A_PAGE, agent=agent, code=code)
        for each in page.letters:
            if each.letter.topic if before_ms is None else each.letter.refused_at_ms < before_ms:
                ids.append(each.id)
        if (cursor := page.next_cursor) is None:
            return ids


def _value_as_json(value: bytes | None) -> dict[str, Any]:
    if value is None:
        return {"value": None}
    text = shown_text(value)
    return {"value": text} if text is not None else {"value_base64": base64.b64encode(value).decode()}


def _with_letters(data_dir: Any, work: Callable[[DeadLetters], Awaitable[T]]) -> T:
    from aegis.wiring import opened_stream_store  # Imported here, because it loads every store's client.

    async def run() -> T:
        async with opened_stream_store(settings_of(data_dir)) as store:
            return await work(DeadLetters(store))

    return asyncio.run(run())


def _facts(stored: StoredLetter) -> dict[str, Any]:
    letter = stored.letter
    return {
        "id": stored.id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "agent": letter.agent,
        "code": letter.code,
        "reason": letter.reason,
        "refused_at": _refused_at(stored),
        "replays": letter.replays,
        "bytes": stored.value_bytes,
    }


def _refused_at(stored: StoredLetter) -> str | None:
    return shown_moment(stored.letter.refused_at_ms)
