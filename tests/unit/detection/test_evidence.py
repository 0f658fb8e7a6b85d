from collections.abc import Sequence

import numpy as np
import pytest

from agent.detection.evidence import WINDOWS, change_point, evidence, judge


@pytest.mark.parametrize(
    ("k", "n", "p", "nats"),
    [
        pytest.param(0, 10, 0.1, 0.0, id="nothing beyond"),
        pytest.param(1, 10, 0.1, 0.0, id="as expected"),
        pytest.param(10, 10, 0.1, 23.03, id="all beyond"),
        pytest.param(5, 10, 0.1, 5.11, id="half beyond"),
        pytest.param(0, 0, 0.1, 0.0, id="no requests"),
    ],
)
def test_evidence(k: float, n: float, p: float, nats: float) -> None:
    assert evidence(k, n, p) == pytest.approx(nats, abs=0.01)


def judged(
    n: Sequence[float], k: Sequence[float], p: float = 0.02, stalls: bool = True
) -> tuple[float, int, bool]:
    """Of one unit and test: evidence, how lasting, whether the newest bin is odd."""
    ring = np.zeros((3, 1, 1, 60), np.float32)
    ring[0, 0, 0, : len(n)], ring[1, 0, 0, : len(n)] = n, k
    ring[2] = p * ring[0]
    best, width = np.zeros((1, 1)), np.zeros((1, 1), np.int64)
    flagged, odd = np.zeros((1, 1), np.int64), np.zeros((1, 1), np.bool_)
    judge(
        ring[0],
        ring[1],
        ring[2],
        len(n) - 1,
        1,
        np.array([0.3]),
        np.array([stalls]),
        4.0,
        best,
        width,
        flagged,
        odd,
    )
    return float(best[0, 0]), int(flagged[0, 0]), bool(odd[0, 0])


def test_evidence_grows_over_bins() -> None:
    assert judged([20] * 8, [0] * 5 + [12] * 3)[0] > 1.4 * judged([20] * 7, [0] * 5 + [12] * 2)[0]


def test_one_bin_does_not_make_a_window() -> None:
    nats, flagged, _ = judged([50] * 8, [0] * 6 + [50, 0])
    assert nats < 16
    assert flagged == 0


@pytest.mark.parametrize(
    ("odd", "flagged"),
    [
        ([0, 0, 0, 0, 1], 1),
        ([0, 0, 1, 1, 1], 3),
        ([0, 1, 0, 1, 1], 2),
        ([0, 1, 1, 1, 0], 2),
        ([1, 1, 0, 1, 1], 3),
        ([1, 1, 1, 1, 1], 5),
    ],
)
def test_how_lasting(odd: list[int], flagged: int) -> None:
    assert judged([20] * 5, [15 * x for x in odd])[1] == flagged


@pytest.mark.parametrize(("n", "stalls"), [(20, False), (4, True)], ids=["errors", "a quiet unit"])
def test_three_of_five_will_do_where_no_stall_fools(n: int, stalls: bool) -> None:
    assert judged([n] * 5, [0, n, 0, n, n], stalls=stalls)[1] == 3


def test_a_small_share_is_not_worth_it() -> None:
    assert judged([1000] * 5, [100] * 5)[0] == 0.0


def test_empty_bins_are_passed_over() -> None:
    assert judged([2, 0, 0, 2, 0, 2], [2, 0, 0, 2, 0, 2])[1:] == (3, True)


def test_evidence_forgets() -> None:
    assert judged([20] * (WINDOWS + 5), [20] * 5 + [0] * WINDOWS)[0] == 0.0


@pytest.mark.parametrize("at", [3, 20, 37])
def test_change_point(at: int) -> None:
    rng = np.random.default_rng(at)
    value = np.where(np.arange(40) < at, 0.05, 0.7) + rng.normal(0, 0.02, 40)
    split, before, after = change_point(np.ones(40), value)
    assert split == at
    assert (before, after) == pytest.approx((0.05, 0.7), abs=0.05)


def test_an_outlier_is_not_a_change_point() -> None:
    value = np.where(np.arange(40) < 30, 0.1, 0.6)
    value[7] = 1.0
    assert change_point(np.ones(40), value)[0] == 30


def test_a_change_needs_two_sides() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        change_point(np.ones(1), np.ones(1))
