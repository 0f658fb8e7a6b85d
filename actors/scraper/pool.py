"""The targets of one job: found, relabelled, each scraped at its own place in the interval.

One task a target; scrapes of a target never overlap, one that takes longer than the interval skips those it
missed. When a target vanishes its series get stale markers; when the layer stops they do not, since the
target will be there when it is back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from actors.gateway.room import work
from actors.scraper.delivery import Delivery
from actors.scraper.discovery import Discovery
from actors.scraper.fetch import Fetcher, FetchError
from agent.errors import BadInput
from agent.telemetry.scrape_cache import Metadata
from agent.telemetry.scrape_config import JobConfig, TargetGroup
from agent.telemetry.scrape_result import Outcome, TargetScrapes
from agent.telemetry.scrape_target import Dropped, Refused, Target, next_scrape_s, targets_of
from agent.telemetry.scrape_yaml import format_duration

log = structlog.get_logger("scraper")

ALIGN_S = 0.01  # a scrape that begins so close to its time bears that time: even distances pack better
RETRY_S = 10.0
NEVER = "0001-01-01T00:00:00Z"

Clock = Callable[[], float]


class TargetLoop:
    def __init__(
        self, target: Target, fetcher: Fetcher, scrapes: TargetScrapes, delivery: Delivery, clock: Clock
    ) -> None:
        self.target, self.refusal = target, ""
        self._fetcher, self._scrapes, self._delivery, self._clock = fetcher, scrapes, delivery, clock
        self._changed = asyncio.Event()
        self._last_s: float | None = None
        self._took_s, self._error, self.health = 0.0, "", "unknown"
        self._reading: asyncio.Future[Outcome] | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def metadata(self) -> Mapping[str, Metadata]:
        return self._scrapes.metadata

    def change(self, target: Target) -> None:
        """The same target with other discovered labels or another interval."""
        if (target.interval_s, target.timeout_s) != (self.target.interval_s, self.target.timeout_s):
            self._changed.set()
        self.target = target

    async def run(self) -> None:
        while True:
            due_s = next_scrape_s(self.target.key, self.target.interval_s, self._clock())
            if await self._woken(due_s - self._clock()):
                continue
            await self.scrape(due_s)
            # The next is a later one, also where this one began a hair early.
            await asyncio.sleep(max(0.0, due_s + ALIGN_S - self._clock()))

    async def scrape(self, due_s: float) -> None:
        begin_s, began = self._clock(), time.perf_counter()
        now_ms = round((due_s if abs(begin_s - due_s) <= ALIGN_S else begin_s) * 1000)
        try:
            if self.refusal:
                raise FetchError(self.refusal)
            fetched = await self._fetcher.fetch(self.target)
        except BadInput as error:
            outcome = self._scrapes.failed(error.message, now_ms, time.perf_counter() - began)
        else:
            took_s = time.perf_counter() - began
            arguments = fetched.body, fetched.content_type, now_ms, took_s
            # Shielded, so that the end of the target waits for the thread and does not run beside it.
            self._reading = asyncio.ensure_future(work(len(fetched.body), self._scrapes.taken, *arguments))
            outcome = await asyncio.shield(self._reading)
        self._took_s, self._last_s = time.perf_counter() - began, begin_s
        self.health, self._error = "down" if outcome.error else "up", outcome.error
        self._delivery.put(outcome.body, outcome.samples)

    async def stop(self) -> None:
        if self.task:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        if self._reading:
            await asyncio.gather(self._reading, return_exceptions=True)

    async def end(self) -> None:
        """The target has vanished: nothing of it is current any more."""
        await self.stop()
        if self._last_s is not None:
            outcome = self._scrapes.gone(round(self._clock() * 1000))
            self._delivery.put(outcome.body, outcome.samples)

    def described(self) -> dict[str, Any]:
        """As ``/api/v1/targets`` shows an active target."""
        last = datetime.fromtimestamp(self._last_s, UTC).isoformat() if self._last_s is not None else NEVER
        return {
            "discoveredLabels": dict(sorted(self.target.discovered.items())),
            "labels": dict(self.target.labels),
            "scrapePool": self.target.job,
            "scrapeUrl": self.target.url,
            "globalUrl": self.target.url,
            "lastError": self._error,
            "lastScrape": last.replace("+00:00", "Z"),
            "lastScrapeDuration": self._took_s,
            "health": self.health,
            "scrapeInterval": format_duration(self.target.interval_s),
            "scrapeTimeout": format_duration(self.target.timeout_s),
        }

    async def _woken(self, wait_s: float) -> bool:
        """Whether the interval changed within the time."""
        try:
            async with asyncio.timeout(max(0.0, wait_s)):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True


class JobPool:
    def __init__(
        self, job: JobConfig, external: Mapping[str, str], fetcher: Fetcher, delivery: Delivery, clock: Clock
    ) -> None:
        self.job = job
        self._external, self._fetcher, self._delivery, self._clock = external, fetcher, delivery, clock
        self._groups: dict[tuple[int, str], TargetGroup] = {}
        self._loops: dict[str, TargetLoop] = {}
        self._discoveries: list[asyncio.Task[None]] = []
        self._ending: set[asyncio.Task[None]] = set()
        self.dropped: list[Dropped] = []
        self.dropped_count = 0

    @property
    def loops(self) -> list[TargetLoop]:
        return list(self._loops.values())

    async def start(self, discoveries: Sequence[Discovery]) -> None:
        await self._fetcher.open()
        for number, discovery in enumerate(discoveries):
            self._discoveries.append(asyncio.create_task(self._discover(number, discovery)))

    async def stop(self, *, vanished: bool) -> None:
        """``vanished``: the job is gone for good, so that its series end."""
        for task in self._discoveries:
            task.cancel()
        await asyncio.gather(*self._discoveries, return_exceptions=True)
        await asyncio.gather(*(loop.end() if vanished else loop.stop() for loop in self.loops), *self._ending)
        self._loops.clear()
        await self._fetcher.close()

    def change(self, job: JobConfig) -> None:
        """Another interval or time-out, from now on."""
        self.job = job
        self._sync()

    async def _discover(self, number: int, discovery: Discovery) -> None:
        def update(groups: Sequence[TargetGroup]) -> None:
            for group in groups:
                self._groups[number, group.source] = group
                if not group.targets:
                    del self._groups[number, group.source]
            self._sync()

        while True:
            try:
                await discovery.run(update)
            except Exception as error:
                reason = "; ".join(str(one) for one in getattr(error, "exceptions", [error]))
                log.error("a discovery failed and is tried again", job=self.job.name, reason=reason)
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _sync(self) -> None:
        """Start and end loops so that they are those of the groups."""
        targets: dict[str, Target] = {}
        dropped: list[Dropped] = []
        for found in targets_of(self.job, self._groups.values()):
            if isinstance(found, Target):
                targets[found.key] = found
            elif isinstance(found, Dropped):
                dropped.append(found)
            else:
                self._refuse(found)
        limit = self.job.limits.keep_dropped_targets
        self.dropped, self.dropped_count = dropped[:limit] if limit else dropped, len(dropped)
        for key in [key for key in self._loops if key not in targets]:
            self._end(key)
        for key, target in targets.items():
            if key in self._loops:
                self._loops[key].change(target)
            else:
                self._begin(key, target)
        self._check_limit()

    def _begin(self, key: str, target: Target) -> None:
        scrapes = TargetScrapes(self.job, target, self._external)
        loop = TargetLoop(target, self._fetcher, scrapes, self._delivery, self._clock)
        loop.task = asyncio.create_task(loop.run())
        self._loops[key] = loop

    def _end(self, key: str) -> None:
        ending = asyncio.create_task(self._loops.pop(key).end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    def _check_limit(self) -> None:
        limit, count = self.job.limits.targets, len(self._loops)
        exceeded = bool(limit) and count > limit
        refusal = f"target_limit exceeded (number of targets: {count}, limit: {limit})" if exceeded else ""
        for loop in self._loops.values():
            loop.refusal = refusal

    def _refuse(self, found: Refused) -> None:
        log.warning(
            "a target cannot be scraped",
            job=self.job.name,
            address=found.discovered.get("__address__", ""),
            reason=found.reason,
        )
