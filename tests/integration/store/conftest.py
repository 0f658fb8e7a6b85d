"""One embedded PostgreSQL for the session; each test gets a database of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
def empty_url(server: EmbeddedPostgres) -> str:
    return server.ensure_database(f"empty_{next(NUMBERS)}")


@pytest_asyncio.fixture
async def kubechat_url(empty_url: str) -> str:
    async with connected(empty_url) as connection:
        await connection.execute(KUBECHAT_USERS)
    return empty_url


@pytest_asyncio.fixture
async def url(empty_url: str) -> str:
    await migrate_up(empty_url)
    return empty_url


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = await Database.open(url, max_connections=3)
    yield opened
    await opened.close()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(url, server_settings={"search_path": "observability"})
    try:
        yield connection
    finally:
        await connection.close()
