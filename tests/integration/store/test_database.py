from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.errors import StoreError
from agent.store.database import Database
from agent.store.embedded import EmbeddedPostgres
from agent.store.migrations import migrate_up
from agent.store.named import QUERIES


async def test_every_named_query_is_one_that_postgresql_understands(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("CREATE EXTENSION pg_stat_statements")
        for sql in QUERIES.values():
            await connection.prepare(sql)
        await connection.execute("DROP EXTENSION pg_stat_statements")


async def test_sessions_are_set_up(database: Database) -> None:
    expected = {"search_path": "observability", "TimeZone": "UTC", "application_name": "kubechat-obs", "statement_timeout": "30s"}  # fmt: skip
    async with database.transaction() as connection:
        assert {name: await connection.fetchval("SELECT current_setting($1)", name) for name in expected} == expected  # fmt: skip


async def test_many_rows_are_copied_all_or_none(database: Database) -> None:
    rows = [("cpu", 1, {"order": [1, number]}) for number in range(1000)]
    columns = ("resource_type", "current_utilization", "model_parameters")
    with pytest.raises(StoreError, match="forecast_period"):
        await database.copy_rows("capacity_forecasts", columns, rows)
    rows_with_status = [("cart", "error", {"n": n}) for n in range(1000)]
    sources = ("source_name", "source_type", "parsing_rules")
    with pytest.raises(StoreError, match="log_sources_once"):
        await database.copy_rows("log_sources", sources, rows_with_status)
    assert (
        await database.copy_rows("log_sources", sources, [(f"s{n}", None, {"n": n}) for n in range(9)]) == 9
    )


async def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    async def write(*names: str) -> None:
        async with database.transaction() as connection:
            for name in names:
                await connection.execute("INSERT INTO log_sources (source_name) VALUES ($1)", name)

    with pytest.raises(StoreError, match="PostgreSQL refuses"):
        await write("good", "")
    async with database.transaction() as connection:
        assert await connection.fetchval("SELECT count(*) FROM log_sources") == 0


async def test_wrong_arguments_fail_at_once(database: Database) -> None:
    started = time.monotonic()
    with pytest.raises(StoreError, match="get_incident"):
        await database.fetch("get_incident")
    with pytest.raises(StoreError, match="get_incident"):
        await database.fetch("get_incident", object())
    assert time.monotonic() - started < 1


async def test_a_statement_that_takes_too_long_is_ended(shared_url: str) -> None:
    database = await Database.open(shared_url, statement_timeout_s=0.05)
    with pytest.raises(StoreError, match="Ask for less"):
        async with database.transaction() as connection:
            await connection.execute("SELECT pg_sleep(5)")
    await database.close()


async def test_a_database_without_its_schema_says_what_to_do(empty_url: str) -> None:
    database = await Database.open(empty_url)
    with pytest.raises(StoreError, match="run kubechat-obs migrate up"):
        await database.fetch("list_incidents", None, None, None, None, 1)
    await database.close()


async def test_a_database_that_is_not_there_is_said_at_once(server: EmbeddedPostgres) -> None:
    with pytest.raises(StoreError, match=r'database "nowhere" does not exist. Make the database'):
        await Database.open(server.url_of("nowhere"), reconnect_for_s=60)


async def test_nothing_runs_on_a_closed_pool(shared_url: str) -> None:
    database = await Database.open(shared_url)
    await database.close()
    assert not await database.is_ready()
    with pytest.raises(StoreError):
        await database.fetch("users_table")


class TestKilled:
    """A server of its own, so that nobody else's is killed."""

    @pytest.fixture
    def own_server(self, short_folder: Path) -> Iterator[EmbeddedPostgres]:
        with EmbeddedPostgres(short_folder) as server:
            yield server

    @pytest_asyncio.fixture
    async def own(self, own_server: EmbeddedPostgres) -> AsyncIterator[Database]:
        await migrate_up(own_server.url)
        database = await Database.open(own_server.url)
        yield database
        await database.close()

    async def test_rows_and_pool_survive_sigkill(self, own_server: EmbeddedPostgres, own: Database) -> None:
        insert = "INSERT INTO log_sources (source_name) VALUES ('kept')"
        async with own.transaction() as connection:
            backend = await connection.fetchval("SELECT pg_backend_pid()")
            await connection.execute(insert)

        os.kill(backend, signal.SIGKILL)  # the server restarts all its children and recovers
        assert await own.fetch_value("users_table") == "users"

        os.kill(int((own_server.cluster_dir / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        waiting = asyncio.create_task(own.fetch_value("users_table"))
        await asyncio.to_thread(own_server.start)
        assert await waiting == "users"
        async with own.transaction() as connection:
            assert await connection.fetchval("SELECT source_name FROM log_sources") == "kept"

    async def test_a_server_that_stays_away_is_said_in_time(self, own_server: EmbeddedPostgres) -> None:
        database = await Database.open(own_server.url, reconnect_for_s=0.3)
        own_server.stop()
        started = time.monotonic()
        with pytest.raises(StoreError, match=r"is away.*Check that it runs"):
            await database.fetch("users_table")
        assert 0.1 < time.monotonic() - started < 2
        assert not await database.is_ready()
        await database.close()
