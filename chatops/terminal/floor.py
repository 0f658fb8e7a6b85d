"""The floor that a root-cause method has to beat: the pod with the largest absolute z of any of its metrics.

It knows no traces, no logs and no graph. z compares the mean of a metric from the fault to the question with the
hour before, in standard deviations of that hour.
"""

from __future__ import annotations

from agent.telemetry.frames import F64, MetricFrame

NS = 1_000_000_000
BEFORE_NS = 3600 * NS
MIN_SAMPLES = 5  # before; fewer say nothing of what is usual


def largest_z(metrics: MetricFrame, fault_ns: int, asked_ns: int) -> dict[str, float]:
    """The largest |z| of each instance."""
    largest: dict[str, float] = {}
    for i, series in enumerate(metrics.series):
        rows = slice(int(metrics.offsets[i]), int(metrics.offsets[i + 1]))
        time_ns, value = metrics.time_ns[rows], metrics.value[rows]
        before = value[(time_ns >= fault_ns - BEFORE_NS) & (time_ns < fault_ns)]
        during = value[(time_ns >= fault_ns) & (time_ns < asked_ns)]
        instance = series.source.instance
        largest[instance] = max(largest.get(instance, 0.0), _z(before, during))
    return largest


def _z(before: F64, during: F64) -> float:
    if len(before) < MIN_SAMPLES or not len(during):
        return 0.0
    deviation = float(before.std())
    return abs(float(during.mean() - before.mean())) / deviation if deviation > 0 else 0.0
