"""Errors: how many requests failed, against a baseline ratio smoothed by a Beta prior.

The prior is worth ``prior_requests`` requests at ``prior_ratio``: a service that never failed in its first
minute is not promised to never fail, and one that always fails a little is not reported for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.detection.detectors import Exceedances, grown
from agent.detection.units import BinBlock
from agent.telemetry.frames import I64


@dataclass(frozen=True, slots=True)
class ErrorSettings:
    memory_bins: float = 180.0
    min_requests: float = 8.0
    prior_requests: float = 50.0
    prior_ratio: float = 0.01


class ErrorDetector:
    tests = 1

    def __init__(self, settings: ErrorSettings | None = None) -> None:
        self.settings = settings or ErrorSettings()
        self._requests = np.zeros(0, np.float32)
        self._errors = np.zeros(0, np.float32)

    def score(self, block: BinBlock) -> Exceedances:
        """For all lines of the block, operations and services."""
        self._reserve(block.rows)
        requests = self._requests[block.rows].astype(np.float64)
        ratio = self._ratio(requests, self._errors[block.rows].astype(np.float64))
        ratio[requests < self.settings.min_requests] = np.nan
        return Exceedances(block.errors[:, None].astype(np.float64), ratio[:, None])

    def learn(self, block: BinBlock, lines: npt.NDArray[np.bool_]) -> None:
        self._reserve(block.rows)
        rows = block.rows[lines]
        keep = np.float32(np.exp(-1.0 / self.settings.memory_bins))
        self._requests[rows] = self._requests[rows] * keep + block.count[lines].astype(np.float32)
        self._errors[rows] = self._errors[rows] * keep + block.errors[lines].astype(np.float32)

    def forget(self, rows: I64) -> None:
        rows = rows[rows < len(self._requests)]
        self._requests[rows] = 0
        self._errors[rows] = 0

    def expected_ratio(self, row: int) -> float:
        """What share of requests usually fails, as seen (not smoothed); NaN if nothing is learnt."""
        if row >= len(self._requests) or self._requests[row] <= 0:
            return float("nan")
        return float(self._errors[row] / self._requests[row])

    def _ratio(
        self, requests: npt.NDArray[np.float64], errors: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        s = self.settings
        cautious = errors + 1.5 * np.sqrt(errors)
        return (cautious + s.prior_requests * s.prior_ratio) / (
            requests + cautious - errors + s.prior_requests
        )

    def _reserve(self, rows: I64) -> None:
        if len(rows):
            self._requests = grown(self._requests, int(rows.max()) + 1)
            self._errors = grown(self._errors, int(rows.max()) + 1)
