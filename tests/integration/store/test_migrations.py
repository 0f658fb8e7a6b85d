from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from agent.errors import StoreError
from agent.store.migrations import (
    MIGRATIONS,
    State,
    load_migrations,
    migrate_down,
    migrate_up,
    migration_status,
)
from tests.integration.store.conftest import KUBECHAT_USERS, connected
from tests.integration.store.rows import ANN, BOB, dump, fill

LAST = len(load_migrations())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))


async def test_down_and_up_bring_every_row_back(url: str) -> None:
    async with connected(url) as connection:
        await fill(connection)
        before = await dump(connection)
        assert not [table for table, rows in before.items() if not rows], (
            "a table without a row proves nothing"
        )
        assert len(await migrate_down(url, to=0)) == LAST
        assert await dump(connection) == {}
        assert len(await migrate_up(url)) == LAST
        assert await dump(connection) == before
        assert await connection.fetchval("SELECT to_regnamespace('observability_kept')") is None


async def test_each_step_has_its_way_back(url: str) -> None:
    async with connected(url) as connection:
        await fill(connection)
        before = await dump(connection)
        for version in range(LAST - 1, -1, -1):
            await migrate_down(url)
            assert await migrate_down(url, to=version) == ()
        for version in range(1, LAST + 1):
            await migrate_up(url, to=version)
        assert await dump(connection) == before


async def test_numbers_go_on_after_the_way_back(url: str) -> None:
    async with connected(url) as connection:
        await fill(connection)
        await migrate_down(url, to=0)
        await migrate_up(url)
        insert = "INSERT INTO log_analytics (timestamp) VALUES (now()) RETURNING id"
        assert await connection.fetchval(insert) == 3


async def test_kubechats_users_are_referenced_and_not_altered(kubechat_url: str) -> None:
    shape = """SELECT string_agg(format('%s %s %s %s', attname, atttypid, attnotnull, atthasdef), ',' ORDER BY attnum)
               || (SELECT string_agg(pg_get_constraintdef(oid), ',' ORDER BY conname) FROM pg_constraint
                   WHERE conrelid = 'public.users'::regclass)
               || (SELECT string_agg(indexdef, ',' ORDER BY indexname) FROM pg_indexes WHERE schemaname = 'public')
               FROM pg_attribute WHERE attrelid = 'public.users'::regclass AND attnum > 0"""
    async with connected(kubechat_url) as connection:
        before = await connection.fetchval(shape)
        await migrate_up(kubechat_url)
        assert await connection.fetchval("SELECT users_table()::text") == "public.users"
        assert await connection.fetchval("SELECT to_regclass('observability.users')") is None
        targets = await connection.fetch(
            "SELECT DISTINCT conrelid::regclass::text AS here FROM pg_constraint WHERE confrelid = 'public.users'::regclass AND conparentid = 0"
        )
        assert {row["here"] for row in targets} == {
            "metric_thresholds", "dashboard_configs", "dashboard_access", "alert_rules", "alert_incidents",
            "ai_operation_metrics", "api_integrations",
        }  # fmt: skip
        await fill(connection, "public.users")
        rows = await dump(connection)
        await migrate_down(kubechat_url, to=0)
        assert await connection.fetchval("SELECT count(*) FROM public.users") == 2
        await migrate_up(kubechat_url)
        assert await dump(connection) == rows
        assert await connection.fetchval(shape) == before


async def test_a_user_that_went_meanwhile_is_treated_as_the_foreign_keys_would(kubechat_url: str) -> None:
    await migrate_up(kubechat_url)
    async with connected(kubechat_url) as connection:
        await fill(connection, "public.users")
        await migrate_down(kubechat_url, to=0)
        await connection.execute(f"DELETE FROM public.users WHERE id = '{BOB}'")
        await migrate_up(kubechat_url)
        incident = await connection.fetchrow("SELECT acknowledged_by::text, resolved_by FROM alert_incidents")
        assert incident is not None
        assert tuple(incident) == (ANN, None)
        assert await connection.fetchval("SELECT count(*) FROM dashboard_access") == 0
        assert await connection.fetchval("SELECT count(*) FROM dashboard_configs") == 1


async def test_another_programs_users_are_left_alone(empty_url: str) -> None:
    async with connected(empty_url) as connection:
        await connection.execute("CREATE TABLE public.users (id SERIAL PRIMARY KEY, username TEXT)")
        await migrate_up(empty_url)
        assert await connection.fetchval("SELECT users_table()::text") == "users"
        await fill(connection)


