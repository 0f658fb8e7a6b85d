from __future__ import annotations

import re
from pathlib import Path

from tests.integration.store.conftest import connected
from tests.integration.store.rows import tables

DOC = (Path(__file__).parents[3] / "docs" / "database.md").read_text(encoding="utf-8")


async def test_every_table_is_documented_and_every_documented_table_is_there(shared_url: str) -> None:
    documented = re.findall(r"^\| `(\w+)` \|", DOC, re.MULTILINE)
    async with connected(shared_url) as connection:
        assert sorted(documented) == await tables(connection)


async def test_the_picture_shows_every_foreign_key_and_no_other(shared_url: str) -> None:
    drawn = re.findall(r"^    (\w+) \|\|--o\{ (\w+) : (\w+)$", DOC, re.MULTILINE)
    async with connected(shared_url) as connection:
        keys = await connection.fetch(
            """
            SELECT c.confrelid::regclass::text AS target, c.conrelid::regclass::text AS here, a.attname AS name
            FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
            WHERE c.contype = 'f' AND c.conparentid = 0 AND c.connamespace = 'observability'::regnamespace
            """
        )
    assert sorted(drawn) == sorted((key["target"], key["here"], key["name"]) for key in keys)


async def test_the_retention_that_is_documented_is_the_one_that_is_set(shared_url: str) -> None:
    async with connected(shared_url) as connection:
        policies = await connection.fetch(
            "SELECT table_name, step, CASE WHEN extract(days FROM keep_for) > 0 THEN extract(days FROM keep_for) || ' days' "
            "ELSE extract(year FROM keep_for) * 12 + extract(month FROM keep_for) || ' months' END AS kept FROM partition_policies"
        )
    assert len(policies) == 4
    for policy in policies:
        line = next(line for line in DOC.splitlines() if line.startswith(f"| `{policy['table_name']}`"))
        assert f"a partition a {policy['step']}, {policy['kept']}" in line
