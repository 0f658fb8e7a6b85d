"""What PostgreSQL says of itself: the database, its sessions and its statements.

Statements are there where the extension ``pg_stat_statements`` is: the embedded server has it, in another one
its owner decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.errors import StoreError
from agent.store.database import Database
from agent.store.named import QUERIES

MAX_STATEMENTS = 50  # those that have taken the most time


@dataclass(frozen=True, slots=True)
class Statistics:
    """Rows by the names of their columns. ``statements`` is None where they are not to be had."""

    database: dict[str, Any]
    sessions: list[dict[str, Any]]
    max_connections: int
    statements: list[dict[str, Any]] | None


async def read_statistics(database: Database) -> Statistics:
    """Raises StoreError where PostgreSQL is away."""
    row = await database.fetch_row("database_statistics")
    return Statistics(
        database=dict(row) if row is not None else {},
        sessions=[dict(session) for session in await database.fetch("activity_statistics")],
        max_connections=int(await database.fetch_value("max_connections")),
        statements=await _statements(database),
    )


async def _statements(database: Database) -> list[dict[str, Any]] | None:
    schema = await database.fetch_value("statements_schema")
    if schema is None:
        return None
    try:
        async with database.transaction() as connection:
            await connection.execute(QUERIES["use_schema"], '"' + str(schema).replace('"', '""') + '"')
            rows = await connection.fetch(QUERIES["statement_statistics"], MAX_STATEMENTS)
    except StoreError:  # made, but the server does not load its library; or not ours to read
        return None
    return [dict(row) for row in rows]
