from __future__ import annotations

import math

import numpy as np
import pytest

from agent.promql.functions.histograms import HISTOGRAM_FUNCTIONS
from agent.promql.functions.kinds import Argument, Call
from agent.promql.values import Grid, Matrix
from agent.telemetry.labels import LabelTable, labels_of
from agent.telemetry.native import parse_literal
from tests.unit.promql.functions.notes import Heard

Cell = float | str | None  # a native histogram as its literal
Row = tuple[dict[str, str], list[Cell]]

NATIVE = "{{count:12 sum:18 buckets:[0 12]}}"  # all in (1,2]


def vector(*rows: Row) -> Matrix:
    shape = (len(rows), len(rows[0][1]))
    value, present = np.zeros(shape), np.zeros(shape, np.bool_)
    histogram = np.full(shape, None, np.object_)
    for i, (_, cells) in enumerate(rows):
        for j, cell in enumerate(cells):
            if isinstance(cell, str):
                histogram[i, j] = parse_literal(cell)
            elif cell is not None:
                value[i, j], present[i, j] = cell, True
    return Matrix(LabelTable.of([labels_of(pairs) for pairs, _ in rows]), value, present, histogram)


def call(
    name: str, *arguments: float | list[float] | Matrix | str
) -> tuple[dict[str, list[float | None]], Heard]:
    """``(values by the labels, joined, what was noted)``."""
    steps = next(len(a.present[0]) for a in arguments if isinstance(a, Matrix))
    given: list[Argument] = [
        a if isinstance(a, Matrix | str) else np.broadcast_to(np.asarray(a, np.float64), steps).copy()
        for a in arguments
    ]
    heard = Heard()
    result = HISTOGRAM_FUNCTIONS[name].body(
        Call(name, Grid(0, (steps - 1) * 15_000, 15_000), heard, None), given
    )
    assert isinstance(result, Matrix)
    rows = [",".join(f"{k}={v}" for k, v in labels) for labels in result.labels.rows()]
    assert len(set(rows)) == len(rows)
    cells = np.where(result.present, result.value, np.nan)
    return {
        name: [v if p else None for v, p in zip(values.tolist(), there.tolist(), strict=True)]
        for name, values, there in zip(rows, cells, result.present, strict=True)
    }, heard


def buckets(name: str, *cells: list[Cell]) -> list[Row]:
    return [({"__name__": name, "le": le}, row) for le, row in zip(("1", "2", "+Inf"), cells, strict=True)]


def test_a_row_a_histogram() -> None:
    rows = buckets("a", [2, 0], [4, 4], [4, 4]) + buckets("b", [1, None], [1, None], [2, None])
    found, heard = call("histogram_quantile", 0.5, vector(*rows))
    assert found == {"__name__=a": [1.0, 1.5], "__name__=b": [1.0, None]}
    assert not heard.warnings
    assert not heard.infos


def test_a_quantile_may_change_with_time() -> None:
    found, heard = call("histogram_quantile", [0.5, 2.0], vector(*buckets("a", [2, 2], [4, 4], [4, 4])))
    assert found == {"__name__=a": [1.0, math.inf]}
    assert heard.warnings == [("quantile value should be between 0 and 1, got 2", 0)]


def test_native_histograms_beside_classic_ones() -> None:
    found, heard = call(
        "histogram_quantile", 0.5, vector(*buckets("a", [2], [4], [4]), ({"__name__": "n"}, [NATIVE]))
    )
    assert found == {"__name__=a": [1.0], "__name__=n": [pytest.approx(2**0.5)]}
    assert not heard.warnings


def test_a_change_from_classic_to_native_is_one_series() -> None:
    rows = buckets("a", [2, None], [4, None], [4, None])
    found, heard = call("histogram_quantile", 0.5, vector(*rows, ({"__name__": "a"}, [None, NATIVE])))
    assert found == {"__name__=a": [1.0, pytest.approx(2**0.5)]}
    assert not heard.warnings


@pytest.mark.parametrize(
    ("name", "scalars", "argument"),
    [("histogram_quantile", (0.5,), 1), ("histogram_fraction", (0.0, 1.0), 2)],
)
def test_both_forms_at_once_count_for_nothing(name: str, scalars: tuple[float, ...], argument: int) -> None:
    rows = buckets("a", [2, 2], [4, 4], [4, 4])
    found, heard = call(name, *scalars, vector(*rows, ({"__name__": "a"}, [None, NATIVE])))
    assert [cell is None for cell in found["__name__=a"]] == [False, True]
    text = 'vector contains a mix of classic and native histograms for metric name "a"'
    assert heard.warnings == [(text, argument)]


