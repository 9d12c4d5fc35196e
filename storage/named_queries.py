"""A file of SQL with `-- name:` headers in, its queries by name out.

SQL stays in `.sql` files where editors and `psql` read it. A file is a list of blocks: a line `-- name: verb_object`, comment
lines, then one statement. Anything else is an error when the module that asks for it is imported, not when the query runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from topics.errors import Refused

_HEADER = re.compile(r"-- name: ([a-z][a-z0-9_]*)")
_FOLDER = Path(__file__).parent / "queries"


def load_queries(file_name: str) -> Mapping[str, str]:
    """Read `storage/queries/<file_name>`; returns name -> statement, read-only. Raises `Refused` for a malformed file."""
    return parse_queries((_FOLDER / file_name).read_text(encoding="utf-8"), file_name)


def parse_queries(text: str, file_name: str) -> Mapping[str, str]:
    """Split `text` into its named statements, comments and the closing semicolon removed. Raises `Refused` as `load_queries`."""
    blocks: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"cannot read {file_name}: line {number}"
        if line.startswith("-- name:"):
            header = _HEADER.fullmatch(line.rstrip())
            if header is None:
                raise Refused(f"{where} is not `-- name: verb_object`", code="bad_query_file")
            if header[1] in blocks:
                raise Refused(f"{where} names {header[1]} a second time", code="bad_query_file")
            lines = blocks[header[1]] = []
        elif not line.strip() or line.lstrip().startswith("--"):
            continue
        elif lines is None:
            raise Refused(f"{where} comes before the first `-- name:`", code="bad_query_file")
        else:
            lines.append(line.rstrip())
    return MappingProxyType({name: _statement(name, body, file_name) for name, body in blocks.items()})


def _statement(name: str, lines: list[str], file_name: str) -> str:
    statement = "\n".join(lines).removesuffix(";").rstrip()
    if not statement:
        raise Refused(f"cannot read {file_name}: {name} has no statement", code="bad_query_file")
    if any(line.endswith(";") for line in statement.splitlines()):
        raise Refused(f"cannot read {file_name}: {name} has more than one statement", code="bad_query_file")
    return statement
