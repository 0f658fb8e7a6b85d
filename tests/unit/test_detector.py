"""The detector between streams and a correlator that go away and come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from actors import detector as module
from actors.detector import Detector
from actors.stream.actor import Increments
from actors.stream.core import Increment
from agent.detection.anomaly import Anomaly, AnomalyEvent, EventKind, Side, Signal
from agent.detection.bank import DetectorBank
from agent.detection.red import NO_BINS, RedBins
from agent.errors import Overloaded
from agent.settings import Settings
from agent.telemetry.frames import NO_METRICS, MetricFrame
from tests.unit.detection.builders import T0, S, bin_of, key

ANOMALY = Anomaly(
    id="a", tenant="t", namespace="", service="cart", operation="", signal=Signal.LATENCY, side=Side.SERVED, score=2.0,
    onset_ns=1, detected_ns=2, ended_ns=None, observed=2.0, expected=1.0, unit="s", sentence="slow",
)  # fmt: skip


class Bank:
    """Reports an anomaly at each increment but at a watermark of 0; at 13 its data is odd, at 99 it ends."""

    requests_late = 0

    def __init__(self, settings: object) -> None: ...

    def observe_metrics(self, frame: MetricFrame) -> None: ...

    def advance(self, bins: RedBins, watermark_ns: int) -> list[AnomalyEvent]:
        if watermark_ns == 13:
            raise ZeroDivisionError
        if watermark_ns == 99:
            return [AnomalyEvent(EventKind.ENDED, replace(ANOMALY, ended_ns=99), 99)]
        return [AnomalyEvent(EventKind.UPDATED, ANOMALY, watermark_ns)] if watermark_ns else []


class Stream:
    """Hands out one increment a page."""

    def __init__(self, *watermarks_ns: int) -> None:
        self.watermarks_ns = list(watermarks_ns)
        self.epoch, self.away = 1, False

    async def increments(self, epoch: int, cursor: int) -> Increments:
        if self.away:
            raise Overloaded("stream-0 is away")
        after = cursor if epoch == self.epoch else 0
        page = self.watermarks_ns[after : after + 1]
        items = tuple(Increment("t", mark_ns, NO_BINS, NO_METRICS) for mark_ns in page)
        return Increments(self.epoch, after + len(page), items, {})


class Correlator:
    def __init__(self) -> None:
        self.now, self.error = 1, None
        self.told: list[tuple[str, int]] = []

    async def report(self, tenant: str, events: Sequence[AnomalyEvent]) -> int:
        self._answer()
        self.told += [(str(event.kind), event.time_ns) for event in events]
        return self.now

    async def epoch(self) -> int:
        self._answer()
        return self.now

    def _answer(self) -> None:
        if self.error is not None:
            raise self.error

    error: Exception | None


class Layer:
    def __init__(self) -> None:
        self.streams: Sequence[Any] = [Stream(), Stream()]
        self.correlator = Correlator()


async def none(*args: object) -> None: ...


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Layer:
    found = Layer()
    monkeypatch.setattr(module, "connect", lambda settings: found)
    monkeypatch.setattr(module, "DetectorBank", Bank)
    monkeypatch.setattr(module, "EPOCH_S", 0.0)
    monkeypatch.setattr(module.Detector, "_run", none)  # rounds are called by the tests
    return found


@pytest_asyncio.fixture
async def detector(layer: Layer) -> Detector:
    found = Detector(Settings(), 0)
    await found.start()
    return found


async def test_all_pages_are_read(detector: Detector, layer: Layer) -> None:
    layer.streams[0].watermarks_ns = [1, 2, 0, 3]
    await detector.catch_up()
    assert layer.correlator.told == [("updated", 1), ("updated", 2), ("updated", 3)]


async def test_a_stream_that_is_away_takes_nothing_from_the_others(detector: Detector, layer: Layer) -> None:
    layer.streams[0].away = True
    layer.streams[1].watermarks_ns = [1]
    with pytest.raises(Overloaded, match="stream-0"):
        await detector.catch_up()
    assert layer.correlator.told == [("updated", 1)]


async def test_odd_data_costs_one_increment_and_is_counted(detector: Detector, layer: Layer) -> None:
    layer.streams[0].watermarks_ns = [1, 13, 2]
    await detector.catch_up()
    assert layer.correlator.told == [("updated", 1), ("updated", 2)]
    assert (await detector.health()).figures["failures_total"] == 1


async def test_what_the_correlator_did_not_take_is_told_again(detector: Detector, layer: Layer) -> None:
    layer.streams[0].watermarks_ns = [1]
    layer.correlator.error = Overloaded("the correlator is away")
    with pytest.raises(Overloaded):
        await detector.catch_up()
    layer.correlator.error = None
    await detector.catch_up()
    assert layer.correlator.told == [("updated", 1)]


async def test_what_it_cannot_take_does_not_hold_up_the_rest(detector: Detector, layer: Layer) -> None:
    layer.streams[0].watermarks_ns = [1]
    layer.correlator.error = KeyError("odd")
    with pytest.raises(KeyError):
        await detector.catch_up()  # the question for the epoch
    health = await detector.health()
    assert (health.figures["reports_lost_total"], health.figures["unreported"]) == (1, 0)


@pytest.mark.parametrize(
    ("watermarks_ns", "again"),
    [([1, 5], [("started", 5)]), ([1, 99], []), ([], [])],
    ids=["active", "ended", "calm"],
)
async def test_a_correlator_that_restarted_is_told_what_is_wrong_now(
    detector: Detector, layer: Layer, watermarks_ns: list[int], again: list[tuple[str, int]]
) -> None:
    layer.streams[0].watermarks_ns = watermarks_ns
    await detector.catch_up()
    layer.correlator.told.clear()
    await detector.catch_up()
    assert layer.correlator.told == []
    layer.correlator.now = 2
    for _ in range(3):
        await detector.catch_up()
    assert layer.correlator.told == again


class Mesh(Stream):
    """Hands out what proxies told, an increment a page."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[Increment] = []

    def tell(self, at_s: int, failed: int, spans: RedBins = NO_BINS) -> None:
        mesh = bin_of(at_s, (key("ledger", tenant="t"), [0.01] * 20, failed))
        self.items.append(Increment("t", T0 + (at_s + 15) * S, spans, NO_METRICS, mesh))

    async def increments(self, epoch: int, cursor: int) -> Increments:
        after = cursor if epoch == self.epoch else 0
        page = tuple(self.items[after : after + 1])
        return Increments(self.epoch, after + len(page), page, {"t": self.items[-1].watermark_ns})


