"""The network between two services: a process that passes on what it gets, at once or after a delay.

It stands between checkout and payment all the time, so that a slow network is a property of the way
and not of either end. A chunk that arrives at t leaves at t + delay; the order is kept and the
throughput is not limited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from demo.shop.child import announce, run_until_stopped

CHUNK_BYTES = 65536


class Way:
    """All connections through this process; ``delay_s`` applies to each direction."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.delay_s = 0.0

    async def order(self, order: Mapping[str, Any]) -> None:
        self.delay_s = float(order["turn"]["delay_s"])

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until both sides have said all; a target that is away closes it."""
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(self._carry(reader, back), self._carry(there, writer))
        finally:
            writer.close()
            back.close()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        deliver = asyncio.create_task(_deliver(under_way, sink))
        now_s = asyncio.get_running_loop().time
        try:
            while chunk := await source.read(CHUNK_BYTES):
                under_way.put_nowait((now_s() + self.delay_s, chunk))
        except ConnectionError:
            pass
        under_way.put_nowait((now_s() + self.delay_s, b""))
        await deliver


async def _deliver(under_way: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
    now_s = asyncio.get_running_loop().time
    while True:
        due_s, chunk = await under_way.get()
        if (wait_s := due_s - now_s()) > 0:
            await asyncio.sleep(wait_s)
        try:
            if not chunk:
                sink.write_eof()
                return
            sink.write(chunk)
            await sink.drain()
        except (ConnectionError, RuntimeError):
            return


async def _run(port: int, target_port: int) -> None:
    way = Way(target_port)
    server = await asyncio.start_server(way.connect, "127.0.0.1", port, reuse_port=True)
    announce(ready=True, port=port)
    await run_until_stopped(way.order)
    server.close()


def run_network(port: int, target_port: int) -> None:
    asyncio.run(_run(port, target_port))
