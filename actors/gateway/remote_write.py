"""Prometheus remote write over HTTP, and the lane that its bodies go through.

The lane works on one group of bodies at a time, in the order in which they came, in a thread. While a group is
decoded the next one gathers, and while one is on its way to the disk the next is decoded. That order is what
``agent.windows.sampleintake`` asks for; when the disk refuses a record, what was made after it is refused too,
and the series are learnt anew.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from aiohttp import web

from actors.gateway.committer import BEHIND, Committer
from actors.gateway.otlp_http import OVERLOADED, Refuse, read_body
from actors.gateway.room import Room, work
from agent.errors import BadInput, Overloaded, TooLarge, Unsupported
from agent.settings import GatewaySettings
from agent.telemetry.remote_write import Packed, Version, content_encoding, message_version
from agent.windows.refusals import Outcome
from agent.windows.sampleintake import SampleIntake, Taken

PATH = "/api/v1/write"
WRITTEN = "X-Prometheus-Remote-Write-{}-Written"
GROUP_BODIES, GROUP_BYTES = 64, 4 << 20
USUAL_PACKING = 4  # how much larger a body of remote write is unpacked

Write = Callable[[str, Packed], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    tenant: str
    packed: Packed
    done: asyncio.Future[Outcome]


class Lane:
    def __init__(self, intake: SampleIntake, committer: Committer) -> None:
        self._intake = intake
        self._committer = committer
        self._failures = committer.failures
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Finish what waits, then end."""
        waiting = [one.done for one in self._waiting]
        if waiting:
            await asyncio.wait(waiting)
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def write(self, tenant: str, packed: Packed) -> Outcome:
        """What became of a body, once it is durable. Raises ``Overloaded``."""
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(tenant, packed, done))
        self._wake.set()
        return await done

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group = self._group()
                try:
                    await self._take(group)
                except Exception as error:  # this group is refused; the next one must find the task alive
                    if not isinstance(error, Overloaded):
                        structlog.get_logger().exception("remote write failed")
                        error = Overloaded(f"remote write failed: {type(error).__name__}: {error}")
                    self._failures = -1
                    _refuse(group, error)

    def _group(self) -> list[_Waiting]:
        """The next bodies of one tenant, as they came."""
        group = [self._waiting.popleft()]
        size = len(group[0].packed.body)
        while self._waiting and self._waiting[0].tenant == group[0].tenant and len(group) < GROUP_BODIES:
            size += len(self._waiting[0].packed.body)
            if size > GROUP_BYTES:
                break
            group.append(self._waiting.popleft())
        return group

    async def _take(self, group: list[_Waiting]) -> None:
        committer = self._committer
        size = USUAL_PACKING * sum(len(one.packed.body) for one in group)
        if committer.pending_bytes and committer.full(size):
            _refuse(group, Overloaded(BEHIND))
            return
        if self._failures != committer.failures:
            self._intake.forget()
            self._failures = committer.failures
        bodies = [one.packed for one in group]
        taken = await work(
            size, self._intake.take, group[0].tenant, bodies, time.time_ns(), committer.positions
        )
        if self._failures != committer.failures:
            _refuse(group, Overloaded("a record before this one could not be written; send it again"))
            return
        committer.submit(taken.writes, chained=True).add_done_callback(
            lambda durable: _settle(group, taken, durable)
        )


def _refuse(group: list[_Waiting], error: BaseException) -> None:
    for one in group:
        if not one.done.done():
            one.done.set_exception(error)


def _settle(group: list[_Waiting], taken: Taken, durable: asyncio.Future[None]) -> None:
    error = durable.exception()
    if error is not None:
        _refuse(group, error)
        return
    for one, outcome in zip(group, taken.outcomes, strict=True):
        if not one.done.done():
            one.done.set_result(outcome)


def add_remote_write(
    app: web.Application, settings: GatewaySettings, room: Room, write: Write, refuse: Refuse
) -> None:
    """The route of remote write. ``write`` makes a body durable, or raises ``BadInput`` or ``Overloaded``."""

    async def handle(request: web.Request) -> web.Response:
        try:
            version = message_version(request.headers.get("Content-Type", ""))
            encoding = content_encoding(request.headers.get("Content-Encoding", ""))
            length, limit = request.content_length, settings.max_body_bytes
            with room.hold(limit if length is None else min(length, limit)):
                packed = Packed(await read_body(request, settings), version, encoding)
                outcome = await write(request.headers.get("X-Scope-OrgID", "default"), packed)
            if outcome.error is not None:
                raise outcome.error
        except BadInput as error:
            refuse(error.reason)
            status = {TooLarge: 413, Unsupported: 415}.get(type(error), 400)
            return web.Response(status=status, text=error.message + "\n")
        except Overloaded as error:
            refuse(OVERLOADED)
            headers = {"Retry-After": str(max(1, round(error.retry_after_s)))}
            return web.Response(status=503, text=error.message + "\n", headers=headers)
        return _answer(version, outcome)

    app.router.add_post(PATH, handle)


def _answer(version: Version, outcome: Outcome) -> web.Response:
    """204, or 400 where samples were refused: the others are written, and none must be sent again."""
    headers = {}
    if version is Version.V2:
        written = {
            "Samples": outcome.samples,
            "Histograms": outcome.histograms,
            "Exemplars": outcome.exemplars,
        }
        headers = {WRITTEN.format(kind): str(n) for kind, n in written.items()}
    if outcome.message:
        return web.Response(status=400, text=outcome.message + "\n", headers=headers)
    return web.Response(status=204, headers=headers)
