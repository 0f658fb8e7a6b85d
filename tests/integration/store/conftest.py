"""One embedded PostgreSQL for the session; each test gets a database of its own."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from agent.store.database import Connection, Database
from agent.store.embedded import EmbeddedPostgres
from agent.store.migrations import migrate_up

NUMBERS = itertools.count(1)

# The columns of KubeChat's own table that were read in its scripts.
KUBECHAT_USERS = """
CREATE TABLE public.users (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    username VARCHAR(255) UNIQUE NOT NULL,
    email VARCHAR(255) UNIQUE NOT NULL,
    password_hash VARCHAR(255) NOT NULL,
    role VARCHAR(50) NOT NULL DEFAULT 'user'
        CHECK (role IN ('admin', 'user', 'viewer', 'auditor', 'compliance_officer')),
    created_at TIMESTAMPTZ DEFAULT now(),
    updated_at TIMESTAMPTZ DEFAULT now(),
    last_login TIMESTAMPTZ,
    is_active BOOLEAN DEFAULT true,
    failed_login_attempts INTEGER DEFAULT 0,
    account_locked_until TIMESTAMPTZ,
    password_changed_at TIMESTAMPTZ DEFAULT now(),
    must_change_password BOOLEAN DEFAULT false,
    created_by UUID,
    updated_by UUID
);
CREATE TABLE public.api_usage_logs (id BIGSERIAL PRIMARY KEY, provider_name TEXT);
CREATE TABLE public.schema_migrations (version INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ, dirty BOOLEAN);
"""

EMPTY = """
DO $$
DECLARE name text; filled boolean;
BEGIN
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'observability'::regnamespace AND relkind = 'r'
                AND relname NOT IN ('schema_migrations', 'schema_choices', 'partition_policies') LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM observability.%I)', name) INTO filled;
        IF filled THEN
            EXECUTE format('TRUNCATE observability.%I CASCADE', name);
        END IF;
    END LOOP;
END $$
"""


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    # Not below pytest's own folder: another run of pytest closes that one to other accounts.
    with (
        tempfile.TemporaryDirectory(prefix="kubechat-obs-test-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as running,
    ):
        # Nothing here outlives the session, so nothing is waited for on its way to the disk.
        asyncio.run(
            execute(
                running.url,
                "ALTER SYSTEM SET fsync = off",
                "ALTER SYSTEM SET full_page_writes = off",
                "SELECT pg_reload_conf()",
            )
        )
        yield running


@pytest.fixture(scope="session")
def migrated(server: EmbeddedPostgres) -> str:
    """A database with the whole schema, to be copied."""
    asyncio.run(migrate_up(server.ensure_database("migrated")))
    return "migrated"


@pytest_asyncio.fixture
async def empty_url(server: EmbeddedPostgres) -> AsyncIterator[str]:
    async with new_database(server, "template0") as url:
        yield url


@pytest_asyncio.fixture
async def url(server: EmbeddedPostgres, migrated: str) -> AsyncIterator[str]:
    async with new_database(server, migrated) as url:
        yield url


@pytest_asyncio.fixture
async def kubechat_url(empty_url: str) -> str:
    async with connected(empty_url) as connection:
        await connection.execute(KUBECHAT_USERS)
    return empty_url


@pytest.fixture(scope="session")
def shared_url(server: EmbeddedPostgres, migrated: str) -> str:
    """For tests that write rows and leave the tables as they are; making a database costs 0.3 s."""
    asyncio.run(execute(server.url, f"CREATE DATABASE shared TEMPLATE {migrated} STRATEGY file_copy"))
    return server.url_of("shared")


@pytest_asyncio.fixture
async def database(shared_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(shared_url, max_connections=3)
    yield opened
    await opened.close()
    await execute(shared_url, EMPTY)


async def execute(url: str, *statements: str) -> None:
    async with connected(url) as connection:
        for statement in statements:
            await connection.execute(statement)


@asynccontextmanager
async def new_database(server: EmbeddedPostgres, template: str) -> AsyncIterator[str]:
    name = f"test_{next(NUMBERS)}"
    await execute(server.url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield server.url_of(name)
    await execute(server.url, f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(url, server_settings={"search_path": "observability"})
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """For a server of the test's own; see ``server``."""
    with tempfile.TemporaryDirectory(prefix="kubechat-obs-test-") as folder:
        yield Path(folder)
