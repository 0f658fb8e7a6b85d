from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import StoreError
from agent.store.migrations import MIGRATIONS, load_migrations


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name.removeprefix('m')}.sql".replace("_up.", ".up.").replace("_down.", ".down.")).write_text(text)  # fmt: skip
    return folder


def test_migrations_come_in_order_with_both_ways(tmp_path: Path) -> None:
    write(tmp_path, m0002_b_up="B", m0002_b_down="-B", m0001_a_up="A", m0001_a_down="-A")
    loaded = [(str(m), m.up_sql, m.down_sql) for m in load_migrations(tmp_path)]
    assert loaded == [("0001_a", "A", "-A"), ("0002_b", "B", "-B")]


def test_the_checksum_covers_both_ways_and_no_line_ends(tmp_path: Path) -> None:
    def checksum(up: str, down: str) -> str:
        return load_migrations(write(tmp_path, m0001_a_up=up, m0001_a_down=down))[0].checksum

    assert checksum("A\n", "B\n") == checksum("A\r\n", "B\r\n")
    assert len({checksum("A", "B"), checksum("A", "C"), checksum("C", "B")}) == 3


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no migrations in"),
        ({"m0001_a_up": "A"}, "0001_a: expected an up and a down file"),
        ({"m0002_a_up": "A", "m0002_a_down": "A"}, "0002_a: expected number 0001 here"),
        ({"m1_a_up": "A"}, r"migration 1_a\.up\.sql: expected a name like 0001_what\.up\.sql"),
        ({"m0001_a_up": "BEGIN;\nSELECT 1;\nCOMMIT;"}, "BEGIN and COMMIT are the runner's"),
    ],
    ids=["none", "no way back", "gap", "name", "transaction"],
)
def test_a_bad_folder_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        load_migrations(write(tmp_path, **files))


def test_ours_load_and_keep_the_rows_of_every_table_they_drop() -> None:
    for migration in load_migrations(MIGRATIONS):
        dropped = migration.down_sql.count("DROP TABLE ")
        assert dropped == migration.down_sql.count("observability.keep(") - ("DROP FUNCTION observability.keep" in migration.down_sql)  # fmt: skip
