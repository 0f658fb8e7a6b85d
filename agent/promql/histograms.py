"""``sum`` and ``avg`` where native histograms are among the cells: object by object, they are few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.promql.annotations import Annotations, PlacedNotes
from agent.promql.functions import native
from agent.promql.selectors import holds_histogram
from agent.promql.tree import Aggregation
from agent.promql.values import Matrix
from agent.telemetry.frames import I64
from agent.telemetry.labels import METRIC_NAME


def add_histograms(
    node: Aggregation, matrix: Matrix, group: I64, result: Matrix, notes: Annotations
) -> Matrix:
    """``result`` of the floats, with the histograms of each group and step, and without the cells in which both
    kinds meet."""
    assert matrix.histogram is not None  # the caller looked  # noqa: S101
    cells: dict[tuple[int, int], list[int]] = {}
    for i, j in np.argwhere(holds_histogram(matrix)).tolist():
        cells.setdefault((int(group[i]), j), []).append(i)
    present, histogram = result.present.copy(), np.full(result.value.shape, None, np.object_)
    names, placed = matrix.labels.column(METRIC_NAME), PlacedNotes(notes, node.expr.pos)
    combine = native.total if node.op == "sum" else native.mean
    for (g, j), rows in cells.items():
        if present[g, j]:
            placed.warning(native.MIXED_AGGREGATION)
            present[g, j] = False
            continue
        voice = native.Voice(placed, names[rows[0]])
        combined = combine((matrix.histogram[i, j] for i in rows), voice)
        histogram[g, j] = combined.compact() if combined is not None else None
    return replace(result, present=present, histogram=histogram)
