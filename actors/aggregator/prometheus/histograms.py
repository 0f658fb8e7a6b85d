"""Native histograms as the JSON of Prometheus' API. They are rare beside floats, and rendered one by one."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from actors.aggregator.prometheus.digits import time_text
from agent.telemetry.native import FloatHistogram
from agent.telemetry.native_text import to_json


def histogram_points(points: Sequence[tuple[int, FloatHistogram]], *, single: bool) -> bytes:
    """``,"histograms":[[t,{..}],..]``, or ``,"histogram":[t,{..}]`` of a vector's row."""
    texts = [b"[" + time_text(at).encode() + b"," + orjson.dumps(to_json(one)) + b"]" for at, one in points]
    return b',"histogram":' + texts[0] if single else b',"histograms":[' + b",".join(texts) + b"]"
