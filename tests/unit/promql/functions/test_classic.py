from __future__ import annotations

import math
import random

import numpy as np
import pytest

from agent.promql.functions import classic
from agent.promql.functions.classic import Buckets
from agent.telemetry.labels import LabelTable, labels_of


def vector(rows: list[tuple[dict[str, str], list[float]]]) -> tuple[Buckets, np.ndarray, np.ndarray]:
    """Buckets, value and present; NaN is written as absent, ``"nan"`` never."""
    labels = LabelTable.of([labels_of(pairs) for pairs, _ in rows])
    value = np.array([values for _, values in rows], np.float64).reshape(len(rows), -1)
    bound, readable = classic.bounds_of(labels)
    return (
        classic.by_histogram(labels, bound, np.flatnonzero(readable)),
        np.nan_to_num(value),
        ~np.isnan(value),
    )


def quantile_of(q: float, *buckets: tuple[str, float]) -> float:
    parts, value, present = vector([({"le": le}, [count]) for le, count in buckets])
    return float(classic.quantiles(np.array([q]), parts, value, present)[0][0, 0])


FOUR = (("0.1", 1.0), ("0.2", 3.0), ("1", 10.0), ("+Inf", 12.0))


@pytest.mark.parametrize(
    ("q", "buckets", "expected"),
    [
        (0.25, FOUR, 0.2),
        (0.5, FOUR, 0.2 + 0.8 * (3 / 7)),
        (0.05, FOUR, 0.1 * 0.6),
        (0.99, FOUR, 1.0),
        (-0.1, FOUR, -math.inf),
        (1.1, FOUR, math.inf),
        (math.nan, FOUR, math.nan),
        (0.5, FOUR[:3], math.nan),
        (0.5, FOUR[3:], math.nan),
        (0.5, (("1", 0.0), ("+Inf", 0.0)), math.nan),
        (0.5, (("-1", 5.0), ("2", 7.0), ("+Inf", 8.0)), -1.0),
        (0.9, (("-1", 5.0), ("2", 7.0), ("+Inf", 8.0)), 2.0),
        (0.5, (("1", 2.0), ("1.0", 2.0), ("2", 8.0), ("+Inf", 8.0)), 1.0),
        (0.5, (("1", 4.0), ("2", 3.0), ("4", 8.0), ("+Inf", 8.0)), 1.0),
        (0.5, (("1", 1.0), ("2", math.nan), ("4", 2.0), ("+Inf", 2.0)), 1.0),
    ],
)
def test_quantiles(q: float, buckets: tuple[tuple[str, float], ...], expected: float) -> None:
    assert quantile_of(q, *buckets) == pytest.approx(expected, nan_ok=True, rel=1e-15)


def test_a_step_without_buckets_has_no_result() -> None:
    parts, value, present = vector([({"le": "1"}, [1, math.nan]), ({"le": "Inf"}, [2, math.nan])])
    assert classic.quantiles(np.array([0.5, 0.5]), parts, value, present)[1].tolist() == [[True, False]]


def test_repairs_are_told_with_their_extent() -> None:
    rows = [("1", [5.0, 1, 9]), ("2", [3.0, 2, 5]), ("3", [9.0, 3, 8]), ("+Inf", [9.0, 3, 9])]
    parts, value, present = vector([({"le": le}, counts) for le, counts in rows])
    told = classic.quantiles(np.full(3, 0.5), parts, value, present)[2]
    assert [told.steps[0], told.first[0], told.last[0]] == [2, 0, 2]
    assert [told.lowest[0], told.highest[0], told.difference[0]] == [2.0, 3.0, 4.0]


def test_rounding_is_no_decrease() -> None:
    parts, value, present = vector(
        [({"le": le}, [n]) for le, n in (("1", 1e6), ("2", 1e6 - 1e-9), ("+Inf", 1e6))]
    )
    assert classic.quantiles(np.array([0.5]), parts, value, present)[2].steps.tolist() == [0]


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (-math.inf, 0.1, 1 / 12),
        (0.1, 0.2, 2 / 12),
        (0.6, math.inf, 1 - 6.5 / 12),
        (0.0, 0.6, 6.5 / 12),
        (0.5, 0.2, 0.0),
        (5.0, math.inf, 2 / 12),
        (math.nan, 1.0, math.nan),
    ],
)
def test_fractions(lower: float, upper: float, expected: float) -> None:
    parts, value, present = vector([({"le": le}, [count]) for le, count in FOUR])
    found = classic.fractions(np.array([lower]), np.array([upper]), parts, value, present)[0][0, 0]
    assert found == pytest.approx(expected, nan_ok=True, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5", 0.5),
        ("+Inf", math.inf),
        ("-inf", -math.inf),
        ("1e3", 1000),
        ("0x1p4", 16),
        ("infinity", math.inf),
    ],
)
def test_bounds_that_are_read(text: str, expected: float) -> None:
    assert classic.number(text) == expected


@pytest.mark.parametrize("text", ["", " 1", "1_0", "abc", "1,5", "\u0661"])
def test_bounds_that_are_not(text: str) -> None:
    assert classic.number(text) is None


def plain_quantile(q: float, buckets: list[tuple[float, float]]) -> float:
    """By the definition: cumulative counts lifted, linear within the bucket that reaches the rank."""
    counts: list[float] = []
    for _, count in sorted(buckets):
        counts.append(max(count, counts[-1] if counts else count))
    ends = sorted(end for end, _ in buckets)
    rank = q * counts[-1]
    place = next((k for k, count in enumerate(counts[:-1]) if count >= rank), len(ends) - 1)
    if place == len(ends) - 1:
        return ends[-2]
    begin, before = (ends[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    return begin + (ends[place] - begin) * ((rank - before) / (counts[place] - before))


def test_many_histograms_at_once_as_one_by_one() -> None:
    rng, steps = random.Random(11), 5
    rows, expected = [], {}
    for h in range(40):
        ends = [*sorted({round(rng.uniform(0.01, 10), 3) for _ in range(rng.randint(1, 8))}), math.inf]
        table = np.cumsum([[rng.randint(0, 9) for _ in range(steps)] for _ in ends], axis=0) + 1.0
        expected[str(h)] = [
            plain_quantile(0.7, list(zip(ends, table[:, j], strict=True))) for j in range(steps)
        ]
        rows += [({"h": str(h), "le": str(end)}, table[k].tolist()) for k, end in enumerate(ends)]
    rng.shuffle(rows)
    parts, value, present = vector(rows)
    found = classic.quantiles(np.full(steps, 0.7), parts, value, present)[0]
    for name, row in zip(parts.labels.column("h"), found, strict=True):
        assert row.tolist() == pytest.approx(expected[name], rel=1e-12)


def test_after_warming_up_the_kernels_are_there() -> None:
    classic.warm_up()
    assert classic._quantiles.signatures
    assert classic._fractions.signatures


def test_arrays_of_any_layout_use_the_one_compiled_kernel() -> None:
    parts, value, present = vector([({"le": le}, [count, count]) for le, count in FOUR])
    classic.quantiles(np.full(2, 0.5), parts, value, present)
    compiled = len(classic._quantiles.signatures)
    classic.quantiles(np.broadcast_to(0.5, 2), parts, np.asfortranarray(value), present[:, ::-1])
    assert len(classic._quantiles.signatures) == compiled
