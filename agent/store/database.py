"""PostgreSQL by asyncpg: one pool, named queries, errors that say the way on.

Guarantees:

- a named query that loses its connection runs again on a new one, for about ``reconnect_for_s``. It may
  have run the first time, so every named query must do the same when it runs twice (reads, and writes
  by a key that the caller brings). ``transaction`` and ``copy_rows`` are never run again.
- every error that leaves is a ``StoreError``; the password of the URL stands in none, nor in ``repr``.
- values are always bound. JSON goes in and comes out as plain Python; what PostgreSQL cannot store in a
  text (NUL, lone surrogates) becomes U+FFFD.
- time stamps are aware and in UTC.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, TypeVar
from urllib.parse import unquote

import asyncpg
import orjson

from agent.errors import StoreError
from agent.store.named import QUERIES

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    PoolConnection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    Connection = PoolConnection = asyncpg.Connection

Record: TypeAlias = asyncpg.Record
Result = TypeVar("Result")

SCHEMA: Final = "observability"
APPLICATION: Final = "kubechat-obs"

# The server is away, starting or going down: the same call may succeed in a moment.
LOST_CONNECTION: Final = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # from giving a connection back that broke in the middle of a query
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5


@dataclass(frozen=True, slots=True)
class PoolSizes:
    """Connections of a pool: open now, idle of these, and how many there may be."""

    open: int
    idle: int
    most: int


class Database:
    """Made by ``await Database.open(url)``. Belongs to the event loop that opened it."""

    def __init__(self, url: str, pool: asyncpg.Pool[asyncpg.Record], reconnect_for_s: float) -> None:
        self._url, self._pool, self._reconnect_for_s = url, pool, reconnect_for_s

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        max_connections: int = 8,
        statement_timeout_s: float = 30.0,
        connect_timeout_s: float = 10.0,
        reconnect_for_s: float = 5.0,
    ) -> Database:
        """Opens the pool; a server that is just starting is waited for up to ``reconnect_for_s``."""

        async def make() -> asyncpg.Pool[asyncpg.Record]:
            return await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=max_connections,
                timeout=connect_timeout_s,
                # The server ends what takes too long; this is for a server that no longer answers at all.
                command_timeout=statement_timeout_s + 5.0,
                init=_set_codecs,
                server_settings=_server_settings(SCHEMA, statement_timeout_s),
            )

        try:
            pool = await _retrying(make, reconnect_for_s)
        except Exception as error:
            _raise_explained(error, url)
        return cls(url, pool, reconnect_for_s)

    async def close(self) -> None:
        """Waits for what runs, at most a few seconds, then closes."""
        try:
            await asyncio.wait_for(self._pool.close(), timeout=5.0)
        except LOST_CONNECTION:
            self._pool.terminate()

    async def fetch(self, query: str, *values: object) -> list[Record]:
        """The rows of a named query."""
        return await self._run(query, lambda c, sql: c.fetch(sql, *values))

    async def fetch_row(self, query: str, *values: object) -> Record | None:
        """The first row of a named query."""
        return await self._run(query, lambda c, sql: c.fetchrow(sql, *values))

    async def fetch_value(self, query: str, *values: object) -> Any:
        """The first column of the first row of a named query."""
        return await self._run(query, lambda c, sql: c.fetchval(sql, *values))

    async def execute(self, query: str, *values: object) -> None:
        await self._run(query, lambda c, sql: c.execute(sql, *values))

    async def copy_rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
        """COPY into a table of the schema: the fast way for many rows. Returns how many. All or none."""
        async with self.transaction() as connection:
            done = await connection.copy_records_to_table(
                table, schema_name=SCHEMA, columns=list(columns), records=rows
            )
        return int(done.split()[-1])

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PoolConnection]:
        """A connection in a transaction, for what must happen together; not run again when it is lost."""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                yield connection
        except (asyncpg.PostgresError, *LOST_CONNECTION) as error:
            _raise_explained(error, self._url)

    @property
    def pool_sizes(self) -> PoolSizes:
        pool = self._pool
        return PoolSizes(pool.get_size(), pool.get_idle_size(), pool.get_max_size())

    async def is_ready(self) -> bool:
        """Whether PostgreSQL answers right now."""
        try:
            async with asyncio.timeout(2.0):
                return bool(await self._pool.fetchval("SELECT true"))
        except (asyncpg.PostgresError, *LOST_CONNECTION):
            return False

    def __repr__(self) -> str:
        return f"Database({without_password(self._url)!r})"

    async def _run(self, query: str, call: Callable[[PoolConnection, str], Awaitable[Result]]) -> Result:
        sql = QUERIES[query]

        async def once() -> Result:
            async with self._pool.acquire() as connection:
                return await call(connection, sql)

        try:
            return await _retrying(once, self._reconnect_for_s)
        except Exception as error:
            _raise_explained(error, self._url, query)


async def connect(url: str) -> Connection:
    """One connection outside of any pool, without a statement timeout, that sees ``pg_catalog`` alone."""
    try:
        return await asyncpg.connect(url, timeout=10, server_settings=_server_settings("pg_catalog", 0.0))
    except Exception as error:
        _raise_explained(error, url)


def without_password(url: str) -> str:
    """The URL fit to show."""
    # Up to the last @: a password with an unescaped / or @ is a common mistake.
    masked = re.sub(r"(?<=://)([^:@/]*):.*(?=@)", r"\1:***", url)
    return re.sub(r"(?i)([?&](?:ssl)?password=)[^&]*", r"\1***", masked)


def explain(error: BaseException, url: str, query: str = "") -> StoreError:
    """What a person reads: what was tried, what PostgreSQL said, what to do."""
    where = without_password(url)
    said = _without_secrets(str(error) or type(error).__name__, url)
    doing = f"query {query}: " if query else ""
    match error:
        case StoreError():
            return error
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return StoreError(f"{where} refuses the login: {said}. Check user and password in DATABASE_URL")
        case asyncpg.InvalidCatalogNameError():
            return StoreError(f"{where}: {said}. Make the database, or correct DATABASE_URL")
        case asyncpg.InsufficientPrivilegeError():
            return StoreError(f"{doing}{where}: {said}. Grant it to the role in DATABASE_URL")
        case (
            asyncpg.UndefinedTableError()
            | asyncpg.UndefinedFunctionError()
            | asyncpg.InvalidSchemaNameError()
        ):
            return StoreError(f"{doing}{said}. The schema is not up to date: run kubechat-obs migrate up")
        case asyncpg.QueryCanceledError():
            return StoreError(f"{doing}{said}. Ask for less (a shorter time range, a lower limit)")
        case asyncpg.exceptions.ClientConfigurationError() | ValueError():
            if re.search(r"://[^:@/]*:[^@]*[/?#@\[\]].*@", url):
                said = "a character of / ? # @ [ ] in the password must be written as %XX"
            return StoreError(f"DATABASE_URL {where}: {said}. Expected postgresql://user:password@host:5432/database")  # fmt: skip
        case _ if isinstance(error, LOST_CONNECTION) and _may_pass(error):
            return StoreError(f"{doing}PostgreSQL at {where} is away: {said}. Check that it runs; the next call tries again")  # fmt: skip
        case _:
            return StoreError(f"{doing}PostgreSQL refuses: {said}")


def _raise_explained(error: Exception, url: str, query: str = "") -> NoReturn:
    explained = explain(error, url, query)
    if explained is error:
        raise error
    # What asyncpg says of a URL that it cannot read quotes parts of it, so that is not shown as the cause.
    unreadable = isinstance(error, (asyncpg.exceptions.ClientConfigurationError, ValueError))
    raise explained from (None if unreadable else error)


def _without_secrets(text: str, url: str) -> str:
    written = re.findall(r"://[^:@/]*:(.*)@", url) + re.findall(r"(?i)[?&](?:ssl)?password=([^&]*)", url)
    for secret in sorted({form for s in written for form in (s, unquote(s)) if form}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


async def _retrying(call: Callable[[], Awaitable[Result]], for_s: float) -> Result:
    loop = asyncio.get_running_loop()
    deadline, pause_s = loop.time() + for_s, FIRST_PAUSE_S
    while True:
        try:
            return await call()
        except LOST_CONNECTION as error:
            if loop.time() + pause_s > deadline or not _may_pass(error):
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


def _may_pass(error: BaseException) -> bool:
    """asyncpg raises InterfaceError for closed connections, and for wrong arguments and closed pools too."""
    return not isinstance(error, asyncpg.InterfaceError) or "connection is closed" in str(error)


def _server_settings(search_path: str, statement_timeout_s: float) -> dict[str, str]:
    return {
        "application_name": APPLICATION,
        "search_path": search_path,
        "statement_timeout": f"{int(statement_timeout_s * 1000)}",
        "timezone": "UTC",
    }


async def _set_codecs(connection: Connection) -> None:
    # In binary, because COPY takes nothing else.
    await connection.set_type_codec("json", schema="pg_catalog", encoder=encode_json, decoder=orjson.loads, format="binary")  # fmt: skip
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_encode_jsonb, decoder=_decode_jsonb, format="binary")  # fmt: skip


JSONB_VERSION: Final = b"\x01"


def _encode_jsonb(value: object) -> bytes:
    return JSONB_VERSION + encode_json(value)


def _decode_jsonb(data: bytes) -> object:
    return orjson.loads(data[len(JSONB_VERSION) :])


def encode_json(value: object) -> bytes:
    """JSON that ``jsonb`` accepts. The slow way is taken only where a text needs mending."""
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(_mended(value))
    return orjson.dumps(_mended(value)) if b"\\u0000" in text else text


def storable_text(text: str) -> str:
    """The text without what PostgreSQL refuses in one: NUL and lone surrogates."""
    return re.sub("[\x00\ud800-\udfff]", "\ufffd", text)


def _mended(value: object) -> object:
    match value:
        case str():
            return storable_text(value)
        case dict():
            return {storable_text(str(key)): _mended(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_mended(entry) for entry in value]
        case _:
            return value
