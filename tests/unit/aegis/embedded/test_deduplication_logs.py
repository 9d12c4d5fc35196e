"""Which tokens of a deduplication log are taken back: those of parts that are nowhere, and only while nobody uses the folder."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from aegis.embedded.clickhouse.deduplication_logs import forget_unstored_blocks


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "status").touch()
    table = tmp_path / "store" / "abc" / "abcdef"
    (table / "deduplication_logs").mkdir(parents=True)
    return table


def write_log(table: Path, number: int, *records: str) -> Path:
    file = table / "deduplication_logs" / f"deduplication_log_{number}.txt"
    file.write_text("".join(record.replace(" ", "\t") + "\n" for record in records))
    return file


def test_only_blocks_that_are_nowhere_are_taken_back(tmp_path: Path, table: Path) -> None:
    # Merged, mutated, and the parts that are not: one in the making, one put aside, one of another partition.
    for name in (
        "20261101_1_3_1",
        "20261101_4_4_0_9",
        "tmp_insert_20261101_5_5_0",
        "detached/20261101_6_6_0",
        "all_7_7_0",
    ):
        (table / name).mkdir(parents=True)
    first = write_log(table, 1, "1 20261101_2_2_0 20261101_b2")
    last = write_log(
        table, 10, "1 20261101_7_7_0 20261101_b7", "1 all_7_7_0 all_b7", "1 20261101_8_8_0 x", "2 20261101_8_8_0 x"
    )
    write_log(table, 2, "1 20261101_3_3_0 20261101_b3", "1 20261101_4_4_0 20261101_b4", "1 20261101_5_5_0 20261101_b5")
    before, lines_before = first.read_text(), last.read_text()
    assert forget_unstored_blocks(tmp_path) == 2
    assert first.read_text() == before
    assert last.read_text() == lines_before + "2\t20261101_5_5_0\t20261101_b5\n2\t20261101_7_7_0\t20261101_b7\n"
    assert forget_unstored_blocks(tmp_path) == 0


def test_the_end_of_a_long_log_is_enough(tmp_path: Path, table: Path) -> None:
    (table / "all_1_5000_3").mkdir()
    records = [f"1 all_{n}_{n}_0 all_b{n}" for n in range(1, 5002)]
    write_log(table, 1, *records[:10])
    file = write_log(table, 2, *records[10:])
    assert forget_unstored_blocks(tmp_path) == 1
    assert file.read_text().endswith("1\tall_5001_5001_0\tall_b5001\n2\tall_5001_5001_0\tall_b5001\n")


def test_what_was_written_before_the_last_file_was_begun_is_looked_at(tmp_path: Path, table: Path) -> None:
    write_log(table, 1, "1 all_1_1_0 all_b1")
    file = write_log(table, 2)
    assert forget_unstored_blocks(tmp_path) == 1
    assert file.read_text() == "2\tall_1_1_0\tall_b1\n"


def test_a_folder_that_an_engine_uses_is_left_alone(tmp_path: Path, table: Path) -> None:
    file = write_log(table, 1, "1 all_1_1_0 all_b1")
    with (tmp_path / "status").open() as status:
        fcntl.flock(status, fcntl.LOCK_EX)
        assert forget_unstored_blocks(tmp_path) == 0
    assert file.read_text() == "1\tall_1_1_0\tall_b1\n"
    assert forget_unstored_blocks(tmp_path) == 1


def test_a_new_folder_has_nothing_to_repair(tmp_path: Path) -> None:
    assert forget_unstored_blocks(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
