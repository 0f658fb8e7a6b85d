"""The actor round a stream: it is told how far its log goes, and answers from the windows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import structlog

from actors.direct import DirectServer
from actors.handles import connect
from actors.memory import keep_freed_memory, leave_to_stay
from actors.places import log_folder, position_socket, query_socket, stream_name
from actors.placing import actor
from actors.ports import Health, LiveBatch, RedSeries, SourceInfo
from actors.positions import PositionReceiver
from actors.progress import Progress
from actors.red import RedAsked
from actors.stream.core import Increment, Stream
from actors.stream.journal import Journal
from actors.stream.live import LiveFeed
from actors.stream.lookup import find_log, find_samples, find_trace, mesh_bins, red_series, source_infos
from actors.stream.queries import MatcherSets, Queries
from actors.stream.rebuild import rebuilt
from actors.warm import load_ingest, load_queries
from agent.detection.red import RedBins
from agent.errors import ObservabilityError, Overloaded
from agent.observe import configure
from agent.promql.values import Exemplars
from agent.settings import Settings
from agent.telemetry.frames import Telemetry
from agent.telemetry.labels import LabelTable
from agent.telemetry.otlp_prometheus_labels import Translation
from agent.windows.log import LogReader
from agent.windows.tenant import Applied, TenantWindow

READ_YOUR_WRITES_S = 5.0
YIELD_RECORDS = 16
# Between two passes over the log, while somebody watches live, and else: whoever asks has it applied at once.
PAUSE_S, LONG_PAUSE_S = 0.02, 0.2
RETRY_SEAL_S = 10.0
POLICY_S = 5.0  # how often the aggregator is asked which metrics are kept


class Increments(msgspec.Struct, frozen=True):
    """What came after a cursor, a page of it: ``cursor`` is that of the last item here, and whoever gets
    items asks again. Another ``epoch`` than the last time: the stream restarted and this is what it holds,
    from the start."""

    epoch: int
    cursor: int
    items: tuple[Increment, ...]
    watermarks: dict[str, int]


class SourceStream:
    def __init__(self, settings: Settings, number: int) -> None:
        self._settings = settings
        self._number = number
        self._progress = Progress(stream_name(number), "stream")
        configure(settings.general.log_level, settings.general.log_format, stream_name(number))
        keep_freed_memory()
        self._epoch = time.time_ns()
        self._reader = LogReader(log_folder(settings, number))
        self._stream = Stream(number, settings.streams, self._reader, Translation.of(settings.otlp))
        self._live = LiveFeed(self._epoch)
        self._journal = Journal()
        self._queries = Queries(self._stream)
        self._target = 0
        self._rebuilds = 0
        self._tidying: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._answering: DirectServer | None = None
        self._following: asyncio.Task[None] | None = None
        self._told: PositionReceiver | None = None
        self._moved = asyncio.Event()
        self._applying = asyncio.Lock()

    def __repr__(self) -> str:
        sources = sum(len(tenant.window.sources.states) for tenant in list(self._stream.tenants.values()))
        return f"Stream({self._number}: {sources} sources, {self._stream.nbytes >> 20} MiB)"

    async def start(self) -> Health:
        """Read the log from the start of what it holds; does nothing when that is done."""
        async with self._progress.starting() as wanted:
            if wanted:
                await asyncio.to_thread(load_ingest)
                await asyncio.to_thread(load_queries)
                await asyncio.to_thread(self._stream.recover, self._journal.add)
                leave_to_stay()
                self._answering = self._answer_queries()
                self._asking = asyncio.create_task(self._follow_policy())
                self._told = PositionReceiver(position_socket(self._settings, self._number), self._go_to)
                self._following = asyncio.create_task(self._follow_log())
        return await self.health()

    async def health(self) -> Health:
        stream = self._stream
        figures = {f"{signal}_total": float(rows) for signal, rows in stream.rows.items()}
        figures |= {
            "sources": float(
                sum(len(tenant.window.sources.states) for tenant in list(stream.tenants.values()))
            ),
            "series": float(sum(len(tenant.window.series) for tenant in list(stream.tenants.values()))),
            "window_bytes": float(stream.nbytes),
            "table_bytes": float(sum(tenant.window.table_bytes for tenant in list(stream.tenants.values()))),
            "rebuilds_total": float(self._rebuilds),
            "log_position_bytes": float(stream.position),
            "red_spans_refused_total": float(stream.red_spans_refused),
            "mesh_series_refused_total": float(stream.mesh_series_refused),
            "journal_bytes": float(self._journal.nbytes),
            "behind_bytes": float(max(0, self._target - stream.position)),
        }
        left_out = {reason: rows for reason, rows in stream.left_out.items() if rows}
        return self._progress.health(figures, left_out)

    def _go_to(self, position: int) -> None:
        """The log is durable up to ``position``."""
        self._target = max(self._target, position)
        self._moved.set()

    async def _follow_log(self) -> None:
        """Apply the log as far as it is durable, again and again. What comes at short intervals is applied together:
        a pass costs as much as ten thousand samples."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            try:
                await self.advance(self._target)
            except Exception:  # it goes on with the next records
                structlog.get_logger().exception("not applied", stream=self._number, position=self._target)
            watched = self._live.watched(time.monotonic())
            await asyncio.sleep(PAUSE_S if watched else LONG_PAUSE_S)

    async def advance(self, position: int) -> None:
        """Apply the log up to ``position``, where it is durable. Saying so twice does nothing twice."""
        self._target = max(self._target, position)
        self._check_ready()
        async with self._applying:
            now_s = time.monotonic()
            for done, (window, applied) in enumerate(self._stream.follow(self._target)):
                if self._live.wanted(window.tenant, now_s):
                    self._publish(window, applied)
                if self._stream.crowded:
                    self._journal.add(self._stream.drain())
                if done % YIELD_RECORDS == 0:
                    self._live.wake()
                    await asyncio.sleep(0)
            self._live.wake()
            await self._rebuild()
        self._begin_tidying()

    async def _follow_policy(self) -> None:
        """Take up which metrics are kept, and how long, whenever somebody changes that."""
        aggregator = connect(self._settings).aggregator
        while True:
            try:
                policy = await aggregator.metric_policy(self._stream.policy_version)
                if policy is not None:
                    async with self._applying:
                        await asyncio.to_thread(self._stream.use, policy)
                    self._begin_tidying()
            except ObservabilityError:  # away: it comes back
                pass
            except OSError:  # it holds, and is tried again
                structlog.get_logger().exception("the policy of metrics is not saved", stream=self._number)
            await asyncio.sleep(POLICY_S)

    def _begin_tidying(self) -> None:
        if not self._tidying and (self._stream.seals() or self._stream.thins()):
            self._tidying = asyncio.create_task(self._tidy())

    async def _tidy(self) -> None:
        """Write the samples that are due to blocks, and those that are no longer kept out of them, while records
        are applied. What the disk refuses is tried again with a later record."""
        failed = False
        try:
            due: list[Callable[[], None]] = [partial(feed.seal, cut) for feed, cut in self._stream.seals()]
            due += [feed.thin for feed in self._stream.thins()]
            for work in due:
                try:
                    await asyncio.to_thread(work)
                except Exception:  # a full disk must not keep others from giving back what they hold of it
                    failed = True
                    structlog.get_logger().exception("blocks could not be written", stream=self._number)
            if failed:
                await asyncio.sleep(RETRY_SEAL_S)
        finally:
            self._tidying = None

    async def _rebuild(self) -> None:
        """Make the windows whose tables are full anew, while nothing is applied."""
        stream = self._stream
        for name in stream.outgrown():
            self._journal.add(stream.drain())
            try:
                fresh = await asyncio.to_thread(rebuilt, stream, name, self._settings.streams, self._reader)
            except Exception:  # the old window still serves
                stream.tenants[name].patience *= 2
                structlog.get_logger().exception("not made anew", stream=self._number, tenant=name)
                continue
            stream.tenants[name] = fresh
            self._rebuilds += 1
            structlog.get_logger().info(
                "a full window was made anew",
                stream=self._number,
                tenant=name,
                sources=len(fresh.window.sources.states),
            )

    async def increments(self, epoch: int, cursor: int) -> Increments:
        """What the detectors have not seen yet."""
        await self._catch_up()
        self._journal.add(self._stream.drain())
        after = cursor if epoch == self._epoch else 0
        last, items = self._journal.after(after)
        return Increments(self._epoch, last, items, self._stream.watermarks())

    async def telemetry(self, tenant: str, start_ns: int, end_ns: int, min_position: int) -> Telemetry | None:
        """All signals of ``[start_ns, end_ns)`` that were acknowledged up to ``min_position`` at least."""
        await self._wait_for(min_position)
        return await asyncio.to_thread(self._stream.telemetry, tenant, start_ns, end_ns)

    async def watermarks(self, min_position: int) -> dict[str, int]:
        await self._wait_for(min_position)
        return self._stream.watermarks()

    async def live(self, tenant: str, epoch: int, cursor: int, wait_s: float) -> LiveBatch:
        return await self._live.fetch(tenant, epoch, cursor, wait_s, time.monotonic())

    async def sources(self, tenant: str) -> list[SourceInfo]:
        await self._catch_up()
        return source_infos(self._stream, tenant)

    async def red(
        self, tenant: str, service: str | None, start_ns: int, end_ns: int, step_s: float, by_operation: bool
    ) -> list[RedSeries]:
        await self._catch_up()
        self._journal.add(self._stream.drain())
        asked = RedAsked(tenant, service, start_ns, end_ns, step_s, by_operation)
        return await asyncio.to_thread(red_series, self._stream, asked)

    async def mesh(self, tenant: str, service: str | None, start_ns: int, end_ns: int) -> list[RedBins]:
        """What proxies tell of services; the caller puts it together with that of the other streams."""
        await self._catch_up()
        self._journal.add(self._stream.drain())
        return await asyncio.to_thread(mesh_bins, self._stream, tenant, service, start_ns, end_ns)

    async def trace(self, tenant: str, trace_id: str) -> list[dict[str, Any]]:
        await self._catch_up()
        return await asyncio.to_thread(find_trace, self._stream, self._reader, tenant, trace_id)

    async def log(self, tenant: str, ref: int) -> dict[str, Any]:
        await self._catch_up()
        return find_log(self._stream, self._reader, tenant, ref)

    async def samples(
        self, tenant: str, service: str, instance: str, metric: str, start_ns: int, end_ns: int
    ) -> list[dict[str, Any]]:
        await self._catch_up()
        return await asyncio.to_thread(
            find_samples, self._stream, tenant, service, instance, metric, start_ns, end_ns
        )

    async def series(self, tenant: str, sets: MatcherSets, start_ms: int, end_ms: int) -> LabelTable:
        await self._catch_up()
        return await self._queries.series(tenant, sets, start_ms, end_ms)

    async def label_names(self, tenant: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        await self._catch_up()
        return await self._queries.label_names(tenant, sets, start_ms, end_ms)

    async def label_values(
        self, tenant: str, name: str, sets: MatcherSets, start_ms: int, end_ms: int
    ) -> list[str]:
        await self._catch_up()
        return await self._queries.label_values(tenant, name, sets, start_ms, end_ms)

    async def exemplars(self, tenant: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Exemplars]:
        await self._catch_up()
        return await self._queries.exemplars(tenant, sets, start_ms, end_ms)

    async def metadata(self, tenant: str) -> dict[str, dict[str, str]]:
        await self._catch_up()
        return await self._queries.metadata(tenant)

    async def metric_stats(self, tenant: str, limit: int) -> dict[str, Any]:
        return await self._queries.metric_stats(tenant, limit)

    def _answer_queries(self) -> DirectServer:
        queries, loop = self._queries, asyncio.get_running_loop()

        def caught_up(answer: Callable[..., Any]) -> Callable[..., Any]:
            def answered(*asked: Any) -> Any:
                if self._stream.position < self._reader.durable():
                    asyncio.run_coroutine_threadsafe(self._catch_up(), loop).result()
                return answer(*asked)

            return answered

        return DirectServer(
            query_socket(self._settings, self._number),
            {
                "parts": caught_up(queries.parts),
                "select": caught_up(queries.select),
                "cancel": queries.cancel,
            },
        )

    async def _catch_up(self) -> None:
        """Whoever was told that samples are taken in sees them from then on. Raises ``Overloaded``."""
        self._check_ready()
        await self._wait_for(self._reader.durable())

    def _publish(self, window: TenantWindow, applied: Applied) -> None:
        try:
            self._live.publish(window, applied)
        except Exception:  # what cannot be rendered must not hold up the windows
            structlog.get_logger().exception("not shown live", stream=self._number, position=applied.position)

    def _check_ready(self) -> None:
        """Until then the log is applied in another thread, and what came of it is not whole."""
        if self._progress.state != "ready":
            raise Overloaded(f"{self._progress.name} is starting")

    async def _wait_for(self, position: int) -> None:
        """Raises ``Overloaded`` when the log is not applied that far in time."""
        if self._stream.position < position:
            async with self._in_time(position):
                await self.advance(position)

    @asynccontextmanager
    async def _in_time(self, position: int) -> AsyncIterator[None]:
        """Raises ``Overloaded`` for what takes too long."""
        try:
            async with asyncio.timeout(READ_YOUR_WRITES_S):
                yield
        except TimeoutError:
            raise Overloaded(
                f"{self._progress.name} is {position - self._stream.position} bytes of log behind; ask again"
            ) from None


StreamActor = actor(SourceStream, max_concurrency=1000)
