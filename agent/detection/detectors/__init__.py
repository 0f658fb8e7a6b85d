"""Detectors: ``score`` compares a bin with what was learnt, ``learn`` takes a bin in; nothing else.

They work on columns, one row a unit (an operation or a service). NaN in a score is the "not ready" of that
row, never 0. Who may be learnt from, what confirms and when it ends is the bank's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agent.detection.units import BinBlock
from agent.telemetry.frames import F64, I64


@dataclass(frozen=True, slots=True)
class Exceedances:
    """``[line of the block, test]``: how many requests were beyond the limit, and the probability of one
    in normal times; NaN where the baseline is not ready."""

    beyond: F64
    probability: F64


class Detector(Protocol):
    tests: int

    def score(self, block: BinBlock) -> Exceedances: ...
    def learn(self, block: BinBlock, lines: npt.NDArray[np.bool_]) -> None: ...
    def forget(self, rows: I64) -> None: ...


def cautious_ratio(beyond: F64, n: F64) -> F64:
    """The share of ``beyond`` in ``n``, taken on the high side by about 1.5 standard deviations, so that a
    baseline of few requests promises little."""
    spread = 1.0 + 1.5 * np.sqrt(beyond)
    return np.asarray((beyond + spread) / (n + 1.0 + spread), np.float64)


def grown(column: npt.NDArray[np.float32], rows: int) -> npt.NDArray[np.float32]:
    """``column`` with room for row ``rows - 1``; new rows are zero."""
    if rows <= len(column):
        return column
    more = max(rows, 2 * len(column)) - len(column)
    return np.append(column, np.zeros((more, *column.shape[1:]), np.float32), axis=0)
