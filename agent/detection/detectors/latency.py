"""Latency: how many requests were slower than the baseline's quantiles allow.

The baseline is a decaying histogram an operation; its quantiles, not its mean, set the limits, so a heavy
tail or a few stray requests in it do no harm:

    median test   1.5 x the baseline's median + 10 ms
    tail test     the larger of 1.5 x its 90th percentile and 2.5 x its median, + 20 ms
    far test      3 x the baseline's median + 30 ms

The factors are the least slowdown worth an incident, the terms in ms keep operations of a millisecond
quiet. Requests of one time are slow together, so the baseline is counted beyond a limit 1.2 times lower: as
if all of it had drifted up by a fifth, which is still normal. The first two tests take the probability of
crossing from the baseline alone. The far test has a Beta prior (2 %, worth 25 requests), because three times
the median is far in any operation until its baseline shows otherwise: so a strong slowdown of a service with
a request every few seconds is certain after a few of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from agent.detection.detectors import Exceedances, cautious_ratio, grown
from agent.detection.histogram import BUCKETS, bucket_of, quantile_of, quantiles
from agent.detection.units import BinBlock
from agent.telemetry.frames import F64, I32, I64

_PRIOR, _PRIOR_RATIO = 25.0, 0.02
_DRIFT = 1.2


@dataclass(frozen=True, slots=True)
class LatencySettings:
    """``memory_bins``: bins after which a baseline bin weighs 1/e (180 bins of 5 s are 15 min).
    ``min_requests``: requests a baseline must hold before it judges."""

    memory_bins: float = 180.0
    min_requests: float = 8.0
    slowdown: float = 1.5
    floor_s: float = 0.010


class LatencyDetector:
    tests = 3

    def __init__(self, settings: LatencySettings | None = None) -> None:
        self.settings = settings or LatencySettings()
        self._baseline = np.zeros((0, BUCKETS), np.float32)

    def score(self, block: BinBlock) -> Exceedances:
        """For the operations of the block; one line each, tests median, tail and far."""
        rows = block.rows[: block.operations]
        self._reserve(rows)
        beyond, base_beyond, base_n = _exceed(
            self._baseline, rows, block.buckets, self.settings.slowdown, self.settings.floor_s * 1e9
        )
        probability = np.maximum(cautious_ratio(base_beyond, base_n[:, None]), np.array([0.02, 0.01, 1.0]))
        far = base_beyond[:, 2] + 1.5 * np.sqrt(base_beyond[:, 2])
        probability[:, 2] = (far + _PRIOR * _PRIOR_RATIO) / (base_n + far - base_beyond[:, 2] + _PRIOR)
        probability[base_n < self.settings.min_requests] = np.nan
        return Exceedances(beyond, probability)

    def learn(self, block: BinBlock, lines: npt.NDArray[np.bool_]) -> None:
        rows = block.rows[: block.operations]
        self._reserve(rows)
        keep = np.float32(np.exp(-1.0 / self.settings.memory_bins))
        _fold(self._baseline, rows, block.buckets, lines[: block.operations], keep)

    def forget(self, rows: I64) -> None:
        self._baseline[rows[rows < len(self._baseline)]] = 0

    def expected_ns(self, row: int, q: float) -> float:
        """The baseline's quantile of an operation; NaN if it has none."""
        if row >= len(self._baseline):
            return float("nan")
        return float(quantiles(self._baseline[row : row + 1], q)[0])

    def _reserve(self, rows: I64) -> None:
        if len(rows):
            self._baseline = grown(self._baseline, int(rows.max()) + 1)


@njit(cache=True, nogil=True)
def _exceed(
    baseline: npt.NDArray[np.float32], rows: I64, buckets: I32, slowdown: float, floor_ns: float
) -> tuple[F64, F64, F64]:
    n = len(rows)
    beyond, base_beyond, base_n = np.zeros((n, 3)), np.zeros((n, 3)), np.zeros(n)
    for i in range(n):
        base = baseline[rows[i]].astype(np.float64)
        total = base.sum()
        base_n[i] = total
        if total <= 0:
            continue
        median, tail = quantile_of(base, total, 0.5), quantile_of(base, total, 0.9)
        limits = (
            median * slowdown + floor_ns,
            max(tail * slowdown, median * (slowdown + 1)) + 2 * floor_ns,
            median * 2 * slowdown + 3 * floor_ns,
        )
        for test in range(3):
            for b in range(bucket_of(limits[test] / _DRIFT) + 1, buckets.shape[1]):
                base_beyond[i, test] += base[b]
            for b in range(bucket_of(limits[test]) + 1, buckets.shape[1]):
                beyond[i, test] += buckets[i, b]
    return beyond, base_beyond, base_n


@njit(cache=True, nogil=True)
def _fold(
    baseline: npt.NDArray[np.float32], rows: I64, buckets: I32, lines: npt.NDArray[np.bool_], keep: np.float32
) -> None:
    for i in range(len(rows)):
        if lines[i]:
            for b in range(baseline.shape[1]):
                baseline[rows[i], b] = baseline[rows[i], b] * keep + buckets[i, b]
