"""``load_with_nhcb``: classic histogram series as native histograms with custom buckets, beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from agent.telemetry.labels import METRIC_NAME, Labels, labels_of
from agent.telemetry.native import CUSTOM_SCHEMA, FloatHistogram, Side
from tests.promql.series import Points

_SUFFIXES = ("_bucket", "_count", "_sum")


@dataclass
class _Classic:
    """One classic histogram at one time."""

    buckets: dict[float, float] = field(default_factory=dict)
    count: float | None = None
    sum: float = 0.0

    def native(self) -> FloatHistogram:
        bounds = sorted(self.buckets)
        count = self.count
        if count is None:
            count = self.buckets[bounds[-1]] if bounds else 0.0
        finite = [bound for bound in bounds if not math.isinf(bound)]
        cumulative = [self.buckets[bound] for bound in finite]
        cumulative.append(self.buckets.get(math.inf, count))
        counts = np.diff(np.array([0.0, *cumulative]))
        return FloatHistogram(
            CUSTOM_SCHEMA, count, self.sum, positive=Side.at(0, counts), custom_values=np.array(finite)
        ).compact()


def natives(loaded: list[tuple[Labels, Points]], gap_ms: int) -> list[tuple[Labels, int, FloatHistogram]]:
    """The samples to add."""
    found: dict[Labels, dict[int, _Classic]] = {}
    for labels, points in loaded:
        named = dict(labels)
        name = named.pop(METRIC_NAME, "")
        suffix = next((one for one in _SUFFIXES if name.endswith(one)), None)
        bound = named.pop("le", None) if suffix == "_bucket" else None
        if suffix is None or (suffix == "_bucket" and _float(bound) is None):
            continue
        base = labels_of({**named, METRIC_NAME: name.removesuffix(suffix)})
        at = found.setdefault(base, {})
        for i, point in enumerate(points):
            if point is None or isinstance(point.value, FloatHistogram):
                continue
            classic = at.setdefault(i * gap_ms, _Classic())
            limit = _float(bound)
            if suffix == "_bucket" and limit is not None:
                classic.buckets[limit] = point.value
            elif suffix == "_count":
                classic.count = point.value
            else:
                classic.sum = point.value
    return [
        (base, time, classic.native())
        for base, times in found.items()
        for time, classic in sorted(times.items())
    ]


def _float(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return None if math.isnan(value) else value
