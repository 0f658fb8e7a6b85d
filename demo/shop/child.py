"""How a process of the shop talks with the supervisor that started it: lines of JSON on its own pipes.

Standard output carries facts to the supervisor, the first of them ``{"ready": true, ...}``; standard
input carries orders from it. The input ends when the supervisor ends, however that came about, and
the process then leaves too: no child outlives its parent. None of this is seen by the telemetry.
A process started by hand (no ``SHOP_SUPERVISED``) just runs until it is interrupted.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

SUPERVISED = "SHOP_SUPERVISED"
LINE_LIMIT_BYTES = 1 << 20

OnOrder = Callable[[Mapping[str, Any]], Awaitable[None]]


def announce(**facts: object) -> None:
    """Tell the supervisor something; it may have gone, which is its way to say stop."""
    try:
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(0)


async def run_until_stopped(on_order: OnOrder) -> None:
    """Pass each order to ``on_order`` until SIGTERM, or until the supervisor is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    obey = asyncio.create_task(_obey(on_order, stop)) if os.environ.get(SUPERVISED) else None
    await stop.wait()
    if obey is not None:
        obey.cancel()


async def no_orders(_: Mapping[str, Any]) -> None:
    """For a process that takes none."""


async def _obey(on_order: OnOrder, stop: asyncio.Event) -> None:
    async for order in _orders():
        await on_order(order)
    stop.set()


async def _orders() -> AsyncIterator[Mapping[str, Any]]:
    reader = asyncio.StreamReader(limit=LINE_LIMIT_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        yield json.loads(line)
