"""Every kernel against the plain definition, over random series, gaps, ranges and steps in any order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.promql.functions.kinds import Argument, Windows
from agent.promql.selectors import reordered
from agent.promql.values import Selection
from tests.unit.promql.functions import naive
from tests.unit.promql.functions.naive import Naive, Samples
from tests.unit.promql.functions.series import call, cells, over, scalar, selection, shared

SPECIAL = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e308, -1e308, 1e100, -1e100])
ORDINARY = st.one_of(st.integers(-5, 5).map(float), st.floats(-1e6, 1e6).map(lambda value: round(value, 3)))
COUNTERS = st.integers(0, 20).map(float)
ENDS = st.lists(st.integers(0, 400), min_size=1, max_size=12)
RANGES = st.integers(1, 250)


def series_of(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[Samples]]:
    times = st.lists(st.integers(0, 400), unique=True, max_size=40).map(sorted)
    one = times.flatmap(
        lambda at: st.lists(values, min_size=len(at), max_size=len(at)).map(
            lambda held: list(zip(at, held, strict=True))
        )
    )
    return st.lists(one, min_size=1, max_size=3)


ANY = series_of(st.one_of(ORDINARY, SPECIAL))
FINITE = series_of(ORDINARY)

# Definition and further arguments.
ANY_VALUES: dict[str, tuple[Naive, tuple[float, ...]]] = {
    "irate": (naive.instant(is_rate=True), ()),
    "idelta": (naive.instant(is_rate=False), ()),
    "max_over_time": (naive.extreme(larger=True), ()),
    "min_over_time": (naive.extreme(larger=False), ()),
    "ts_of_max_over_time": (naive.extreme_time(1), ()),
    "ts_of_min_over_time": (naive.extreme_time(-1), ()),
    "mad_over_time": (naive.deviation, ()),
    "changes": (naive.count_pairs(naive.changed), ()),
    "resets": (naive.count_pairs(lambda before, value: value < before), ()),
    "count_over_time": (naive.of_samples(lambda samples: float(len(samples))), ()),
    "present_over_time": (naive.of_samples(lambda samples: 1.0), ()),
    "first_over_time": (naive.of_samples(lambda samples: samples[0][1]), ()),
    "last_over_time": (naive.of_samples(lambda samples: samples[-1][1]), ()),
    "ts_of_first_over_time": (naive.of_samples(lambda samples: samples[0][0] / 1000), ()),
    "ts_of_last_over_time": (naive.of_samples(lambda samples: samples[-1][0] / 1000), ()),
    "double_exponential_smoothing": (naive.smoothed(0.3, 0.7), (0.3, 0.7)),
    "deriv": (naive.steepness, ()),
    "rate": (naive.extrapolated(is_counter=True, is_rate=True), ()),
    "increase": (naive.extrapolated(is_counter=True, is_rate=False), ()),
    "delta": (naive.extrapolated(is_counter=False, is_rate=False), ()),
}


def same(got: float | None, expected: float | None, within: float = 0.0) -> bool:
    if got is None or expected is None:
        return got is expected
    if math.isnan(expected) or math.isinf(expected):
        return got == expected or (math.isnan(got) and math.isnan(expected))
    return abs(got - expected) <= within * abs(expected)


def check(
    name: str,
    definition: Naive,
    series: list[Samples],
    ends_ms: list[int],
    range_ms: int,
    *,
    more: tuple[float, ...] = (),
    within: float = 0.0,
) -> None:
    arguments: list[Argument] = [scalar(*[number] * len(ends_ms)) for number in more]
    got = over(name, selection(*series), range_ms, *ends_ms, more=arguments)
    for samples, row in zip(series, got, strict=True):
        for end_ms, value in zip(ends_ms, row, strict=True):
            inside = naive.window(samples, end_ms, range_ms)
            expected = definition(inside, end_ms, range_ms)
            assert same(value, expected, within), (inside, end_ms, value, expected)


@pytest.mark.parametrize("name", ANY_VALUES)
@given(series=ANY, ends_ms=ENDS, range_ms=RANGES)
def test_agrees_to_the_last_bit_over_any_values(
    name: str, series: list[Samples], ends_ms: list[int], range_ms: int
) -> None:
    definition, more = ANY_VALUES[name]
    check(name, definition, series, ends_ms, range_ms, more=more)


@given(series=series_of(COUNTERS), ends_ms=ENDS, range_ms=RANGES)
def test_a_rate_counts_all_resets_of_its_window(
    series: list[Samples], ends_ms: list[int], range_ms: int
) -> None:
    check("rate", naive.extrapolated(is_counter=True, is_rate=True), series, ends_ms, range_ms)


@st.composite
def scraped_together(draw: st.DrawFn) -> list[Samples]:
    """Three series of the same times, then one of its own."""
    times = sorted(draw(st.lists(st.integers(0, 400), unique=True, min_size=2, max_size=40)))
    values = st.lists(COUNTERS, min_size=len(times), max_size=len(times))
    together = [list(zip(times, draw(values), strict=True)) for _ in range(3)]
    return [*together, [(time + 1, value) for time, value in together[0]]]


@pytest.mark.parametrize("name", ["rate", "increase", "delta"])
@given(series=scraped_together(), ends_ms=ENDS, range_ms=RANGES)
def test_series_that_share_their_times_are_as_each_alone(
    name: str, series: list[Samples], ends_ms: list[int], range_ms: int
) -> None:
    check(name, ANY_VALUES[name][0], series, ends_ms, range_ms)


SHARING = ("rate", "increase", "delta", "max_over_time", "min_over_time", "sum_over_time", "avg_over_time",
           "stddev_over_time", "stdvar_over_time", "last_over_time")  # fmt: skip


@pytest.mark.parametrize("name", SHARING)
@given(made=shared(st.one_of(COUNTERS, ORDINARY, SPECIAL)), ends_ms=ENDS, range_ms=RANGES)
def test_shared_times_change_no_bit(name: str, made: Selection, ends_ms: list[int], range_ms: int) -> None:
    rows = np.flatnonzero(np.diff(made.offsets))
    got = call(name, Windows(made, np.array(ends_ms), range_ms))
    for row in rows.tolist():
        alone = call(name, Windows(reordered(made, np.array([row])), np.array(ends_ms), range_ms))
        assert got.value[row].tobytes() == alone.value[0].tobytes()
        assert got.present[row].tobytes() == alone.present[0].tobytes()


@pytest.mark.parametrize(
    ("name", "definition"), [("sum_over_time", naive.total), ("avg_over_time", naive.mean)]
)
@given(series=ANY, ends_ms=ENDS, range_ms=RANGES)
@example([[(i, value) for i, value in enumerate([1e100, *[1.0] * 9, -1e100, *[0.1] * 9])]], [5, 11, 19], 10)
@example([[(i, 1e308 * (-1) ** (i // 9)) for i in range(30)]], [8, 12, 20, 29], 12)
def test_a_sum_is_the_compensated_sum_of_its_window(
    name: str, definition: Naive, series: list[Samples], ends_ms: list[int], range_ms: int
) -> None:
    check(name, definition, series, ends_ms, range_ms, within=1e-15)


@given(series=ANY, ends_ms=ENDS, range_ms=RANGES, q=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.9, 1.0, 2.0]))
def test_quantiles(series: list[Samples], ends_ms: list[int], range_ms: int, q: float) -> None:
    got = over_quantile(series, ends_ms, range_ms, q)
    for samples, row in zip(series, got, strict=True):
        for end_ms, value in zip(ends_ms, row, strict=True):
            inside = naive.window(samples, end_ms, range_ms)
            assert same(value, naive.quantile(q)(inside, end_ms, range_ms))


def over_quantile(
    series: list[Samples], ends_ms: list[int], range_ms: int, q: float
) -> list[list[float | None]]:
    windows = Windows(selection(*series), np.array(ends_ms, np.int64), range_ms)
    return cells(call("quantile_over_time", scalar(*[q] * len(ends_ms)), windows))


@given(series=FINITE, ends_ms=ENDS, range_ms=RANGES)
def test_a_variance_is_near_the_exact_one(series: list[Samples], ends_ms: list[int], range_ms: int) -> None:
    check("stdvar_over_time", naive.variance, series, ends_ms, range_ms, within=1e-12)


@given(series=ANY, ends_ms=ENDS, range_ms=RANGES)
@example([[(i, 1.5990505637277868) for i in range(5)]], [2, 4], 10)
@example([[(i, 1e9 + i % 2) for i in range(20)]], [5, 19], 10)
@example([[(i, 1e300 * i) for i in range(20)]], [5, 19], 10)
@example([[(i, 1e100 if i == 0 else float(i)) for i in range(20)]], [5, 19], 10)
def test_a_variance_is_that_of_welford(series: list[Samples], ends_ms: list[int], range_ms: int) -> None:
    check("stdvar_over_time", naive.welford, series, ends_ms, range_ms, within=1e-11)


@given(series=ANY, end_ms=st.integers(0, 400), range_ms=RANGES)
def test_a_prediction_is_that_of_prometheus(series: list[Samples], end_ms: int, range_ms: int) -> None:
    check("predict_linear", naive.predicted(60.0), series, [end_ms], range_ms, more=(60.0,))


@given(series=FINITE, ends_ms=ENDS, range_ms=RANGES)
def test_a_slope_is_near_the_exact_one(series: list[Samples], ends_ms: list[int], range_ms: int) -> None:
    got = over("deriv", selection(*series), range_ms, *ends_ms)
    for samples, row in zip(series, got, strict=True):
        for end_ms, value in zip(ends_ms, row, strict=True):
            inside = naive.window(samples, end_ms, range_ms)
            expected = naive.slope(inside, end_ms, range_ms)
            assert (value is None) == (expected is None)
            if value is not None and expected is not None:
                steepest = (max(v for _, v in inside) - min(v for _, v in inside)) * 1000
                assert abs(value - expected) <= 1e-9 * max(abs(expected), steepest)
