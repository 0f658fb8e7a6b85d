from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from actors.aggregator.prometheus import series
from actors.aggregator.prometheus.series import label_set_pieces, matrix_pieces, selection_pieces
from agent.promql.values import Histograms, Matrix, Selection
from agent.telemetry.labels import LabelTable
from agent.telemetry.native import FloatHistogram
from tests.unit.aggregator.prometheus.canned import matrix, table

HISTOGRAM = FloatHistogram(count=3.0, sum=1.5, zero_threshold=0.001, zero_count=3.0)
SHOWN = {"count": "3", "sum": "1.5", "buckets": [[3, "-0.001", "0.001", "3"]]}


def read(pieces: Any) -> Any:
    return json.loads(b"[" + b"".join(bytes(piece) for piece in pieces) + b"]")


def test_labels_are_escaped() -> None:
    labels = LabelTable.of([(("a", 'quote " back \\ line \n'), ("ä.ö", "ü \udcff"))])
    (shown,) = read(label_set_pieces(labels))
    assert shown == {"a": 'quote " back \\ line \n', "ä.ö": "ü \ufffd"}


def test_values_that_no_row_uses_cost_nothing() -> None:
    labels = LabelTable(("a",), np.array([[7], [-1]], np.int32), (tuple(f"v{i}" for i in range(9)),))
    assert read(label_set_pieces(labels)) == [{"a": "v7"}, {}]


def test_no_series() -> None:
    assert read(label_set_pieces(table())) == []
    assert read(matrix_pieces(matrix({}), [1000], single=True)) == []


def test_one_step_over_a_range_is_a_list() -> None:
    (row,) = read(matrix_pieces(matrix({"a=1": [2.0]}), [1500], single=False))
    assert row == {"metric": {"a": "1"}, "values": [[1.5, "2"]]}


def with_histograms() -> Matrix:
    held = np.full((4, 2), None, np.object_)
    held[0, 1], held[2, 0], held[3, 1] = HISTOGRAM, HISTOGRAM, HISTOGRAM
    floats = matrix({"a=1": [1.0, None], "a=2": [1.0, 2.0], "a=3": [None, None], "a=4": [None, None]})
    return Matrix(floats.labels, floats.value, floats.present, held)


def test_histograms_stand_beside_floats() -> None:
    rows = read(matrix_pieces(with_histograms(), [1000, 2000], single=False))
    assert rows[0] == {"metric": {"a": "1"}, "values": [[1, "1"]], "histograms": [[2, SHOWN]]}
    assert rows[1] == {"metric": {"a": "2"}, "values": [[1, "1"], [2, "2"]]}
    assert rows[2] == {"metric": {"a": "3"}, "histograms": [[1, SHOWN]]}
    assert rows[3] == {"metric": {"a": "4"}, "histograms": [[2, SHOWN]]}


def test_a_vector_of_histograms() -> None:
    floats = matrix({"a=1": [1.0], "a=2": [None]})
    held = np.array([[None], [HISTOGRAM]], np.object_)
    rows = read(matrix_pieces(Matrix(floats.labels, floats.value, floats.present, held), [1000], single=True))
    assert rows == [
        {"metric": {"a": "1"}, "value": [1, "1"]},
        {"metric": {"a": "2"}, "histogram": [1, SHOWN]},
    ]


def test_raw_histograms() -> None:
    held = Histograms(np.array([0, 0, 1]), np.array([2000]), np.array([HISTOGRAM], np.object_))
    selection = Selection(
        table("a=1", "a=2"), np.array([0, 1, 1]), np.array([1000]), np.array([math.nan]), held
    )
    assert read(selection_pieces(selection)) == [
        {"metric": {"a": "1"}, "values": [[1, "NaN"]]},
        {"metric": {"a": "2"}, "histograms": [[2, SHOWN]]},
    ]


@pytest.mark.parametrize("cells", [1, 5, 100])
def test_pieces_make_the_same_whole(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "PIECE_CELLS", cells)
    rows: dict[str, list[float | None]] = {
        f"a={i}": [None if i % 3 == 0 else i * 0.5, float(i)] for i in range(9)
    }
    rows["a=0"] = [None, None]
    pieces = list(matrix_pieces(matrix(rows), [1000, 2000], single=False))
    assert len(pieces) == -(-9 // max(1, cells // 2))
    shown = read(pieces)
    assert [row["metric"]["a"] for row in shown] == [str(i) for i in range(1, 9)]
    assert shown[0]["values"] == [[1, "0.5"], [2, "1"]]


def test_raw_samples_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "PIECE_CELLS", 2)
    selection = Selection(
        table("a=1", "a=2", "a=3"), np.array([0, 2, 2, 3]), np.array([1, 2, 3]), np.array([1.0, 2, 3])
    )
    assert [len(row["values"]) for row in read(selection_pieces(selection))] == [2, 1]
