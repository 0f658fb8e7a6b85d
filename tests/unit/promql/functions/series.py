"""Range vectors, instant vectors and calls for the tests of the functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from agent.promql.functions import FUNCTIONS
from agent.promql.functions.kinds import Argument, Call, Windows
from agent.promql.values import Grid, Matrix, Selection, Times
from agent.telemetry.frames import F64
from agent.telemetry.labels import LabelTable, labels_of

MINUTE_MS = 60_000
INSTANT = Grid(0, 0, 0)


@dataclass
class Heard:
    """The annotations of a call."""

    warnings: list[tuple[str, int]] = field(default_factory=list)
    infos: list[tuple[str, int]] = field(default_factory=list)

    def warning(self, text: str, argument: int = 0) -> None:
        self.warnings.append((text, argument))

    def info(self, text: str, argument: int = 0) -> None:
        self.infos.append((text, argument))


def named(count: int, name: str = "metric_total") -> LabelTable:
    return LabelTable.of([labels_of({"__name__": name, "row": str(row)}) for row in range(count)])


def selection(*series: Sequence[tuple[int, float]], name: str = "metric_total") -> Selection:
    """One series an argument: its samples as (milliseconds, value)."""
    counts = [len(samples) for samples in series]
    return Selection(
        named(len(series), name),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.array([time for samples in series for time, _ in samples], np.int64),
        np.array([value for samples in series for _, value in samples], np.float64),
    )


@st.composite
def shared(draw: st.DrawFn, values: st.SearchStrategy[float]) -> Selection:
    """Some lists of times, each of up to three series side by side."""
    lists = st.lists(st.integers(0, 400), unique=True, max_size=30).map(sorted)
    drawn = draw(st.lists(st.tuples(lists, st.integers(1, 3)), min_size=1, max_size=4))
    begins = np.cumsum([0, *(len(times) for times, _ in drawn)])
    start = [begin for begin, (_, series) in zip(begins.tolist(), drawn, strict=False) for _ in range(series)]
    offsets = np.cumsum([0, *(len(times) for times, series in drawn for _ in range(series))])
    value = draw(st.lists(values, min_size=int(offsets[-1]), max_size=int(offsets[-1])))
    ms = np.array([time for times, _ in drawn for time in times], np.int64)
    return Selection(named(len(start)), offsets, Times(np.array(start), ms), np.array(value, np.float64))


def every(step_ms: int, *values: float | None, start_ms: int = 0) -> list[tuple[int, float]]:
    """Samples at regular times; None is a gap."""
    return [(start_ms + i * step_ms, value) for i, value in enumerate(values) if value is not None]


def vector(*values: float, name: str = "metric") -> Matrix:
    """An instant vector at one step."""
    return steps(*((value,) for value in values), name=name)


def steps(*rows: Sequence[float], name: str = "metric") -> Matrix:
    value = np.array(rows, np.float64).reshape(len(rows), -1)
    return Matrix(named(len(rows), name), value, np.ones(value.shape, np.bool_))


def labelled(*sets: dict[str, str]) -> Matrix:
    """An instant vector at one step: the values are 0, 1, 2, ..."""
    value = np.arange(len(sets), dtype=np.float64).reshape(-1, 1)
    return Matrix(LabelTable.of([labels_of(pairs) for pairs in sets]), value, np.ones(value.shape, np.bool_))


def scalar(*values: float) -> F64:
    return np.array(values, np.float64)


def call(
    name: str, *arguments: Argument, grid: Grid = INSTANT, heard: Heard | None = None, node: Any = None
) -> Any:
    return FUNCTIONS[name].body(Call(name, grid, heard or Heard(), node), arguments)


def over(
    name: str,
    chosen: Selection,
    range_ms: int,
    *ends_ms: int,
    more: Sequence[Argument] = (),
    heard: Heard | None = None,
) -> list[list[float | None]]:
    """The results of a range function, series by series, None where a step has none."""
    windows = Windows(chosen, np.array(ends_ms, np.int64), range_ms)
    result = call(name, windows, *more, grid=_grid(ends_ms), heard=heard)
    return cells(result)


def _grid(ends_ms: Sequence[int]) -> Grid:
    return Grid(ends_ms[0], ends_ms[0] + len(ends_ms) - 1, 1)


def cells(matrix: Matrix) -> list[list[float | None]]:
    return [
        [float(value) if there else None for value, there in zip(row, held, strict=True)]
        for row, held in zip(matrix.value, matrix.present, strict=True)
    ]
