"""Every failure of ClickHouse is one of our three kinds, told apart by its code."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from storage.clickhouse import ClickHouseAddress
from storage.clickhouse_errors import translate
from topics.errors import Refused, TooExpensive, Unavailable
from web.error_replies import error_reply


def _error(code: int | None, text: str = "went wrong") -> DatabaseError:
    return DatabaseError(f"Received ClickHouse exception, code: {code}, server response: {text}", code=code)


@pytest.mark.parametrize("code", [None, 202, 209, 210, 252, 394, 999, 1001, 12345])
@pytest.mark.parametrize("writing", [True, False])
def test_what_may_pass_is_unavailable(code: int | None, writing: bool) -> None:
    assert isinstance(translate(_error(code), "x", {}, writing=writing), Unavailable)


def test_a_lost_connection_is_unavailable() -> None:
    for exc in (OperationalError("Network Error: reset"), TimeoutError(), ConnectionResetError()):
        assert isinstance(translate(exc, "x", {}, writing=True), Unavailable)


@pytest.mark.parametrize("code", [60, 81, 16, 47])
def test_an_older_schema_is_unavailable_and_says_what_to_run(code: int) -> None:
    assert "aegis migrate" in str(translate(_error(code), "store logs", {}, writing=True))


@pytest.mark.parametrize("code", [6, 33, 53, 70, 117, 349])
def test_a_block_that_can_never_be_stored_is_refused_for_writes_only(code: int) -> None:
    refused = translate(_error(code), "store logs", {}, writing=True)
    assert isinstance(refused, Refused)
    assert refused.code == "bad_block"
    assert isinstance(translate(_error(code), "search", {}, writing=False), Unavailable)


def test_a_limit_is_named_with_its_value_for_reads_only() -> None:
    limits = {"max_execution_time": 30}
    expensive = translate(_error(159), "search logs", limits, writing=False)
    assert isinstance(expensive, TooExpensive)
    assert expensive.limit == "max_execution_time = 30"
    assert isinstance(translate(_error(159), "store logs", limits, writing=True), Unavailable)


@pytest.mark.parametrize(
    ("code", "text", "asked"),
    [
        (
            158,
            "max rows: 200.00 thousand, current rows: 507.90 thousand: While",
            "the rows to read of this query (507.90 thousand, or more)",
        ),
        (
            307,
            "max bytes: 19.07 MiB, current bytes: 19.34 MiB: While",
            "the bytes to read of this query (19.34 MiB, or more)",
        ),
        (
            159,
            "Timeout exceeded: elapsed 1000.2 ms, maximum: 1000 ms",
            "the running time of this query (1000.2 ms, or more)",
        ),
        (159, "no figure here", "the running time of this query"),
    ],
)
def test_what_was_asked_is_said_where_the_server_says_it(code: int, text: str, asked: str) -> None:
    expensive = translate(_error(code, text), "search", {"max_rows_to_read": 1}, writing=False)
    assert isinstance(expensive, TooExpensive)
    assert expensive.asked == asked


def test_the_memory_of_a_query_and_of_the_server_are_told_apart() -> None:
    limits = {"max_memory_usage": 1000}
    own = _error(241, "DB::Exception: Query memory limit exceeded: would use 2 GiB")
    servers = _error(241, "DB::Exception: (total) memory limit exceeded: would use 20 GiB")
    assert isinstance(translate(own, "search", limits, writing=False), TooExpensive)
    assert isinstance(translate(servers, "search", limits, writing=False), Unavailable)
    assert isinstance(translate(own, "store", limits, writing=True), Unavailable)


@pytest.mark.parametrize("code", [None, 60, 210, 12345])
def test_the_servers_words_are_for_logs_and_not_for_answers(code: int | None) -> None:
    away = translate(_error(code, "DB::Exception: secret.table"), "search logs", {}, writing=False)
    assert isinstance(away, Unavailable)
    assert ("secret" in away.reason, "secret" in error_reply(away).body.decode()) == (False, False)
    assert "secret.table" in str(away)


def test_the_reason_is_one_bounded_line() -> None:
    text = str(translate(_error(1, "a\nb\n" + "long " * 1000), "x", {}, writing=True))
    assert "\n" not in text
    assert len(text) < 700


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("db", ("db", 8123, False)),
        ("http://db:9123", ("db", 9123, False)),
        ("http://db", ("db", 8123, False)),
        ("https://db", ("db", 8443, True)),
    ],
)
def test_a_host_may_be_a_url(host: str, expected: tuple[str, int, bool]) -> None:
    address = ClickHouseAddress.parse(host, 8123, database="aegis", user="u", password="hidden")
    assert (address.host, address.port, address.secure) == expected
    assert "hidden" not in repr(address)


@pytest.mark.parametrize("database", ["a b", "a`; DROP", "1a", "é"])
def test_a_database_name_is_an_identifier(database: str) -> None:
    with pytest.raises(Refused):
        ClickHouseAddress("db", database=database)
