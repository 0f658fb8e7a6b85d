"""The correlator between streams that go away, a database that does, and restarts of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from actors.correlator import actor as module
from actors.correlator.actor import MAX_QUESTIONS, Correlator
from actors.correlator.view import TenantView
from agent.detection.red import RedBins
from agent.errors import NotFound, Overloaded
from agent.settings import GeneralSettings, Settings
from agent.telemetry.frames import NO_LOGS, NO_METRICS, NO_SPANS, Telemetry
from tests.unit.correlator.test_view import T0, S, started
from tests.unit.correlator.test_writes import Table


class Stream:
    def __init__(self) -> None:
        self.mark_ns, self.away = T0, False
        self.hold: asyncio.Event | None = None

    async def watermarks(self, position: int) -> dict[str, int]:
        if self.away:
            raise Overloaded("stream-1 is away")
        if self.hold:
            await self.hold.wait()
        return {"default": self.mark_ns}

    async def telemetry(self, tenant: str, start_ns: int, end_ns: int, position: int) -> Telemetry:
        if self.away:
            raise Overloaded("stream-1 is away")
        return Telemetry(start_ns, end_ns, NO_SPANS, NO_LOGS, NO_METRICS)

    async def mesh(self, tenant: str, service: str | None, start_ns: int, end_ns: int) -> list[RedBins]:
        return []


class Layer:
    """All that the correlator calls."""

    def __init__(self) -> None:
        self.gateway = self.supervisor = self.aggregator = self
        self.streams = [Stream(), Stream()]
        self.table = Table()
        self.told: list[dict[str, Any]] = []
        self.times: list[int] = []

    async def positions(self) -> list[int]:
        return [0 for _ in self.streams]

    async def event_time(self, tenant: str, time_ns: int) -> None:
        self.times.append(time_ns)

    async def publish_incident(self, tenant: str, change: dict[str, Any]) -> None:
        self.told.append(change)


async def none(*args: object, **more: object) -> None: ...


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Layer:
    found = Layer()
    monkeypatch.setattr(module, "connect", lambda settings: found)
    monkeypatch.setattr(module, "warm_up", lambda: None)
    monkeypatch.setattr("agent.store.database.Database.open", none)
    monkeypatch.setattr(module, "IncidentStore", lambda pool: found.table)
    monkeypatch.setattr(module.Correlator, "_follow", none)  # rounds are called by the tests
    monkeypatch.setattr("actors.correlator.asking.RETRY_S", 0.0)
    monkeypatch.setattr("actors.correlator.writes.RETRY_S", 0.0)
    return found


Make = Callable[[], Correlator]


@pytest.fixture
def make(layer: Layer, tmp_path: Path) -> Make:
    return lambda: Correlator(Settings(general=replace(GeneralSettings(), data_dir=str(tmp_path))))


@pytest_asyncio.fixture
async def correlator(make: Make) -> AsyncIterator[Correlator]:
    one = make()
    await one.start()
    yield one


async def settle(until: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not until():
            await asyncio.sleep(0)


def trouble(ago_s: int = 20) -> Any:
    return started(T0 - ago_s * S, T0)


async def test_before_its_start_it_asks_for_patience(make: Make) -> None:
    one = make()
    for call in (one.report("default", []), one.epoch(), one.ask("why?", None, None, "default")):
        with pytest.raises(Overloaded, match="starting"):
            await call


async def test_without_postgresql_incidents_are_told_and_written_later(
    correlator: Correlator, layer: Layer
) -> None:
    layer.table.away = True
    await correlator.report("default", [trouble()])
    assert [change["kind"] for change in layer.told] == ["opened"]
    assert (await correlator.health()).figures["unwritten_incidents"] == 1
    layer.table.away = False
    await settle(lambda: bool(layer.table.rows))
    assert layer.table.rows[0].id == layer.told[0]["id"]


async def test_after_a_restart_it_knows_the_open_incidents_and_wants_to_be_told(
    correlator: Correlator, layer: Layer, make: Make
) -> None:
    before = await correlator.report("default", [trouble()])
    again = make()
    await again.start()
    assert await again.incidents("default") == await correlator.incidents("default")
    assert (await again.health()).figures["open_incidents"] == 1
    assert await again.report("default", [trouble()]) == await again.epoch() != before
    assert [change["kind"] for change in layer.told] == ["opened"]


async def test_while_a_stream_is_away_time_goes_on_but_nothing_is_learned(
    correlator: Correlator, layer: Layer
) -> None:
    await correlator._round()
    await correlator.report("default", [trouble()])
    layer.streams[1].away = True
    layer.streams[0].mark_ns = T0 + 1810 * S
    await correlator._round()
    layer.streams[0].mark_ns = T0 + 1850 * S
    await correlator._round()
    assert layer.told[-1]["kind"] == "resolved"
    assert len(set(layer.times)) == 1
    layer.streams[1].away = False
    await correlator._round()
    assert len(set(layer.times)) == 2


async def test_a_slice_that_cannot_be_learned_is_counted_and_passed(
    correlator: Correlator, layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(view: TenantView, *args: object) -> None:
        view.cursor_ns = T0
        raise ZeroDivisionError

    monkeypatch.setattr(TenantView, "take", odd)
    await correlator._round()
    health = await correlator.health()
    assert (health.figures["failures_total"], health.figures["tenants"]) == (1, 1)


async def test_questions_wait_only_so_many(correlator: Correlator, layer: Layer) -> None:
    layer.streams[0].hold = asyncio.Event()
    waiting = [asyncio.create_task(correlator.ask("why?", None, None, "x")) for _ in range(MAX_QUESTIONS)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="16 questions"):
        await correlator.ask("why?", None, None, "x")
    layer.streams[0].hold.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in found} == {NotFound}
    assert (await correlator.health()).figures["questions"] == 0
