"""Matrices, selections and label sets as the JSON of Prometheus' API, from columns to bytes in compiled kernels.

Label names and values are escaped once for each distinct value of a column; a row is then a copy of such
fragments, its cells the text of a time and ``write_float``. Answers are made in pieces of ``PIECE_CELLS`` cells, so
that a large one needs little memory and is sent while it is made. The kernels release the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import orjson
from numba import njit

from actors.aggregator.prometheus.digits import FLOAT_BYTES, TIME_BYTES, time_text, write_float, write_time
from actors.aggregator.prometheus.histograms import histogram_points
from actors.aggregator.prometheus.words import load8, store8
from agent.promql.values import STALE_NAN_BITS, Matrix, Selection
from agent.telemetry.frames import I32, I64, U8
from agent.telemetry.labels import LabelTable, codes_in_use
from agent.telemetry.native import FloatHistogram

PIECE_CELLS = 1 << 17
Piece: TypeAlias = bytes | memoryview


def _padded(text: bytes) -> U8:
    """With room behind it for the kernel that copies eight bytes at a time."""
    return np.frombuffer(text + bytes(8), np.uint8)


_METRIC = _padded(b'{"metric":{')
_VALUE = _padded(b'},"value":')
_VALUES = _padded(b'},"values":[')
_CELL_END = np.uint64(int.from_bytes(b'"],', "little"))
_ROW_BYTES = len(_METRIC) + len(_VALUES) + 8
_CELL_BYTES = FLOAT_BYTES + 8
_SPARE_BYTES = 32  # at the end, for what the kernels write too much
_STALE = np.uint64(STALE_NAN_BITS)


@dataclass(frozen=True, slots=True)
class Fragments:
    """``"name":"value"`` texts: fragment ``f`` is ``blob[offsets[f]:offsets[f + 1]]``; ``ids[i, k]`` is the one that
    set ``i`` has for name ``k``, -1 where it has none."""

    ids: I32
    blob: U8
    offsets: I64

    def size_bytes(self) -> I64:
        """How long the fragments of each set are at most, with their commas."""
        length = np.append(np.diff(self.offsets) + 1, 0)  # the last is for -1
        return np.asarray(length[self.ids].sum(axis=1), np.int64)


def fragments(table: LabelTable) -> Fragments:
    texts: list[bytes] = []
    ids = np.empty(table.codes.shape, np.int32)
    for k, name in enumerate(table.names):
        used, place = codes_in_use(table.codes[:, k])
        prefix, values = json_text(name) + b":", table.values[k]
        ids[:, k] = np.where(place < 0, -1, place + len(texts))
        texts += [prefix + json_text(values[code]) for code in used.tolist()]
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return Fragments(ids, _padded(b"".join(texts)), offsets)


def json_text(text: str) -> bytes:
    """A JSON string; bytes that are not UTF-8 become the replacement character."""
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:
        return orjson.dumps(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


@njit(cache=True, nogil=True)
def _copy(out, pos, source, begin, end):  # type: ignore[no-untyped-def]
    """Eight bytes at a time: both arrays go on for seven bytes more (``_padded``)."""
    for i in range(0, end - begin, 8):
        store8(out, pos + i, load8(source, begin + i))
    return pos + end - begin


@njit(cache=True, nogil=True)
def _write_labels(out, pos, row, labels):  # type: ignore[no-untyped-def]
    ids, blob, offsets = labels
    first = True
    for k in range(ids.shape[1]):
        one = ids[row, k]
        if one >= 0:
            if not first:
                out[pos] = 44
                pos += 1
            first = False
            pos = _copy(out, pos, blob, offsets[one], offsets[one + 1])
    return pos


@njit(cache=True, nogil=True)
def _close(out, pos, count, single):  # type: ignore[no-untyped-def]
    """Behind the last cell of a row: no comma, the list's bracket, the object's brace."""
    if count == 0:
        out[pos] = 125  # the metric's
        pos += 1
    else:
        pos -= 1
        if not single:
            out[pos] = 93
            pos += 1
    out[pos] = 125
    return pos + 1


@njit(cache=True, nogil=True)
def _write_cell(out, pos, bits):  # type: ignore[no-untyped-def]
    """The value in quotes, and what is behind it."""
    pos = write_float(out, pos, bits)
    store8(out, pos, _CELL_END)
    return pos + 3


@njit(cache=True, nogil=True)
def _write_matrix(out, rows, labels, cells, times, ends):  # type: ignore[no-untyped-def]
    """Rows ``rows[0]`` to ``rows[1]`` with a comma before each but the first of all (``rows[2]``: whether there is
    one before). ``ends[i]`` is where row ``i`` ends, and 0 where it is left out: it has neither a cell nor
    a histogram (``cells[2]``)."""
    bits, present, kept = cells
    blob, offsets = times
    single = len(offsets) == 2 and rows[3] != 0
    pos, any_before = 0, rows[2] != 0
    for i in range(rows[0], rows[1]):
        start, count = pos, 0
        if any_before:
            out[pos] = 44
            pos += 1
        pos = _copy(out, pos, _METRIC, 0, len(_METRIC) - 8)
        pos = _write_labels(out, pos, i, labels)
        for j in range(bits.shape[1]):
            if present[i, j]:
                if count == 0:
                    head = _VALUE if single else _VALUES
                    pos = _copy(out, pos, head, 0, len(head) - 8)
                count += 1
                pos = _copy(out, pos, blob, offsets[j], offsets[j + 1])
                pos = _write_cell(out, pos, bits[i, j])
        if count == 0 and not kept[i]:
            pos = start
            continue
        pos = _close(out, pos, count, single)
        ends[i - rows[0]] = pos
        any_before = True
    return pos


@njit(cache=True, nogil=True)
def _write_selection(out, rows, labels, samples, ends):  # type: ignore[no-untyped-def]
    """As ``_write_matrix``, of raw samples; stale markers are left out."""
    starts, time_ms, bits, kept = samples
    pos, any_before = 0, rows[2] != 0
    for i in range(rows[0], rows[1]):
        start, count = pos, 0
        if any_before:
            out[pos] = 44
            pos += 1
        pos = _copy(out, pos, _METRIC, 0, len(_METRIC) - 8)
        pos = _write_labels(out, pos, i, labels)
        for j in range(starts[i], starts[i + 1]):
            if bits[j] != _STALE:
                if count == 0:
                    pos = _copy(out, pos, _VALUES, 0, len(_VALUES) - 8)
                count += 1
                out[pos] = 91
                pos = write_time(out, pos + 1, time_ms[j])
                out[pos], out[pos + 1] = 44, 34
                pos = _write_cell(out, pos + 2, bits[j])
        if count == 0 and not kept[i]:
            pos = start
            continue
        pos = _close(out, pos, count, False)
        ends[i - rows[0]] = pos
        any_before = True
    return pos


@njit(cache=True, nogil=True)
def _write_sets(out, labels):  # type: ignore[no-untyped-def]
    """Label sets as objects, with commas between."""
    pos = 0
    for i in range(len(labels[0])):
        if i > 0:
            out[pos] = 44
            pos += 1
        out[pos] = 123
        pos = _write_labels(out, pos + 1, i, labels)
        out[pos] = 125
        pos += 1
    return pos


def matrix_pieces(matrix: Matrix, times_ms: Sequence[int], *, single: bool) -> Iterator[Piece]:
    """The result list of a matrix without its brackets; ``single`` writes a vector, of its only step."""
    labels = fragments(matrix.labels)
    heads = [f'[{time_text(time_ms)},"'.encode() for time_ms in times_ms]
    offsets = np.zeros(len(heads) + 1, np.int64)
    np.cumsum([len(head) for head in heads], out=offsets[1:])
    times = (_padded(b"".join(heads)), offsets)
    cell_bytes = _CELL_BYTES + max((len(head) for head in heads), default=0)
    bits = np.ascontiguousarray(matrix.value).view(np.uint64)
    held = matrix.histogram
    kept = np.zeros(len(matrix), np.bool_)
    if held is not None:
        kept = np.fromiter((any(one is not None for one in row) for row in held), np.bool_, len(matrix))
    before = False
    for begin, end in _pieces(len(matrix), np.full(len(matrix), max(1, len(times_ms)))):
        room = int(labels.size_bytes()[begin:end].sum()) + (end - begin) * (
            _ROW_BYTES + bits.shape[1] * cell_bytes
        )
        out, ends = np.empty(room + _SPARE_BYTES, np.uint8), np.zeros(end - begin, np.int64)
        size = _write_matrix(
            out, (begin, end, int(before), int(single)), (labels.ids, labels.blob, labels.offsets),
            (bits, matrix.present, kept), times, ends,
        )  # fmt: skip
        before = before or size > 0
        if held is None or not kept[begin:end].any():
            yield memoryview(out.data)[:size]
        else:
            points = {
                i: [(times_ms[j], one) for j, one in enumerate(held[begin + i]) if one is not None]
                for i in np.flatnonzero(kept[begin:end]).tolist()
            }
            yield _spliced(out, ends, size, points, single=single)


def selection_pieces(selection: Selection) -> Iterator[Piece]:
    """The result list of raw samples, without its brackets."""
    labels = fragments(selection.labels)
    bits = np.ascontiguousarray(selection.value).view(np.uint64)
    count = np.diff(selection.offsets)
    held = selection.histograms
    alive = [] if held is None else [not one.stale for one in held.sample]
    kept = np.zeros(len(selection), np.bool_)
    if held is not None:
        kept = np.asarray(
            [any(alive[a:b]) for a, b in zip(held.offsets, held.offsets[1:], strict=False)], np.bool_
        )
    before = False
    for begin, end in _pieces(len(selection), count):
        cells = int(count[begin:end].sum()) * (_CELL_BYTES + TIME_BYTES + 4)
        room = int(labels.size_bytes()[begin:end].sum()) + (end - begin) * _ROW_BYTES + cells
        out, ends = np.empty(room + _SPARE_BYTES, np.uint8), np.zeros(end - begin, np.int64)
        size = _write_selection(
            out, (begin, end, int(before), 0), (labels.ids, labels.blob, labels.offsets),
            (selection.offsets, selection.time_ms, bits, kept), ends,
        )  # fmt: skip
        before = before or size > 0
        if held is None or not kept[begin:end].any():
            yield memoryview(out.data)[:size]
        else:
            points = {
                i: [
                    (int(held.time_ms[j]), held.sample[j])
                    for j in range(held.offsets[begin + i], held.offsets[begin + i + 1])
                    if alive[j]
                ]
                for i in np.flatnonzero(kept[begin:end]).tolist()
            }
            yield _spliced(out, ends, size, points, single=False)


def label_set_pieces(table: LabelTable) -> Iterator[Piece]:
    """Label sets as a list of objects, without its brackets."""
    labels = fragments(table)
    out = np.empty(int(labels.size_bytes().sum()) + 3 * len(table) + _SPARE_BYTES, np.uint8)
    yield memoryview(out.data)[: _write_sets(out, (labels.ids, labels.blob, labels.offsets))]


def load_kernels() -> None:
    """Compile or load what renders, so that the first query waits for none of it."""
    labels = LabelTable.of([(("a", "b"),)])
    value, times = np.ones((1, 1)), np.zeros(1, np.int64)
    for single in (True, False):
        list(matrix_pieces(Matrix(labels, value, value > 0), [0], single=single))
    list(selection_pieces(Selection(labels, np.array([0, 1]), times, value[0])))
    list(label_set_pieces(labels))


def _pieces(rows: int, cells: I64) -> Iterator[tuple[int, int]]:
    """``[begin, end)`` of rows that make a piece each; one row at least."""
    total = np.cumsum(cells)
    begin = 0
    while begin < rows:
        done = int(total[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(total, done + PIECE_CELLS, side="right")))
        yield begin, end
        begin = end


def _spliced(
    out: U8, ends: I64, size: int, points: dict[int, list[tuple[int, FloatHistogram]]], *, single: bool
) -> bytes:
    """The rows with the histograms of some of them put in before their closing brace."""
    parts, begin = [], 0
    for i, of_row in points.items():
        if not of_row:
            continue
        parts.append(out[begin : ends[i] - 1].tobytes())
        parts.append(histogram_points(of_row, single=single))
        begin = int(ends[i]) - 1
    parts.append(out[begin:size].tobytes())
    return b"".join(parts)
