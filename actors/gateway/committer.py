"""Group commit: many requests, one write and one sync a stream, then one small call that tells the stream.

While one group is on its way to the disk the next one gathers, so under load the groups grow by themselves
and an idle gateway commits at once. A request is acknowledged after the sync that covers it. Telling a
stream is separate and may fail: positions are absolute, so the next call says it again, and a stream that
restarts reads its log to the end by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from actors.gateway.intake import Buffers
from agent.errors import ObservabilityError, Overloaded
from agent.windows.log import LogWriter

RETRY_TELL_S = 0.25

Tell = Callable[[int, int], Awaitable[None]]
Write = tuple[int, Buffers]


class Committer:
    """``tell(stream, position)`` passes on how far a stream's log is durable."""

    def __init__(self, writers: Sequence[LogWriter], max_pending_bytes: int, tell: Tell) -> None:
        self._writers = writers
        self._max_pending_bytes = max_pending_bytes
        self._tell = tell
        self._waiting: list[tuple[Sequence[Write], asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._moved = [asyncio.Event() for _ in writers]
        self._durable = [writer.position for writer in writers]
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._tasks: list[asyncio.Task[None]] = []
        self.pending_bytes = 0
        self.commits = 0

    @property
    def positions(self) -> list[int]:
        """Up to where each log is durable."""
        return list(self._durable)

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._run()),
            *(asyncio.create_task(self._follow(i)) for i in range(len(self._writers))),
        ]
        for moved in self._moved:
            moved.set()

    async def stop(self) -> None:
        """Commit what waits, then end."""
        waiting = [done for _, done in self._waiting]
        if waiting:
            await asyncio.wait(waiting)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown(wait=True)
        for writer in self._writers:
            writer.close()

    async def commit(self, writes: Sequence[Write]) -> None:
        """Return once the records are durable. Raises ``Overloaded`` when too much waits already, or when
        the disk refuses."""
        if not writes:
            return
        size = sum(len(buffer) for _, buffers in writes for buffer in buffers)
        if self.pending_bytes + size > self._max_pending_bytes:
            raise Overloaded("the write-ahead log is behind; come back in a second")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pending_bytes += size
        self._waiting.append((writes, done))
        self._wake.set()
        try:
            await asyncio.shield(done)
        finally:
            self.pending_bytes -= size

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            group, self._waiting = self._waiting, []
            try:
                touched = await loop.run_in_executor(
                    self._pool, self._write, [w for writes, _ in group for w in writes]
                )
            except Exception as error:  # this group is refused; the next one must find the task alive
                structlog.get_logger().exception("the write-ahead log cannot be written")
                why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
                refusal = Overloaded(f"the disk refuses the write-ahead log: {why}", retry_after_s=5)
                self._settle(group, refusal)
                continue
            self.commits += 1
            self._settle(group, None)
            for stream in touched:
                self._durable[stream] = self._writers[stream].position
                self._moved[stream].set()

    def _write(self, writes: Sequence[Write]) -> set[int]:
        for stream, buffers in writes:
            self._writers[stream].append(buffers)
        touched = {stream for stream, _ in writes}
        for stream in touched:
            self._writers[stream].sync()
        return touched

    @staticmethod
    def _settle(
        group: Sequence[tuple[Sequence[Write], asyncio.Future[None]]], error: Exception | None
    ) -> None:
        for _, done in group:
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    async def _follow(self, stream: int) -> None:
        """Tell one stream how far its log goes, whenever it has moved; one call at a time."""
        told = -1
        while True:
            await self._moved[stream].wait()
            self._moved[stream].clear()
            position = self._durable[stream]
            if position == told:
                continue
            try:
                await self._tell(stream, position)
                told = position
                continue
            except ObservabilityError:  # it restarts
                pass
            except Exception:  # whatever it is: a stream that is not told stands still for good
                structlog.get_logger().exception("a stream could not be told", stream=stream)
            await asyncio.sleep(RETRY_TELL_S)
            self._moved[stream].set()