async def test_the_choice_of_users_outlives_the_way_back(url: str) -> None:
    async with connected(url) as connection:
        await fill(connection)
        before = await dump(connection)
        await migrate_down(url, to=0)
        await connection.execute(KUBECHAT_USERS)
        await migrate_up(url)
        assert await dump(connection) == before


async def test_two_at_once_are_one_after_the_other(empty_url: str) -> None:
    done = await asyncio.gather(*(migrate_up(empty_url) for _ in range(3)))
    assert sorted(map(len, done)) == [0, 0, LAST]


async def test_nothing_happens_when_an_applied_file_was_changed(url: str, files: Path) -> None:
    (files / "0004_metrics.up.sql").write_text("SELECT 1;")
    for way in (migrate_up, migrate_down):
        with pytest.raises(StoreError, match="0004_metrics was changed after it was applied"):
            await way(url, folder=files)
    status = await migration_status(url, files)
    assert [s.version for s in status if s.state is State.CHANGED] == [4]


async def test_nothing_happens_when_the_database_is_newer(url: str, files: Path) -> None:
    for way in ("up", "down"):
        (files / f"{LAST:04d}_capacity.{way}.sql").unlink()
    for move in (migrate_up, migrate_down):
        with pytest.raises(StoreError, match="the database is newer than this release"):
            await move(url, folder=files)
    assert (await migration_status(url, files))[-1].state is State.UNKNOWN


async def test_a_failing_migration_leaves_no_trace_and_says_where(url: str, files: Path) -> None:
    (files / f"{LAST + 1:04d}_more.up.sql").write_text(
        "CREATE TABLE observability.more ();\n\nSELECT nonsense;\n"
    )
    (files / f"{LAST + 1:04d}_more.down.sql").write_text("DROP TABLE observability.more;\n")
    with pytest.raises(StoreError, match=rf"{LAST + 1:04d}_more\.up\.sql, line 3: .*nonsense"):
        await migrate_up(url, folder=files)
    async with connected(url) as connection:
        assert await connection.fetchval("SELECT to_regclass('observability.more')") is None
    assert (await migration_status(url, files))[-1].state is State.PENDING


async def test_the_status_of_an_untouched_database_writes_nothing(empty_url: str) -> None:
    status = await migration_status(empty_url)
    assert {(s.state, s.applied_at) for s in status} == {(State.PENDING, None)}
    async with connected(empty_url) as connection:
        assert await connection.fetchval("SELECT to_regnamespace('observability')") is None
    assert await migrate_down(empty_url) == ()


async def test_a_target_is_reached_from_one_side_only(url: str) -> None:
    with pytest.raises(StoreError, match="use migrate down --to 2"):
        await migrate_up(url, to=2)
    await migrate_down(url, to=2)
    with pytest.raises(StoreError, match="use migrate up --to 5"):
        await migrate_down(url, to=5)
    with pytest.raises(StoreError, match=f"expected 0 to {LAST}"):
        await migrate_up(url, to=99)
    assert [s.version for s in await migration_status(url) if s.state is State.APPLIED] == [1, 2]


async def test_rows_of_an_earlier_way_back_are_never_overwritten(url: str) -> None:
    async with connected(url) as connection:
        await connection.execute(
            "CREATE SCHEMA observability_kept; CREATE TABLE observability_kept.capacity_forecasts ()"
        )
    with pytest.raises(
        StoreError, match=r"observability_kept\.capacity_forecasts already exists\nHINT: .*Look at them"
    ):
        await migrate_down(url)


@pytest.mark.parametrize("may_create", [True, False])
async def test_superuser_rights_are_not_needed_and_missing_rights_are_said(
    kubechat_url: str, may_create: bool
) -> None:
    """KubeChat's role owns its tables and may make a schema."""
    role = f"kubechat_{may_create}".lower()
    async with connected(kubechat_url) as connection:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"CREATE ROLE {role}; ALTER TABLE public.users OWNER TO {role}")
        if may_create:
            await connection.execute(f"GRANT CREATE ON DATABASE {name} TO {role}")
    url = f"{kubechat_url}&role={role}"
    if not may_create:
        with pytest.raises(StoreError, match=r"permission denied for database .* Grant it to the role"):
            await migrate_up(url)
        return
    await migrate_up(url)
    await migrate_down(url, to=0)
    assert len(await migrate_up(url)) == LAST
