"""Label sets of results: names taken away, equal sets merged, order, text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from agent.promql import groupkernels
from agent.promql.errors import ExecutionError
from agent.promql.functions.kinds import Windows
from agent.promql.selectors import dropped, holds_histogram
from agent.promql.values import Histograms, Matrix, Times
from agent.telemetry.frames import I64, Bool
from agent.telemetry.labels import METRIC_NAME, Labels, LabelTable

SAME_LABELS = "vector cannot contain metrics with the same labelset"
# What describes a metric and goes where a result is no longer that metric.
METADATA = (METRIC_NAME, "__type__", "__unit__")


def without_names(table: LabelTable, rows: Bool) -> LabelTable:
    """The sets, those of ``rows`` without a metric name and what else describes the metric."""
    places = [table.names.index(name) for name in METADATA if name in table.names]
    if not places or not rows.any():
        return table
    if rows.all():
        return table.drop(METADATA)
    codes = table.codes.copy()
    codes[np.ix_(np.flatnonzero(rows), np.array(places))] = -1
    return LabelTable(table.names, codes, table.values)


def of_one_name(table: LabelTable) -> bool:
    """Whether all sets describe the same metric, so that without that they still differ."""
    places = [table.names.index(name) for name in METADATA if name in table.names]
    return len(table) < 2 or all(
        bool((table.codes[:, place] == table.codes[0, place]).all()) for place in places
    )


def drop_now(matrix: Matrix) -> Matrix:
    """Without metric names; series that become the same are merged. Raises ExecutionError where they have
    values at the same step."""
    unique = of_one_name(matrix.labels)
    bare = replace(matrix, labels=matrix.labels.drop(METADATA), drop_name=np.empty(0, np.bool_))
    return bare if unique else merged(bare)


def drop_marked(matrix: Matrix) -> Matrix:
    """The end of delayed name removal. Raises ExecutionError."""
    marks = dropped(matrix)
    if not marks.any():
        return matrix
    bare = replace(matrix, labels=without_names(matrix.labels, marks), drop_name=np.empty(0, np.bool_))
    return bare if marks.all() and of_one_name(matrix.labels) else merged(bare)


def unmarked(windows: Windows) -> Windows:
    """``drop_marked`` of a range vector. Raises ExecutionError."""
    if not windows.drop_name.any():
        return windows
    chosen, histograms = windows.selection, windows.selection.histograms
    labels = without_names(chosen.labels, windows.drop_name)
    group, table = labels.group()
    if len(table) == len(labels):
        return replace(windows, selection=replace(chosen, labels=labels))
    rows, offsets = _gathered(group, chosen.offsets, chosen.time_ms)
    times = Times(offsets[:-1], chosen.time_ms[rows])
    chosen = replace(chosen, labels=table, offsets=offsets, times=times, value=chosen.value[rows])
    if histograms is not None:
        rows, offsets = _gathered(group, histograms.offsets, histograms.time_ms)
        chosen = replace(
            chosen, histograms=Histograms(offsets, histograms.time_ms[rows], histograms.sample[rows])
        )
    return replace(windows, selection=chosen)


def _gathered(group: I64, offsets: I64, time_ms: I64) -> tuple[I64, I64]:
    """The samples of the series of each group in time order, and where each group begins. Raises ExecutionError
    where two have the same time."""
    of = np.repeat(group, np.diff(offsets))
    order = np.lexsort([time_ms, of])
    if ((np.diff(of[order]) == 0) & (np.diff(time_ms[order]) == 0)).any():
        raise ExecutionError(SAME_LABELS)
    counts = np.bincount(of, minlength=int(group.max()) + 1)
    return order, np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def merged(matrix: Matrix, problem: str = SAME_LABELS) -> Matrix:
    """Rows of equal label sets as one. Raises ExecutionError where two have a value at the same step."""
    group, table = matrix.labels.group()
    if len(table) == len(matrix):
        return matrix
    there = matrix.present | holds_histogram(matrix)
    shape = (len(table), there.shape[1])
    counts = np.zeros(shape, np.int64)
    groupkernels.counts(there, group, counts)
    if (counts > 1).any():
        raise ExecutionError(problem)
    present, value = np.zeros(shape, np.bool_), np.zeros(shape)
    groupkernels.placed(matrix.value, matrix.present, group, value, present)
    histogram = None
    if matrix.histogram is not None:
        histogram = np.full(shape, None, np.object_)
        rows, steps = np.nonzero(holds_histogram(matrix))
        histogram[group[rows], steps] = matrix.histogram[rows, steps]
    marks = matrix.drop_name
    if len(marks):
        marks = np.zeros(len(table), np.bool_)
        np.logical_or.at(marks, group, matrix.drop_name)
    return Matrix(table, value, present, histogram, marks)


def label_order(table: LabelTable) -> I64:
    """The order of label sets by Prometheus' comparison: label by label, names before values, and of two
    that begin alike the shorter first."""
    keys = []
    more = np.zeros(len(table), np.bool_)  # whether a set has a label behind this column
    for k in range(len(table.names) - 1, -1, -1):
        column = table.codes[:, k]
        used = np.unique(column[column >= 0])
        ranks = np.full(int(used.max(initial=-1)) + 2, -1, np.int64)
        ordered = sorted(used.tolist(), key=table.values[k].__getitem__)
        ranks[ordered] = np.arange(len(ordered))
        # A label that is missing makes the next name, which is greater, stand here; none at all ends the set.
        keys.append(np.where(column >= 0, ranks[column], np.where(more, len(ordered), -1)))
        more |= column >= 0
    return np.lexsort(keys) if keys else np.arange(len(table))


def quoted(text: str) -> str:
    """As Go's %q."""
    return '"' + "".join(_pieces(text)) + '"'


_NAMED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f",
          "\v": "\\v"}  # fmt: skip


def _pieces(text: str) -> Iterable[str]:
    for letter in text:
        code = ord(letter)
        if letter in _NAMED:
            yield _NAMED[letter]
        elif 0xDC80 <= code <= 0xDCFF:
            yield f"\\x{code - 0xDC00:02x}"
        elif letter.isprintable():
            yield letter
        elif code < 0x80:
            yield f"\\x{code:02x}"
        else:
            yield f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def labels_text(labels: Labels) -> str:
    """As Prometheus writes a label set in messages."""
    return "{" + ", ".join(f"{_name(name)}={quoted(value)}" for name, value in labels) + "}"


def _name(name: str) -> str:
    plain = name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()
    return name if plain else quoted(name)
