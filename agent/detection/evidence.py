"""The statistics of the request detectors: exceedances, their evidence, and the point of change.

All request signals are judged by one question that needs no model of the distribution: of ``n`` requests,
``k`` were beyond a limit that the baseline crosses with probability ``p``; how surprising is that? The
evidence is the Chernoff bound of the binomial tail in nats, ``n * KL(k/n || p)``: 16 nats are a chance of
about one in ten million. Few requests carry little evidence, so a quiet service is judged more patiently
and needs a stronger effect, with no rule of its own. Counts of independent strata add up, so a service is
judged over all its operations, each against its own limit: a change of mix is not a change of latency.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from agent.telemetry.frames import F64, I64, Bool

F32 = npt.NDArray[np.float32]

WINDOWS = 12
"""Bins that evidence is gathered over, at most; all shorter windows are tried too."""
_BUSY = 25.0  # requests in five bins


@njit(cache=True, nogil=True, inline="always")
def evidence(k: float, n: float, p: float) -> float:
    """Nats against "k of n at probability p"; 0 if there were not more than expected."""
    if n <= 0 or p <= 0 or p >= 1 or k <= n * p:
        return 0.0
    r = min(k / n, 1.0)
    rest = 0.0 if r >= 1 else (1 - r) * math.log((1 - r) / (1 - p))
    return n * (r * math.log(r / p) + rest)


@njit(cache=True, nogil=True)
def judge(
    n: F32, k: F32, mu: F32, slot: int, units: int, min_share: F64, stalls: Bool, flag_nats: float,
    best: F64, best_width: I64, flagged: I64, flag_now: Bool,
) -> None:  # fmt: skip
    """Judges the newest bin and the windows that end in it.

    ``n, k, mu`` are rings ``[unit, test, bin]`` of requests, exceedances and expected exceedances; ``slot``
    is the newest. Out, ``[unit, test]``: the strongest evidence of all windows and that window's width; how
    lasting it is (``flagged``: the odd bins in a row up to the newest, or the odd ones of the last five, less one
    where ``stalls`` can make a busy unit's bins odd here and there; bins without requests are passed over); and
    whether the newest is odd. A window counts only if its share of exceedances reaches
    ``min_share``: a certain but small effect is not worth waking somebody. And no bin may carry much more
    than half of it: requests that a stall held up come back in one bin, and are one event, not many."""
    ring, tests = n.shape[2], n.shape[1]
    for unit in range(units):
        for test in range(tests):
            sum_n = sum_k = sum_mu = 0.0
            most = most_n = most_k = most_mu = 0.0
            top, width, odd, there, run, requests = 0.0, 0, 0, 0, 0, 0.0
            for back in range(WINDOWS):
                at = (slot - back) % ring
                bin_n, bin_k, bin_mu = n[unit, test, at], k[unit, test, at], mu[unit, test, at]
                if bin_n > 0:
                    alone = evidence(bin_k, bin_n, bin_mu / bin_n)
                    few = bin_n < 5 and bin_k >= 1 and bin_k >= 0.5 * bin_n
                    is_odd = (alone >= flag_nats or few) and bin_k >= min_share[test] * bin_n
                    if there < 5:
                        run += is_odd and run == there
                        there += 1
                        odd += is_odd
                        requests += bin_n
                    if back == 0:
                        flag_now[unit, test] = is_odd
                elif back == 0:
                    flag_now[unit, test] = False
                if bin_k - bin_mu > most:
                    most, most_n, most_k, most_mu = bin_k - bin_mu, bin_n, bin_k, bin_mu
                sum_n += bin_n
                sum_k += bin_k
                sum_mu += bin_mu
                if sum_n > 0 and sum_k >= min_share[test] * sum_n:
                    nats = evidence(sum_k, sum_n, sum_mu / sum_n)
                    if nats > top:
                        rest_n = sum_n - most_n
                        rest = (
                            evidence(sum_k - most_k, rest_n, (sum_mu - most_mu) / rest_n)
                            if rest_n > 0
                            else 0.0
                        )
                        nats = min(nats, 6 + 2 * rest)
                    if nats > top:
                        top, width = nats, back + 1
            best[unit, test], best_width[unit, test] = top, width
            flagged[unit, test] = max(run, odd - (stalls[test] and requests >= _BUSY))


def change_point(weight: F64, value: F64) -> tuple[int, float, float]:
    """Where a series changed its level: ``(first index after, level before, level after)``.

    The split with the least weighted absolute deviation from the medians of both sides, so that a single
    outlier on either side moves nothing. Both sides hold at least one point."""
    if len(value) < 2:
        raise ValueError(f"change point of {len(value)} values: pass at least 2")
    best = (math.inf, 1, 0.0, 0.0)
    for split in range(1, len(value)):
        before = _weighted_median(weight[:split], value[:split])
        after = _weighted_median(weight[split:], value[split:])
        cost = float(
            np.sum(weight[:split] * np.abs(value[:split] - before))
            + np.sum(weight[split:] * np.abs(value[split:] - after))
        )
        if cost < best[0] - 1e-12:
            best = (cost, split, before, after)
    return best[1:]


def _weighted_median(weight: F64, value: F64) -> float:
    order = np.argsort(value, kind="stable")
    reached = np.cumsum(weight[order])
    return float(value[order[np.searchsorted(reached, reached[-1] / 2)]])
