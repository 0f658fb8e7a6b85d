"""Group commit: many requests, one write and one sync a stream, then one small call that tells the stream.

While one group is on its way to the disk the next one gathers, so under load the groups grow by themselves
and an idle gateway commits at once. A request is acknowledged after the sync that covers it. Telling a
stream is separate and may fail: positions are absolute, so the next call says it again, and a stream that
restarts reads its log to the end by itself.

Some records rest on those before them (``agent.windows.sampleintake``): they are *chained*. When a group cannot
be written, the chained records that wait behind it are refused with it, and ``failures`` tells their maker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from actors.gateway.intake import Buffers
from agent.errors import ObservabilityError, Overloaded
from agent.windows.log import LogWriter

BEHIND = "the write-ahead log is behind; come back in a second"
RETRY_TELL_S = 0.25
PAUSE_S = 0.05  # between two calls to a stream: each costs as much as ten thousand samples

Tell = Callable[[int, int], Awaitable[None]]
Write = tuple[int, Buffers]
Entry = tuple[Sequence[Write], asyncio.Future[None], bool]  # whether it is chained


class Committer:
    """``tell(stream, position)`` passes on how far a stream's log is durable."""

    def __init__(self, writers: Sequence[LogWriter], max_pending_bytes: int, tell: Tell) -> None:
        self._writers = writers
        self._max_pending_bytes = max_pending_bytes
        self._tell = tell
        self._waiting: list[Entry] = []
        self._wake = asyncio.Event()
        self._moved = [asyncio.Event() for _ in writers]
        self._durable = [writer.position for writer in writers]
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._tasks: list[asyncio.Task[None]] = []
        self.pending_bytes = 0
        self.commits = 0
        self.failures = 0

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
        waiting = [done for _, done, _ in self._waiting]
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
        if self.full(_size(writes)):
            raise Overloaded(BEHIND)
        await asyncio.shield(self.submit(writes, chained=False))

    def full(self, size_bytes: int) -> bool:
        """Whether so much more would be too much to wait for the disk."""
        return self.pending_bytes + size_bytes > self._max_pending_bytes

    def submit(self, writes: Sequence[Write], *, chained: bool) -> asyncio.Future[None]:
        """Take records in the order of the calls; the future ends when these, and all before them, are
        durable, or with ``Overloaded``. No writes at all wait for those before."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        size = _size(writes)
        self.pending_bytes += size
        done.add_done_callback(lambda _: self._release(size))
        self._waiting.append((writes, done, chained))
        self._wake.set()
        return done

    def _release(self, size_bytes: int) -> None:
        self.pending_bytes -= size_bytes

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            group, self._waiting = self._waiting, []
            try:
                touched = await loop.run_in_executor(
                    self._pool, self._write, [w for writes, _, _ in group for w in writes]
                )
            except Exception as error:  # this group is refused; the next one must find the task alive
                structlog.get_logger().exception("the write-ahead log cannot be written")
                why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
                refusal = Overloaded(f"the disk refuses the write-ahead log: {why}", retry_after_s=5)
                self.failures += 1
                behind = [entry for entry in self._waiting if entry[2]]
                self._waiting = [entry for entry in self._waiting if not entry[2]]
                self._settle([*group, *behind], refusal)
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
    def _settle(group: Sequence[Entry], error: Exception | None) -> None:
        for _, done, _ in group:
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
                await asyncio.sleep(PAUSE_S)
                continue
            except ObservabilityError:  # it restarts
                pass
            except Exception:  # whatever it is: a stream that is not told stands still for good
                structlog.get_logger().exception("a stream could not be told", stream=stream)
            await asyncio.sleep(RETRY_TELL_S)
            self._moved[stream].set()


def _size(writes: Sequence[Write]) -> int:
    return sum(len(buffer) for _, buffers in writes for buffer in buffers)