@pytest.mark.parametrize(("le", "text"), [({}, ""), ({"le": "two"}, "two")])
def test_series_without_a_readable_bound(le: dict[str, str], text: str) -> None:
    found, heard = call(
        "histogram_quantile", 0.5, vector(*buckets("a", [2], [4], [4]), ({"__name__": "a", **le}, [9]))
    )
    assert found == {"__name__=a": [1.0]}
    warning = f'bucket label "le" is missing or has a malformed value of "{text}" for metric name "a"'
    assert heard.warnings == [(warning, 1)]


def test_repairs_are_noted_once_a_metric() -> None:
    rows = buckets("a", [5, 5, 1], [3, 4, 2], [9, 9, 3])
    rows += [
        ({"__name__": "a", "x": "y", "le": "1"}, [1, 1, 9]),
        ({"__name__": "a", "x": "y", "le": "+Inf"}, [1, 1, 4]),
    ]
    _, heard = call("histogram_quantile", 0.5, vector(*rows))
    assert heard.infos == [
        (
            "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/"
            'prometheus/latest/querying/functions/#histogram_quantile) for metric name "a", from buckets 2 to +Inf, '
            "with a max diff of 5, over 3 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:00:30Z",
            1,
        )
    ]


def test_several_quantiles_by_a_label() -> None:
    found, heard = call("histogram_quantiles", vector(*buckets("a", [2], [4], [4])), "q", 0.5, 1.0, -1.0)
    assert found == {"__name__=a,q=0.5": [1.0], "__name__=a,q=1.0": [2.0], "__name__=a,q=-1.0": [-math.inf]}
    assert heard.warnings == [("quantile value should be between 0 and 1, got -1", 4)]


def test_a_quantile_that_changes_changes_its_label() -> None:
    rows = buckets("a", [2, 2], [4, 4], [4, 4])
    found, _ = call("histogram_quantiles", vector(*rows), "q", [0.5, 1.0])
    assert found == {"__name__=a,q=0.5": [1.0, None], "__name__=a,q=1.0": [None, 2.0]}


def test_nan_among_the_observations_is_noted() -> None:
    cell: list[Cell] = ["{{count:8 sum:NaN buckets:[0 4]}}"]
    _, heard = call("histogram_quantile", 0.25, vector(({"__name__": "n"}, cell)))
    text = 'input to histogram_quantile has NaN observations, result is skewed higher for metric name "n"'
    assert heard.infos == [(text, 0)]
    _, heard = call("histogram_fraction", 0.0, 1.0, vector(({"__name__": "n"}, cell)))
    assert "excluded from all fractions" in heard.infos[0][0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("count", 12), ("sum", 18), ("avg", 1.5), ("stdvar", (2**0.5 - 1.5) ** 2), ("stddev", 1.5 - 2**0.5)],
)
def test_numbers_of_native_histograms(name: str, expected: float) -> None:
    found, _ = call(
        f"histogram_{name}", vector(({"__name__": "n"}, [NATIVE, 3.0]), ({"__name__": "f"}, [1.0, 1.0]))
    )
    assert found == {"__name__=n": [pytest.approx(expected), None]}


def test_an_empty_histogram_has_no_average() -> None:
    found, _ = call("histogram_avg", vector(({}, ["{{}}", "{{sum:1}}"])))
    assert math.isnan(found[""][0] or 0)
    assert found[""][1] == math.inf


def test_nothing_gives_nothing() -> None:
    empty = Matrix(LabelTable.empty(), np.empty((0, 3)), np.empty((0, 3), np.bool_))
    for name in ("count", "avg", "stddev"):
        result = HISTOGRAM_FUNCTIONS[f"histogram_{name}"].body(
            Call(name, Grid(0, 2, 1), Heard(), None), [empty]
        )
        assert isinstance(result, Matrix)
        assert len(result) == 0
    result = HISTOGRAM_FUNCTIONS["histogram_quantile"].body(
        Call("", Grid(0, 2, 1), Heard(), None), [np.full(3, 0.5), empty]
    )
    assert isinstance(result, Matrix)
    assert len(result) == 0


def test_only_the_newest_is_experimental() -> None:
    assert [name for name, f in HISTOGRAM_FUNCTIONS.items() if f.experimental] == ["histogram_quantiles"]
