"""What may be a scoped query: a SELECT of tenants' tables that binds the organization, and nothing else."""

from __future__ import annotations

import pytest

from storage.scoped_queries import ScopedQuery, checked, load_scoped_queries
from topics.errors import Refused

SCOPED = "SELECT count() FROM logs WHERE org_id = {org_id:String}"


@pytest.mark.parametrize(
    "sql",
    [
        SCOPED,
        f"WITH mine AS ({SCOPED}) SELECT * FROM mine",
        f"WITH a AS ({SCOPED}), b AS ({SCOPED}) SELECT * FROM a JOIN b ON true",
        f"{SCOPED} AND service IN {{services:Array(String)}} AND message = 'FROM system.tables SETTINGS x'",
        f"{SCOPED} AND trace_id IN (SELECT trace_id FROM spans WHERE org_id = {{org_id:String}})",
    ],
)
def test_a_scoped_select_is_taken(sql: str) -> None:
    assert checked("q", sql, "test.sql").sql == sql


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT count() FROM logs", "does not compare org_id"),
        ("SELECT count() FROM logs WHERE org_id = 'me'", "does not compare org_id"),
        ("SELECT ' org_id = {org_id:String}' FROM logs", "does not compare org_id"),
        ("INSERT INTO logs SELECT * FROM logs WHERE org_id = {org_id:String}", "not a SELECT"),
        ("DROP TABLE logs", "not a SELECT"),
        (f"{SCOPED} SETTINGS additional_table_filters = {{}}", "it says SETTINGS"),
        (f"{SCOPED} INTO OUTFILE 'x'", "it says OUTFILE"),
        (f"{SCOPED} UNION ALL SELECT count() FROM system.parts", "reads system.parts"),
        (f"{SCOPED} UNION ALL SELECT count() FROM other.logs", "reads other.logs"),
        (f"{SCOPED} UNION ALL SELECT count() FROM `logs`", "reads `logs`"),
        (f"{SCOPED} UNION ALL SELECT count() FROM merge('', '.*')", "reads merge"),
        (f"{SCOPED} UNION ALL SELECT count() FROM merge ('', '.*')", "reads merge"),
        (f"{SCOPED} UNION ALL SELECT count() FROM/**/system.parts", "comment"),
        (f"{SCOPED} UNION ALL SELECT count() FROM -- x\n system.parts", "comment"),
        (f'{SCOPED} UNION ALL SELECT count() FROM"system"."parts"', 'reads "system"."parts"'),
        (f"{SCOPED} UNION ALL SELECT count() FROM logs, system.parts", "lists tables"),
        (f"{SCOPED} UNION ALL SELECT count() FROM logs AS l , system.parts", "lists tables"),
        (f"{SCOPED} AND 1 IN schema_migrations", "reads schema_migrations"),
        (f"{SCOPED} AND dictGetString('d', 'x', 1) = ''", "it says dictGetString"),
    ],
)
def test_anything_else_is_refused(sql: str, why: str) -> None:
    with pytest.raises(Refused) as caught:
        checked("q", sql, "test.sql")
    assert why in caught.value.reason


def test_a_query_cannot_be_made_beside_the_check() -> None:
    with pytest.raises(TypeError):
        ScopedQuery("q", "SELECT * FROM logs", object())


def test_the_hourly_queries_are_scoped() -> None:
    assert set(load_scoped_queries("hourly.sql")) == {"logs", "spans", "spans_in_all", "rum"}
