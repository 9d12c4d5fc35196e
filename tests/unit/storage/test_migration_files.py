"""Numbered files are read in order, and whatever does not fit the records is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.migration_files import Migration, pending_migrations, read_migrations, split_statements
from storage.migrations import REPOSITORY
from topics.errors import Refused


def _write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text(f"-- {name}\nSELECT 1;\n")
    return folder


def _recorded(migrations: list[Migration]) -> dict[int, tuple[str, str]]:
    return {migration.number: (migration.name, migration.sha256) for migration in migrations}


def test_files_come_in_order_of_their_numbers(tmp_path: Path) -> None:
    found = read_migrations("x", _write(tmp_path, "0002_add_b.sql", "0001_create_a.sql", "schema.sql"))
    assert [(m.number, m.name) for m in found] == [(1, "create_a"), (2, "add_b")]


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert read_migrations("x", tmp_path / "nothing") == []


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["0002_add_b.sql"], "0001 is missing"),
        (["0001_create_a.sql", "0003_add_c.sql"], "0002 is missing"),
        (["0001_create_a.sql", "0001_create_b.sql"], "0001 is there twice"),
        (["0000_create_a.sql"], "0000 is there twice|0001 is missing"),
        (["1_create_a.sql"], "not named"),
        (["0001_Create_a.sql"], "not named"),
        (["0001_create.sql"], "not named"),
        (["0001_create_a.SQL.sql"], "not named"),
    ],
)
def test_bad_numbers_and_names_are_refused(tmp_path: Path, names: list[str], why: str) -> None:
    with pytest.raises(Refused, match=why):
        read_migrations("x", _write(tmp_path, *names))


def test_what_is_not_recorded_is_pending(tmp_path: Path) -> None:
    found = read_migrations("x", _write(tmp_path, "0001_create_a.sql", "0002_add_b.sql"))
    assert pending_migrations("x", found, {}) == found
    assert pending_migrations("x", found, _recorded(found[:1])) == found[1:]
    assert pending_migrations("x", found, _recorded(found)) == []


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    recorded = _recorded(read_migrations("x", _write(tmp_path, "0001_create_a.sql")))
    (tmp_path / "0001_create_a.sql").write_text("SELECT 2;\n")
    with pytest.raises(Refused, match="0001_create_a was changed"):
        pending_migrations("x", read_migrations("x", tmp_path), recorded)


def test_line_ends_of_another_system_are_no_change(tmp_path: Path) -> None:
    recorded = _recorded(read_migrations("x", _write(tmp_path, "0001_create_a.sql")))
    path = tmp_path / "0001_create_a.sql"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert pending_migrations("x", read_migrations("x", tmp_path), recorded) == []


def test_a_renamed_file_is_refused(tmp_path: Path) -> None:
    recorded = _recorded(read_migrations("x", _write(tmp_path, "0001_create_a.sql")))
    (tmp_path / "0001_create_a.sql").rename(tmp_path / "0001_create_b.sql")
    with pytest.raises(Refused, match="0001_create_a"):
        pending_migrations("x", read_migrations("x", tmp_path), recorded)


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    found = read_migrations("x", _write(tmp_path, "0001_create_a.sql", "0002_add_b.sql"))
    with pytest.raises(Refused, match="0002_add_b, which this version does not know"):
        pending_migrations("x", found[:1], _recorded(found))


def test_a_hole_in_the_records_is_refused(tmp_path: Path) -> None:
    found = read_migrations("x", _write(tmp_path, "0001_create_a.sql", "0002_add_b.sql"))
    with pytest.raises(Refused, match="lacks 0001_create_a"):
        pending_migrations("x", found, _recorded(found[1:]))


def test_statements_end_at_the_end_of_a_line() -> None:
    text = "-- a; comment;\nCREATE TABLE a (x String DEFAULT ';') ;\n\n  -- another;\nALTER TABLE a\n  ADD COLUMN y String;  \n"
    statements = split_statements(Migration("clickhouse", 1, "create_a", text))
    assert statements == ["CREATE TABLE a (x String DEFAULT ';')", "ALTER TABLE a\n  ADD COLUMN y String"]


@pytest.mark.parametrize(
    ("text", "why"), [("-- nothing\n", "no statement"), ("ALTER TABLE a;\nalter TABLE b;\n", "more than one ALTER")]
)
def test_a_clickhouse_file_that_cannot_be_repeated_is_refused(text: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        split_statements(Migration("clickhouse", 1, "create_a", text))


def test_our_clickhouse_migrations_can_be_repeated() -> None:
    for migration in read_migrations("clickhouse", REPOSITORY / "clickhouse/migrations"):
        for statement in split_statements(migration):
            repeatable = ("IF NOT EXISTS", "IF EXISTS", "MODIFY SETTING")
            assert any(words in statement for words in repeatable), migration.name
