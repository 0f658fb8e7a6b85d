"""What holds for every detector: it pickles, its memory is bounded, its input stays as it was, the same
input gives the same scores, and it says "not ready" (NaN) before it has learnt."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agent.detection.detectors import Detector
from agent.detection.detectors.errors import ErrorDetector
from agent.detection.detectors.latency import LatencyDetector
from agent.detection.detectors.resources import ResourceDetector, ResourceSettings
from agent.detection.detectors.traffic import TrafficDetector
from agent.detection.histogram import BUCKETS
from agent.detection.units import BinBlock
from agent.telemetry.frames import F64, MetricFrame, Series
from agent.telemetry.source import Source

ROWS = 4


def block(seed: int, rows: int = ROWS) -> BinBlock:
    """One bin of ``rows`` operations and their service."""
    rng = np.random.default_rng(seed)
    count = rng.poisson(30, rows) + 1
    buckets = np.zeros((rows, BUCKETS), np.int32)
    for row in range(rows):
        np.add.at(buckets[row], np.clip(rng.normal(50, 4, count[row]).astype(int), 0, BUCKETS - 1), 1)
    counts = np.append(count, count.sum()).astype(np.float64)
    return BinBlock(seed * 5 * 10**9, rows, np.arange(rows + 1), counts, np.zeros(rows + 1), buckets)


def columns(of: BinBlock) -> list[Any]:
    return [of.rows.copy(), of.count.copy(), of.errors.copy(), of.buckets.copy()]


class Requests:
    """Latency and errors: blocks in, the probabilities and exceedances out."""

    def __init__(self, make: Callable[[], Detector]) -> None:
        self.detector = make()

    def score(self, seed: int) -> F64:
        found = self.detector.score(block(seed))
        return np.concatenate([found.beyond, found.probability], axis=1)

    def ready(self, seed: int) -> bool:
        return bool(np.isfinite(self.detector.score(block(seed)).probability).all())

    def learn(self, seed: int) -> None:
        own = block(seed)
        before = columns(own)
        self.detector.learn(own, np.ones(len(own.rows), np.bool_))
        for was, now in zip(before, columns(own), strict=True):
            np.testing.assert_array_equal(was, now)


class Traffic:
    def __init__(self) -> None:
        self.detector = TrafficDetector()

    def score(self, seed: int) -> F64:
        found = self.detector.score(block(seed).count)
        return np.stack([found.collapse, found.surge, found.expected, found.observed])

    def ready(self, seed: int) -> bool:
        return bool(np.isfinite(self.score(seed)).all())

    def learn(self, seed: int) -> None:
        counts = block(seed).count
        before = counts.copy()
        self.detector.learn(counts)
        np.testing.assert_array_equal(before, counts)


class Resources:
    def __init__(self) -> None:
        self.detector = ResourceDetector(ResourceSettings(max_sources=20))

    def score(self, seed: int) -> F64:
        return np.array([hit.score for hit in self.detector.score((seed + 1) * 5 * 10**9)])

    def ready(self, seed: int) -> bool:
        """It returns only what is odd, so ready is: a step of the CPU is found."""
        other = pickle.loads(pickle.dumps(self))
        for later in range(seed, seed + 3):
            other.take(later, 0.95)
        return len(other.score(seed + 3)) > 0

    def learn(self, seed: int) -> None:
        self.take(seed, 0.1 + 0.01 * (seed % 3))

    def take(self, seed: int, cpu: float) -> None:
        value = np.array([cpu])
        frame = MetricFrame(
            (Series(Source("default", "a", "", "a-0"), "process.cpu.utilization"),),
            np.array([False]), np.array([0, 1]), np.array([seed * 5 * 10**9]), value,
        )  # fmt: skip
        self.detector.learn(frame)
        np.testing.assert_array_equal(value, [cpu])


Kind = Callable[[], "Requests | Traffic | Resources"]
EVERY = pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Requests(LatencyDetector), id="latency"),
        pytest.param(lambda: Requests(ErrorDetector), id="errors"),
        pytest.param(Traffic, id="traffic"),
        pytest.param(Resources, id="resources"),
    ],
)


def taught(make: Kind, bins: int) -> Requests | Traffic | Resources:
    one = make()
    for seed in range(bins):
        one.score(seed)
        one.learn(seed)
    return one


@EVERY
def test_not_ready_before_it_has_learnt(make: Kind) -> None:
    assert not make().ready(0)


@EVERY
def test_ready_after_some_minutes(make: Kind) -> None:
    assert taught(make, 60).ready(60)


@EVERY
def test_the_same_input_gives_the_same_scores(make: Kind) -> None:
    np.testing.assert_array_equal(taught(make, 40).score(41), taught(make, 40).score(41))


@EVERY
def test_scoring_teaches_nothing(make: Kind) -> None:
    one, other = taught(make, 40), taught(make, 40)
    if not isinstance(one, Resources):  # whose score reports each sample once
        one.score(99)
    np.testing.assert_array_equal(one.score(41), other.score(41))


@EVERY
def test_goes_on_after_pickling(make: Kind) -> None:
    one = taught(make, 40)
    resumed = pickle.loads(pickle.dumps(one))
    one.learn(40)
    resumed.learn(40)
    np.testing.assert_array_equal(one.score(41), resumed.score(41))


@EVERY
def test_memory_does_not_grow_with_time(make: Kind) -> None:
    # The names and counters inside grow by a few bytes; the columns and rings must not.
    assert len(pickle.dumps(taught(make, 900))) <= 1.1 * len(pickle.dumps(taught(make, 300)))
