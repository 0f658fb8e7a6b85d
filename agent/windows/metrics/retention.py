"""How long the samples of each series are kept: what a policy says, decided once a series.

Retention is counted back from the window's watermark, per series. A *floor* is the oldest time of which a series still
shows samples.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.telemetry.frames import F64, I32, I64, Bool
from agent.telemetry.metric_policy import NO_RULE, MetricPolicy
from agent.windows.metrics.growing import Growing
from agent.windows.metrics.index import LabelIndex
from agent.windows.metrics.sealed import GONE, NOBODY

LEARN_STEP = 1 << 16  # series decided on at a time


@njit(cache=True, nogil=True)
def _drop_older(offsets, floor_ms, time_ms, value, out):  # type: ignore[no-untyped-def]
    """Move the samples of every series that are not below its floor together, in place; ``out`` are the new
    offsets."""
    at = np.int64(0)
    out[0] = 0
    for i in range(len(floor_ms)):
        first, behind = offsets[i], offsets[i + 1]
        first += np.searchsorted(time_ms[first:behind], floor_ms[i])
        if first == at:
            at = behind
        else:
            for k in range(first, behind):
                time_ms[at] = time_ms[k]
                value[at] = value[k]
                at += 1
        out[i + 1] = at


def drop_older(offsets: I64, floor_ms: I64, time_ms: I64, value: F64) -> tuple[I64, I64, F64]:
    """``(offsets, time_ms, value)`` without the samples below the floor of their series; those given are
    overwritten."""
    out = np.empty_like(offsets)
    _drop_older(offsets, floor_ms, time_ms, value, out)
    return out, time_ms[: out[-1]], value[: out[-1]]


class Retention:
    """A policy on the series of one index. ``window_ms`` is kept of what no rule names. Columns only grow, so
    reading needs no lock; one thread at a time may ``learn``."""

    def __init__(self, policy: MetricPolicy, window_ms: int) -> None:
        self.policy = policy
        self.window_ms = window_ms
        # Of every rule, and behind them what holds for NO_RULE, which is the last place too.
        self._kept_ms = np.asarray([*(rule.retention_ms for rule in policy.rules), window_ms], np.int64)
        self._disabled = np.asarray([*(not rule.enabled for rule in policy.rules), False], np.bool_)
        self._rule = Growing(np.dtype(np.int32))
        self.mutes = bool(self._disabled.any())
        self.shortest_ms, self.longest_ms = int(self._kept_ms.min()), int(self._kept_ms.max())

    def __bool__(self) -> bool:
        """Whether there are rules at all."""
        return bool(self.policy.rules)

    @property
    def nbytes(self) -> int:
        return self._rule.nbytes

    def learn(self, index: LabelIndex) -> None:
        """Decide on the series that are new; does nothing where there are no rules."""
        count = len(index) if self else 0
        for first in range(len(self._rule), count, LEARN_STEP):
            ids = np.arange(first, min(first + LEARN_STEP, count), dtype=np.int32)
            self._rule.extend(self.policy.decide(index.labels(ids)))

    def muted(self, ids: I32) -> Bool:
        """The series whose samples are not taken in; -1 stands for none."""
        return self._disabled[self._rules(ids)]

    def floors(self, ids: I32, watermark_ms: int) -> I64:
        """The oldest time of which each series shows samples."""
        return watermark_ms - self._kept_ms[self._rules(ids)]

    def expired(self, ids: I32, age_ms: int) -> Bool:
        """Which series of a block, whose newest sample is so old, hold nothing there that is kept."""
        expired: Bool = ids == GONE
        if age_ms > self.shortest_ms:
            expired |= (self._kept_ms[self._rules(ids)] < age_ms) & (ids != NOBODY)
        return expired

    def moved(self, ids: I32) -> Retention:
        """The same of these series alone, with ids from 0 on in the order given."""
        fresh = Retention(self.policy, self.window_ms)
        if self:
            fresh._rule.extend(self._rules(ids))
        return fresh

    def _rules(self, ids: I32) -> I32:
        rules = np.full(len(ids), NO_RULE, np.int32)
        if self:
            known = ids >= 0
            rules[known] = self._rule.view()[ids[known]]
        return rules
