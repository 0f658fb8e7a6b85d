"""The bank on hand-made bins; the simulated shop is in test_simulation."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from agent.detection.anomaly import AnomalyEvent, EventKind, Side, Signal
from agent.detection.bank import DetectionSettings, DetectorBank
from agent.detection.red import RedBins, concat_bins
from tests.unit.detection.builders import T0, S, bin_of, key

Requests = tuple[list[float], int]
RNG = np.random.default_rng(7)


def latencies(n: int, median_s: float) -> list[float]:
    return [float(x) for x in median_s * np.exp(0.3 * RNG.standard_normal(n))]


def healthy(_: int) -> Requests:
    return latencies(20, 0.1), 0


def slow(_: int) -> Requests:
    return latencies(20, 0.5), 0


def failing(_: int) -> Requests:
    return latencies(20, 0.1), 8


def nothing(_: int) -> Requests:
    return [], 0


Phase = tuple[int, Callable[[int], Requests]]


def bins(*phases: Phase) -> Iterator[RedBins]:
    """``(number of bins, requests of a bin)`` after each other; another service is always healthy."""
    at = 0
    for count, requests in phases:
        for i in range(count):
            durations, errors = requests(i)
            own = [(key("shop"), durations, errors)] if durations else []
            yield bin_of(5 * at, *own, (key("steady"), latencies(20, 0.05), 0))
            at += 1


def run(*phases: Phase, bank: DetectorBank | None = None) -> list[AnomalyEvent]:
    bank = bank or DetectorBank()
    events: list[AnomalyEvent] = []
    for part in bins(*phases):
        events += bank.advance(part, int(part.bin_start_ns[0]) + 7 * S)
    return events


def seconds(time_ns: int | None) -> float:
    return -1.0 if time_ns is None else (time_ns - T0) / S


def test_healthy_is_quiet() -> None:
    assert run((200, healthy)) == []


@pytest.mark.parametrize(
    ("after", "signal"), [(slow, Signal.LATENCY), (failing, Signal.ERRORS)], ids=["latency", "errors"]
)
def test_a_change_is_found_in_three_bins(after: Callable[[int], Requests], signal: Signal) -> None:
    event = run((20, healthy), (6, after))[0]
    anomaly = event.anomaly
    assert (event.kind, anomaly.service, anomaly.signal, anomaly.side) == (
        "started",
        "shop",
        signal,
        Side.SERVED,
    )
    assert seconds(anomaly.onset_ns) == pytest.approx(100, abs=5)
    assert seconds(anomaly.detected_ns) <= 115


def test_what_it_says() -> None:
    anomaly = run((20, healthy), (6, slow))[0].anomaly
    assert anomaly.operation == "op"
    assert anomaly.observed > 3 * anomaly.expected
    assert anomaly.unit == "s"
    assert anomaly.sentence.endswith(f"ms, usually {anomaly.expected * 1e3:.0f} ms")


def test_it_ends_with_the_first_normal_bin() -> None:
    ended = run((20, healthy), (8, slow), (12, healthy))[-1]
    assert ended.kind is EventKind.ENDED
    assert seconds(ended.anomaly.ended_ns) == 140


@pytest.mark.parametrize("after", [slow, failing], ids=["latency", "errors"])
def test_a_fault_that_comes_back_is_found_about_as_soon(after: Callable[[int], Requests]) -> None:
    fault = (12, after), (30, healthy)
    events = run((20, healthy), *fault, *fault, *fault, *fault)
    after_s = [seconds(e.anomaly.detected_ns) % 210 for e in events if e.kind is EventKind.STARTED]
    assert len(after_s) == 4
    assert max(after_s) <= after_s[0] + 5


def test_a_stall_is_not_an_anomaly() -> None:
    assert run((40, healthy), (1, lambda _: (latencies(40, 3.0), 0)), (20, healthy)) == []


def test_a_slow_start_is_not_an_anomaly() -> None:
    assert run((2, slow), (60, healthy)) == []


def test_a_slow_start_is_not_the_baseline() -> None:
    assert run((3, slow), (17, healthy), (6, slow))[0].anomaly.expected < 0.2


def test_a_lasting_level_becomes_normal() -> None:
    bank = DetectorBank(DetectionSettings(adapt_after_s=120))
    kinds = [event.kind for event in run((30, healthy), (100, slow), bank=bank) if event.kind != "updated"]
    assert kinds == [EventKind.STARTED, EventKind.ENDED]


def test_few_requests_need_more_time() -> None:
    def rare(median_s: float) -> Callable[[int], Requests]:
        return lambda i: (latencies(i % 2 + 1, median_s), 0)

    assert run((40, rare(0.1)), (2, rare(0.8)), (40, rare(0.1))) == []
    assert run((40, rare(0.1)), (10, rare(0.8)))[0].anomaly.signal is Signal.LATENCY


def test_a_service_that_falls_silent() -> None:
    events = run((60, healthy), (5, nothing))
    assert (events[0].kind, events[0].anomaly.signal, events[0].anomaly.observed) == (
        "started",
        Signal.TRAFFIC,
        0.0,
    )
    assert {event.anomaly.id for event in events} == {events[0].anomaly.id}


def test_silence_of_everything_is_not_judged() -> None:
    bank = DetectorBank()
    run((60, healthy), bank=bank)
    assert bank.advance(concat_bins([]), T0 + 3600 * S) == []


def test_the_same_bins_give_the_same_events_however_they_come() -> None:
    parts = list(bins((20, healthy), (8, slow), (20, healthy)))
    slowly, bank = [], DetectorBank()
    for part in parts:
        slowly += bank.advance(part, int(part.bin_start_ns[0]) + 7 * S)
    at_once = DetectorBank().advance(concat_bins(parts), int(parts[-1].bin_start_ns[0]) + 7 * S)
    assert [e.anomaly for e in slowly] == [e.anomaly for e in at_once]


def test_it_goes_on_after_pickling() -> None:
    parts = list(bins((20, healthy), (8, slow)))
    bank, whole, resumed = DetectorBank(), [], []
    for part in parts:
        whole += bank.advance(part, int(part.bin_start_ns[0]) + 7 * S)
    bank = DetectorBank()
    for part in parts:
        bank = pickle.loads(pickle.dumps(bank))
        resumed += bank.advance(part, int(part.bin_start_ns[0]) + 7 * S)
    assert whole == resumed


def test_memory_is_bounded_when_operations_flood() -> None:
    bank = DetectorBank(DetectionSettings(max_units=50, forget_after_s=300))
    for i in range(300):
        bank.advance(
            bin_of(5 * i, *((key("a", f"/{i}/{j}"), [0.1], 0) for j in range(5))), T0 + (5 * i + 7) * S
        )
    assert len(bank.units) <= 50
    assert bank.open.requests_crowded > 0
    assert len(pickle.dumps(bank)) < 2_000_000
