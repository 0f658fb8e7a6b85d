from __future__ import annotations

import numpy as np
import pytest

from agent.telemetry.frames import MetricFrame, Series
from agent.telemetry.source import Source
from chatops.terminal.floor import NS, largest_z


def frame(**values: list[float]) -> MetricFrame:
    """A sample a minute of one metric a pod."""
    lengths = [len(v) for v in values.values()]
    return MetricFrame(
        series=tuple(Series(Source("default", pod, instance=pod), "cpu") for pod in values),
        cumulative=np.zeros(len(values), np.bool_),
        offsets=np.cumsum([0, *lengths]).astype(np.int64),
        time_ns=np.concatenate([np.arange(n, dtype=np.int64) * 60 * NS for n in lengths]),
        value=np.concatenate([np.asarray(v, np.float64) for v in values.values()]),
    )


@pytest.mark.parametrize(
    ("values", "z"),
    [
        ([1, 3, 1, 3, 1, 3, 8], 6.0),
        ([1, 3, 1, 3, 1, 3, -4], 6.0),
        ([2, 2, 2, 2, 2, 2, 9], 0.0),
        ([1, 3, 9], 0.0),
    ],
    ids=["up", "down", "no deviation", "too few before"],
)
def test_z(values: list[float], z: float) -> None:
    fault_ns = (len(values) - 1) * 60 * NS
    assert largest_z(frame(a=values), fault_ns, fault_ns + 120 * NS) == {"a": pytest.approx(z)}


def test_nothing_after_the_question_counts() -> None:
    values = [1.0, 3, 1, 3, 1, 3, 2, 99]
    assert largest_z(frame(a=values), 360 * NS, 420 * NS)["a"] == pytest.approx(0.0)
