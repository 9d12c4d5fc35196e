"""What commands print: tables and words for people, one JSON document for scripts."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aegis.settings import Settings, load_settings

# A table for a file or a pipe need not fit a screen.
out = Console() if sys.stdout.isatty() else Console(width=160)
err = Console(stderr=True, highlight=False)

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="folder of the instance (AEGIS_DATA_DIR, default .aegis)", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON document and nothing else on standard output")]


def settings_of(data_dir: Path | None, *, beside_instance: bool = True, **options: Any) -> Settings:
    """The settings, with command-line options that were given put over them."""
    given = {name: value for name, value in options.items() if value is not None}
    return load_settings(data_dir, given, beside_instance=beside_instance)


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    print(orjson.dumps(document).decode(), flush=True)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on standard output; None shows as a dash."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("-" if cell is None else str(cell) for cell in row))
    out.print(table)


def shown_time(moment: datetime | None) -> str | None:
    """A time as the API shows it."""
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def shown_moment(unix_ms: int) -> str | None:
    """Unix milliseconds as the API shows them, None where they are no time at all: others may have written anything."""
    try:
        return shown_time(datetime.fromtimestamp(unix_ms / 1000, UTC))
    except (OverflowError, ValueError, OSError):
        return None


def shown_text(value: bytes) -> str | None:
    """Bytes as text, None where they are none; a terminal must not be sent control characters."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if all(c.isprintable() or c in "\n\t" for c in text) else None


def shown_fact(fact: Any) -> str:
    """A fact in a table: what others wrote must neither be taken for markup nor reach the terminal as control characters."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in str(fact)))


def bytes_as_json(value: bytes) -> dict[str, str]:
    """Bytes in a document: {"text": ...} where they are text, else {"hex": ...}."""
    text = shown_text(value)
    return {"hex": value.hex()} if text is None else {"text": text}


def headers_as_json(headers: Iterable[tuple[str, bytes]]) -> list[dict[str, str]]:
    """Headers in a document, in their order: {"name": ..., "text": ...} or {"name": ..., "hex": ...} each."""
    return [{"name": name, **bytes_as_json(value)} for name, value in headers]


def say(text: str) -> None:
    """A line for people, on standard error."""
    err.print(text, soft_wrap=True)


def say_error(text: str) -> None:
    """Why a command ends."""
    err.print(f"[bold red]error:[/] {text.replace('[', chr(92) + '[')}", soft_wrap=True)