@pytest.mark.parametrize("traced", [False, True])
async def test_what_proxies_tell_in_several_streams_is_judged_together_and_spans_win(
    detector: Detector, layer: Layer, monkeypatch: pytest.MonkeyPatch, traced: bool
) -> None:
    monkeypatch.setattr(module, "DetectorBank", DetectorBank)
    layer.streams = streams = [Mesh(), Mesh()]
    for number in range(
        40
    ):  # every 15 s a scrape of two targets; half of the requests fail in the last five minutes
        failed = 10 if number >= 20 else 0
        spans = bin_of(15 * number, (key("ledger", tenant="t"), [0.01] * 20, 0)) if traced else NO_BINS
        streams[0].tell(15 * number, failed)
        streams[1].tell(15 * number + 5, failed, spans)
        await detector.catch_up()
        if number == 19:
            assert layer.correlator.told == []
    kinds = [kind for kind, _ in layer.correlator.told]
    assert kinds[:1] == ([] if traced else ["started"])
    if not traced:
        assert layer.correlator.told[0][1] - T0 < (15 * 20 + 90) * S


async def test_a_stream_that_tells_its_mesh_again_changes_nothing(
    detector: Detector, layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DetectorBank", DetectorBank)
    layer.streams = [stream] = [Mesh()]
    for number in range(8):
        stream.tell(15 * number, 0)
    await detector.catch_up()
    bins = (await detector.health()).figures["bins_total"]
    stream.epoch = 2
    await detector.catch_up()
    figures = (await detector.health()).figures
    assert (figures["bins_total"], figures["requests_late_total"]) == (bins, 0)
