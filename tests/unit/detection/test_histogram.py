import numpy as np
import pytest

from agent.detection.histogram import BUCKETS, LOWER_NS, UPPER_NS, bucket_of, quantiles


@pytest.mark.parametrize(
    ("duration_ns", "bucket"),
    [
        pytest.param(-5.0, 0, id="clock went back"),
        pytest.param(0.0, 0, id="zero"),
        pytest.param(49_999.0, 0, id="below the lowest"),
        pytest.param(50_000.0, 1, id="lowest"),
        pytest.param(1e15, BUCKETS - 1, id="beyond the highest"),
    ],
)
def test_bucket(duration_ns: float, bucket: int) -> None:
    assert bucket_of(duration_ns) == bucket


def test_a_duration_lies_inside_its_bucket() -> None:
    for duration in np.geomspace(51_000, 120e9, 400):
        at = bucket_of(float(duration))
        assert LOWER_NS[at] * 0.999999 <= duration <= UPPER_NS[at] * 1.000001


def test_quantiles_are_within_a_bucket_of_the_truth() -> None:
    durations = np.random.default_rng(1).lognormal(np.log(20e6), 0.8, 20_000)
    row = np.bincount([bucket_of(float(d)) for d in durations], minlength=BUCKETS)
    for q in (0.5, 0.9, 0.99):
        assert quantiles(row[None], q)[0] == pytest.approx(np.quantile(durations, q), rel=0.05)


def test_no_requests_no_quantile() -> None:
    assert np.isnan(quantiles(np.zeros((1, BUCKETS)), 0.5)).all()
