"""A folder of numbered SQL files in, the list of migrations out; and which of them a database still lacks.

Forward only: `NNNN_verb_object.sql`, numbered from 0001 without gaps, never edited once released (the text's hash is recorded).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from topics.errors import Refused

_FILE_NAME = re.compile(r"(\d{4})_([a-z][a-z0-9]*(?:_[a-z0-9]+)+)\.sql")
_STATEMENT_END = re.compile(r";[ \t]*$", re.MULTILINE)


Recorded = Mapping[int, tuple[str, str]]
"""Number -> (name, sha256): what a store says was applied."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `name` is `verb_object`, `text` the SQL with line ends as \\n."""

    target: str
    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Hash of the text, hexadecimal; what a database records."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_migrations(target: str, folder: Path) -> list[Migration]:
    """All migrations of a folder in order; none when it does not exist. Raises `Refused` for a bad name, a gap or a duplicate."""
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        if path.name == "schema.sql":
            continue
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise _bad(target, f"{path.name} is not named NNNN_verb_object.sql")
        text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
        found.append(Migration(target, int(match[1]), match[2], text))
    for expected, migration in enumerate(found, start=1):
        if migration.number < expected:
            raise _bad(target, f"number {migration.number:04} is there twice")
        if migration.number > expected:
            raise _bad(target, f"number {expected:04} is missing")
    return found


def pending_migrations(target: str, migrations: Sequence[Migration], recorded: Recorded) -> list[Migration]:
    """What is still to be applied; `recorded` is number -> (name, sha256) as the database has it.

    Raises `Refused` when the database is newer than this version, or when a file was changed, renamed or skipped since.
    """
    known = {migration.number: migration for migration in migrations}
    for number in sorted(recorded):
        name, sha256 = recorded[number]
        if number not in known:
            raise _bad(target, f"the database has {number:04}_{name}, which this version does not know: it is newer")
        if known[number].name != name:
            raise _bad(target, f"the database has {number:04}_{name}, this version {number:04}_{known[number].name}")
        if known[number].sha256 != sha256:
            raise _bad(target, f"{number:04}_{name} was changed after it was applied: write a new migration instead")
    missing = [migration for migration in migrations if migration.number not in recorded]
    if recorded and missing and missing[0].number < max(recorded):
        raise _bad(target, f"the database lacks {missing[0].number:04}_{missing[0].name} but has later ones")
    return missing


def split_statements(migration: Migration) -> list[str]:
    """The statements of a ClickHouse file, which takes one a request; each ends with `;` at the end of a line.

    Raises `Refused` for more than one ALTER: they are not atomic together, so a crash between two could not be repeated.
    """
    code = "\n".join(line for line in migration.text.splitlines() if not line.lstrip().startswith("--"))
    statements = [text.strip() for text in _STATEMENT_END.split(code) if text.strip()]
    label = f"{migration.number:04}_{migration.name}"
    if not statements:
        raise _bad(migration.target, f"{label} has no statement")
    if sum(text.upper().startswith("ALTER") for text in statements) > 1:
        raise _bad(migration.target, f"{label} has more than one ALTER: give each its own file")
    return statements


def _bad(target: str, why: str) -> Refused:
    return Refused(f"cannot migrate {target}: {why}", code="bad_migration")
