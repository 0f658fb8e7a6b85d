"""The reader of Prometheus' test language."""

from __future__ import annotations

import math

import pytest

from agent.telemetry.native import FloatHistogram
from tests.promql.script import Broken, Clear, Eval, Load, read
from tests.promql.series import Point, points_of, series_of

TEXT = """
load 5m
  a{b="c, }"} 1+1x2 _x2 stale
  # a comment ends a block

clear
eval instant at 50m sum(a)
  expect warn msg: PromQL warning: x (1:1)
  expect ordered
  {b="c"} 3

eval_fail range from 0 to 10m step 5m a
  expected_fail_message no

eval sometimes a

load nothing
  a 1
"""


def test_commands() -> None:
    load, clear, instant, ranged, no_time, no_load = read(TEXT)
    assert isinstance(load, Load)
    assert isinstance(clear, Clear)
    assert isinstance(instant, Eval)
    assert isinstance(ranged, Eval)
    assert (load.gap_ms, load.series[0][0]) == (300_000, (("__name__", "a"), ("b", "c, }")))
    assert len(load.series[0][1]) == 6
    assert (instant.start_ms, instant.ordered, instant.order) == (3_000_000, True, [(("b", "c"),)])
    assert instant.warnings[0].fits("PromQL warning: x (1:1)")
    assert (ranged.end_ms, ranged.fail, str(ranged.failures[0])) == (600_000, True, "no")
    assert isinstance(no_time, Broken)
    assert isinstance(no_load, Broken)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1 -2 Inf", [1, -2, math.inf]),
        ("1+2x2", [1, 3, 5]),
        ("-1-2x1", [-1, -3]),
        ("5x2", [5, 5, 5]),
        ("_ 1e3 _x2", [None, 1000, None, None]),
        (".5+.25x1", [0.5, 0.75]),
    ],
)
def test_points(text: str, values: list[float | None]) -> None:
    assert [point.value if point else None for point in points_of(text)] == values


def test_histograms() -> None:
    labels, points = series_of(
        '{"a b"} {{schema:1 count:2}}+{{schema:1 count:1}}x1 {{counter_reset_hint:gauge}}'
    )
    assert labels == (("__name__", "a b"),)
    counts = [point.value.count for point in points if point and isinstance(point.value, FloatHistogram)]
    assert counts == [2, 3, 0]
    assert [isinstance(point, Point) and point.hinted for point in points] == [False, False, True]
