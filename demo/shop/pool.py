"""A pool of few database connections, with the figures about it that OpenTelemetry's conventions name."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

# One plan for one query whatever the machine: no compiled plans, no helpers, no wait for the disk.
SESSION = {"jit": "off", "max_parallel_workers_per_gather": "0", "synchronous_commit": "off"}

Connection = Any  # asyncpg's proxy of a pooled connection, which is typed as a union of protocols


class NoConnection(Exception):
    """No connection of the pool became free in time."""


class Database:
    """``size`` connections to PostgreSQL; a request that gets none within ``wait_s`` fails.

    ``keep_ratio`` of the connections handed out are never given back; it is 0 unless somebody turns it.
    """

    def __init__(self, name: str, size: int, wait_s: float = 1.5) -> None:
        self._name, self._size, self._wait_s = name, size, wait_s
        self._waiting = 0
        self._kept: list[Connection] = []
        self._random = random.Random(size)
        self.keep_ratio = 0.0
        self._pool: asyncpg.Pool[asyncpg.Record]
        self._measure()

    async def open(self, url: str) -> None:
        self._pool = await asyncpg.create_pool(
            url, min_size=self._size, max_size=self._size, server_settings=SESSION, reset=_leave_as_it_is
        )

    async def close(self) -> None:
        await self.give_back()
        try:
            await asyncio.wait_for(self._pool.close(), timeout=1.0)
        except TimeoutError:
            self._pool.terminate()

    async def give_back(self) -> None:
        """Release what was kept."""
        kept, self._kept = self._kept, []
        for connection in kept:
            await self._pool.release(connection)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for the length of a block; raises NoConnection after ``wait_s``."""
        connection = await self._acquire()
        try:
            yield connection
        finally:
            if self._random.random() < self.keep_ratio:
                self._kept.append(connection)
            else:
                await self._pool.release(connection)

    async def _acquire(self) -> Connection:
        began_s = time.perf_counter()
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=self._wait_s)
        except TimeoutError as error:
            self._timeouts.add(1, {"db.client.connection.pool.name": self._name})
            raise NoConnection(
                f"timed out after {self._wait_s * 1000:.0f} ms waiting for a database connection "
                f"(pool {self._name}: {self._pool.get_size() - self._pool.get_idle_size()} of "
                f"{self._size} in use, {self._waiting} waiting)"
            ) from error
        finally:
            self._waiting -= 1
            self._wait.record(time.perf_counter() - began_s, {"db.client.connection.pool.name": self._name})

    def _measure(self) -> None:
        meter = metrics.get_meter("shop.database")
        self._timeouts = meter.create_counter("db.client.connection.timeouts", unit="{timeout}")
        self._wait = meter.create_histogram(
            "db.client.connection.wait_time",
            unit="s",
            explicit_bucket_boundaries_advisory=[0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5],
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.count", [self._count], unit="{connection}"
        )
        meter.create_observable_up_down_counter("db.client.connection.max", [self._max], unit="{connection}")
        meter.create_observable_up_down_counter(
            "db.client.connection.pending_requests", [self._pending], unit="{request}"
        )

    def _count(self, _: CallbackOptions) -> Iterable[Observation]:
        idle = self._pool.get_idle_size()
        pool = {"db.client.connection.pool.name": self._name}
        yield Observation(idle, {**pool, "db.client.connection.state": "idle"})
        yield Observation(self._pool.get_size() - idle, {**pool, "db.client.connection.state": "used"})

    def _max(self, _: CallbackOptions) -> Iterable[Observation]:
        yield Observation(self._size, {"db.client.connection.pool.name": self._name})

    def _pending(self, _: CallbackOptions) -> Iterable[Observation]:
        yield Observation(self._waiting, {"db.client.connection.pool.name": self._name})


async def _leave_as_it_is(_: Connection) -> None:
    """The shop's queries leave nothing behind in a session that would have to be reset."""
