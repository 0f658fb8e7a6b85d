"""Windows in which native histograms lie, alone or beside floats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from agent.promql.functions.kinds import Argument, Windows
from agent.promql.values import Grid, Histograms, Matrix, Selection
from agent.telemetry.native import CounterReset, FloatHistogram
from tests.unit.promql.functions.series import Heard, call, cells, scalar, selection

STEP = 10_000


def histogram(count: float, hint: CounterReset = CounterReset.UNKNOWN) -> FloatHistogram:
    return FloatHistogram(count=count, sum=count, hint=hint)


def mixture(*samples: float | FloatHistogram | None) -> Selection:
    """One series of both kinds of samples at regular times."""
    floats = [(i * STEP, one) for i, one in enumerate(samples) if isinstance(one, int | float)]
    rest = [(i * STEP, one) for i, one in enumerate(samples) if isinstance(one, FloatHistogram)]
    held = np.empty(len(rest), np.object_)
    held[:] = [one for _, one in rest]
    times = np.array([time for time, _ in rest], np.int64)
    return replace(selection(floats, name="m"), histograms=Histograms(np.array([0, len(rest)]), times, held))


def evaluate(
    name: str, samples: Sequence[float | FloatHistogram], more: Sequence[float] = ()
) -> tuple[Matrix, Heard]:
    """Over all samples, at the time of the last one."""
    end, heard = (len(samples) - 1) * STEP, Heard()
    windows = Windows(mixture(*samples), np.array([end]), end + 1)
    arguments: list[Argument] = [scalar(number) for number in more]
    ordered: list[Argument] = [*arguments, windows] if name.startswith("quantile") else [windows, *arguments]
    return call(name, *ordered, grid=Grid(end, end, 0), heard=heard), heard


ONE, TWO, THREE = (histogram(count) for count in (1.0, 2.0, 3.0))
IGNORED = 'ignored histograms in a range containing both floats and histograms for metric name "m"'
MIXED = 'encountered a mix of histograms and floats for metric name "m"'


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("max_over_time", ()),
        ("min_over_time", ()),
        ("ts_of_max_over_time", ()),
        ("stddev_over_time", ()),
        ("stdvar_over_time", ()),
        ("mad_over_time", ()),
        ("deriv", ()),
        ("predict_linear", (1.0,)),
        ("double_exponential_smoothing", (0.5, 0.5)),
        ("quantile_over_time", (0.5,)),
    ],
)
def test_functions_of_floats_ignore_histograms(name: str, more: tuple[float, ...]) -> None:
    result, heard = evaluate(name, [1.0, 2.0, ONE], more)
    assert result.present.all()
    assert heard.infos == [(IGNORED, 0)]
    result, heard = evaluate(name, [ONE, TWO], more)
    assert not result.present.any()
    assert heard.infos == []


@pytest.mark.parametrize("name", ["rate", "increase", "delta", "sum_over_time", "avg_over_time"])
def test_a_mix_has_no_result(name: str) -> None:
    result, heard = evaluate(name, [1.0, 2.0, ONE, TWO])
    assert cells(result) == [[None]]
    assert result.histogram is None
    assert heard.warnings == [(MIXED, 0)]


@pytest.mark.parametrize(
    ("name", "count"), [("increase", 2.0), ("sum_over_time", 6.0), ("avg_over_time", 2.0), ("irate", 0.1)]
)
def test_histograms_alone_give_a_histogram(name: str, count: float) -> None:
    result, heard = evaluate(name, [ONE, TWO, THREE])
    assert result.histogram is not None
    assert result.histogram[0, 0].count == pytest.approx(count, rel=1e-3)
    assert heard == Heard()


@pytest.mark.parametrize(
    ("samples", "expected", "warned"),
    [
        ([ONE, 1.0, 3.0], 2.0, False),
        ([1.0, 3.0, ONE], None, True),
        ([3.0, ONE, 1.0], None, True),
        ([1.0, ONE], None, True),
        ([ONE], None, False),
    ],
)
def test_instant_rates_take_the_last_two_samples(
    samples: list[float | FloatHistogram], expected: float | None, warned: bool
) -> None:
    result, heard = evaluate("idelta", samples)
    assert cells(result) == [[expected]]
    assert bool(heard.warnings) == warned


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("count_over_time", 4.0),
        ("present_over_time", 1.0),
        ("first_over_time", 5.0),
        ("ts_of_first_over_time", 0.0),
        ("ts_of_last_over_time", 30.0),
        ("changes", 3.0),
        ("resets", 3.0),
    ],
)
def test_histograms_are_samples_like_others(name: str, expected: float) -> None:
    assert cells(evaluate(name, [5.0, TWO, ONE, 4.0])[0]) == [[expected]]


def test_the_last_sample_may_be_a_histogram() -> None:
    result, _ = evaluate("last_over_time", [5.0, ONE])
    assert cells(result) == [[None]]
    assert result.histogram is not None
    assert result.histogram[0, 0] is ONE


def test_resets_and_changes_of_histograms() -> None:
    samples = [ONE, ONE, THREE, TWO]
    assert cells(evaluate("changes", samples)[0]) == [[2.0]]
    assert cells(evaluate("resets", samples)[0]) == [[1.0]]
