"""The watch over the actors, without Ray: an actor is a handle whose calls return awaitables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError

from actors.ports import Health, Status
from actors.runtime import FAILED_S, Failing
from actors.supervisor import SILENT_S, Place, Supervisor
from agent.settings import Settings


class Call:
    def __init__(self, work: Any) -> None:
        self.remote = work


class Handle:
    """An actor whose start lasts until ``recovered`` is set."""

    def __init__(self) -> None:
        self.recovered = asyncio.Event()
        self.away = False
        self.pid, self.starts = 1, 0
        self.health, self.start = Call(self._health), Call(self._start)

    def options(self, **_: Any) -> Handle:
        return self

    def remote(self) -> Handle:
        return self

    async def _health(self) -> Health:
        if self.away:
            raise ActorUnavailableError("away", None)
        state = "ready" if self.recovered.is_set() else "starting"
        return Health("stream-0", "stream", self.pid, 0, state)

    async def _start(self) -> None:
        self.starts += 1
        await self.recovered.wait()


class Watch:
    """A supervisor with one actor, looked at by hand."""

    def __init__(self) -> None:
        self.handle = Handle()
        self.supervisor = Supervisor(Settings(), [Place("stream-0", "stream", self.handle, ())], "")
        self.watched = self.supervisor._watched["stream-0"]

    async def look(self, times: int = 1) -> None:
        self.watched.handle = self.handle
        for _ in range(times):
            await self.supervisor._look(self.watched)
            await asyncio.sleep(0)


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    made = Watch()
    yield made
    for task in (made.supervisor._begun, *made.supervisor._tasks, made.watched.starting):
        if task is not None:
            task.cancel()


async def test_a_supervisor_begins_by_itself(watch: Watch) -> None:
    watch.handle.recovered.set()
    async with asyncio.timeout(5):
        while watch.watched.health.state != "ready":
            await asyncio.sleep(0)


async def test_a_long_recovery_is_set_going_once_and_counts_as_an_answer(watch: Watch) -> None:
    await watch.look(times=5)
    assert watch.handle.starts == 1
    assert watch.watched.health.state == "starting"
    assert watch.watched.health.pid == 1
    watch.handle.recovered.set()
    await watch.look()
    assert watch.watched.health.state == "ready"


async def test_a_new_process_is_counted_and_started(watch: Watch) -> None:
    watch.handle.recovered.set()
    await watch.look(times=2)
    watch.handle.pid = 2
    watch.handle.recovered.clear()
    await watch.look()
    assert watch.watched.restarts == 1
    assert watch.handle.starts == 1


async def test_only_a_silent_process_is_ended(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Any] = []
    monkeypatch.setattr("ray.kill", lambda handle, no_restart: ended.append(no_restart))
    watch.handle.away = True
    watch.watched.handle, watch.watched.last_answer_s = watch.handle, 100.0
    watch.supervisor._miss(watch.watched, TimeoutError(), 100.0 + SILENT_S)
    assert ended == []
    watch.supervisor._miss(watch.watched, TimeoutError(), 101.0 + SILENT_S)
    assert ended == [False]


def status(state: str) -> Status:
    return Status("starting", "1", (Health("gateway-0", "gateway", 1, 0, state, "port taken"),), {}, {})


def test_waiting_ends_with_the_reason_when_an_actor_stays_failed() -> None:
    failing = Failing()
    assert failing.for_long(status("failed"), 10.0) == []
    [health] = failing.for_long(status("failed"), 10.0 + FAILED_S)
    assert health.detail == "port taken"


def test_an_actor_that_healed_in_between_is_given_its_time_again() -> None:
    failing = Failing()
    for state, at_s in (("failed", 0.0), ("starting", 3.0), ("failed", 6.0)):
        assert failing.for_long(status(state), at_s) == []
