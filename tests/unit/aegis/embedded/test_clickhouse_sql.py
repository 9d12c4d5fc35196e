"""SQL bytes -> Statement: kinds, formats, where data begin, what is refused."""

from __future__ import annotations

import pytest

from aegis.embedded.clickhouse.failures import QueryFailure
from aegis.embedded.clickhouse.sql import kill_target, scan


@pytest.mark.parametrize(
    ("sql", "kind", "named"),
    [
        (b"SELECT 1", "read", None),
        (b"SELECT 1\n FORMAT Native", "read", "Native"),
        (b"select 1 format JSON;", "read", "JSON"),
        (b"-- FORMAT CSV\nSELECT 'FORMAT TSV' AS `FORMAT X`, \"FORMAT Y\" /* FORMAT Z */", "read", None),
        (b"SELECT (SELECT 1 AS FORMAT) FORMAT CSV SETTINGS max_threads=1", "read", "CSV"),
        (b"/* hello */ WITH 1 AS x SELECT x", "read", None),
        (b"(SELECT 1)", "read", None),
        (b"SELECT $$ a; FORMAT CSV $$", "read", None),
        (b"SHOW TABLES", "read", None),
        (b"CREATE TABLE t (a String) ENGINE = Memory", "other", None),
        (b"INSERT INTO t SELECT * FROM u FORMAT Null", "other", None),
        (b"KILL QUERY WHERE 1", "kill", None),
        (b"SELECT 'it''s \\' FORMAT CSV'", "read", None),
    ],
)
def test_kind_and_output_format(sql: bytes, kind: str, named: str | None) -> None:
    statement = scan(sql)
    assert (statement.kind, statement.format) == (kind, named)


@pytest.mark.parametrize(
    ("sql", "head", "settings", "named", "data"),
    [
        (b"INSERT INTO t (a, b) FORMAT CSV\n1,2\n", b"INSERT INTO t (a, b) ", b"", "CSV", b"1,2\n"),
        (b"insert into t format JSONEachRow {\"a\":1}", b"insert into t ", b"", "JSONEachRow", b'{"a":1}'),
        (b"INSERT INTO t FORMAT Native\r\n\x00\n;'", b"INSERT INTO t ", b"", "Native", b"\x00\n;'"),
        (b"INSERT INTO t FORMAT TSV\n\n1\n", b"INSERT INTO t ", b"", "TSV", b"\n1\n"),
        (b"INSERT INTO t (`FORMAT`) SETTINGS a=0 FORMAT CSV\n1", b"INSERT INTO t (`FORMAT`) ", b"SETTINGS a=0", "CSV", b"1"),
        (b"INSERT INTO t (a) VALUES (1), (2);", b"INSERT INTO t (a) ", b"", "Values", b" (1), (2);"),
        (b"INSERT INTO db.t SETTINGS x='FORMAT a' VALUES (1)", b"INSERT INTO db.t ", b"SETTINGS x='FORMAT a'", "Values", b" (1)"),
        (b"INSERT INTO FUNCTION null('a String') FORMAT TSV\nx", b"INSERT INTO FUNCTION null('a String') ", b"", "TSV", b"x"),
    ],
)  # fmt: skip
def test_an_insert_is_cut_where_its_data_begin(
    sql: bytes, head: bytes, settings: bytes, named: str, data: bytes
) -> None:
    statement = scan(sql)
    assert statement.kind == "insert_data"
    assert (statement.head, statement.settings, statement.format) == (head, settings, named)
    assert sql[statement.data_offset :] == data


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        (b"", 62),
        (b"  -- nothing\n", 62),
        (b"SELECT 1; DROP TABLE t", 62),
        (b"SELECT 1;\n/* c */ SELECT 2", 62),
        (b"CREATE TABLE t (a Int8) ENGINE=Memory; INSERT INTO t VALUES (1)", 62),
        (b"INSERT INTO t SELECT 1; DROP TABLE t", 62),
        (b"INSERT INTO t FORMAT ", 62),
        (b"SELECT 1 INTO OUTFILE '/etc/passwd'", 1),
        (b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT LineAsString", 1),
    ],
)
def test_what_is_refused(sql: bytes, code: int) -> None:
    with pytest.raises(QueryFailure) as caught:
        scan(sql)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "sql", [b"SELECT 1;", b"SELECT 1 ; \n -- done\n", b"SELECT ';'", b"SELECT 1 /* ; */", b"SELECT 1;;"]
)
def test_one_statement_may_end_with_a_semicolon(sql: bytes) -> None:
    assert scan(sql).kind == "read"


def test_kill_by_query_id() -> None:
    assert kill_target("KILL QUERY WHERE query_id = 'a\\'b' SYNC", {}) == ("a'b", "SYNC")
    assert kill_target("kill query where query_id={id:String}", {"id": "q1"}) == ("q1", "ASYNC")
    assert kill_target("KILL QUERY WHERE user = 'x'", {}) is None
    assert kill_target("KILL QUERY WHERE query_id = 'a' OR 1", {}) is None
