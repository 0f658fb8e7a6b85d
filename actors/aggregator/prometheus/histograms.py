"""Native histograms as the JSON of Prometheus' API. They are rare beside floats, and rendered one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from actors.aggregator.prometheus.digits import float_text, time_text

# How the bounds of a bucket are written: by (lower inclusive, upper inclusive).
_BOUNDARIES = {(False, True): 0, (True, False): 1, (False, False): 2, (True, True): 3}


def histogram_points(points: Sequence[tuple[int, Any]], *, single: bool) -> bytes:
    """``,"histograms":[[t,{..}],..]``, or ``,"histogram":[t,{..}]`` of a vector's row."""
    texts = [f"[{time_text(time_ms)},{_histogram(one)}]" for time_ms, one in points]
    text = f',"histogram":{texts[0]}' if single else f',"histograms":[{",".join(texts)}]'
    return text.encode()


def _histogram(one: Any) -> str:
    buckets = [
        f'[{_BOUNDARIES[lower_in, upper_in]},"{float_text(lower)}","{float_text(upper)}","{float_text(count)}"]'
        for lower, upper, lower_in, upper_in, count in _buckets(one)
        if count != 0
    ]
    listed = f',"buckets":[{",".join(buckets)}]' if buckets else ""
    return f'{{"count":"{float_text(one.count)}","sum":"{float_text(one.sum)}"{listed}}}'


def _buckets(one: Any) -> Iterable[tuple[float, float, bool, bool, float]]:
    """Ascending: the negative ones, zero, the positive ones."""
    yield from one.buckets()
