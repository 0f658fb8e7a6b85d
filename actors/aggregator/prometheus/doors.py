"""What the handlers stand on: the backend, the settings, the clock; and the way a query is run.

A query waits for its turn (``aggregator.query_concurrency``), ends at its time-out, and is cancelled when its
client leaves, so that nobody computes what nobody reads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import ClientSession, web

from actors.aggregator.api import Api
from actors.aggregator.prometheus.backend import MetricBackend, QueryOptions
from actors.aggregator.prometheus.language import engine_options
from actors.aggregator.prometheus.problems import ApiError, ErrorType
from agent.promql.options import EngineOptions
from agent.settings import AggregatorSettings

LOOK_S = 0.1  # how often it is looked whether the client of a slow query is still there

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Took:
    queued_s: float
    run_s: float


class Doors:
    http: ClientSession  # open while the application runs

    def __init__(self, api: Api, backend: MetricBackend) -> None:
        self.api, self.backend = api, backend
        self.settings: AggregatorSettings = api.settings.aggregator
        self.engine: EngineOptions = engine_options(self.settings)
        self.started_s = api.wall_clock()
        self._turns = asyncio.Semaphore(self.settings.query_concurrency)

    def now_ms(self) -> int:
        return round(self.api.wall_clock() * 1000)

    async def run(
        self, request: web.Request, options: QueryOptions, start: Callable[[], Awaitable[T]]
    ) -> tuple[T, Took]:
        began, turn_s = time.monotonic(), [0.0]

        async def in_turn() -> T:
            async with self._turns:
                turn_s[0] = time.monotonic()
                return await start()

        task = asyncio.ensure_future(in_turn())
        try:
            while not task.done():
                left_s = began + options.timeout_s - time.monotonic()
                await asyncio.wait((task,), timeout=max(0.0, min(LOOK_S, left_s)))
                if task.done():
                    break
                if left_s <= 0:
                    where = "expression evaluation" if turn_s[0] else "query queue"
                    raise ApiError(ErrorType.TIMEOUT, f"query timed out in {where}")
                if request.transport is None or request.transport.is_closing():
                    raise ApiError(ErrorType.CANCELED, "query was canceled in expression evaluation")
            return task.result(), Took(turn_s[0] - began, time.monotonic() - turn_s[0])
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
