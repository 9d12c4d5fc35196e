"""aegis dead-letters: what agents could not work on, and putting it back."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer
from rich.markup import escape

from aegis.cli.console import DataDir, Json, out, print_json, print_table, say, settings_of, shown_time
from topics.dead_letters import DeadLetterLog, LetterPage, Replayed, StoredLetter
from topics.errors import Refused
from topics.redis_streams.dead_letter_log import RedisDeadLetterLog

dead_letters = typer.Typer(
    help="Messages that can never succeed: look at them, and put them back.", no_args_is_help=True
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

    async def work(log: DeadLetterLog) -> LetterPage:
        return await log.page(cursor=cursor, limit=limit, agent=agent, code=code)

    page = _with_log(data_dir, work)
    if json:
        print_json({"dead_letters": [_facts(each) for each in page.letters], "next_cursor": page.next_cursor})
        return
    columns = ("id", "refused_at", "topic", "agent", "code", "replays", "reason")
    rows = [[_shown(facts[column])[:200] for column in columns] for facts in map(_facts, page.letters)]
    if not rows:
        say("there are no dead letters" + (" such as these" if agent or code or cursor else ""))
        return
    print_table("dead letters", columns, rows)
    if page.next_cursor is not None:
        say(f"there are more: --cursor {page.next_cursor}")


@dead_letters.command("show")
def show_letter(letter_id: Id, data_dir: DataDir = None, json: Json = False) -> None:
    """Show one dead letter: where it was, why it is here, its headers, and its value where it is text."""

    async def work(log: DeadLetterLog) -> StoredLetter:
        return await log.get(letter_id)

    stored = _with_log(data_dir, work)
    value = stored.letter.value
    text = _text(value)
    headers = [(name, _text(content) or content.hex()) for name, content in stored.letter.headers]
    if json:
        shown = {"value": text} if text is not None else {"value_base64": base64.b64encode(value).decode()}
        print_json({**_facts(stored), "headers": [list(pair) for pair in headers], **shown})
        return
    rows = [*_facts(stored).items(), *((f"header {name}", content) for name, content in headers)]
    print_table(f"dead letter {stored.id}", ("", ""), [(_shown(name), _shown(fact)) for name, fact in rows])
    if text is None:
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

    async def work(log: DeadLetterLog) -> None:
        for each in [letter_id] if letter_id is not None else await _chosen(log, agent, code):
            try:
                done.append(await log.replay(each))
            except Refused as exc:
                # One that cannot go back must not keep the others here.
                failed.append({"id": each, "code": exc.code, "reason": exc.reason})

    try:
        _with_log(data_dir, work)
    finally:
        # Also when Redis went away in the middle: what was replayed has been replayed.
        _say_replayed(done, failed, json=json)
    if failed:
        raise typer.Exit(2)


def _say_replayed(done: list[Replayed], failed: list[dict[str, str]], *, json: bool) -> None:
    if json:
        print_json({"replayed": [each._asdict() for each in done], "failed": failed, "next_cursor": None})
        return
    for each in done[:50]:
        place = escape(f"{each.topic}[{each.partition}]")
        say(f"{each.id} is back on {place} at offset {each.offset}, replay {each.replays}")
    for letter in failed[:50]:
        say(f"[red]{letter['id']} stays:[/] {_shown(letter['reason'])}")
    say(f"replayed {len(done)} dead letters" + (f", {len(failed)} could not be" if failed else ""))


async def _chosen(log: DeadLetterLog, agent: str | None, code: str | None) -> list[str]:
    """The ids of what is there now: what fails again while this runs must not be replayed for ever."""
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = await log.page(cursor=cursor, limit=_LETTERS_A_PAGE, agent=agent, code=code)
        # What is no dead letter has no topic to go back to.
        ids += (each.id for each in page.letters if each.letter.topic)
        if (cursor := page.next_cursor) is None:
            return ids


def _with_log(data_dir: Any, work: Callable[[DeadLetterLog], Awaitable[T]]) -> T:
    async def run() -> T:
        log = RedisDeadLetterLog(settings_of(data_dir).transport_url)
        try:
            return await work(log)
        finally:
            await log.close()

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
        "bytes": len(letter.value),
    }


def _refused_at(stored: StoredLetter) -> str | None:
    try:
        return shown_time(datetime.fromtimestamp(stored.letter.refused_at_ms / 1000, UTC))
    except (OverflowError, ValueError, OSError):
        return None  # A letter may say anything.


def _shown(fact: Any) -> str:
    """A fact in a table: a letter's own words must neither be taken for markup nor reach the terminal as control characters."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in str(fact)))


def _text(value: bytes) -> str | None:
    """Bytes as text, None where they are none; a terminal must not be sent control characters."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if all(c.isprintable() or c in "\n\t" for c in text) else None
