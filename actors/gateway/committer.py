"""Group commit: many requests, one write and one sync a stream, then a word to the stream.

One thread does it all, so that nothing is handed from thread to thread while a group is on its way: it takes the
bodies of remote write that wait (``agent.windows.sampleintake``), appends what they and the requests of OTLP
bring, syncs (the logs of several streams side by side), and acknowledges the whole group at once. While it does, the
next group gathers, so under load the groups grow by themselves. An idle gateway commits at once.

A group that cannot be written is refused, and the series of remote write are learnt anew: a sample must not be
taken for known that is on no disk. Telling a stream is separate and may fail: positions are absolute, so the
next word says it again, and a stream that restarts reads its log to the end by itself.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import chain, groupby
from queue import Empty, SimpleQueue
from typing import Any

import structlog

from actors.gateway.intake import Buffers
from agent.errors import ObservabilityError, Overloaded
from agent.telemetry.remote_write import Packed
from agent.windows.log import LogWriter
from agent.windows.sampleintake import MAX_BODIES, SampleIntake

BEHIND = "the write-ahead log is behind; come back in a second"
USUAL_PACKING = 4  # how much larger a body of remote write is unpacked
GROUP_BYTES = 16 << 20
RETRY_TELL_S = 0.25

Tell = Callable[[int, int], None]
Write = tuple[int, Buffers]


@dataclass(slots=True)
class _Entry:
    """A request that waits: with its records, or with a body of a tenant to make them of. ``outcome`` is what it
    is answered with."""

    size_bytes: int
    done: asyncio.Future[Any]
    writes: Sequence[Write] = ()
    tenant: str = ""
    packed: Packed | None = None
    outcome: Any = field(default=None)


class Committer:
    """``tell(stream, position)`` passes on how far a stream's log is durable. ``samples`` is the thread's own."""

    def __init__(
        self, writers: Sequence[LogWriter], samples: SampleIntake, max_pending_bytes: int, tell: Tell
    ) -> None:
        self._writers = writers
        self._samples = samples
        self._max_pending_bytes = max_pending_bytes
        self._tell = tell
        self._waiting: SimpleQueue[_Entry | None] = SimpleQueue()
        self._moved = [asyncio.Event() for _ in writers]
        self._durable = [writer.position for writer in writers]
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)
        # The disk takes several syncs at once in the time of one.
        self._syncers = ThreadPoolExecutor(max(1, len(writers) - 1), thread_name_prefix="sync")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._running = True
        self.pending_bytes = 0
        self.commits = 0

    @property
    def positions(self) -> list[int]:
        """Up to where each log is durable."""
        return list(self._durable)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks = [asyncio.create_task(self._follow(i)) for i in range(len(self._writers))]
        for moved in self._moved:
            moved.set()
        self._thread.start()

    async def stop(self) -> None:
        """Commit what waits, then end."""
        self._waiting.put(None)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._syncers.shutdown()
        for writer in self._writers:
            writer.close()

    async def commit(self, writes: Sequence[Write]) -> None:
        """Return once the records are durable. Raises ``Overloaded`` when too much waits already, or when
        the disk refuses."""
        if writes:
            await self._enter(sum(len(buffer) for _, buffers in writes for buffer in buffers), writes=writes)

    async def write(self, tenant: str, packed: Packed) -> Any:
        """The ``Outcome`` of a body of remote write, once it is durable. Raises ``Overloaded``."""
        return await self._enter(USUAL_PACKING * len(packed.body), tenant=tenant, packed=packed)

    def _enter(self, size_bytes: int, **content: Any) -> asyncio.Future[Any]:
        if self.pending_bytes and self.pending_bytes + size_bytes > self._max_pending_bytes:
            raise Overloaded(BEHIND)
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.pending_bytes += size_bytes
        self._waiting.put(_Entry(size_bytes, done, **content))
        return done

    def _run(self) -> None:
        """The thread."""
        while self._running:
            self._attempt(self._arriving())

    def _attempt(self, arriving: Iterable[_Entry]) -> None:
        """Write a group and settle it. Where it is no fault of the disk, whose request it is must be found out, so
        that the others of the group do not share its fate."""
        error, group = None, list[_Entry]()
        try:
            self._write(_noted(arriving, group))
        except Exception as problem:  # the next group must find the thread alive
            structlog.get_logger().exception("the write-ahead log cannot be written")
            self._samples.forget()
            if isinstance(problem, OSError):
                error = Overloaded(
                    f"the disk refuses the write-ahead log: {problem.strerror}", retry_after_s=5
                )
            elif len(group) > 1:
                for entry in group:
                    self._attempt([entry])
                return
            else:
                error = Overloaded(f"not taken: {type(problem).__name__}: {problem}", retry_after_s=5)
        if group and self._loop:
            self._loop.call_soon_threadsafe(self._settle, group, error, [w.position for w in self._writers])

    def _arriving(self) -> Iterator[_Entry]:
        """The requests of a group as they come, so that the first is worked on while the others are on their way; none
        when it is time to end."""
        entry = self._waiting.get()
        count = size = 0
        try:
            while entry is not None:
                yield entry
                count += 1
                size += entry.size_bytes
                if count == MAX_BODIES or size > GROUP_BYTES:
                    break
                entry = self._waiting.get_nowait()
        except Empty:
            pass
        self._running = entry is not None

    def _write(self, group: Iterable[_Entry]) -> None:
        touched = set()
        for stream, buffers in self._records(group):
            self._writers[stream].append(buffers)
            touched.add(stream)
        writers = [self._writers[stream] for stream in touched]
        syncing = [self._syncers.submit(writer.sync) for writer in writers[1:]]
        try:
            for writer in writers[:1]:
                writer.sync()
        finally:
            wait(syncing)  # none may go on while the group is refused
        for synced in syncing:
            synced.result()

    def _records(self, group: Iterable[_Entry]) -> Iterator[Write]:
        """The bodies of the tenant who came first are taken as they come, the others when all are there."""
        coming = iter(group)
        first = next(coming, None)
        others: list[_Entry] = []
        if first is not None:
            yield from self._taken(first.tenant, chain([first], coming), others)
        for tenant, entries in groupby(sorted(others, key=_tenant), key=_tenant):
            yield from self._taken(tenant, entries, [])

    def _taken(self, tenant: str, entries: Iterable[_Entry], others: list[_Entry]) -> Iterator[Write]:
        """The records of those entries that are a tenant's."""
        mine: list[_Entry] = []

        def bodies() -> Iterator[Packed]:
            for entry in entries:
                if entry.tenant != tenant:
                    others.append(entry)
                    continue
                mine.append(entry)
                if entry.packed:
                    yield entry.packed

        if not tenant:
            list(bodies())
            for entry in mine:
                yield from entry.writes
            return
        taken = self._samples.take(tenant, bodies(), time.time_ns(), self._durable)
        for entry, outcome in zip(mine, taken.outcomes, strict=True):
            entry.outcome = outcome
        yield from taken.writes

    def _settle(self, group: Sequence[_Entry], error: Exception | None, positions: Sequence[int]) -> None:
        for entry in group:
            self.pending_bytes -= entry.size_bytes
            if entry.done.done():  # the sender left
                continue
            if error is None:
                entry.done.set_result(entry.outcome)
            else:
                entry.done.set_exception(error)
        if error is not None:
            return
        self.commits += 1
        for stream, position in enumerate(positions):
            if self._durable[stream] != position:
                self._durable[stream] = position
                self._moved[stream].set()

    async def _follow(self, stream: int) -> None:
        """Tell one stream how far its log goes, whenever it has moved."""
        told = -1
        while True:
            await self._moved[stream].wait()
            self._moved[stream].clear()
            position = self._durable[stream]
            if position == told:
                continue
            try:
                self._tell(stream, position)
                told = position
                continue
            except ObservabilityError:  # it restarts
                pass
            except Exception:  # whatever it is: a stream that is not told stands still for good
                structlog.get_logger().exception("a stream could not be told", stream=stream)
            await asyncio.sleep(RETRY_TELL_S)
            self._moved[stream].set()


def _tenant(entry: _Entry) -> str:
    return entry.tenant


def _noted(entries: Iterable[_Entry], group: list[_Entry]) -> Iterator[_Entry]:
    """The entries as they come; who came is in the group."""
    for entry in entries:
        group.append(entry)
        yield entry
