"""The shop's own PostgreSQL, kept by a small process that ends it when the supervisor ends.

PostgreSQL runs as a daemon, so it would outlive a supervisor that was killed; its keeper notices the
end of its input and stops it. A keeper that is itself killed leaves a server, which the keeper that
comes after it joins, and stops in the end.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import asyncpg

from agent.store.embedded import EmbeddedPostgres
from demo.shop.child import announce, no_orders, run_until_stopped
from demo.shop.queries import query

NAME = "shop"
# Helpers for the indexes would wait for a core: the services start at the same time.
FILL_SESSION = {
    "jit": "off",
    "maintenance_work_mem": "64MB",
    "max_parallel_maintenance_workers": "0",
    "synchronous_commit": "off",
}

_log = logging.getLogger("shop.database")


async def fill(url: str) -> None:
    """Make the tables and their rows, unless they are there. Takes one to two seconds the first time."""
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


def run_database(folder: Path) -> None:
    """Start PostgreSQL in ``folder``, announce where it listens, stop it at the end."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_keep(EmbeddedPostgres(folder)))


async def _keep(server: EmbeddedPostgres) -> None:
    """Once begun a start runs to its end, whoever asks to stop meanwhile: half a start would leave a
    server that nobody knows of. Filling it may be broken off."""
    stopped = asyncio.create_task(run_until_stopped(no_orders))
    await asyncio.sleep(0)  # from here on SIGTERM is heard
    try:
        url = await asyncio.to_thread(_start, server)
        opening = asyncio.create_task(_open(url))
        await asyncio.wait({opening, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            opening.cancel()
            await asyncio.wait({opening})
        else:
            opening.result()
            await stopped
    finally:
        await asyncio.to_thread(server.stop)


def _start(server: EmbeddedPostgres) -> str:
    server.start()
    if server.opened_folders:
        folders = ", ".join(map(str, server.opened_folders))
        _log.warning("PostgreSQL's account may now pass (not read) these folders: %s", folders)
    return server.ensure_database(NAME)


async def _open(url: str) -> None:
    await fill(url)
    announce(ready=True, url=url)
