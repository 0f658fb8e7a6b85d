"""The way of the schema, forward and back: plain SQL files, applied in order, each in one transaction.

A migration is ``NNNN_what.up.sql`` and ``NNNN_what.down.sql``. What was applied is written down in
``observability.schema_migrations`` with a checksum of both files. Guarantees:

- two runners at once: the second waits for the first (an advisory lock), then finds nothing to do;
- a migration that fails leaves no trace of itself, and those before it stay;
- nothing is touched when an applied file was changed, or when the database is newer than the files;
- names in the files are written with their schema: the search path holds ``pg_catalog`` alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import asyncpg

from agent.errors import StoreError
from agent.store.database import LOST_CONNECTION, Connection, connect, explain

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
OLDEST_SERVER = 15  # UNIQUE NULLS NOT DISTINCT

FILE_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.(?P<way>up|down)\.sql")
TRANSACTION_WORD = re.compile(r"^\s*(BEGIN|COMMIT|ROLLBACK|END)\s*(TRANSACTION|WORK)?\s*;", re.MULTILINE | re.IGNORECASE)  # fmt: skip

# Any number will do, as long as no other program locks the same in this database.
LOCK_KEY = 0x6F627365_7276
LOCK_TIMEOUT_S = 60

MAKE_HISTORY = """
CREATE TABLE IF NOT EXISTS observability.schema_migrations (
    version INTEGER PRIMARY KEY CHECK (version > 0),
    name TEXT NOT NULL,
    checksum TEXT NOT NULL CHECK (checksum ~ '^[0-9a-f]{64}$'),
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE observability.schema_migrations IS 'Which migrations are applied, and the checksum of their files.'
"""


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    up_sql: str
    down_sql: str
    checksum: str

    def __str__(self) -> str:
        return f"{self.version:04d}_{self.name}"


class State(StrEnum):
    APPLIED = "applied"
    PENDING = "pending"
    CHANGED = "changed"  # applied, but the files are no longer what was applied
    UNKNOWN = "unknown"  # applied by a newer release: there is no file


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    version: int
    name: str
    state: State
    applied_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Applied:
    version: int
    name: str
    checksum: str
    applied_at: datetime


def load_migrations(folder: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """The migrations of a folder, in order; refuses gaps, lone ways and files that end a transaction."""
    texts: dict[tuple[int, str], dict[str, str]] = {}
    for path in sorted(folder.glob("*.sql")):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise StoreError(f"migration {path.name}: expected a name like 0001_what.up.sql")
        text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
        if TRANSACTION_WORD.search(_without_bodies(text)):
            raise StoreError(f"migration {path.name}: BEGIN and COMMIT are the runner's, take them out")
        texts.setdefault((int(match["version"]), match["name"]), {})[match["way"]] = text
    if not texts:
        raise StoreError(f"no migrations in {folder}: the installation is not complete")
    for position, ((version, name), ways) in enumerate(sorted(texts.items()), start=1):
        if version != position:
            raise StoreError(f"migration {version:04d}_{name}: expected number {position:04d} here")
        if len(ways) != 2:
            raise StoreError(f"migration {version:04d}_{name}: expected an up and a down file")
    return tuple(
        Migration(version, name, ways["up"], ways["down"], _checksum(ways["up"], ways["down"]))
        for (version, name), ways in sorted(texts.items())
    )


async def migrate_up(url: str, to: int | None = None, folder: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """Applies what is pending, up to and with version ``to`` (default: all). Returns what was applied."""
    migrations = load_migrations(folder)
    _check_target(to, migrations)
    async with _locked(url) as connection:
        await _make_history(connection)
        applied = _agreed(await _history(connection), migrations)
        last = len(migrations) if to is None else to
        if to is not None and to < len(applied):
            raise StoreError(f"the database is at version {len(applied)}, beyond {to}: use migrate down --to {to}")  # fmt: skip
        pending = migrations[len(applied) : last]
        for migration in pending:
            await _apply(connection, migration)
        await _make_partitions(connection)
    return pending


async def migrate_down(url: str, to: int | None = None, folder: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """Takes back what lies above version ``to`` (default: the last one; 0 takes all back), newest first.
    Rows are kept in the schema ``observability_kept`` until ``migrate_up`` brings them home."""
    migrations = load_migrations(folder)
    _check_target(to, migrations)
    async with _locked(url) as connection:
        applied = _agreed(await _history(connection), migrations)
        keep = max(len(applied) - 1, 0) if to is None else to
        if keep > len(applied):
            raise StoreError(f"the database is at version {len(applied)}, below {to}: use migrate up --to {to}")  # fmt: skip
        leaving = applied[keep:][::-1]
        for migration in leaving:
            await _take_back(connection, migration)
    return leaving


async def migration_status(url: str, folder: Path = MIGRATIONS) -> tuple[MigrationStatus, ...]:
    """Every migration of the files and of the database. Writes nothing."""
    migrations = {migration.version: migration for migration in load_migrations(folder)}
    connection = await connect(url)
    try:
        history = {applied.version: applied for applied in await _history(connection)}
    finally:
        await connection.close()
    return tuple(
        _status_of(migrations.get(version), history.get(version)) for version in sorted(migrations | history)
    )


def _status_of(migration: Migration | None, applied: _Applied | None) -> MigrationStatus:
    if applied is None:
        assert migration is not None  # noqa: S101 - the version stands in one of the two
        return MigrationStatus(migration.version, migration.name, State.PENDING, None)
    if migration is None:
        state = State.UNKNOWN
    else:
        state = State.APPLIED if migration.checksum == applied.checksum else State.CHANGED
    return MigrationStatus(applied.version, applied.name, state, applied.applied_at)


def _agreed(history: Sequence[_Applied], migrations: tuple[Migration, ...]) -> tuple[Migration, ...]:
    """The applied migrations, after a check that files and database tell the same story."""
    for position, applied in enumerate(history, start=1):
        title = f"{applied.version:04d}_{applied.name}"
        if applied.version > len(migrations):
            raise StoreError(
                f"the database is newer than this release: it holds migration {title}, the files end at "
                f"{migrations[-1]}. Install the newer release, or go back with it (migrate down --to {len(migrations)})"
            )
        if applied.version != position:
            raise StoreError(f"the database holds migration {title} but not number {position:04d}: its schema_migrations was edited")  # fmt: skip
        if applied.checksum != migrations[position - 1].checksum:
            raise StoreError(
                f"migration {title} was changed after it was applied on {applied.applied_at:%Y-%m-%d}: "
                "restore the files, and put the change into a new migration"
            )
    return migrations[: len(history)]


def _check_target(to: int | None, migrations: tuple[Migration, ...]) -> None:
    if to is not None and not 0 <= to <= len(migrations):
        raise StoreError(f"migration version {to}: expected 0 to {len(migrations)}")


async def _make_history(connection: Connection) -> None:
    # CREATE SCHEMA IF NOT EXISTS wants the right to create schemas even where it has nothing to do.
    if await connection.fetchval("SELECT to_regnamespace('observability') IS NULL"):
        await connection.execute("CREATE SCHEMA observability")
    await connection.execute(MAKE_HISTORY)


async def _history(connection: Connection) -> list[_Applied]:
    if await connection.fetchval("SELECT to_regclass('observability.schema_migrations') IS NULL"):
        return []
    rows = await connection.fetch("SELECT * FROM observability.schema_migrations ORDER BY version")
    return [_Applied(row["version"], row["name"], row["checksum"], row["applied_at"]) for row in rows]


async def _make_partitions(connection: Connection) -> None:
    name = "observability.make_partitions(timestamptz)"
    if await connection.fetchval("SELECT to_regprocedure($1) IS NOT NULL", name):
        await connection.execute("SELECT observability.make_partitions(now())")


async def _apply(connection: Connection, migration: Migration) -> None:
    async with _transaction(connection, f"{migration}.up.sql", migration.up_sql):
        await connection.execute(
            "INSERT INTO observability.schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
            migration.version, migration.name, migration.checksum,
        )  # fmt: skip


async def _take_back(connection: Connection, migration: Migration) -> None:
    async with _transaction(connection, f"{migration}.down.sql", migration.down_sql):
        await connection.execute(
            "DELETE FROM observability.schema_migrations WHERE version = $1", migration.version
        )


@asynccontextmanager
async def _transaction(connection: Connection, file: str, sql: str) -> AsyncIterator[None]:
    try:
        async with connection.transaction():
            await connection.execute(sql)
            yield
    except asyncpg.PostgresError as error:
        position = int(getattr(error, "position", None) or 0)
        line = f", line {sql.count(chr(10), 0, position) + 1}" if position else ""
        raise StoreError(
            f"migration {file}{line}: {error}\nNothing of this file was applied; what came before stays"
        ) from error


@asynccontextmanager
async def _locked(url: str) -> AsyncIterator[Connection]:
    connection = await connect(url)
    try:
        major = connection.get_server_version().major
        if major < OLDEST_SERVER:
            raise StoreError(f"PostgreSQL {major} is too old: {OLDEST_SERVER} or newer is needed")
        await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
        yield connection
    except asyncpg.LockNotAvailableError as error:
        raise StoreError(
            f"another migration, or a long query, held what is needed for {LOCK_TIMEOUT_S} s: try again when it is done"
        ) from error
    except (asyncpg.PostgresError, *LOST_CONNECTION) as error:
        raise explain(error, url) from error
    finally:
        await connection.close()  # lets go of the lock


def _checksum(up_sql: str, down_sql: str) -> str:
    return hashlib.sha256(f"{up_sql}\0{down_sql}".encode()).hexdigest()


def _without_bodies(sql: str) -> str:
    """The text without the bodies of functions, in which BEGIN is a block."""
    return re.sub(r"\$(\w*)\$.*?\$\1\$", "", sql, flags=re.DOTALL)
