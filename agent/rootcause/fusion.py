"""One score from several signals: each is worth what its largest value is sure of.

For a signal with values ``a`` by place: confidence = x / (x + q) with x = max a; each place gets
weight x confidence x its share of the sum. That ranks the places. How sure it is that the first of
them is odd is another question, on which what is odd elsewhere has no bearing: one minus the
product, over the signals, of the doubt that the place's own value leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def fuse(signals: Sequence[Signal]) -> F64:
    return np.sum([s.scores() for s in signals], axis=0) if signals else np.zeros(0)


def sureness(signals: Sequence[Signal], place: int) -> float:
    """How sure the signals together are that ``place`` is odd, 0 to 1."""
    doubt = 1.0
    for signal in signals:
        value = max(float(signal.value[place]), 0.0)
        doubt *= 1.0 - min(signal.weight, 1.0) * value / (value + signal.half)
    return 1.0 - doubt
