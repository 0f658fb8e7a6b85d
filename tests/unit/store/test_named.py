from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import StoreError
from agent.store.named import QUERIES, load_queries, parse_queries


def test_a_query_runs_from_its_name_to_the_next() -> None:
    text = "-- of cats\n-- name: count_cats\nSELECT count(*)\nFROM cats;\n\n-- name: all_cats\nSELECT 1;\n"
    assert parse_queries(text, "cats.sql") == {
        "count_cats": "SELECT count(*)\nFROM cats",
        "all_cats": "SELECT 1",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-- name: Bad Name\nSELECT 1;", "cats.sql: query name 'Bad Name'"),
        ("-- name: cat\n;", "query cat is empty"),
        ("-- name: cat\nSELECT 1;\n-- name: cat\nSELECT 2;", "query cat is there twice"),
    ],
    ids=["name", "empty", "twice"],
)
def test_a_bad_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        parse_queries(text, "cats.sql")


def test_a_name_stands_in_one_file_only(tmp_path: Path) -> None:
    for file in ("a.sql", "b.sql"):
        (tmp_path / file).write_text("-- name: cat\nSELECT 1;")
    with pytest.raises(StoreError, match=r"b\.sql: query cat stands in another file too"):
        load_queries(tmp_path)


def test_values_are_bound_never_written_into_the_text() -> None:
    assert QUERIES
    assert not [name for name, sql in QUERIES.items() if "%s" in sql or "{" in sql]
