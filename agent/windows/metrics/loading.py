"""Load the kernels of the metric window, so that neither the first sender nor the first query waits."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.promql.values import Matcher
from agent.telemetry.labels import encode_labels, hash_labels, labels_of
from agent.telemetry.metric_policy import MetricPolicy, MetricRule
from agent.telemetry.samples import SampleBatch
from agent.windows.metrics.upkeep import MetricLimits
from agent.windows.metrics.window import MetricWindow

_TIMES_MS = (0, 30_000, 10_000, 60_000)  # one of them out of order


def load_kernels() -> None:
    """Send a little through a window of its own: append, seal, open, select."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for window in (MetricWindow(MetricLimits(max_series=16), _as_they_are) for _ in range(2)):
            window.open(folder)
            window.append(_record(), 0)
            window.select([Matcher("a", "=~", "[b]"), Matcher("__name__", "!=", "")], 0, 60_000)
            window.seal(40_000, folder)
            window.series([], 0, 60_000)
            window.label_names([Matcher("a", "!=", "")])
            window.label_values("a", [Matcher("a", "!=", "")])
            window.use(MetricPolicy([MetricRule("loading", retention_ms=10_000)], 1))
            window.advance(60_000)
            window.select([], 0, 60_000)


def _as_they_are(contents: Sequence[bytes]) -> Sequence[bytes]:
    return contents


def _record() -> SampleBatch:
    canonical = encode_labels(labels_of({"__name__": "loading", "a": "b"}))
    key = np.asarray([hash_labels(canonical)], np.uint64)
    none: dict[str, Any] = {
        name: np.empty(0, kind)
        for kind, names in {
            np.int64: "histogram_time_ms histogram_off histogram_len exemplar_time_ms exemplar_off exemplar_len "
            "metadata_off metadata_len",
            np.int32: "exemplar_series",
            np.float64: "exemplar_value",
        }.items()
        for name in names.split()
    }
    return SampleBatch(
        raw=np.frombuffer(canonical, np.uint8),
        defined_since=np.zeros(1, np.int64),
        series_hash=key,
        sample_count=np.asarray([len(_TIMES_MS)], np.int32),
        histogram_count=np.zeros(1, np.int32),
        time_ms=np.asarray(_TIMES_MS, np.int64),
        value=np.ones(len(_TIMES_MS)),
        define_hash=key,
        define_off=np.zeros(1, np.int64),
        define_len=np.asarray([len(canonical)], np.int64),
        **none,
    )
