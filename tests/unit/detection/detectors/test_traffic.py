import numpy as np
import pytest

from agent.detection.detectors.traffic import TrafficDetector


def last_scores(counts: list[float]) -> tuple[float, float]:
    """Nats for a collapse and for a surge after the last bin."""
    detector = TrafficDetector()
    for count in counts:
        scores = detector.score(np.array([count]))
        detector.learn(np.array([count]))
    return float(scores.collapse[0]), float(scores.surge[0])


STEADY = [float(x) for x in np.random.default_rng(3).poisson(20, 50)]
SWING = [20 * (1 + 0.4 * np.sin(i / 8)) for i in range(60)]


@pytest.mark.parametrize(
    ("counts", "collapse", "surge"),
    [
        pytest.param(STEADY, False, False, id="steady"),
        pytest.param([*STEADY, 0, 0, 0], True, False, id="gone"),
        pytest.param([*STEADY, 0, 0], False, False, id="two empty bins"),
        pytest.param(SWING, False, False, id="swing"),
        pytest.param([*STEADY, 9, 9, 9, 9, 9, 9], False, False, id="halved"),
        pytest.param([*STEADY, *[120] * 6], False, True, id="six times as much"),
        pytest.param([float(i % 3 == 0) for i in range(50)] + [0] * 6, False, False, id="rare requests"),
        pytest.param([30.0 * (i % 4 == 0) for i in range(52)] + [0] * 4, False, False, id="batches"),
    ],
)
def test_traffic(counts: list[float], collapse: bool, surge: bool) -> None:
    found = last_scores(counts)
    assert (found[0] >= 16, found[1] >= 16) == (collapse, surge)


def test_not_ready_is_not_zero() -> None:
    assert np.isnan(last_scores(STEADY[:20])[0])


def test_a_silent_tenant_says_nothing() -> None:
    assert np.isnan(last_scores([*STEADY, float("nan")])[0])
