"""One score from several signals: each is worth what its largest value is sure of.

For a signal with values ``a`` by place: confidence = x / (x + q) with x = max a; each place gets
weight x confidence x its share of the sum. The top score is how sure the whole is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.telemetry.frames import F64


@dataclass(frozen=True, slots=True)
class Signal:
    """``half`` (q) is the value at which the signal is half sure."""

    name: str
    weight: float
    half: float
    value: F64

    @property
    def confidence(self) -> float:
        top = float(self.value.max(initial=0.0))
        return top / (top + self.half) if top > 0 else 0.0

    def scores(self) -> F64:
        value = np.maximum(self.value, 0.0)
        total = float(value.sum())
        return self.weight * self.confidence * value / total if total > 0 else np.zeros(len(value))


def fuse(signals: list[Signal]) -> F64:
    return np.sum([s.scores() for s in signals], axis=0) if signals else np.zeros(0)
