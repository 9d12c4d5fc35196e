"""A file of named queries is read strictly."""

from __future__ import annotations

import pytest

from storage.migrations import REPOSITORY
from storage.named_queries import load_queries, parse_queries
from topics.errors import Refused


def test_each_block_is_a_query_without_its_comments() -> None:
    queries = parse_queries(
        "-- a file\n\n-- name: get_one\n-- why\nSELECT 1\nFROM x;\n\n-- name: get_two\nSELECT 2;\n", "f.sql"
    )
    assert dict(queries) == {"get_one": "SELECT 1\nFROM x", "get_two": "SELECT 2"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("SELECT 1;", "line 1 comes before"),
        ("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;", "line 3 names a a second time"),
        ("-- name: Not A Name\nSELECT 1;", "line 1 is not"),
        ("-- name:a\nSELECT 1;", "line 1 is not"),
        ("-- name: a\n-- name: b\nSELECT 1;", "a has no statement"),
        ("-- name: a\n;", "a has no statement"),
        ("-- name: a\nSELECT 1;\nSELECT 2;", "a has more than one statement"),
    ],
)
def test_a_malformed_file_is_refused(text: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        parse_queries(text, "f.sql")


@pytest.mark.parametrize("file_name", sorted(path.name for path in (REPOSITORY / "storage/queries").glob("*.sql")))
def test_our_files_load(file_name: str) -> None:
    assert load_queries(file_name)
