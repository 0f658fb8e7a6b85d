import numpy as np
import pytest

from agent.detection.anomaly import Signal
from agent.detection.detectors.resources import Recent, ResourceDetector, ResourceScore, signal_of
from agent.telemetry.frames import MetricFrame, Series
from agent.telemetry.source import Source
from tests.unit.detection.builders import T0, S

POD = Source("default", "cart", "shop", "cart-0")


def samples(
    name: str,
    values: list[float],
    step_s: float = 5,
    cumulative: bool = False,
    labels: tuple[tuple[str, str], ...] = (),
) -> MetricFrame:
    n = len(values)
    return MetricFrame(
        series=(Series(POD, name, labels),),
        cumulative=np.array([cumulative]),
        offsets=np.array([0, n]),
        time_ns=T0 + np.arange(n) * round(step_s * S),
        value=np.array(values, np.float64),
    )


def found(*frames: MetricFrame) -> list[ResourceScore]:
    detector = ResourceDetector()
    for frame in frames:
        detector.learn(frame)
    return detector.score(T0 + 10_000 * S)


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("process.cpu.time", Signal.CPU),
        ("container_cpu_usage_seconds_total", Signal.CPU),
        ("CpuUsage(m)", Signal.CPU),
        ("process.memory.usage", Signal.MEMORY),
        ("container_memory_working_set_bytes", Signal.MEMORY),
        ("MemoryUsage(Mi)", Signal.MEMORY),
        ("kube_pod_container_status_restarts_total", Signal.RESTARTS),
        ("system.cpu.time", None),
        ("NodeCpuUsageRate(%)", None),
        ("process.memory.virtual", None),
        ("container_memory_limit_bytes", None),
        ("http.server.duration", None),
    ],
)
def test_names(name: str, signal: Signal | None) -> None:
    assert signal_of(name) is signal


NOISE = np.random.default_rng(5).normal(0, 1, 60)


@pytest.mark.parametrize(
    ("name", "values", "signals"),
    [
        pytest.param("process.memory.usage", [100 + x for x in NOISE], [], id="flat memory"),
        pytest.param("process.memory.usage", [100 + x for x in NOISE[:30]] + [105 + 6 * i for i in range(12)], [Signal.MEMORY], id="leak"),
        pytest.param("process.memory.usage", [50 + 6.0 * i for i in range(11)], [], id="a process fills up at its start"),
        pytest.param("process.memory.usage", [100 + 40 * (i // 10 % 2) + x for i, x in enumerate(NOISE)], [], id="saw teeth"),
        pytest.param("process.cpu.utilization", [0.2 + x / 100 for x in NOISE[:30]] + [0.95] * 3, [Signal.CPU], id="cpu step"),
        pytest.param("process.cpu.utilization", [0.2 + x / 100 for x in NOISE[:30]] + [0.95], [], id="cpu spike"),
        pytest.param("process.cpu.utilization", [0.2 + abs(x) / 10 for x in NOISE], [], id="restless cpu"),
        pytest.param("k8s.container.restarts", [0.0, 0, 0, 1], [Signal.RESTARTS], id="restart counted"),
    ],
)  # fmt: skip
def test_what_is_found(name: str, values: list[float], signals: list[Signal]) -> None:
    assert [score.signal for score in found(samples(name, values))] == signals


def test_the_onset_of_a_leak_is_near_its_begin() -> None:
    values = [100 + x for x in NOISE[:40]] + [100 + 5.0 * i for i in range(14)]
    (leak,) = found(samples("process.memory.usage", values))
    assert abs(leak.onset_ns - (T0 + 200 * S)) <= 35 * S


def test_a_running_total_is_a_rate() -> None:
    steps = [0.1] * 30 + [1.0] * 4
    (hit,) = found(samples("process.cpu.time", np.cumsum(steps).tolist(), 5, True))
    assert hit.signal is Signal.CPU
    assert hit.observed == pytest.approx(0.2)


def test_labels_add_up() -> None:
    total = np.cumsum([0.1] * 30 + [1.0] * 4).tolist()
    frames = [samples("process.cpu.time", total, 5, True, (("type", kind),)) for kind in ("user", "system")]
    (hit,) = found(*frames)
    assert hit.observed == pytest.approx(0.4)


def test_a_total_that_falls_back_is_a_restart() -> None:
    total = [*np.arange(0.0, 20), 0.1, 1.0, 2.0]
    (hit,) = found(samples("process.cpu.time", total, 5, True))
    assert hit.signal is Signal.RESTARTS
    assert hit.onset_ns == T0 + 100 * S


def test_sources_are_bounded() -> None:
    detector = ResourceDetector()
    detector.settings = type(detector.settings)(max_sources=1)
    for i in range(6):
        detector.learn(samples(f"cpu.usage.{i}", [1.0]))
    assert detector.series_refused == 2


def test_what_nobody_asks_the_score_of_is_bounded() -> None:
    detector = ResourceDetector()
    detector.learn(samples("process.memory.usage", [float(i) for i in range(1000)]))
    (track,) = detector._tracks.values()
    assert len(track.waiting) <= 64
    times, values = track.samples.columns()
    assert (len(times), values[-1]) == (128, 1000 - len(track.waiting) - 1)


@pytest.mark.parametrize("count", [9, 10, 11, 57])
def test_only_the_last_samples_are_kept(count: int) -> None:
    recent = Recent(10)
    for i in range(count):
        recent.append(i, float(-i))
    times, values = recent.columns()
    assert times.tolist() == list(range(max(0, count - 10), count))
    assert values.tolist() == (-times).tolist()
    assert (recent.newest_ns, len(recent.times) <= 12) == (count - 1, True)
