"""A named SELECT of ours and its values in; rows of one organization out: the raw query of the ClickHouse tables.

For questions that have no store method of their own. Two walls stand between organizations, each enough alone:

1. The text is never a caller's: it is a `ScopedQuery`, which only `load_scoped_queries` makes, from files of this repository. A
   file is refused when a query of it does not bind {org_id:String}, reads anything but tenants' tables, or is no plain SELECT.
2. The server filters every tenants' table by the organization (`additional_table_filters`), in whatever part of the query it is
   read, and `readonly` = 1 keeps the query from changing settings. So a query that forgets its condition shows nothing foreign.

SQL of users is not offered: functions such as `merge()` or `mergeTreeIndex()` and the tables of `system` pass by the second wall,
and the embedded engine has neither users nor row policies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from storage.clickhouse import Answer, ClickHouse
from storage.named_queries import load_queries
from storage.scope import OrgScope
from storage.search_limits import SearchLimits
from topics.errors import Refused

TENANT_TABLES = ("logs", "spans", "rum_events", "logs_hourly", "spans_hourly", "rum_hourly")

Row = TypeVar("Row")
_MADE_HERE = object()
_NONE: Mapping[str, Any] = MappingProxyType({})
_BINDS_ORGANIZATION = re.compile(r"\borg_id = \{org_id:String\}")
_SOURCE = re.compile(r"\b(?:FROM|JOIN|IN|TABLE)\b\s*([^\s(]\S*)", re.IGNORECASE)
# `FROM logs, other`: the second one would not be looked at. A comma behind a parenthesis is another part of the query's.
_LISTED_SOURCES = re.compile(r"\bFROM\s+[^\s(),]+(?:\s+(?:AS\s+)?\w+)?\s*,", re.IGNORECASE)
_COMMENT = re.compile(r"--|/\*|#")
_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'")
_NAMED = re.compile(r"(?:\bWITH|,)\s+([a-z_]+)\s+AS\s+\(", re.IGNORECASE)
_REFUSED_WORD = re.compile(r"\b(?:SETTINGS|FORMAT|OUTFILE|INFILE|dictGet\w*|joinGet\w*)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ScopedQuery:
    """One checked query. Made by `load_scoped_queries` alone."""

    name: str
    sql: str
    made_by: object

    def __post_init__(self) -> None:
        if self.made_by is not _MADE_HERE:
            raise TypeError("a ScopedQuery comes from load_scoped_queries")


def load_scoped_queries(file_name: str) -> Mapping[str, ScopedQuery]:
    """Read and check `storage/queries/<file_name>`; returns name -> query. Raises `Refused` for a query that is not scoped."""
    queries = load_queries(file_name)
    return MappingProxyType({name: checked(name, sql, file_name) for name, sql in queries.items()})


def checked(name: str, sql: str, file_name: str) -> ScopedQuery:
    """Make a `ScopedQuery` of a text from `file_name`. Raises `Refused` and says what is wrong with it."""

    def refused(why: str) -> Refused:
        return Refused(f"cannot use {name} of {file_name}: {why}", code="bad_query_file")

    code = _TEXT.sub("''", sql)
    if not re.match(r"(?:SELECT|WITH)\b", code, re.IGNORECASE):
        raise refused("it is not a SELECT")
    if not _BINDS_ORGANIZATION.search(code):
        raise refused("it does not compare org_id with {org_id:String}")
    word = _REFUSED_WORD.search(code)
    if word:
        raise refused(f"it says {word[0]}")
    if _COMMENT.search(code):
        raise refused("it has a comment inside, where the check does not see")
    if _LISTED_SOURCES.search(code):
        raise refused("it lists tables with commas; say JOIN")
    allowed = {*TENANT_TABLES, *_NAMED.findall(code)}
    for source in _SOURCE.findall(code):
        # A bound array may stand behind IN.
        table = source.rstrip(",)")
        if table not in allowed and not table.startswith("{"):
            raise refused(f"it reads {table}, which is no table of tenants")
    return ScopedQuery(name, sql, _MADE_HERE)


class ScopedQueries:
    """Runs scoped queries, read-only and within limits, in one ClickHouse."""

    def __init__(self, clickhouse: ClickHouse, limits: SearchLimits | None = None) -> None:
        self._clickhouse = clickhouse
        self._limits = limits or SearchLimits()

    async def read(
        self,
        scope: OrgScope,
        query: ScopedQuery,
        row_type: type[Row],
        parameters: Mapping[str, Any] = _NONE,
        limits: SearchLimits | None = None,
        *,
        doing: str,
    ) -> Answer[Row]:
        """The rows of one query for one organization; `parameters` are bound, and `org_id` is always the scope's.

        Raises `Unavailable`, and `TooExpensive` past a limit."""
        # The id is a canonical UUID (`OrgScope`), so it can stand in the text of a filter, where nothing can be bound.
        condition = f"org_id = \\'{scope.org_id}\\'"
        filters = ", ".join(f"'{table}': '{condition}'" for table in TENANT_TABLES)
        settings = {**(limits or self._limits).settings(), "additional_table_filters": f"{{{filters}}}", "readonly": 1}
        bound = {**parameters, "org_id": scope.org_id}
        return await self._clickhouse.read(query.sql, row_type, bound, settings, doing=doing)
